//! Which processes `ps` shows: words, as in xtop's filter.

use xsched_common::api::ProcessRow;

use super::columns::Column;

/// Terms that a process must all meet.
#[derive(Clone, Debug, Default)]
pub struct Filter(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// Must not be met.
    not: bool,
    /// In this column alone.
    column: Option<String>,
    /// Part of it; in small letters.
    text: String,
}

impl Filter {
    /// `word`, `!word`, `column:text`, `!column:text`, `column:-` (unknown).
    ///
    /// # Errors
    /// There is no such column.
    pub fn parse(words: &[String], columns: &[Column]) -> Result<Filter, String> {
        let term = |word: &String| {
            let (not, word) = match word.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, word.as_str()),
            };
            let (column, text) = match word.split_once(':') {
                Some((name, text)) => (Some(column_named(name, columns)?), text),
                None => (None, word),
            };
            Ok(Term {
                not,
                column,
                text: text.to_lowercase(),
            })
        };
        words.iter().map(term).collect::<Result<_, _>>().map(Filter)
    }

    /// Whether a process is to be shown.
    pub fn shows(&self, process: &ProcessRow, columns: &[Column]) -> bool {
        self.0
            .iter()
            .all(|term| term.is_met(process, columns) != term.not)
    }
}

/// `burst-p50` is `BURST P50`.
fn plain(heading: &str) -> String {
    let heading = heading.trim_start_matches('>').to_lowercase();
    heading.replace([' ', '/'], "-")
}

fn column_named(name: &str, columns: &[Column]) -> Result<String, String> {
    let name = name.to_lowercase();
    let mut names = columns.iter().map(|column| plain(column.heading));
    names.find(|known| *known == name).ok_or_else(|| {
        let names: Vec<String> = columns.iter().map(|column| plain(column.heading)).collect();
        format!("no column \"{name}\": use one of {}", names.join(", "))
    })
}

impl Term {
    fn is_met(&self, process: &ProcessRow, columns: &[Column]) -> bool {
        let Some(name) = &self.column else {
            let user = process.user.clone().unwrap_or_default();
            let anywhere = [
                process.pid.to_string(),
                process.command.clone(),
                process.arguments.clone(),
                user,
                process.class.name().to_owned(),
            ];
            return anywhere
                .iter()
                .any(|text| text.to_lowercase().contains(&self.text));
        };
        let column = columns.iter().find(|column| plain(column.heading) == *name);
        column.is_some_and(|column| {
            let text = (column.cell)(process).text.to_lowercase();
            match self.text.as_str() {
                "-" => text == "-",
                wanted => text.contains(wanted),
            }
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
            "launches_per_s": 1.0, "bypass_ratio": 0.0, "default_stream_ratio": 0.0, "burst": null,
            "gate_wait": null, "guards": null, "in_flight": 0, "kernel_ns": null, "callers": []
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
        let error = Filter::parse(&["nonsense:1".into()], &columns).expect_err("no column");
        assert!(error.contains("burst-p50"), "{error}");
    }
}
