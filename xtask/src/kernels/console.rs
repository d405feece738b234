//! What the guest says over its serial line: one JSON object per line behind
//! a mark, among whatever else the firmware and the kernel print.

use serde::{Deserialize, Serialize};

/// Begins every line of ours.
const MARK: &str = "@xsched ";

/// So many lines of others are kept, for when the guest ends early.
const KEPT: usize = 12;

/// One line of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The guest runs.
    Begin {
        /// `uname -r`.
        release: String,
        /// The kernel's own version, `uname -v`.
        build: String,
        /// The checks that follow.
        checks: Vec<String>,
    },
    /// A check starts.
    Start(String),
    /// A check has ended.
    Check(Check),
    /// All have.
    End,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

impl Line {
    /// As it is printed.
    pub fn to_text(&self) -> String {
        let json = serde_json::to_string(self).expect("strings and booleans");
        format!("{MARK}{json}")
    }

    /// Ours, wherever it begins: firmware leaves the cursor anywhere.
    fn parse(text: &str) -> Option<Line> {
        let (_, json) = text.split_once(MARK)?;
        serde_json::from_str(json.trim_end()).ok()
    }
}

/// All that was said up to now.
#[derive(Default)]
pub struct Transcript {
    /// What the guest planned, once it runs.
    pub begin: Option<(String, String)>,
    /// The names of the planned checks.
    pub planned: Vec<String>,
    /// Those that have ended.
    pub checks: Vec<Check>,
    /// The one that runs.
    pub current: Option<String>,
    /// Whether the guest has said all.
    pub ended: bool,
    others: Vec<String>,
}

impl Transcript {
    /// Takes in a line of the console; whether it was ours.
    pub fn take(&mut self, text: &str) -> bool {
        let Some(line) = Line::parse(text) else {
            let text = printable(text);
            if !text.is_empty() {
                self.others.push(text);
                let excess = self.others.len().saturating_sub(KEPT);
                self.others.drain(..excess);
            }
            return false;
        };
        match line {
            Line::Begin {
                release,
                build,
                checks,
            } => {
                self.begin = Some((release, build));
                self.planned = checks;
            }
            Line::Start(name) => self.current = Some(name),
            Line::Check(check) => {
                self.current = None;
                self.checks.push(check);
            }
            Line::End => self.ended = true,
        }
        true
    }

    /// Why these checks do not speak for the kernel, if so. `stop` says how
    /// the machine ended.
    pub fn fault(&self, stop: &str) -> Option<String> {
        let last = || match self.others.is_empty() {
            true => "it printed nothing".to_owned(),
            false => format!("its last lines: {}", self.others.join(" | ")),
        };
        if self.begin.is_none() {
            return Some(format!(
                "the kernel did not start our program ({stop}); {}",
                last()
            ));
        }
        if !self.ended {
            let during = self.current.as_ref().map_or_else(
                || "between two checks".to_owned(),
                |check| format!("during the check {check}"),
            );
            return Some(format!("it ended {during} ({stop}); {}", last()));
        }
        let missing: Vec<&str> = self
            .planned
            .iter()
            .filter(|name| !self.checks.iter().any(|check| check.name == **name))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            return Some(format!("no word of: {}", missing.join(", ")));
        }
        let bad: Vec<&str> = self
            .checks
            .iter()
            .filter(|check| !check.ok)
            .map(|check| check.name.as_str())
            .collect();
        (!bad.is_empty()).then(|| format!("failed: {}", bad.join(", ")))
    }
}

/// Without control characters and the terminal's escape sequences.
fn printable(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ parameters letter, or ESC and one character.
            '\x1b' => {
                if chars.next() == Some('[') {
                    let _ = chars.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Line {
        Line::Begin {
            release: "6.1.0".to_owned(),
            build: "#1 SMP".to_owned(),
            checks: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn check(name: &str, ok: bool) -> Line {
        Line::Check(Check {
            name: name.to_owned(),
            ok,
            detail: "quotes \" and\nlines".to_owned(),
        })
    }

    fn heard(lines: &[Line]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            assert!(transcript.take(&line.to_text()));
        }
        transcript
    }

    #[test]
    fn ours_are_found_among_the_others() {
        let mut transcript = Transcript::default();
        assert!(!transcript.take("\x1b[?7l\x1b[2JSeaBIOS (version 1)\r"));
        assert!(!transcript.take("@xsched {\"unknown\":1}"));
        assert!(transcript.take(&format!("\x1b[2J..{}\r\n", begin().to_text())));
        assert!(transcript.take(&check("one", true).to_text()));
        assert_eq!(transcript.checks[0].detail, "quotes \" and\nlines");
        assert_eq!(transcript.others[0], "SeaBIOS (version 1)");
    }

    #[test]
    fn all_checks_well_and_the_end_are_no_fault() {
        let all = [begin(), check("one", true), check("two", true), Line::End];
        assert_eq!(heard(&all).fault("off"), None);
    }

    #[test]
    fn every_way_to_end_early_is_a_fault() {
        let nothing = heard(&[]).fault("after 9 s").expect("a fault");
        assert!(nothing.contains("did not start") && nothing.contains("after 9 s"));
        let start = Line::Start("one".to_owned());
        let during = heard(&[begin(), start]).fault("off").expect("a fault");
        assert!(during.contains("during the check one"), "{during}");
        let between = heard(&[begin(), check("one", true)]).fault("off");
        assert!(between.expect("a fault").contains("between two checks"));
        let missing = heard(&[begin(), check("one", true), Line::End]).fault("off");
        assert_eq!(missing.expect("a fault"), "no word of: two");
        let bad = [begin(), check("one", true), check("two", false), Line::End];
        assert_eq!(heard(&bad).fault("off").expect("a fault"), "failed: two");
    }

    #[test]
    fn only_the_last_lines_of_others_are_kept() {
        let mut transcript = Transcript::default();
        for n in 0..100 {
            transcript.take(&format!("line {n}"));
        }
        assert_eq!(transcript.others.len(), KEPT);
        assert_eq!(transcript.others[KEPT - 1], "line 99");
    }
}
