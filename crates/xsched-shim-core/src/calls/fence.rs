//! Fences: events behind the program's commands, polled and never waited for.
//!
//! An event without timing, and without a system-scope release where that can
//! be had, is the cheapest thing that tells. No written values (a kernel, on
//! some runtimes) and no host functions (which stall the stream until the host
//! ran).

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use xsched_common::page::MAX_GROUPS;
use xsched_common::units::{DeviceIndex, Nanos};

use super::devices::{self, LastError};
use super::services::call;
use super::streams::PER_THREAD;
use super::{DISABLE_TIMING, NOT_READY, Runtime, SUCCESS};
use crate::captures::NoCapture;
use crate::gate::Fencing;
use crate::inflight::{Fence, Implied, StreamInfo, StreamKey, StreamOrdering, StreamSlot};
use crate::process::Process;
use crate::sys;

/// Commands in flight on a device up to which other streams than the calling
/// thread's are fenced. A hardware queue holds 16,384 packets, a launch takes
/// one or two.
pub(super) const MOST_AHEAD: u64 = 6_000;

/// Fences made of events, for one passage of the gate.
pub struct EventFences<'a, R: Runtime> {
    process: &'a Process,
    runtime: PhantomData<R>,
    /// What the program's last error was before our first call.
    error: Cell<Option<LastError>>,
}

impl<'a, R: Runtime> EventFences<'a, R> {
    /// Calls nothing until it is used.
    pub fn new(process: &'a Process) -> EventFences<'a, R> {
        EventFences {
            process,
            runtime: PhantomData,
            error: Cell::new(None),
        }
    }

    /// Whether the runtime may be called at all now: not while a capture is
    /// active, and none begins until the result is dropped.
    fn may_call(&self) -> Option<NoCapture<'_>> {
        let guard = self.process.captures.forbid()?;
        let error = self.error.get().unwrap_or_else(LastError::save::<R>);
        self.error.set(Some(error));
        (error != LastError::Pending).then_some(guard)
    }

    /// How many commands of the device's default stream a fence on the
    /// stream of `info` stands behind as well: a blocking stream's work waits
    /// for what the default stream had before.
    fn implied(&self, info: StreamInfo) -> Implied {
        if info.ordering != StreamOrdering::Blocking {
            return Implied::NONE;
        }
        let streams = &self.process.streams;
        streams
            .all(StreamKey::default_of(info.device))
            .max_by_key(|default| default.in_flight())
            .and_then(|default| Some(Implied::new(streams.index_of(default)?, default.launched())))
            .unwrap_or(Implied::NONE)
    }

    fn record(&self, slot: &StreamSlot, whose: Whose, least: u64) {
        let info = slot.info();
        let handle = match (info.handle, whose) {
            // An event on the default stream waits for all blocking streams,
            // and they for it. The thread that is about to launch there
            // brings that about anyway; on behalf of others it could be a
            // circle: what runs on one blocking stream may need the very
            // launch on another that the event would hold up.
            (_, Whose::Other) if info.ordering == StreamOrdering::Default => return,
            // Nor where an event would wait for the default stream's work:
            // whoever waits for the stream would wait for that, too.
            (_, Whose::Other) if self.process.streams.waits_for_default(slot) => return,
            (Some(handle), _) => handle,
            (None, Whose::Own) => PER_THREAD,
            (None, Whose::Other) => return,
        };
        slot.with_fences(|fences| {
            let sequence = match whose {
                Whose::Own if fences.unfenced() >= least && fences.has_room() => slot.launched(),
                Whose::Other if fences.oldest().is_none() => fences.surely_enqueued(),
                Whose::Own | Whose::Other => 0,
            };
            // An event belongs to the device that is current when it is made.
            if sequence == 0 || devices::current::<R>() != Some(info.device) {
                return;
            }
            let Some(_guard) = self.may_call() else {
                return;
            };
            let Some(event) = self.take(info.device) else {
                return;
            };
            let implied = self.implied(info);
            let recorded = call!(
                R::services().event_record,
                fn(u64, u64) -> i32,
                event,
                handle
            );
            if recorded == Some(SUCCESS) {
                fences.push(Fence {
                    event,
                    sequence,
                    implied,
                });
            } else {
                self.give(info.device, event);
            }
        });
    }

    fn take(&self, device: DeviceIndex) -> Option<u64> {
        let pool = self.process.fence_pools.get(usize::from(device.0))?;
        take(pool).or_else(create::<R, { DISABLE_TIMING as u32 }>)
    }

    fn give(&self, device: DeviceIndex, event: u64) {
        give::<R, _>(&self.process.fence_pools, device, event);
    }
}

fn take(pool: &[AtomicU64]) -> Option<u64> {
    pool.iter()
        .filter(|slot| slot.load(Relaxed) != 0)
        .map(|slot| slot.swap(0, AcqRel))
        .find(|&event| event != 0)
}

fn give<R: Runtime, const N: usize>(pools: &[[AtomicU64; N]], device: DeviceIndex, event: u64) {
    let kept = pools.get(usize::from(device.0)).is_some_and(|pool| {
        pool.iter()
            .any(|slot| slot.compare_exchange(0, event, AcqRel, Relaxed).is_ok())
    });
    if !kept {
        call!(R::services().event_destroy, fn(u64) -> i32, event);
    }
}

/// Whose stream is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The calling thread launches on it right now.
    Own,
    /// Any other of the process.
    Other,
}

/// An event with `FLAGS` and the first of the runtime's own that it takes.
fn create<R: Runtime, const FLAGS: u32>() -> Option<u64> {
    R::EVENT_FLAGS.iter().find_map(|more| {
        let flags = FLAGS | more;
        let mut event = 0u64;
        let created = call!(
            R::services().event_create,
            fn(*mut u64, u32) -> i32,
            &raw mut event,
            flags
        );
        (created == Some(SUCCESS) && event != 0).then_some(event)
    })
}

impl<R: Runtime> Fencing for EventFences<'_, R> {
    fn reap(&self, device: DeviceIndex) -> [u64; MAX_GROUPS] {
        let mut all = [0; MAX_GROUPS];
        let mut add = |slot: &StreamSlot, news| {
            if let Some(of_group) = all.get_mut(slot.info().group.index()) {
                *of_group += news;
            }
        };
        for slot in self.process.streams.of(device) {
            if slot.in_flight() == 0 && slot.with_fences(|f| f.oldest().is_none()) == Some(true) {
                continue;
            }
            slot.with_fences(|fences| {
                while let Some(fence) = fences.oldest() {
                    let Some(_guard) = self.may_call() else {
                        return;
                    };
                    match call!(R::services().event_query, fn(u64) -> i32, fence.event) {
                        Some(NOT_READY) => return,
                        // An error is no answer, and will not become one:
                        // the work behind it failed or its stream is gone.
                        _ => {
                            add(slot, slot.complete(fence.sequence));
                            if let Some((index, sequence)) = fence.implied.get()
                                && let Some(default) = self.process.streams.slot(index)
                            {
                                add(default, default.complete(sequence));
                            }
                            fences.remove(fence);
                            self.give(device, fence.event);
                        }
                    }
                }
            });
        }
        all
    }

    fn fence(&self, own: &StreamSlot, batch: u64) {
        self.record(own, Whose::Own, batch.max(1));
    }

    fn fence_all(&self, device: DeviceIndex, own: Option<&StreamSlot>) {
        // Recording waits for room in the stream's queue, and what makes room
        // may be the launch at hand.
        let crowded = self.process.streams.in_flight(device) > MOST_AHEAD;
        for slot in self.process.streams.of(device) {
            if crowded {
                break;
            }
            let is_own = own.is_some_and(|own| own.is(slot));
            if !is_own {
                self.record(slot, Whose::Other, 1);
            }
        }
        // Last, so that the newest command of the waiting thread is fenced
        // only when nothing older will tell.
        if let Some(own) = own
            && own.with_fences(|fences| fences.oldest().is_none()) == Some(true)
        {
            self.record(own, Whose::Own, 1);
        }
    }

    fn stamp(&self, own: &StreamSlot) -> Option<u64> {
        let info = own.info();
        // An event belongs to the device that is current when it is made.
        if devices::current::<R>() != Some(info.device) {
            return None;
        }
        let _guard = self.may_call()?;
        let pool = self.process.stamp_pools.get(usize::from(info.device.0))?;
        let event = take(pool).or_else(create::<R, 0>)?;
        let handle = info.handle.unwrap_or(PER_THREAD);
        let recorded = call!(
            R::services().event_record,
            fn(u64, u64) -> i32,
            event,
            handle
        );
        if recorded == Some(SUCCESS) {
            return Some(event);
        }
        // It may be of a device that is no more.
        call!(R::services().event_destroy, fn(u64) -> i32, event);
        None
    }

    fn has_passed(&self, stamp: u64) -> bool {
        let Some(_guard) = self.may_call() else {
            return false;
        };
        let asked = call!(R::services().event_query, fn(u64) -> i32, stamp);
        asked != Some(NOT_READY)
    }

    fn elapsed(&self, from: u64, to: u64) -> Option<Nanos> {
        let _guard = self.may_call()?;
        let mut ms = 0f32;
        let asked = call!(
            R::services().event_elapsed,
            fn(*mut f32, u64, u64) -> i32,
            &raw mut ms,
            from,
            to
        );
        let ns = (f64::from(ms) * 1e6) as u64;
        (asked == Some(SUCCESS)).then_some(Nanos(ns))
    }

    fn give_stamp(&self, device: DeviceIndex, stamp: u64) {
        give::<R, _>(&self.process.stamp_pools, device, stamp);
    }

    fn pause(&self) {
        if let Some(error) = self.error.take() {
            error.restore::<R>();
        }
    }
}

impl<R: Runtime> Drop for EventFences<'_, R> {
    fn drop(&mut self) {
        self.pause();
    }
}

/// Gives a stream's fences back before it is destroyed. The lock keeps
/// another thread from recording on it in this moment.
pub fn abandon<R: Runtime>(process: &Process, slot: &StreamSlot) {
    let device = slot.info().device;
    let fences = EventFences::<R>::new(process);
    let give_back = || {
        slot.with_fences(|held| {
            while let Some(fence) = held.oldest() {
                held.remove(fence);
                fences.give(device, fence.event);
            }
            crate::gate::watch::abandon(slot, &fences);
            process.streams.remove(slot);
        })
    };
    // A recorder holds the lock for one call of the runtime.
    let done = sys::yield_until(|| sys::undisturbed(|_| give_back()));
    if done.is_none() {
        process.streams.remove(slot);
    }
}
