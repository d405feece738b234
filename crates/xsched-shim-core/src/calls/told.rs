//! What follows when work is known to be complete.

use xsched_common::gate::Evidence;
use xsched_common::page::{MAX_DEVICES, MAX_GROUPS};
use xsched_common::units::{DeviceIndex, Nanos};

use crate::gate;
use crate::groups::{self, Group};
use crate::inflight::{Past, StreamSlot};
use crate::page::Session;
use crate::process::{Process, session};
use crate::sys;

/// Work that is gone is not in flight any more.
pub fn settle_here(process: &Process, device: Option<DeviceIndex>) {
    if let Some(base) = session()
        && let Some(device) = device
    {
        for session in groups::sessions(process, base) {
            settle(process, session, device, sys::now());
        }
    }
}

/// What was found to be complete, by group and device; `None`: not asked about.
#[derive(Default)]
pub struct News([[Option<u64>; MAX_DEVICES]; MAX_GROUPS]);

impl News {
    /// All commands up to `sequence` of a stream are complete.
    pub fn complete(&mut self, slot: &StreamSlot, sequence: u64) {
        let news = slot.complete(sequence);
        self.note(slot.info().group, slot.info().device, news);
    }

    /// So many more of a group's commands on a device are.
    pub fn note(&mut self, group: Group, device: DeviceIndex, news: u64) {
        let of_group = self.0.get_mut(group.index());
        if let Some(known) = of_group.and_then(|of| of.get_mut(usize::from(device.0))) {
            *known = Some(known.unwrap_or(0) + news);
        }
    }

    /// Takes all that in.
    pub fn tell(self, process: &Process, base: &'static Session) {
        for (group, devices) in (0u8..).map(Group).zip(self.0) {
            let session = groups::session_of(process, base, group);
            for (device, news) in (0u8..).map(DeviceIndex).zip(devices) {
                if let Some(news) = news {
                    completed(process, session, device, news);
                }
            }
        }
    }
}

/// All of `past` is complete: a call of the program or a function that ran
/// has said so.
pub fn told(process: &Process, base: &'static Session, past: &Past) {
    let mut news = News::default();
    for (index, sequence) in past.parts() {
        if let Some(slot) = process.streams.slot(index) {
            news.complete(slot, sequence);
        }
    }
    news.tell(process, base);
}

/// So many more launches of a session's group on a device are complete.
fn completed(process: &Process, session: &Session, device: DeviceIndex, news: u64) {
    let index = usize::from(device.0);
    let (Some(work), Some(status)) = (
        process.work(session.group, device),
        session.status().devices.get(index),
    ) else {
        return;
    };
    // Without news the device may still be waiting to be told idle: a fence
    // may have seen the last completion.
    if news != 0 || status.activity().active {
        let now = sys::now();
        work.completed(status, news, now, Evidence::Sync);
        gate::watch::note_told(session, device, news);
        settle(process, session, device, now);
    }
}

/// The device may be idle now.
pub fn settle(process: &Process, session: &Session, device: DeviceIndex, now: Nanos) {
    gate::publish(process, session, device);
    if let Some(work) = process.work(session.group, device) {
        work.settle(&process.streams, &process.owner, session, device, now);
    }
}
