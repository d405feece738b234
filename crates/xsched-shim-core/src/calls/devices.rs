//! Which devices the process has, and which one a thread uses.

use xsched_common::page::MAX_DEVICES;
use xsched_common::units::{DeviceIndex, PciAddress};

use super::services::call;
use super::{NOT_READY, Runtime, SUCCESS};
use crate::page::Session;
use crate::{sys, thread};

/// The program set its thread's device.
pub fn set_current(device: i32) {
    let word = u32::try_from(device).map_or(0, |device| device.saturating_add(1));
    thread::with(|thread| thread.device.set(word));
}

/// The thread's device may have changed (a call about contexts): the runtime
/// is asked when it is needed.
pub fn forget_current() {
    thread::with(|thread| thread.device.set(0));
}

/// The calling thread's device; `None` if the pages have no room for it.
#[inline(always)]
pub fn current<R: Runtime>() -> Option<DeviceIndex> {
    match thread::with(|thread| thread.device.get()) {
        0 => ask::<R>(),
        known => index(known - 1),
    }
}

/// A device of the runtime in the pages, if they have room for it.
pub fn index(device: u32) -> Option<DeviceIndex> {
    ((device as usize) < MAX_DEVICES).then_some(DeviceIndex(device as u8))
}

/// Where the runtime does not say, it is the first: a thread that never chose
/// one.
#[cold]
fn ask<R: Runtime>() -> Option<DeviceIndex> {
    let _unseen = sys::Unseen::new();
    let mut device = 0i32;
    let asked = call!(
        R::services().get_device,
        fn(*mut i32) -> i32,
        &raw mut device
    );
    if asked != Some(SUCCESS) {
        device = 0;
    }
    set_current(device);
    index(u32::try_from(device).ok()?)
}

/// The device of a context; that of the current one where the runtime cannot
/// say.
pub fn of_context<R: Runtime>(context: u64) -> Option<DeviceIndex> {
    let mut device = 0i32;
    let asked = call!(
        R::services().context_device,
        fn(*mut i32, u64) -> i32,
        &raw mut device,
        context
    );
    match asked {
        Some(SUCCESS) => index(u32::try_from(device).ok()?),
        _ => current::<R>(),
    }
}

/// Whether what was made on the device is still there: others may use it, too.
pub fn is_alive<R: Runtime>(device: u32) -> bool {
    let (mut flags, mut active) = (0u32, 0i32);
    let asked = call!(
        R::services().primary_state,
        fn(u32, *mut u32, *mut i32) -> i32,
        device,
        &raw mut flags,
        &raw mut active
    );
    asked == Some(SUCCESS) && active != 0
}

/// Fills the devices into a new session's status page.
pub fn introduce<R: Runtime>(session: &Session) {
    use std::sync::atomic::Ordering::Relaxed;

    let status = session.status();
    status.pid.store(sys::pid(), Relaxed);
    status.platform.store(R::PLATFORM as u32, Relaxed);
    let mut count = 0i32;
    let errors = LastError::save::<R>();
    let counted = call!(
        R::services().device_count,
        fn(*mut i32) -> i32,
        &raw mut count
    );
    let count = match counted {
        Some(SUCCESS) => (count.max(0) as usize).min(MAX_DEVICES),
        _ => 1,
    };
    for (device, slot) in status.devices.iter().take(count).enumerate() {
        let mut text = [0u8; 64];
        let told = call!(
            R::services().pci_bus_id,
            fn(*mut u8, i32, i32) -> i32,
            text.as_mut_ptr(),
            text.len() as i32,
            device as i32
        );
        if told == Some(SUCCESS)
            && let Some(pci) = parse_pci(&text)
        {
            slot.set_pci(pci);
        }
        let [whole, part] = R::services().uuids.each_ref().map(|service| {
            let mut uuid = [0u8; 16];
            let told = call!(
                service,
                fn(*mut u8, i32) -> i32,
                uuid.as_mut_ptr(),
                device as i32
            );
            (told == Some(SUCCESS)).then_some(uuid)
        });
        if let (Some(whole), Some(part)) = (whole, part)
            && whole != part
        {
            status.set_instance(DeviceIndex(device as u8), part);
        }
    }
    errors.restore::<R>();
    status.device_count.store(count as u32, Relaxed);
}

/// `0000:c1:00.0`, NUL-terminated.
fn parse_pci(text: &[u8]) -> Option<PciAddress> {
    let end = text.iter().position(|&b| b == 0)?;
    let text = std::str::from_utf8(text.get(..end)?).ok()?.trim();
    let (place, function) = text.rsplit_once('.')?;
    let mut parts = place.rsplit(':');
    let device = u8::from_str_radix(parts.next()?, 16).ok()?;
    let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
    let domain = match parts.next() {
        Some(domain) => u32::from_str_radix(domain, 16).ok()?,
        None => 0,
    };
    Some(PciAddress {
        domain,
        bus,
        device,
        function: u8::from_str_radix(function, 16).ok()?,
        reserved: 0,
    })
}

/// The error that a runtime keeps for the program to read: our own calls must
/// not change it. Not every runtime keeps one.
///
/// Where there is one, there is no call that sets it, only one that clears it. So our calls may
/// be made while it is success (cleared afterwards) or "not ready" (which a
/// program gets from its own polling and which the launch at hand
/// overwrites, in runtimes that record it at all), and not while it holds an
/// error that the program has yet to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastError {
    /// Nothing to lose; clear it afterwards.
    Success,
    /// Nothing to lose.
    NotReady,
    /// An error waits for the program.
    Pending,
}

impl LastError {
    /// What waits for the program now.
    pub fn save<R: Runtime>() -> LastError {
        match call!(R::services().peek_error, fn() -> i32) {
            Some(SUCCESS) => LastError::Success,
            None | Some(NOT_READY) => LastError::NotReady,
            Some(_) => LastError::Pending,
        }
    }

    /// Undoes what our calls have left.
    pub fn restore<R: Runtime>(self) {
        if self == LastError::Success {
            call!(R::services().take_error, fn() -> i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_ids_parse_or_are_refused() {
        let parse = |text: &str| parse_pci(format!("{text}\0").as_bytes());
        let pci = parse("0001:c1:02.3").expect("an address");
        assert_eq!(pci.to_string(), "0001:c1:02.3");
        assert_eq!(parse("c1:00.0").map(|p| p.domain), Some(0));
        for bad in ["", "c1", "xx:00.0", "0000:c1:00", "0000:c1:00.z"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse_pci(b"0000:c1:00.0"), None, "unterminated");
    }

    #[test]
    fn devices_beyond_the_pages_are_none() {
        set_current(3);
        assert_eq!(current::<crate::calls::Test>(), Some(DeviceIndex(3)));
        set_current(16);
        assert_eq!(current::<crate::calls::Test>(), None);
        set_current(i32::MAX);
        assert_eq!(current::<crate::calls::Test>(), None);
    }
}
