//! Green contexts: contexts on a part of a device's processors. The simulated device has no processors that could be apart, so here
//! a part is a number, and the context's streams are like others.

use std::ffi::{c_int, c_uint, c_void};

use crate::code::{Code, Result};
use crate::support::{api, offer, put};
use crate::{context, device, hip};

/// `CU_DEV_RESOURCE_TYPE_SM`.
const PROCESSORS: c_int = 1;
/// `CU_GREEN_CTX_DEFAULT_STREAM`, which must be asked for.
const DEFAULT_STREAM: c_uint = 1;
/// `CU_STREAM_NON_BLOCKING`, which its streams must be.
const NON_BLOCKING: c_uint = 1;
/// A description is this, and how many processors it describes.
const DESCRIPTION: usize = 0x57 << 40;

/// The beginning of `CUdevResource`; what follows differs between releases.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Resource {
    kind: c_int,
    private: [u8; 92],
    processors: c_uint,
}

impl Resource {
    const fn of(processors: c_uint) -> Resource {
        Resource {
            kind: PROCESSORS,
            private: [0; 92],
            processors,
        }
    }
}

/// What the program hands over.
unsafe fn given(at: *const Resource) -> Result<c_uint> {
    // SAFETY: null or the program's structure.
    match unsafe { at.as_ref() } {
        Some(resource) if resource.kind == PROCESSORS => Ok(resource.processors),
        Some(_) => Err(Code(914)),
        None => Err(Code::INVALID_VALUE),
    }
}

api! {
    fn whole(number: c_int, at: *mut Resource, kind: c_int) {
        if kind != PROCESSORS {
            return Err(Code(914));
        }
        put(at, Resource::of(device::processors(number)? as c_uint))
    }

    fn split(
        parts: *mut Resource, count: *mut c_uint, from: *const Resource, rest: *mut Resource,
        _flags: c_uint, least: c_uint,
    ) {
        let (all, part) = (given(from)?, least.max(1).next_multiple_of(2));
        let most = all / part;
        if count.is_null() || most == 0 {
            return Err(Code::INVALID_VALUE);
        }
        if parts.is_null() {
            return put(count, most);
        }
        // How long the elements of a list are, the caller's release alone knows.
        parts.write(Resource::of(part));
        offer(rest, Resource::of(all - part));
        put(count, 1)
    }

    fn describe(at: *mut *mut c_void, resource: *const Resource, count: c_uint) {
        let processors = given(resource)?;
        match count {
            1 => put(at, (DESCRIPTION + processors as usize) as *mut c_void),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn create(at: *mut context::Handle, description: *mut c_void, number: c_int, flags: c_uint) {
        let is_one = (description as usize) > DESCRIPTION;
        if flags != DEFAULT_STREAM || !is_one || at.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        put(at, context::apart(number)?)
    }

    fn as_context(at: *mut context::Handle, green: context::Handle) {
        context::checked(green)?;
        put(at, green)
    }

    fn stream(at: *mut *mut c_void, green: context::Handle, flags: c_uint, priority: c_int) {
        context::checked(green)?;
        match flags {
            NON_BLOCKING => hip::hipStreamCreateWithPriority(at, flags, priority),
            _ => Err(Code::INVALID_VALUE),
        }
    }
}
