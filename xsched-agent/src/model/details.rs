//! What a process's own memory says of it: its arguments, and what it maps of
//! runtimes and shims. It decides how long such a read takes, so the model has it done
//! elsewhere and never waits for more than a moment.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use xsched_common::platform::Platform;
use xsched_common::platform::names::{self, ShimKind, ShimNames};
use xsched_common::units::Nanos;
use xsched_host::process::{self, ProcessId};
use xsched_host::readers::{Readers, Tenant};

/// Longest arguments and control group that are kept, bytes.
const MAX_TEXT: usize = 256;

/// How long a tick waits for processes that are new in it: all but those that
/// hold up their reader are read by then.
const PATIENCE: Duration = Duration::from_millis(5);

/// A process that has not been read for so long holds up its reader.
const HELD_UP: Nanos = Nanos::from_secs(2);

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub arguments: String,
    pub shim_mapped: bool,
    /// Whose runtime it maps; of several the first.
    pub platform: Option<Platform>,
}

impl Details {
    /// Waits for as long as the process likes.
    fn read(pid: u32) -> Details {
        let arguments = process::arguments(pid)
            .unwrap_or_default()
            .join(OsStr::new(" "));
        let maps = process::maps(pid).unwrap_or_default();
        let shims = ShimNames::default();
        let is_ours = |name| shims.kind(name) == Some(ShimKind::Ours);
        let runtimes = maps.iter().map(|m| names::runtime(m.basename().as_bytes()));
        Details {
            arguments: shown(arguments.as_encoded_bytes()),
            shim_mapped: maps.iter().any(|m| is_ours(m.basename())),
            platform: runtimes.flatten().min(),
        }
    }
}

/// Text of a process, bounded and on one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Asks, and takes the answers in.
pub(super) struct Inquiries {
    readers: Readers,
    read: fn(u32) -> Details,
    /// Asked and not answered, since when.
    pending: HashMap<ProcessId, Nanos>,
    /// Of these, those asked for the first time since the last answers.
    new: usize,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
}

type Answer = (ProcessId, Details);

impl Default for Inquiries {
    fn default() -> Inquiries {
        Inquiries::reading(Details::read)
    }
}

impl Inquiries {
    fn reading(read: fn(u32) -> Details) -> Inquiries {
        let (answer, answers) = channel();
        Inquiries {
            readers: Readers::default(),
            read,
            pending: HashMap::new(),
            new: 0,
            answers,
            answer,
        }
    }

    /// Has a process read, unless that is being done. Whether it is; else no
    /// reader is free, and the next tick asks again.
    pub fn ask(&mut self, id: ProcessId, now: Nanos) -> bool {
        if self.pending.contains_key(&id) {
            return true;
        }
        let (read, answer) = (self.read, self.answer.clone());
        let asked = self.readers.ask(Tenant::of(id.pid), move || {
            // The model is gone only when the agent stops.
            let _ = answer.send((id, read(id.pid)));
        });
        if asked.is_ok() {
            self.pending.insert(id, now);
            self.new += 1;
        }
        asked.is_ok()
    }

    /// Hands on what has been read up to now; of processes that were asked
    /// about just now also what comes within a moment.
    pub fn take(&mut self, mut each: impl FnMut(ProcessId, Details)) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = match self.new {
                0 => Duration::ZERO,
                _ => until.saturating_duration_since(Instant::now()),
            };
            match self.answers.recv_timeout(left) {
                Ok((id, details)) => {
                    self.new = self.new.saturating_sub(1);
                    self.pending.remove(&id);
                    each(id, details);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        self.new = 0;
    }

    /// Forgets processes; their readers are waited for all the same.
    pub fn retain(&mut self, known: impl Fn(ProcessId) -> bool) {
        self.pending.retain(|id, _| known(*id));
    }

    /// What is not known of whom, in words for the user.
    pub fn limit(&self, now: Nanos) -> Option<String> {
        let held =
            |(id, since): (&ProcessId, &Nanos)| (now.since(*since) >= HELD_UP).then_some(id.pid);
        let mut pids: Vec<u32> = self.pending.iter().filter_map(held).collect();
        pids.sort_unstable();
        let first = pids.first()?;
        Some(format!(
            "the arguments of {}, and whether the shim is mapped there, are unknown or as last read: a \
             process of the same user and control group holds up whoever reads its memory map",
            match pids.len() {
                1 => format!("process {first}"),
                n => format!("{n} processes, such as {first}"),
            }
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_at_once() {
        let mut inquiries = Inquiries::default();
        let me = ProcessId::of(std::process::id()).expect("I exist");
        // Its reader's thread may be late on a busy machine, never for ever.
        let mut read = None;
        assert!(inquiries.ask(me, Nanos::ZERO));
        for _ in 0..1_000 {
            inquiries.take(|id, details| read = Some((id, details)));
            if read.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (id, details) = read.expect("an answer");
        assert_eq!(id, me);
        assert!(details.arguments.contains("xsched_agent"), "{details:?}");
        assert!(!details.shim_mapped);
        assert_eq!(inquiries.limit(Nanos::from_secs(100)), None);
    }

    #[test]
    fn a_process_that_holds_up_its_reader_is_said_and_holds_up_nobody_else() {
        let mut inquiries = Inquiries::reading(|_| {
            loop {
                std::thread::park();
            }
        });
        let hostage = |pid| ProcessId { pid, start_time: 1 };
        let began = Instant::now();
        for tick in 0..20 {
            let now = Nanos::from_millis(500 * tick);
            // Nobody's processes have one tenant: the second waits behind.
            assert!(inquiries.ask(hostage(u32::MAX), now));
            inquiries.take(|_, _| panic!("nothing was read"));
        }
        assert!(began.elapsed() < Duration::from_secs(1), "waits once");
        assert_eq!(inquiries.limit(Nanos::from_millis(1_999)), None);
        let limit = inquiries.limit(HELD_UP).expect("held up");
        assert!(
            limit.starts_with("the arguments of process 4294967295,"),
            "{limit}"
        );
        assert!(inquiries.ask(hostage(u32::MAX - 1), Nanos::ZERO));
        let limit = inquiries.limit(HELD_UP).expect("held up");
        assert!(limit.starts_with("the arguments of 2 processes"), "{limit}");
        inquiries.retain(|_| false);
        assert_eq!(inquiries.limit(HELD_UP), None);
    }

    #[test]
    fn text_is_bounded_and_on_one_line() {
        assert_eq!(shown(b"a\nb\x1b[2J"), "a b [2J");
        assert_eq!(shown(&[b'x'; 1_000]).len(), MAX_TEXT);
    }
}
