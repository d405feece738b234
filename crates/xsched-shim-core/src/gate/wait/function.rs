//! The wait of a function that the runtime calls in stream order.
//!
//! What lies behind the function on its stream cannot begin before it returns,
//! and may fill the cap: in the queue, the function would wait for itself. It
//! waits beside the queue and under a doubled cap, which bounds what such
//! functions add. Everything else holds for it as for others.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use xsched_common::gate::{Decision, GateView, Guard, Limits, Turn, Waiter, decide};

use super::{Fencing, Parts, gate_word, has_left, pass_by, reap, siblings, view};
use crate::sys;
use crate::thread::Thread;
use crate::wait_queue::fewer;

/// Returns when the command may go, as [`super::pass`] does.
pub(super) fn wait(parts: &Parts<'_>, fencing: &impl Fencing, thread: &Thread) -> u64 {
    let device = parts.command.device;
    let waiter = Waiter::new(sys::now(), sys::thread_kind());
    parts.work.begin(parts.session, parts.status, device);
    let mut counted = None;
    loop {
        if has_left(parts) {
            return u64::MAX;
        }
        let word = gate_word(parts);
        reap(parts, fencing);
        let now = sys::now();
        thread.at_gate.set(thread.at_gate.get().looks(now));
        let seen = view(parts, word, Turn::First, now);
        let doubled = GateView {
            cap_doublings: seen.cap_doublings.saturating_add(1),
            ..seen
        };
        let decision = match decide(&Limits::DEFAULT, &doubled, &waiter) {
            Decision::Wait { until } => siblings::judge(parts, fencing, &waiter, word, now)
                .map_or(Decision::Wait { until }, |judged| {
                    judged.earlier_than(until)
                }),
            other => other,
        };
        match decision {
            Decision::Go => return 1,
            Decision::Pass(guard) => {
                pass_by(parts, guard, word, Turn::First, now);
                return match guard {
                    Guard::Lease => u64::MAX,
                    Guard::Stall | Guard::Trickle => 1,
                };
            }
            Decision::Wait { until } => {
                counted.get_or_insert_with(|| Counted::among(&parts.status.waiting, thread));
                parts.work.begin(parts.session, parts.status, device);
                fencing.fence_all(device, parts.command.stream);
                fencing.pause();
                let time = until.since(now);
                sys::futex_wait(&parts.control.word, word.0, time, parts.held);
            }
        }
    }
}

/// Counts among those that wait, until dropped.
struct Counted<'a>(&'a Thread);

impl<'a> Counted<'a> {
    fn among(waiting: &'static AtomicU32, thread: &'a Thread) -> Counted<'a> {
        waiting.fetch_add(1, SeqCst);
        thread.counted.set(Some(waiting));
        Counted(thread)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        count_no_more(self.0);
    }
}

/// The thread does not wait: it has gone on, or jumped out of its wait.
pub(super) fn count_no_more(thread: &Thread) {
    if let Some(waiting) = thread.counted.take() {
        fewer(waiting, 1);
    }
}
