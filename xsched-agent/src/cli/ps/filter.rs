//! Which processes `ps` shows: the words of xtop's filter, on its own columns.

use std::borrow::Cow;

use xsched_client::filter::{self, Value, number_of};
use xsched_common::api::ProcessRow;

use super::columns::{self, Column};

/// Terms that a process must all meet.
pub type Filter = filter::Filter<&'static Column>;

/// What xtop calls columns of `ps` whose headings say more.
const ALIASES: [(&str, &str); 4] = [
    ("launches", "launch-s"),
    ("p50", "burst-p50"),
    ("slo", "target"),
    ("terms", "terms-from"),
];

impl filter::Column for &'static Column {
    type Row = ProcessRow;

    fn all() -> impl Iterator<Item = &'static Column> {
        columns::ALL.iter()
    }

    fn has_words(self) -> bool {
        ["pid", "command", "arguments", "user", "class", "workload"].contains(&&*self.name())
    }

    /// `burst-p50` is `BURST P50`.
    fn name(self) -> Cow<'static, str> {
        let heading = self.heading.trim_start_matches('>').to_lowercase();
        heading.replace([' ', '/'], "-").into()
    }

    fn named(name: &str) -> Option<&'static Column> {
        let name = name.to_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let name = alias.map_or(name.as_str(), |(_, name)| name);
        columns::ALL.iter().find(|column| column.name() == name)
    }

    fn is_numeric(self) -> bool {
        self.heading.starts_with('>')
    }

    fn value(self, process: &ProcessRow) -> impl Value {
        Shown((self.cell)(process).text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::api::JobRow;

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
        let mut rows = [row(7, "serve", "high"), row(8, "train", "low")];
        rows[1].job = Some(JobRow {
            id: 42,
            step: Some("batch".into()),
            ..JobRow::default()
        });
        let shown = |words: &str| {
            let filter: Filter = words.parse().expect("a filter");
            let rows = rows.iter().filter(|row| filter.admits(row));
            rows.map(|row| row.pid).collect::<Vec<_>>()
        };
        assert_eq!(shown(""), [7, 8]);
        assert_eq!(shown("SERVE"), [7]);
        assert_eq!(shown("!serve ada"), [8]);
        assert_eq!(shown("class:high"), [7]);
        assert_eq!(shown("!class:high p99:-"), [8]);
        assert_eq!(shown("42.batch"), [8]);
        assert_eq!(shown("workload:-"), [7]);
        // What xtop understands.
        assert_eq!(shown("command:/^TR/"), [8]);
        assert_eq!(shown("launches:>750"), [8]);
        assert_eq!(shown("pid:7 launch-s:<=0.7k"), [7]);
        let error = "nonsense:1".parse::<Filter>().expect_err("no column");
        assert!(error.to_string().contains("burst-p50"), "{error}");
    }
}
