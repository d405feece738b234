//! Loom's exhaustive exploration of the protocols between threads and
//! processes. Where a protocol has a file of its own, this compiles that
//! very file against loom's atomics; the others are modelled after the
//! function that each model names. Every model has a twin with the defect
//! that the protocol exists to avoid, which must fail.
//!
//! Loom treats sequentially consistent accesses as acquire-release ones, so
//! [`atomic`] turns them into read-modify-writes: those see the last value
//! in one total order, which is what the standard promises for programs that
//! make all accesses in question sequentially consistent.

#[path = "../../xsched-common/src/page/activity.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod activity;
#[path = "../../xsched-common/src/page/label.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod label;
#[path = "../../crates/xsched-shim-core/src/inflight/seqlock.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod seqlock;

#[path = "../../crates/xsched-shim-core/src/captures.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod captures;

#[path = "protocols/edges.rs"]
mod edges;
#[path = "protocols/futex.rs"]
mod futex;
#[path = "protocols/queue.rs"]
mod queue;
#[path = "protocols/words.rs"]
mod words;

/// What the documentation of `activity` links to.
#[allow(dead_code, reason = "named in documentation only")]
struct Edges;

mod atomic {
    pub use loom::sync::atomic::{AtomicU8, Ordering, fence};

    macro_rules! total_order {
        ($name:ident, $word:ty) => {
            pub struct $name(loom::sync::atomic::$name);

            #[allow(dead_code, reason = "not every width needs every access")]
            impl $name {
                pub fn new(value: $word) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $word {
                    match order {
                        Ordering::SeqCst => self.0.fetch_or(0, Ordering::SeqCst),
                        _ => self.0.load(order),
                    }
                }
                pub fn store(&self, value: $word, order: Ordering) {
                    match order {
                        Ordering::SeqCst => drop(self.0.swap(value, Ordering::SeqCst)),
                        _ => self.0.store(value, order),
                    }
                }
                pub fn fetch_sub(&self, value: $word, order: Ordering) -> $word {
                    self.0.fetch_sub(value, order)
                }
                pub fn fetch_add(&self, value: $word, order: Ordering) -> $word {
                    self.0.fetch_add(value, order)
                }
                pub fn compare_exchange(
                    &self,
                    old: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    self.0.compare_exchange(old, new, success, failure)
                }
                // Without spurious failures, which only repeat a loop.
                pub fn compare_exchange_weak(
                    &self,
                    old: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    self.0.compare_exchange(old, new, success, failure)
                }
            }
        };
    }
    total_order!(AtomicU32, u32);
    total_order!(AtomicU64, u64);
}

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};

use activity::{ActivityWord, Settled};
use atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use captures::Captures;
use label::{Label, LabelState};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use seqlock::Entry;
use xsched_common::gate::{GateMode, GateWord};

/// Explores all interleavings with up to three preemptions, the number that
/// the defects below need to show.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_up_to(3, model);
}

fn explore_up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
