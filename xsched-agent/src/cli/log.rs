//! The daemon's log: to stderr, by a thread of its own.
//!
//! Whoever logs must not wait for whoever reads: a terminal stopped with
//! Ctrl-S would stop the control thread's heart.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written; more are lost, and said to be.
const QUEUE: usize = 1024;

/// How long the last lines may take at the end.
const FINISH: Duration = Duration::from_secs(1);

/// A running log.
#[derive(Clone)]
pub struct Log {
    queue: Queue,
}

#[derive(Clone)]
struct Queue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

enum Entry {
    Line(Vec<u8>),
    Finish(SyncSender<()>),
}

impl Log {
    /// Sends all that the program logs to stderr, as XSCHED_LOG says.
    pub fn start() -> io::Result<Log> {
        let (queue, entries) = Queue::new();
        let lost = queue.lost.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_to(io::stderr(), &entries, &lost))?;
        let filter = tracing_subscriber::EnvFilter::try_from_env("XSCHED_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
        let writer = queue.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || writer.clone())
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .init();
        Ok(Log { queue })
    }

    /// Waits until everything is written, but not for ever.
    pub fn finish(&self) {
        let (done, finished) = sync_channel(1);
        if self.queue.entries.try_send(Entry::Finish(done)).is_ok() {
            let _ = finished.recv_timeout(FINISH);
        }
    }
}

impl Queue {
    fn new() -> (Queue, Receiver<Entry>) {
        let (entries, receiver) = sync_channel(QUEUE);
        let lost = Arc::default();
        (Queue { entries, lost }, receiver)
    }
}

impl Write for Queue {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that is gone ends nothing but the reading.
fn write_to(mut out: impl Write, entries: &Receiver<Entry>, lost: &AtomicU64) {
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                let _ = out.write_all(&line);
                let lost = lost.swap(0, Relaxed);
                if lost > 0 {
                    let _ = writeln!(out, "{lost} lines were lost here: nobody read the log");
                }
            }
            Entry::Finish(done) => {
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_the_reader_and_what_is_lost_is_said() {
        let (mut queue, entries) = Queue::new();
        for i in 0..QUEUE + 3 {
            queue
                .write_all(format!("line {i}\n").as_bytes())
                .expect("taken");
        }
        let lost = queue.lost.clone();
        drop(queue);
        let mut out = Vec::new();
        write_to(&mut out, &entries, &lost);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("line 0\n3 lines were lost"), "{text}");
        assert_eq!(text.lines().count(), QUEUE + 1);
    }
}
