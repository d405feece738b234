//! Memory and events of several processes, by handles that one gives the other in a way of its own.

use std::ffi::{c_uint, c_void};

use super::event::add;
use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::types::EventHandle;
use crate::device::file::owner_word;
use crate::device::ipc::Name;
use crate::runtime;
use crate::runtime::command::Address;
use crate::runtime::devices::{self, DeviceIndex};
use crate::runtime::events::{self, Timing};
use crate::runtime::memory::{self, Backing};
use crate::runtime::shared_event::SharedEvent;

/// `hipIpcMemHandle_t` and `hipIpcEventHandle_t`: 64 bytes of the runtime's choice.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Handle {
    kind: u64,
    name: Name,
    /// The device's place on the machine, which each process may number in another way.
    place: u64,
    /// Bytes of the whole piece, and where in it the memory begins.
    size: u64,
    offset: u64,
    unused: [u64; 2],
}

const _: () = assert!(size_of::<Handle>() == 64);

const MEMORY: u64 = u64::from_le_bytes(*b"hipsimM\0");
const EVENT: u64 = u64::from_le_bytes(*b"hipsimE\0");
/// `hipIpcMemLazyEnablePeerAccess`, which the real runtime demands.
const LAZY_PEER_ACCESS: c_uint = 1;

impl Handle {
    fn new(kind: u64, device: DeviceIndex, name: Name) -> Self {
        Self {
            kind,
            name,
            place: device.place() as u64,
            size: 0,
            offset: 0,
            unused: [0; 2],
        }
    }

    /// The device it is on, if it is a handle of this kind and this process sees that device.
    fn device(&self, kind: u64) -> Option<DeviceIndex> {
        devices::all().find(|device| self.kind == kind && device.place() as u64 == self.place)
    }
}

api! {
    fn get_memory(at: *mut Handle, pointer: *mut c_void) {
        let runtime = runtime::get()?;
        if at.is_null() || pointer.is_null() {
            return Err(HipError::InvalidValue);
        }
        let address = Address::from(pointer);
        let found = memory::containing(address).ok_or(HipError::InvalidValue)?;
        runtime.lock().clock.note_export();
        let (piece, offset) = runtime::quietly(|| memory::export(address))?;
        let handle = Handle {
            size: piece.size as u64,
            offset: offset as u64,
            ..Handle::new(MEMORY, found.device, piece.name)
        };
        put(at, handle)
    }
}

/// A process cannot open its own handles, as with the real runtime.
fn check_owner(handle: &Handle) -> Result {
    if handle.name.owner == owner_word() {
        Err(HipError::InvalidContext)
    } else {
        Ok(())
    }
}

api! {
    fn open_memory(at: *mut *mut c_void, handle: Handle, flags: c_uint) {
        let current = runtime::get()?.device;
        if at.is_null() || flags != LAZY_PEER_ACCESS || handle.size == 0 {
            return Err(HipError::InvalidValue);
        }
        let of = handle
            .device(MEMORY)
            .ok_or(HipError::InvalidDevicePointer)?;
        check_owner(&handle)?;
        if handle.offset >= handle.size {
            return Err(HipError::InvalidDevicePointer);
        }
        let start = memory::import(current, of, handle.name, handle.size as usize)?;
        let address = Address(start.0 + handle.offset as usize);
        put(at, address.pointer())
    }

    fn close_memory(pointer: *mut c_void) {
        runtime::get()?;
        match memory::containing(Address::from(pointer)) {
            Some(found) if matches!(found.backing, Backing::Imported(..)) => {
                for device in devices::all() {
                    runtime::on(device)?.wait_all();
                }
                memory::release(found.start);
                Ok(())
            }
            _ => Err(HipError::InvalidValue),
        }
    }

    fn get_event(at: *mut Handle, event: EventHandle) {
        if at.is_null() || event.is_null() {
            return Err(HipError::InvalidValue);
        }
        let (device, id) = events::named(event)?;
        let core = runtime::on(device)?.lock();
        let event = core.events.get(id)?;
        let shared = event
            .shared
            .as_ref()
            .ok_or(HipError::InvalidConfiguration)?;
        let (device, name) = shared.name();
        put(at, Handle::new(EVENT, device, name))
    }

    fn open_event(at: *mut EventHandle, handle: Handle) {
        if at.is_null() {
            return Err(HipError::InvalidValue);
        }
        let device = handle.device(EVENT).ok_or(HipError::InvalidValue)?;
        check_owner(&handle)?;
        let shared = SharedEvent::open(device, handle.name)?;
        let event = add(runtime::on(device)?, Timing::Disabled, Some(shared))?;
        put(at, event)
    }
}
