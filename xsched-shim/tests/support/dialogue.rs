//! A program that is spoken to line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Guard, WATCHDOG, succeeded};

/// A running program; killed when dropped.
pub struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    guard: Guard,
}

impl Dialogue {
    /// Starts it.
    pub fn begin(command: &mut Command) -> Dialogue {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let guard = Guard::watch(&child);
        let input = child.stdin.take();
        let output = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Dialogue {
            child,
            input,
            lines,
            guard,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line.
    pub fn say(&mut self, line: &str) {
        self.guard.renew();
        let input = self.input.as_mut().expect("piped");
        writeln!(input, "{line}").expect("the program reads");
    }

    /// Writes the line for which the program waits before its next step.
    pub fn go_on(&mut self) {
        self.say("");
    }

    /// Its next line.
    pub fn line(&mut self) -> String {
        let line = self.line_within(WATCHDOG);
        line.expect("a line, not the end")
    }

    /// Its next line, if that comes in time.
    pub fn line_within(&mut self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// The numbers of its next line.
    pub fn numbers(&mut self) -> Vec<u64> {
        let line = self.line();
        line.split(' ')
            .map(|word| word.parse().unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// The number that is its next line.
    pub fn number(&mut self) -> u64 {
        match self.numbers()[..] {
            [number] => number,
            ref more => panic!("one number, not {more:?}"),
        }
    }

    /// Closes its input, waits for its end and checks that it ends well.
    pub fn end(mut self) {
        drop(self.input.take());
        succeeded(self.child.wait().expect("the program ends"));
    }
}

impl Dialogue {
    /// Waits for its end and checks that this signal has killed it.
    pub fn dies_by(mut self, signal: i32) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.wait().expect("the program ends");
        assert_eq!(status.signal(), Some(signal), "{status}");
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
