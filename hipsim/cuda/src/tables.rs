//! The tables of unnamed functions that NVIDIA's runtime library asks the driver for (`cuGetExportTable`). What they are for is known
//! from other reimplementations of the driver (ZLUDA's notes); most are for tools, and empty here.
//!
//! One of them proves to libcudart which driver it runs on: it asks for a keyed digest (HMAC over MD2, RFC 2104 and 1319) of the
//! driver's version, the process, the addresses of two tables, the time and the devices, and compares that with its own.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

use hmac::SimpleHmac;
use hmac::digest::Mac as _;
use md2::Md2;

use crate::code::{Code, Result};
use crate::context::{self, Destructor, Handle};
use crate::support::{api, put};
use crate::{device, hip, module};

type Id = [u8; 16];

/// A table: its size in bytes, then functions.
type Table<const N: usize> = [usize; N];

const RUNTIME: Id = id(0x6bd5_fb6c, 0x5bf4, 0xe74a, 0x8987_d939_12fd_9df9);
/// Asked for since CUDA 13; nothing of it was called in what was tried.
const RUNTIME_13: Id = id(0x2131_8c60, 0x9714, 0x3248, 0x8ca6_41ff_7324_c8f2);
const TOOLS_STORAGE: Id = id(0x42d8_5a81, 0x23f6, 0xcb47, 0x8298_f6e7_8a3a_ecdc);
const TOOLS_HOOKS: Id = id(0xa094_798c, 0x2e74, 0x2e74, 0x93f2_0800_200c_0a66);
const CONTEXT_STORAGE: Id = id(0xc693_336e, 0x1121, 0xdf11, 0xa8c3_68f3_55d8_9593);
const INTEGRITY: Id = id(0xd408_2055, 0xbde6, 0x704b, 0x8d34_ba12_3c66_e1f2);
const CHECKS: Id = id(0x263e_8860, 0x7cd2, 0x6143, 0x92f6_bbd5_006d_fa7e);

/// An id from its usual spelling, most significant byte first.
const fn id(a: u32, b: u16, c: u16, d: u64) -> Id {
    let value = (a as u128) << 96 | (b as u128) << 80 | (c as u128) << 64 | d as u128;
    value.to_be_bytes()
}

struct Tables {
    runtime: Table<13>,
    runtime_13: Table<16>,
    tools_storage: Table<4>,
    tools_hooks: Table<7>,
    context_storage: Table<4>,
    integrity: Table<3>,
    checks: Table<4>,
}

/// A table whose first word is its size.
fn sized<const N: usize>(functions: &[(usize, *const ())]) -> Table<N> {
    let mut table = filled(functions);
    table[0] = size_of::<Table<N>>();
    table
}

/// A table of functions alone. What is not known answers that it is not supported.
fn filled<const N: usize>(functions: &[(usize, *const ())]) -> Table<N> {
    let mut table = [unknown as *const () as usize; N];
    for &(index, function) in functions {
        table[index] = function as usize;
    }
    table
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables {
        runtime: sized(&[
            // A module of a wrapped fat binary, as of CUDA 11.
            (1, module::load_data as *const ()),
            (2, primary as *const ()),
            (6, module::load_data as *const ()),
            (7, nothing as *const ()),
            (8, load as *const ()),
            (12, nothing as *const ()),
        ]),
        runtime_13: sized(&[]),
        tools_storage: sized(&[]),
        tools_hooks: sized(&[
            (2, first_buffer as *const ()),
            (6, second_buffer as *const ()),
        ]),
        context_storage: filled(&[
            (0, keep as *const ()),
            (1, forget as *const ()),
            (2, kept as *const ()),
        ]),
        integrity: sized(&[(1, integrity as *const ())]),
        checks: sized(&[(2, check_context as *const ()), (3, nothing as *const ())]),
    })
}

fn find(id: &Id) -> Option<*const usize> {
    let tables = tables();
    Some(match *id {
        RUNTIME => tables.runtime.as_ptr(),
        RUNTIME_13 => tables.runtime_13.as_ptr(),
        TOOLS_STORAGE => tables.tools_storage.as_ptr(),
        TOOLS_HOOKS => tables.tools_hooks.as_ptr(),
        CONTEXT_STORAGE => tables.context_storage.as_ptr(),
        INTEGRITY => tables.integrity.as_ptr(),
        CHECKS => tables.checks.as_ptr(),
        _ => return None,
    })
}

unsafe extern "C" fn unknown() -> c_int {
    Code::NOT_SUPPORTED.0
}

unsafe extern "C" fn nothing() -> c_int {
    0
}

/// Memory that tools look at; nobody writes there.
struct Buffer<const N: usize>(std::cell::UnsafeCell<[u8; N]>);

// SAFETY: the simulator never reads or writes it.
unsafe impl<const N: usize> Sync for Buffer<N> {}

static FIRST: Buffer<4096> = Buffer(std::cell::UnsafeCell::new([0; 4096]));
static SECOND: Buffer<64> = Buffer(std::cell::UnsafeCell::new([0; 64]));
/// Sizes as the driver gives them, in its own unit.
const FIRST_SIZE: usize = 1024;
const SECOND_SIZE: usize = 14;

api! {
    fn get(at: *mut *const usize, id: *const Id) {
        if id.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        match find(&*id) {
            Some(table) => put(at, table),
            None => {
                put(at, std::ptr::null())?;
                Err(Code::INVALID_VALUE)
            }
        }
    }

    fn load(image: *const u8, at: *mut Handle) { crate::code::of(module::load_data(at, image)) }

    /// The primary context of a device, which stays inactive.
    fn primary(at: *mut Handle, device: c_int) { put(at, context::primary(device)?) }

    fn first_buffer(at: *mut *mut c_void, size: *mut usize) {
        put(at, FIRST.0.get().cast())?;
        put(size, FIRST_SIZE)
    }

    fn second_buffer(at: *mut *mut c_void, size: *mut usize) {
        put(at, SECOND.0.get().cast())?;
        put(size, SECOND_SIZE)
    }

    fn keep(of: Handle, key: usize, value: usize, destructor: Option<Destructor>) {
        context::keep(of, key, value, destructor)
    }

    fn forget(of: Handle, key: usize) { context::forget(of, key) }
    fn kept(at: *mut usize, of: Handle, key: usize) { put(at, context::kept(of, key)?) }

    fn check_context(_of: Handle, result: *mut c_uint, _more: *mut *const c_void) { put(result, 0) }

    fn integrity(version: c_uint, seconds: u64, at: *mut Id) { put(at, digest(version, seconds)?) }
}

/// libcudart's key.
const KEY: Id = [
    0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52, 0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f,
];
/// The answers to the first two of its kinds of question, which do not depend on anything.
const FIXED: [[u64; 2]; 2] = [
    [0x3341_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8],
    [0x1841_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8],
];

fn bytes_of(words: [u64; 2]) -> Id {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&words[0].to_ne_bytes());
    bytes[8..].copy_from_slice(&words[1].to_ne_bytes());
    bytes
}

fn digest(version: c_uint, seconds: u64) -> Result<Id> {
    if let Some(&fixed) = FIXED.get((version % 10) as usize) {
        return Ok(bytes_of(fixed));
    }
    // SAFETY: no arguments.
    let thread = unsafe { libc::pthread_self() };
    let tables = tables();
    let words = [
        device::driver_version() as u32,
        version,
        std::process::id(),
        thread as u32,
    ];
    let longs = [
        tables.runtime.as_ptr() as u64,
        tables.integrity.as_ptr() as u64,
        tables.integrity[1] as u64,
        seconds,
    ];
    let mut message = Vec::new();
    message.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    message.extend(longs.iter().flat_map(|long| long.to_ne_bytes()));
    let mut count = 0;
    // SAFETY: a local for the result.
    unsafe { hip::hipGetDeviceCount(&raw mut count) }?;
    for device in 0..count {
        let mut uuid = [0; 16];
        // SAFETY: as above.
        unsafe { hip::hipDeviceGetUuid(&raw mut uuid, device) }?;
        message.extend(uuid);
        let place = device::pci(device)?;
        message.extend(place.iter().flat_map(|number| number.to_ne_bytes()));
    }
    Ok(keyed(&message))
}

fn keyed(message: &[u8]) -> Id {
    let mac = SimpleHmac::<Md2>::new_from_slice(&KEY);
    mac.map_or([0; 16], |mac| {
        mac.chain_update(message).finalize().into_bytes().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spelt_from_their_first_byte() {
        assert_eq!(RUNTIME[..4], [0x6b, 0xd5, 0xfb, 0x6c]);
        assert_eq!(RUNTIME[14..], [0x9d, 0xf9]);
        assert!(find(&RUNTIME).is_some() && find(&[0; 16]).is_none());
    }

    #[test]
    fn a_table_says_how_long_it_is_and_has_no_holes() {
        let tables = tables();
        assert_eq!(tables.runtime[0], 13 * 8);
        assert!(tables.runtime.iter().all(|&word| word != 0));
        // This one has no size.
        assert_eq!(tables.context_storage[0], keep as *const () as usize);
    }
}
