//! What the kernel tells of processes and of new callers, taken in as it
//! comes.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xsched_common::bpf::ProcessChange;
use xsched_common::units::Nanos;

use super::observer::Observer;
use super::plan::{Purpose, Scope};

/// Notices of new callers are handled at most this often, so that a program
/// that calls from ever new addresses cannot keep the observer busy.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);

/// The dynamic linker has mapped a program's libraries this long after exec.
const LINKED_AFTER: Duration = Duration::from_millis(30);

/// The kernel has unmapped a process so long after it tells of its end.
const UNMAPPED_AFTER: Duration = Duration::from_millis(10);

/// Programs that have just begun wait for the next sweep if so many processes
/// await their look: on a build machine thousands begin every second.
const MAX_AWAITED: usize = 64;

/// Programs that have begun between two looks of whoever records.
const MAX_BEGUN: usize = 65_536;

impl Observer {
    /// Waits until `timeout` is over, and meanwhile learns which libraries
    /// new callers belong to while their processes live, and looks at
    /// programs that begin.
    pub fn wait(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            self.look_at_awaited();
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            let next = self.awaited.iter().map(|(_, due)| *due).min();
            let nap = next.map_or(left, |due| left.min(due.saturating_duration_since(now)));
            let ready = Timespec::try_from(nap)
                .map_err(io::Error::other)
                .and_then(|nap| {
                    let mut fds = self
                        .maps
                        .notice_fds()
                        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    poll(&mut fds, Some(&nap)).map_err(io::Error::from)
                });
            match ready {
                Ok(0) => {}
                Ok(_) => {
                    self.take_notices();
                    thread::sleep(NOTICE_PAUSE.min(left));
                }
                Err(_) => thread::sleep(NOTICE_PAUSE.min(left)),
            }
        }
    }

    /// Takes in what the kernel tells of processes and of new callers.
    pub(super) fn take_notices(&mut self) {
        let mut events = Vec::new();
        self.maps.drain_lifecycle(|event| events.push(event));
        for event in events {
            match ProcessChange::from_raw(event.change) {
                Some(ProcessChange::Exec) => {
                    self.program_begun(event.tgid, Nanos(event.time_ns));
                }
                Some(ProcessChange::FirstCall) => {
                    self.identify(event.tgid);
                }
                // Its counts are read, and it is forgotten, at the next
                // sample; its probes go now. Told of counted processes only,
                // so there is room for all.
                Some(ProcessChange::Exit) => self.look_soon(event.tgid, UNMAPPED_AFTER),
                None => {}
            }
        }
        self.learn_callers();
    }

    fn program_begun(&mut self, pid: u32, at: Nanos) {
        if matches!(self.plan.purpose, Purpose::Record { .. }) && self.begun.len() < MAX_BEGUN {
            self.begun.push((pid, at));
        }
        if self.processes.contains_key(&pid) {
            self.restarted.insert(pid);
        }
        let wanted = match self.plan.scope {
            Scope::All => self.awaited.len() < MAX_AWAITED,
            Scope::Pid(watched) => watched == pid,
        };
        if wanted {
            self.look_soon(pid, LINKED_AFTER);
        }
    }

    fn look_soon(&mut self, pid: u32, after: Duration) {
        if !self.awaited.iter().any(|(awaited, _)| *awaited == pid) {
            self.awaited.push((pid, Instant::now() + after));
        }
    }

    fn look_at_awaited(&mut self) {
        let now = Instant::now();
        let due: Vec<(u32, Instant)> = self
            .awaited
            .extract_if(.., |(_, due)| *due <= now)
            .collect();
        if due.is_empty() {
            return;
        }
        for (pid, _) in due {
            self.finder.renew(pid, &mut self.read_timeout);
        }
        let sweep = self.finder.known(&mut self.read_timeout);
        self.take_images(sweep, now);
        self.detach_unused(now);
        self.place();
    }

    fn learn_callers(&mut self) {
        let mut new: HashMap<u32, Vec<u64>> = HashMap::new();
        self.maps.drain_first_seen(|seen| {
            new.entry(seen.key.tgid).or_default().push(seen.key.caller);
        });
        for (pid, addresses) in new {
            self.identify(pid);
            self.callers.learn(pid, addresses, &mut self.read_timeout);
        }
    }
}
