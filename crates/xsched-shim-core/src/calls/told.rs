//! What follows when work is known to be complete.

use xsched_common::gate::Evidence;
use xsched_common::page::MAX_DEVICES;
use xsched_common::units::{DeviceIndex, Nanos};

use crate::gate;
use crate::inflight::Past;
use crate::page::Session;
use crate::process::{Process, session};
use crate::sys;

/// Work that is gone is not in flight any more.
pub fn settle_here(process: &Process, device: Option<DeviceIndex>) {
    if let Some(session) = session()
        && let Some(device) = device
    {
        settle(process, session, device, sys::now());
    }
}

/// All of `past` is complete: a call of the program or a function that ran
/// has said so.
pub fn told(process: &Process, session: &Session, past: &Past) {
    let mut news = [None; MAX_DEVICES];
    for (index, sequence) in past.parts() {
        if let Some(slot) = process.streams.slot(index)
            && let Some(news) = news.get_mut(usize::from(slot.info().device.0))
        {
            *news = Some(news.unwrap_or(0) + slot.complete(sequence));
        }
    }
    for (device, news) in (0u8..).zip(news) {
        if let Some(news) = news {
            completed(process, session, DeviceIndex(device), news);
        }
    }
}

/// So many more launches of a device are complete.
pub fn completed(process: &Process, session: &Session, device: DeviceIndex, news: u64) {
    let index = usize::from(device.0);
    let (Some(work), Some(status)) = (
        process.devices.get(index),
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
    if let Some(work) = process.devices.get(usize::from(device.0)) {
        work.settle(&process.streams, session, device, now);
    }
}
