//! Time in which threads were ready to run and had no processor, as
//! `/proc/PID/task/TID/schedstat` tells (sched-stats(5)).

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use xsched_common::units::Nanos;

/// Threads of a process that are looked at: those that have run most.
const MOST: usize = 16;

/// Threads of a process among which these are chosen.
const CHOICE: usize = 512;

/// Some threads of a process.
#[derive(Debug)]
pub struct RunDelays {
    folder: PathBuf,
    threads: HashMap<u32, Thread>,
}

#[derive(Debug)]
struct Thread {
    /// Names the thread, not its number: it fails once that is gone.
    file: File,
    /// As last read.
    seen: SchedStat,
}

/// Since the thread's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SchedStat {
    ran: Nanos,
    delayed: Nanos,
}

impl RunDelays {
    /// Of the threads that run most, which [`RunDelays::choose`] finds.
    pub fn of_process(pid: u32) -> RunDelays {
        let mut delays = RunDelays {
            folder: format!("/proc/{pid}/task").into(),
            threads: HashMap::new(),
        };
        delays.choose();
        delays
    }

    /// Of one thread of this process.
    pub fn of_own_thread(tid: u32) -> RunDelays {
        let mut delays = RunDelays {
            folder: "/proc/self/task".into(),
            threads: HashMap::new(),
        };
        delays.add(tid);
        delays
    }

    /// Whether anything can be read.
    pub fn are_known(&self) -> bool {
        !self.threads.is_empty()
    }

    /// Looks at all threads, and keeps those that have run most since they
    /// were last read.
    pub fn choose(&mut self) {
        let tids = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let tids: Vec<u32> = tids
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .take(CHOICE)
            .collect();
        self.threads.retain(|tid, _| tids.contains(tid));
        for tid in tids {
            if !self.threads.contains_key(&tid) {
                self.add(tid);
            }
        }
        if self.threads.len() > MOST {
            let ran = |(tid, thread): (&u32, &Thread)| {
                let now = read(&thread.file).unwrap_or_default();
                (now.ran.since(thread.seen.ran), *tid)
            };
            let mut by_time: Vec<(Nanos, u32)> = self.threads.iter().map(ran).collect();
            by_time.sort_unstable_by(|a, b| b.cmp(a));
            by_time.truncate(MOST);
            self.threads
                .retain(|tid, _| by_time.iter().any(|(_, kept)| kept == tid));
        }
    }

    fn add(&mut self, tid: u32) {
        let path = self.folder.join(tid.to_string()).join("schedstat");
        if let Ok(file) = File::open(path)
            && let Some(seen) = read(&file)
        {
            self.threads.insert(tid, Thread { file, seen });
        }
    }

    /// Since the last call: the delay of the thread that was delayed most.
    /// Delays of several threads at a time are no longer than one.
    pub fn since_last(&mut self) -> Nanos {
        let mut most = Nanos::ZERO;
        self.threads.retain(|_, thread| {
            let Some(now) = read(&thread.file) else {
                return false;
            };
            most = most.max(now.delayed.since(thread.seen.delayed));
            thread.seen = now;
            true
        });
        most
    }
}

fn read(file: &File) -> Option<SchedStat> {
    let mut text = [0; 96];
    let read = file.read_at(&mut text, 0).ok()?;
    parse(std::str::from_utf8(text.get(..read)?).ok()?)
}

/// Time on a processor, time in wait for one, and time slices run.
fn parse(text: &str) -> Option<SchedStat> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok().map(Nanos);
    Some(SchedStat {
        ran: next()?,
        delayed: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::spin_loop;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    #[test]
    fn two_numbers_are_what_counts() {
        let stat = SchedStat {
            ran: Nanos(12),
            delayed: Nanos(34),
        };
        assert_eq!(parse("12 34 56\n"), Some(stat));
        assert_eq!(parse("12"), None);
        assert_eq!(parse("0 x 1"), None);
    }

    /// More busy threads than processors: somebody waits.
    #[test]
    fn who_has_no_processor_is_delayed() {
        let stop = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let busy: Vec<_> = (0..2 * processors)
            .map(|_| {
                let stop = stop.clone();
                std::thread::spawn(move || {
                    while !stop.load(Relaxed) {
                        spin_loop();
                    }
                })
            })
            .collect();
        let mut delays = RunDelays::of_process(std::process::id());
        assert!(delays.are_known());
        let began = Instant::now();
        let mut delayed = Nanos::ZERO;
        while delayed < Nanos::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(20), "{delayed}");
            std::thread::sleep(Duration::from_millis(50));
            delayed = delayed + delays.since_last();
        }
        stop.store(true, Relaxed);
        for thread in busy {
            thread.join().expect("no panic");
        }
        delays.choose();
        assert!(delays.threads.len() <= MOST);
    }

    #[test]
    fn what_is_gone_is_not_known() {
        assert!(!RunDelays::of_process(u32::MAX).are_known());
        assert_eq!(RunDelays::of_own_thread(u32::MAX).since_last(), Nanos::ZERO);
    }
}
