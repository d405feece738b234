//! Stream-ordered allocation. Memory is there at once; a free takes effect at its place in the stream.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::memory::allocate;
use super::support::{DefaultStream, api, put, stream, submit};
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::runtime;
use crate::runtime::command::{Address, Command, External};
use crate::runtime::devices::DeviceIndex;
use crate::runtime::memory::{self, Kind};

/// The handle of the pool that all devices have by default: a never mapped address. Those of the program's pools follow.
const POOL: usize = 0x56 << 40;

/// `hipMemPoolAttr`: the three ways of reuse, and what a pool keeps when it trims itself. What it holds (5 to 8) is not
/// accounted for by pool.
const REUSE: std::ops::RangeInclusive<usize> = 1..=3;
const RELEASE_THRESHOLD: usize = 4;

/// A pool's attributes by number.
type Attributes = [u64; 5];
const DEFAULTS: Attributes = [0, 1, 1, 1, 0];

/// The pools by handle. The memory of all of them is the device's.
type Pools = BTreeMap<usize, Attributes>;
static POOLS: Mutex<Pools> = Mutex::new(Pools::new());

/// The pools, the default one among them.
fn pools() -> Result<MutexGuard<'static, Pools>> {
    runtime::get()?;
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.entry(POOL).or_insert(DEFAULTS);
    Ok(pools)
}

fn with_pool<T>(pool: *mut c_void, f: impl FnOnce(&mut Attributes) -> Result<T>) -> Result<T> {
    let mut pools = pools()?;
    f(pools
        .get_mut(&(pool as usize))
        .ok_or(HipError::InvalidValue)?)
}

fn allocate_on(of: StreamHandle, at: *mut *mut c_void, size: usize) -> Result {
    let (runtime, id) = stream(of, DefaultStream::Legacy)?;
    runtime.lock().streams.get(id)?;
    // SAFETY: the program's pointer for the result.
    unsafe { allocate(at, size, Kind::Device, 0) }
}

api! {
    fn create(at: *mut *mut c_void, properties: *const c_void) {
        let mut pools = pools()?;
        if properties.is_null() {
            return Err(HipError::InvalidValue);
        }
        let last = pools.last_key_value().map_or(POOL, |(handle, _)| *handle);
        put(at, (last + 16) as *mut c_void)?;
        pools.insert(last + 16, DEFAULTS);
        Ok(())
    }

    /// What was allocated from it stays.
    fn destroy(pool: *mut c_void) {
        let removed = match pool as usize {
            POOL => None,
            pool => pools()?.remove(&pool),
        };
        removed.map(|_| ()).ok_or(HipError::InvalidValue)
    }

    fn get_attribute(pool: *mut c_void, number: c_int, at: *mut c_void) {
        let number = usize::try_from(number).map_err(|_| HipError::InvalidValue)?;
        let value = with_pool(pool, |attributes| match number {
            1..=4 => Ok(attributes[number]),
            5..=8 => Err(HipError::NotSupported),
            _ => Err(HipError::InvalidValue),
        })?;
        if REUSE.contains(&number) {
            put(at.cast::<c_int>(), value as c_int)
        } else {
            put(at.cast::<u64>(), value)
        }
    }

    fn set_attribute(pool: *mut c_void, number: c_int, value: *mut c_void) {
        let number = usize::try_from(number).map_err(|_| HipError::InvalidValue)?;
        if value.is_null() {
            return Err(HipError::InvalidValue);
        }
        // SAFETY: the program's value, not null, of the attribute's type.
        let value = unsafe {
            if REUSE.contains(&number) {
                value.cast::<c_int>().read() as u64
            } else {
                value.cast::<u64>().read()
            }
        };
        with_pool(pool, |attributes| match number {
            1..=RELEASE_THRESHOLD => {
                attributes[number] = value;
                Ok(())
            }
            // High-water marks can be reset.
            6 | 8 if value == 0 => Ok(()),
            _ => Err(HipError::InvalidValue),
        })
    }

    /// Peers can access each other's memory, pools or not.
    fn set_access(pool: *mut c_void, descriptions: *const c_void, count: usize) {
        if count > 0 && descriptions.is_null() {
            return Err(HipError::InvalidValue);
        }
        with_pool(pool, |_| Ok(()))
    }

    /// `hipMemAccessFlagsProtReadWrite`.
    fn get_access(flags: *mut c_int, pool: *mut c_void, _location: *const c_void) {
        with_pool(pool, |_| put(flags, 3))
    }

    fn malloc_async(at: *mut *mut c_void, size: usize, of: StreamHandle) { allocate_on(of, at, size) }

    fn malloc_from_pool_async(at: *mut *mut c_void, size: usize, pool: *mut c_void, of: StreamHandle) {
        with_pool(pool, |_| Ok(()))?;
        allocate_on(of, at, size)
    }

    fn free_async(pointer: *mut c_void, of: StreamHandle) {
        let start = Address::from(pointer);
        if memory::starting_at(start).is_none() {
            return Err(HipError::InvalidValue);
        }
        submit(
            of,
            DefaultStream::Legacy,
            &Command::External(External::Free(start)),
        )
    }

    /// Both questions for a device's pool have the same answer.
    fn of_device(at: *mut *mut c_void, device: c_int) {
        runtime::on(DeviceIndex::new(device)?)?;
        put(at, POOL as *mut c_void)
    }
}
