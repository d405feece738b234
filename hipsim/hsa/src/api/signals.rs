//! The C functions of signals.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering};

use simdevice::device::clock;

use super::queues;
use crate::abi::call::{self, api, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{Condition, SignalCallback, SignalHandle};
use crate::machine::handlers::Handler;
use crate::machine::signal::Signal;
use crate::machine::{Driver, MACHINE};

api! {
    /// `hsa_signal_create`: who consumes it does not matter here.
    fn create(value: i64, _consumers: u32, _list: *const c_void, signal: *mut SignalHandle) {
        put(signal, Signal::new(value).handle())
    }

    /// `hsa_amd_signal_create`.
    fn create_with_attributes(value: i64, _consumers: u32, _list: *const c_void, _attributes: u64, signal: *mut SignalHandle) {
        put(signal, Signal::new(value).handle())
    }

    /// `hsa_signal_destroy`.
    fn destroy(handle: SignalHandle) {
        Signal::of(handle).ok_or(Status::INVALID_SIGNAL)?.give_back();
        Ok(())
    }

    /// `hsa_amd_signal_value_pointer`: from now on somebody may look at the value without a call.
    fn value_pointer(handle: SignalHandle, pointer: *mut *mut i64) {
        let signal = Signal::of(handle).ok_or(Status::INVALID_SIGNAL)?;
        put(pointer, signal.word().as_ptr())?;
        let mut state = MACHINE.lock();
        signal.watch();
        if signal.is_pending() {
            state.watched.push(signal);
        }
        MACHINE.notify(state, Driver::Program);
        Ok(())
    }

    /// `hsa_amd_signal_async_handler`.
    fn async_handler(
        handle: SignalHandle, condition: u32, than: i64, callback: Option<SignalCallback>, argument: *mut c_void,
    ) {
        let signal = Signal::of(handle).ok_or(Status::INVALID_SIGNAL)?;
        let condition = Condition::new(condition).ok_or(Status::INVALID_ARGUMENT)?;
        let callback = callback.ok_or(Status::INVALID_ARGUMENT)?;
        let handler = Handler { signal, condition, than, callback, argument: argument as usize };
        let mut state = MACHINE.lock();
        state.handlers.add(handler);
        MACHINE.notify(state, Driver::Program);
        Ok(())
    }
}

/// `hsa_signal_load_*`.
///
/// # Safety
/// As [`Signal::of`]; so for all that follow.
pub unsafe extern "C" fn load(handle: SignalHandle) -> i64 {
    // SAFETY: the caller's promise.
    let Some(signal) = (unsafe { Signal::of(handle) }) else {
        return 0;
    };
    if signal.is_pending() && !call::forked() {
        call::run(|| -> Result {
            MACHINE.look();
            Ok(())
        });
    }
    signal.value()
}

/// `hsa_signal_store_*`: also how a doorbell rings.
pub unsafe extern "C" fn store(handle: SignalHandle, value: i64) {
    // SAFETY: the caller's promise.
    unsafe { change(handle, |cell| cell.store(value, Ordering::SeqCst)) };
}

/// `hsa_signal_silent_store_*`: nobody is told.
pub unsafe extern "C" fn silent_store(handle: SignalHandle, value: i64) {
    // SAFETY: the caller's promise.
    if let Some(signal) = unsafe { Signal::of(handle) } {
        signal.word().store(value, Ordering::SeqCst);
    }
}

/// `hsa_signal_add_*`.
pub unsafe extern "C" fn add(handle: SignalHandle, value: i64) {
    let add = |cell: &AtomicI64| {
        cell.fetch_add(value, Ordering::SeqCst);
    };
    // SAFETY: the caller's promise.
    unsafe { change(handle, add) };
}

/// `hsa_signal_subtract_*`.
pub unsafe extern "C" fn subtract(handle: SignalHandle, value: i64) {
    let subtract = |cell: &AtomicI64| {
        cell.fetch_sub(value, Ordering::SeqCst);
    };
    // SAFETY: the caller's promise.
    unsafe { change(handle, subtract) };
}

/// # Safety
/// As [`Signal::of`].
unsafe fn change(handle: SignalHandle, change: impl FnOnce(&AtomicI64)) {
    // SAFETY: the caller's promise.
    if let Some(signal) = unsafe { Signal::of(handle) } {
        change(signal.word());
        if !call::forked() {
            call::run(|| -> Result {
                // A doorbell's value is a packet's index: nobody waits for it.
                match signal.doorbell_of() {
                    Some(queue) => queues::ring(queue),
                    None => MACHINE.signal_changed(),
                }
                Ok(())
            });
        }
    }
}

/// `hsa_signal_wait_*`: the value seen last, whether or not the condition holds. The timeout is in ns.
pub unsafe extern "C" fn wait(
    handle: SignalHandle,
    condition: u32,
    than: i64,
    timeout: u64,
    _state: u32,
) -> i64 {
    // SAFETY: the caller's promise.
    let signal = unsafe { Signal::of(handle) };
    let (Some(signal), Some(condition)) = (signal, Condition::new(condition)) else {
        return 0;
    };
    let value = signal.value();
    if condition.holds(value, than) || call::forked() {
        return value;
    }
    let deadline = clock::now().saturating_add(timeout);
    let mut value = value;
    call::run(|| {
        value = MACHINE.wait(signal, condition, than, deadline);
        Ok(())
    });
    value
}
