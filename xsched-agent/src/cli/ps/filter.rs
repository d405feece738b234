//! Which processes `ps` shows: the words of xtop's filter, on its own columns.

use std::borrow::Cow;

use xsched_client::filter::{self, FilterError, Value, number_of};
use xsched_common::api::ProcessRow;

use super::columns::Column;

/// Terms that a process must all meet.
pub struct Filter(filter::Filter<Place>);

/// Where a term looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the column with this number.
    Column(usize),
    /// In what is not shown.
    Arguments,
}

struct Columns<'c>(&'c [Column]);

/// What xtop calls columns of `ps` whose headings say more.
const ALIASES: [(&str, &str); 4] = [
    ("launches", "launch-s"),
    ("p50", "burst-p50"),
    ("slo", "target"),
    ("terms", "terms-from"),
];

/// `burst-p50` is `BURST P50`.
fn plain(heading: &str) -> String {
    let heading = heading.trim_start_matches('>').to_lowercase();
    heading.replace([' ', '/'], "-")
}

impl Columns<'_> {
    fn place(&self, name: &str) -> Option<Place> {
        let mut columns = self.0.iter();
        let at = columns.position(|column| plain(column.heading) == name)?;
        Some(Place::Column(at))
    }
}

impl filter::Columns for Columns<'_> {
    type Column = Place;

    fn named(&self, name: &str) -> Option<Place> {
        let name = name.to_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        self.place(&name)
            .or_else(|| self.place(alias.map(|(_, name)| *name)?))
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|column| plain(column.heading)).collect();
        names.join(", ")
    }

    fn is_numeric(&self, place: Place) -> bool {
        match place {
            Place::Column(at) => self.0[at].heading.starts_with('>'),
            Place::Arguments => false,
        }
    }
}

/// A cell as it is shown.
struct Shown(String);

impl Value for Shown {
    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn number(&self) -> f64 {
        number_of(&self.0).unwrap_or(f64::NAN)
    }

    fn is_unknown(&self) -> bool {
        self.0 == "-"
    }
}

impl Filter {
    /// Of the words of a command line.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn parse(words: &[String], columns: &[Column]) -> Result<Filter, FilterError> {
        let words = words.iter().flat_map(|word| word.split_whitespace());
        filter::Filter::parse(words, &Columns(columns)).map(Filter)
    }

    /// Whether a process is to be shown.
    pub fn shows(&self, process: &ProcessRow, columns: &[Column]) -> bool {
        let named = |name| Columns(columns).place(name);
        let anywhere = ["pid", "command", "user", "class"].into_iter();
        let anywhere: Vec<Place> = anywhere
            .filter_map(named)
            .chain([Place::Arguments])
            .collect();
        self.0.admits(&anywhere, |place| {
            Shown(match place {
                Place::Column(at) => (columns[at].cell)(process).text,
                Place::Arguments => process.arguments.clone(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns;
    use super::*;
    use xsched_common::api::Snapshot;

    fn row(pid: u32, command: &str, class: &str) -> ProcessRow {
        let json = serde_json::json!({
            "pid": pid, "start_time": 1, "uid": 0, "user": "ada", "command": command, "arguments": "",
            "class": class, "shim": "joined", "device": null, "gate": null, "launches": 1,
            "launches_per_s": 100.0 * f64::from(pid), "bypass_ratio": 0.0, "default_stream_ratio": 0.0,
            "burst": null, "gate_wait": null, "guards": null, "in_flight": 0, "kernel_ns": null,
            "callers": []
        });
        serde_json::from_value(json).expect("a row")
    }

    #[test]
    fn words_and_columns_select() {
        let columns = columns::of(&Snapshot::default());
        let rows = [row(7, "serve", "high"), row(8, "train", "low")];
        let shown = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let filter = Filter::parse(&words, &columns).expect("a filter");
            let rows = rows.iter().filter(|row| filter.shows(row, &columns));
            rows.map(|row| row.pid).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[]), [7, 8]);
        assert_eq!(shown(&["SERVE"]), [7]);
        assert_eq!(shown(&["!serve", "ada"]), [8]);
        assert_eq!(shown(&["class:high"]), [7]);
        assert_eq!(shown(&["!class:high", "p99:-"]), [8]);
        // What xtop understands.
        assert_eq!(shown(&["command:/^TR/"]), [8]);
        assert_eq!(shown(&["launches:>750"]), [8]);
        assert_eq!(shown(&["pid:7", "launch-s:<=0.7k"]), [7]);
        let error = Filter::parse(&["nonsense:1".into()], &columns).err();
        let error = error.expect("no column").to_string();
        assert!(error.contains("burst-p50"), "{error}");
    }
}
