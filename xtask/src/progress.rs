//! What is going on, for people who wait.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Instant;

/// Progress, on the terminal's error side so that stdout stays the report.
pub fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[2m{text} ...\x1b[0m");
    } else {
        eprintln!("{text} ...");
    }
}

/// How far a run of many steps is.
pub struct Steps {
    began: Instant,
    done: Cell<u32>,
    steps: u32,
}

impl Steps {
    /// None of so many is done.
    pub fn new(steps: u32) -> Steps {
        Steps {
            began: Instant::now(),
            done: Cell::new(0),
            steps,
        }
    }

    /// Says what begins.
    pub fn step(&self, what: &str) {
        let done = self.done.get();
        self.done.set(done + 1);
        let passed = self.began.elapsed().as_secs_f64();
        let left = match done {
            0 => "?".to_owned(),
            _ => format!(
                "{:.0} s",
                passed / f64::from(done) * f64::from(self.steps.saturating_sub(done))
            ),
        };
        eprintln!(
            "[{:>3}/{}, {passed:>4.0} s, about {left} left] {what}",
            done + 1,
            self.steps
        );
    }
}
