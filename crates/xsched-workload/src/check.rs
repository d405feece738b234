//! Reading a file, whoever wrote it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::format::{FORMAT, Repeat, Step, Thread, Workload};

/// The largest file that is read, bytes: about a million steps.
pub const LARGEST_FILE: u64 = 128 << 20;

/// Processes of a workload, threads of a process, streams of a process,
/// libraries.
const MOST: usize = 64;
/// Launches of a thread in one pass: ten for each step of the largest file.
const MOST_LAUNCHES: u64 = 10_000_000;
/// A kernel, a gap or a period that is longer is a slip of the pen.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// So is a request that comes later.
const LATEST_NS: u64 = 24 * LONGEST_NS;
/// Bytes of a name: those of a file's, less room for a folder's sake.
const LONGEST_NAME: usize = 128;

/// Why a file is no workload.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is larger than [`LARGEST_FILE`].
    #[error(
        "{0} is larger than {LARGEST_FILE} bytes: record one process, or for a shorter time",
        LARGEST_FILE = LARGEST_FILE
    )]
    TooLarge(String),
    /// It is no JSON, or not of this form.
    #[error("not a workload (see docs/REPLAY.md): {0}")]
    Form(#[from] serde_json::Error),
    /// What it says cannot be.
    #[error("not a workload: {0}")]
    Content(String),
}

/// Reads a file, a workload's or a recording.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Bad> {
    let unreadable = |source| Bad::Unreadable {
        path: path.display().to_string(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let length = file
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match length as u64 <= LARGEST_FILE {
        true => Ok(bytes),
        false => Err(Bad::TooLarge(path.display().to_string())),
    }
}

impl Workload {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Bad`].
    pub fn read(path: &Path) -> Result<Workload, Bad> {
        let text = String::from_utf8(read_file(path)?);
        let text = text.map_err(|_| Bad::Content("it is no text".to_owned()))?;
        Workload::parse(&text)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`Bad`].
    pub fn parse(text: &str) -> Result<Workload, Bad> {
        let workload: Workload = serde_json::from_str(text)?;
        workload.check().map_err(Bad::Content)?;
        Ok(workload)
    }

    /// The text of a file: a step a line.
    pub fn text(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut text = json.replace("{\"launch\"", "\n{\"launch\"");
        for step in ["wait", "arrive"] {
            text = text.replace(&format!("{{\"{step}\""), &format!("\n{{\"{step}\""));
        }
        text.push('\n');
        text
    }

    /// What is wrong, if anything.
    ///
    /// # Errors
    /// A text for people.
    pub fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!(
                "its format is {}, this program reads {FORMAT}",
                self.format
            ));
        }
        if self.origin.trim().is_empty() {
            return Err("it does not say where its figures come from (origin)".to_owned());
        }
        if self.programs.is_empty() || self.programs.len() > MOST {
            return Err(format!("it needs 1 to {MOST} programs"));
        }
        if self.callers.len() > MOST {
            return Err(format!("more than {MOST} callers"));
        }
        // They become names of files.
        if let Some(caller) = self.callers.iter().find(|name| !is_file_name(name)) {
            return Err(format!("a caller is a file's name, not {caller:?}"));
        }
        let mut names = BTreeSet::new();
        for program in &self.programs {
            let name = &program.name;
            if name.is_empty() || name.len() > LONGEST_NAME || !names.insert(name) {
                return Err(format!("programs have names of their own, not {name:?}"));
            }
            if program.threads.is_empty() || program.threads.len() > MOST {
                return Err(format!("{name}: it needs 1 to {MOST} threads"));
            }
            let mut streams = BTreeSet::new();
            for thread in &program.threads {
                self.check_thread(thread, &mut streams)
                    .map_err(|why| format!("{name}: {why}"))?;
            }
        }
        Ok(())
    }

    fn check_thread(&self, thread: &Thread, streams: &mut BTreeSet<u64>) -> Result<(), String> {
        let mut launches = false;
        let mut last = 0;
        for step in &thread.steps {
            match *step {
                Step::Launch(launch) => {
                    launches |= launch.count > 0;
                    streams.insert(launch.stream);
                    if launch.ns.max(launch.after_ns) > LONGEST_NS {
                        return Err("a launch or gap of more than an hour".to_owned());
                    }
                    if launch
                        .caller
                        .is_some_and(|at| at as usize >= self.callers.len())
                    {
                        return Err(format!("caller {:?} is not in the list", launch.caller));
                    }
                }
                Step::Wait(wait) => {
                    if wait.after_ns > LONGEST_NS {
                        return Err("a gap of more than an hour".to_owned());
                    }
                    if wait.ahead > 0 && wait.stream.is_some() {
                        return Err("a wait is for a stream, or leaves some ahead".to_owned());
                    }
                }
                Step::Arrive(_) if thread.repeat != Repeat::Once => {
                    return Err("steps that are repeated have no times".to_owned());
                }
                Step::Arrive(at) if at < last => {
                    return Err("requests come in the order of their times".to_owned());
                }
                Step::Arrive(at) if at > LATEST_NS => {
                    return Err("a request that comes later than a day".to_owned());
                }
                Step::Arrive(at) => last = at,
            }
        }
        if thread.totals().launches > MOST_LAUNCHES {
            return Err(format!("more than {MOST_LAUNCHES} launches in one pass"));
        }
        if streams.len() > MOST {
            return Err(format!("more than {MOST} streams"));
        }
        match thread.repeat {
            Repeat::Every { period_ns, .. } if !(1_000..=LONGEST_NS).contains(&period_ns) => {
                Err("a period is 1 us to 1 h".to_owned())
            }
            // It would launch nothing for ever.
            Repeat::Every { .. } | Repeat::BackToBack if !launches => {
                Err("a thread that repeats its steps launches something".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BERT, LIBTORCH, RESNETS};

    fn with(steps: &str) -> Result<Workload, Bad> {
        Workload::parse(&format!(
            r#"{{"format": 1, "name": "n", "origin": "by hand", "callers": ["liba.so"],
                "programs": [{{"name": "p", "threads": [{steps}]}}]}}"#
        ))
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = r#"{"repeat": {"every": {"period_ns": 50000000, "gaps": "jittered"}}, "steps": [
            {"launch": {"ns": 1000, "count": 3, "after_ns": 20, "stream": 1, "caller": 0}},
            {"wait": {"stream": 1}}, {"wait": {"ahead": 3}}, {"wait": {}}]}"#;
        let workload = with(text).expect("good");
        assert_eq!(
            Workload::parse(&workload.text()).expect("good too"),
            workload
        );
        let totals = workload.programs[0].totals();
        assert_eq!(
            (totals.launches, totals.device_ns, totals.waits),
            (3, 3_000, 3)
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        for (steps, why) in [
            (
                r#"{"steps": [{"launch": {"ns": 1, "caller": 1}}]}"#,
                "caller",
            ),
            (
                r#"{"repeat": "back_to_back", "steps": [{"wait": {}}]}"#,
                "launches something",
            ),
            (
                r#"{"repeat": "back_to_back", "steps": [{"arrive": 3}]}"#,
                "no times",
            ),
            (r#"{"steps": [{"arrive": 3}, {"arrive": 2}]}"#, "order"),
            (r#"{"steps": [{"launch": {"ns": 99999999999999}}]}"#, "hour"),
            (r#"{"steps": [{"arrive": 18446744073709551615}]}"#, "a day"),
            (
                r#"{"steps": [{"launch": {"ns": 1, "count": 4294967295}}]}"#,
                "launches in one pass",
            ),
            (
                r#"{"steps": [{"wait": {"stream": 1, "ahead": 2}}]}"#,
                "or leaves",
            ),
            (r#"{"steps": [{"fly": {}}]}"#, "docs/REPLAY.md"),
            ("", "1 to 64 threads"),
        ] {
            let refused = with(steps).expect_err(steps).to_string();
            assert!(refused.contains(why), "{steps}: {refused}");
        }
        let path = Workload::parse(
            r#"{"format": 1, "name": "n", "origin": "o", "callers": ["../a"], "programs": []}"#,
        );
        assert!(path.is_err());
    }

    #[test]
    fn those_that_are_shipped_are_good() {
        for text in [RESNETS, LIBTORCH, BERT] {
            let workload = Workload::parse(text).expect("good");
            assert!(workload.origin.contains("H200"), "{}", workload.origin);
        }
    }
}
