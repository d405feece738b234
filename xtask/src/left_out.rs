//! Tests that pass because they left something out, which is found in what
//! they print: `LEFT OUT: why`.
//!
//! libtest prints the output of passing tests with `--show-output`, between a
//! line `successes:` and the failures or the result.

use std::collections::BTreeMap;

/// How a test says that it left something out.
const SAYS: &str = "LEFT OUT: ";

/// Reads the output of `cargo test -- --show-output`.
#[derive(Default)]
pub struct Reader {
    in_successes: bool,
    test: String,
    /// Why, and which tests.
    reasons: BTreeMap<String, Vec<String>>,
}

impl Reader {
    /// Takes in a line; whether it is to be shown.
    pub fn take(&mut self, line: &str) -> bool {
        if line == "successes:" {
            self.in_successes = true;
            return false;
        }
        if line == "failures:" || line.starts_with("test result: ") {
            self.in_successes = false;
        }
        let header = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(test) = header {
            self.test = test.to_owned();
        }
        if self.in_successes
            && let Some(why) = line.strip_prefix(SAYS)
        {
            let test = self.test.clone();
            self.omit(&test, why);
        }
        !self.in_successes
    }

    /// Something was left out: what, and why.
    pub fn omit(&mut self, what: &str, why: &str) {
        let whats = self.reasons.entry(why.to_owned()).or_default();
        whats.push(what.to_owned());
    }

    /// `N left out`, and why, one line for each reason; `None` if nothing was.
    pub fn summary(&self) -> Option<String> {
        let count: usize = self.reasons.values().map(Vec::len).sum();
        let mut out = format!("{count} left out");
        for (why, tests) in &self.reasons {
            out += &format!("\n  {} x {why} ({})", tests.len(), tests.join(", "));
        }
        (count > 0).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
LEFT OUT: only root can do this
some note

---- b stdout ----
LEFT OUT: only root can do this
LEFT OUT: no BPF


successes:
    a
    b

failures:

---- c stdout ----
LEFT OUT: a failure is no omission

failures:
    c

test result: FAILED. 2 passed; 1 failed
";

    #[test]
    fn what_passing_tests_left_out_is_counted_by_reason() {
        let mut reader = Reader::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| reader.take(line)).collect();
        let summary = reader.summary().expect("left out");
        assert_eq!(
            summary,
            "3 left out\n  1 x no BPF (b)\n  2 x only root can do this (a, b)"
        );
        assert!(!shown.contains(&"some note"), "{shown:?}");
        assert!(shown.contains(&"LEFT OUT: a failure is no omission"));
        assert_eq!(
            *shown.last().expect("lines"),
            "test result: FAILED. 2 passed; 1 failed"
        );
    }

    #[test]
    fn nothing_left_out_is_no_news() {
        let mut reader = Reader::default();
        assert!(reader.take("test a ... ok"));
        assert_eq!(reader.summary(), None);
    }
}
