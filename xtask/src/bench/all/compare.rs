//! The figures of this run beside those of an earlier one.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::bench::report::Report;

/// A figure then and now.
pub struct Compared {
    pub name: String,
    pub unit: String,
    pub old: f64,
    pub new: f64,
    /// Whether they differ by more than both runs' spreads.
    pub differs: bool,
}

/// Those that both runs have.
pub fn with(report: &Report, old: &Path) -> anyhow::Result<Vec<Compared>> {
    let text =
        std::fs::read_to_string(old).with_context(|| format!("cannot read {}", old.display()))?;
    let parsed: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", old.display()))?;
    let metrics = parsed["metrics"]
        .as_array()
        .with_context(|| format!("{} has no metrics: a results.json is wanted", old.display()))?;
    let compared = report.metrics().iter().filter_map(|new| {
        let old = metrics.iter().find(|old| old["name"] == new.name)?;
        let value = old["value"].as_f64()?;
        let spread = old["spread"].as_f64().unwrap_or(0.0) + new.spread.unwrap_or(0.0);
        Some(Compared {
            name: new.name.to_owned(),
            unit: new.unit.to_owned(),
            old: value,
            new: new.value,
            differs: (new.value - value).abs() > spread,
        })
    });
    Ok(compared.collect())
}

/// For people.
pub fn text(compared: &[Compared]) -> String {
    let mut out = format!("{:<24}{:>12}{:>12}\n", "", "before", "now");
    for c in compared {
        let mark = if c.differs { "  differs" } else { "" };
        let (old, new) = (c.old, c.new);
        let _ = writeln!(out, "{:<24}{old:>12.3}{new:>12.3} {}{mark}", c.name, c.unit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Metric;

    #[test]
    fn what_both_runs_have_is_compared_by_their_spreads() {
        let report = |value| {
            Report::of(vec![
                Metric::at_most("a", "x", value, 2.0).spread(0.1),
                Metric::at_most("b", "x", 1.0, 2.0),
            ])
        };
        let dir = tempfile::tempdir().expect("a folder");
        let old = dir.path().join("old.json");
        let text = serde_json::to_string(&report(1.0)).expect("JSON");
        std::fs::write(&old, text.replace("\"b\"", "\"c\"")).expect("written");
        let compared = with(&report(1.5), &old).expect("compares");
        assert_eq!(compared.len(), 1);
        assert!(compared[0].differs && compared[0].old == 1.0);
        assert!(!with(&report(1.15), &old).expect("compares")[0].differs);
        std::fs::write(&old, "{}").expect("written");
        assert!(with(&report(1.0), &old).is_err());
    }
}
