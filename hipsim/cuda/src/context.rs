//! Contexts. Those of one device share its streams and memory here; what differs is which is current, and what libcudart keeps in
//! each of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::code::{Code, Result};
use crate::hip;
use crate::support::{api, offer, put};

/// A context as programs hold it.
pub type Handle = *mut c_void;

/// Handle of the first context, a never mapped address; the others follow.
const FIRST: usize = 0x56 << 40;
const STEP: usize = 16;
/// The primary contexts come first, by device.
const PRIMARIES: usize = 8;

/// What is called when a context goes (context, key, value).
pub type Destructor = unsafe extern "C" fn(Handle, *mut c_void, *mut c_void);

#[derive(Clone, Debug, Default)]
struct Context {
    device: c_int,
    flags: c_uint,
    /// How often a primary one is retained; whether another one lives.
    uses: usize,
    /// What libcudart keeps there, by key.
    storage: HashMap<usize, (usize, Option<Destructor>)>,
}

static CONTEXTS: Mutex<Vec<Context>> = Mutex::new(Vec::new());

thread_local! {
    /// The calling thread's stack. Nothing to drop: destructors of threads and of the program call here, too.
    static CURRENT: Cell<Stack> = const { Cell::new(Stack::EMPTY) };
}

/// A stack of contexts; the last is current.
#[derive(Clone, Copy)]
struct Stack {
    depth: usize,
    indices: [usize; Stack::MOST],
}

impl Stack {
    const MOST: usize = 32;
    const EMPTY: Self = Self {
        depth: 0,
        indices: [0; Self::MOST],
    };

    fn last(&self) -> Option<usize> {
        self.indices[..self.depth].last().copied()
    }

    fn push(&mut self, index: usize) -> Result {
        let place = self.indices.get_mut(self.depth);
        *place.ok_or(Code::INVALID_VALUE)? = index;
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<usize> {
        let last = self.last()?;
        self.depth -= 1;
        Some(last)
    }
}

fn contexts() -> MutexGuard<'static, Vec<Context>> {
    let mut all = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if all.is_empty() {
        all.resize_with(PRIMARIES, Context::default);
        for (device, context) in (0..).zip(all.iter_mut()) {
            context.device = device;
        }
    }
    all
}

fn handle(index: usize) -> Handle {
    (FIRST + index * STEP) as Handle
}

/// The place of a context that there is.
fn index(context: Handle) -> Result<usize> {
    let offset = (context as usize).wrapping_sub(FIRST);
    let index = offset / STEP;
    let all = contexts();
    let lives = |found: &Context| index < PRIMARIES || found.uses > 0;
    match all.get(index) {
        Some(found) if offset.is_multiple_of(STEP) && lives(found) => Ok(index),
        _ => Err(Code::INVALID_CONTEXT),
    }
}

fn checked_device(device: c_int) -> Result<usize> {
    let mut count = 0;
    // SAFETY: a local for the result.
    unsafe { hip::hipGetDeviceCount(&raw mut count) }?;
    let number = usize::try_from(device).map_err(|_| Code::INVALID_DEVICE)?;
    if device < count && number < PRIMARIES {
        Ok(number)
    } else {
        Err(Code::INVALID_DEVICE)
    }
}

/// The calling thread's current context.
pub fn current_handle() -> Option<Handle> {
    CURRENT.get().last().map(handle)
}

/// The same, as far as it still lives.
///
/// # Errors
/// There is none.
pub fn required() -> Result<Handle> {
    let current = current_handle().ok_or(Code::INVALID_CONTEXT)?;
    index(current).map(|_| current)
}

/// The device of a context; null means the current one.
///
/// # Errors
/// There is no such context.
pub fn device_number(context: Handle) -> Result<c_int> {
    let context = if context.is_null() {
        required()?
    } else {
        context
    };
    let index = index(context)?;
    Ok(contexts()[index].device)
}

/// Changes the calling thread's stack, and with that hipsim's current device.
fn change<T>(then: impl FnOnce(&mut Stack) -> Result<T>) -> Result<T> {
    let mut stack = CURRENT.get();
    let result = then(&mut stack)?;
    CURRENT.set(stack);
    if let Some(top) = stack.last() {
        let device = contexts()[top].device;
        // SAFETY: no pointers.
        unsafe { hip::hipSetDevice(device) }?;
    }
    Ok(result)
}

fn add(device: c_int, flags: c_uint) -> Result<usize> {
    checked_device(device)?;
    let mut all = contexts();
    all.push(Context {
        device,
        flags,
        uses: 1,
        ..Context::default()
    });
    Ok(all.len() - 1)
}

/// A new context that nobody's thread uses yet.
///
/// # Errors
/// There is no such device.
pub fn apart(device: c_int) -> Result<Handle> {
    add(device, 0).map(handle)
}

/// Whether there is such a context.
///
/// # Errors
/// There is none.
pub fn checked(context: Handle) -> Result {
    index(context).map(|_| ())
}

unsafe fn make(at: *mut Handle, flags: c_uint, device: c_int) -> Result {
    if at.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let index = add(device, flags)?;
    change(|stack| stack.push(index))?;
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, handle(index)) }
}

/// What was kept in a context goes with it.
fn destroy_storage(index: usize) {
    let storage = std::mem::take(&mut contexts()[index].storage);
    for (key, (value, destructor)) in storage {
        if let Some(destructor) = destructor {
            // SAFETY: as libcudart registered it.
            unsafe { destructor(handle(index), key as *mut c_void, value as *mut c_void) };
        }
    }
}

api! {
    fn create(at: *mut Handle, flags: c_uint, device: c_int) { make(at, flags, device) }

    fn create_v3(
        at: *mut Handle, _affinity: *const c_void, _count: c_int, flags: c_uint, device: c_int
    ) {
        make(at, flags, device)
    }

    fn create_v4(at: *mut Handle, _params: *const c_void, flags: c_uint, device: c_int) {
        make(at, flags, device)
    }

    fn destroy(context: Handle) {
        let index = index(context)?;
        if index < PRIMARIES {
            return Err(Code::INVALID_CONTEXT);
        }
        hip::hipDeviceSynchronize()?;
        destroy_storage(index);
        contexts()[index].uses = 0;
        change(|stack| {
            if stack.last() == Some(index) {
                stack.pop();
            }
            Ok(())
        })
    }

    fn attach(at: *mut Handle, _flags: c_uint) { put(at, required()?) }
    fn detach(context: Handle) { index(context).map(|_| ()) }

    fn set_current(context: Handle) {
        let next = if context.is_null() { None } else { Some(index(context)?) };
        change(|stack| {
            stack.pop();
            next.map_or(Ok(()), |index| stack.push(index))
        })
    }

    fn current(at: *mut Handle) { put(at, current_handle().unwrap_or(std::ptr::null_mut())) }

    fn push(context: Handle) {
        let index = index(context)?;
        change(|stack| stack.push(index))
    }

    fn pop(at: *mut Handle) {
        let popped = change(|stack| stack.pop().ok_or(Code::INVALID_CONTEXT))?;
        offer(at, handle(popped));
        Ok(())
    }

    fn device(at: *mut c_int) { put(at, device_number(std::ptr::null_mut())?) }
    fn device_of(at: *mut c_int, context: Handle) { put(at, device_number(context)?) }

    fn flags(at: *mut c_uint) {
        let index = index(required()?)?;
        put(at, contexts()[index].flags)
    }

    fn set_flags(flags: c_uint) {
        let index = index(required()?)?;
        contexts()[index].flags = flags;
        Ok(())
    }

    fn id(context: Handle, at: *mut u64) {
        let context = if context.is_null() { required()? } else { context };
        put(at, index(context)? as u64 + 1)
    }

    fn api_version(context: Handle, at: *mut c_uint) {
        if !context.is_null() {
            index(context)?;
        }
        put(at, 3020)
    }

    fn synchronize() {
        required()?;
        hip::hipDeviceSynchronize()
    }

    fn synchronize_v2(context: Handle) {
        let device = device_number(context)?;
        let before = device_number(std::ptr::null_mut()).ok();
        hip::hipSetDevice(device)?;
        let done = hip::hipDeviceSynchronize();
        if let Some(before) = before {
            hip::hipSetDevice(before)?;
        }
        done
    }

    fn limit(at: *mut usize, limit: c_int) {
        required()?;
        match limit {
            0..=2 => hip::hipDeviceGetLimit(at, limit),
            3..=6 => put(at, 0),
            _ => Err(Code(215)),
        }
    }

    fn set_limit(_limit: c_int, _value: usize) { required().map(|_| ()) }
    fn config(at: *mut c_int) { put(at, 0) }
    fn set_config(_config: c_int) { required().map(|_| ()) }

    fn priority_range(least: *mut c_int, greatest: *mut c_int) {
        required()?;
        hip::hipDeviceGetStreamPriorityRange(least, greatest)
    }

    fn nothing() { required().map(|_| ()) }

    fn enable_peer(context: Handle, flags: c_uint) {
        hip::hipDeviceEnablePeerAccess(device_number(context)?, flags)
    }

    fn disable_peer(context: Handle) { hip::hipDeviceDisablePeerAccess(device_number(context)?) }

    fn retain(at: *mut Handle, device: c_int) {
        let index = checked_device(device)?;
        contexts()[index].uses += 1;
        put(at, handle(index))
    }

    fn release(device: c_int) {
        let index = checked_device(device)?;
        let left = {
            let mut all = contexts();
            let uses = &mut all[index].uses;
            *uses = uses.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
            *uses
        };
        if left == 0 {
            destroy_storage(index);
        }
        Ok(())
    }

    fn reset(device: c_int) {
        let index = checked_device(device)?;
        destroy_storage(index);
        contexts()[index].uses = 0;
        Ok(())
    }

    fn state(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        let index = checked_device(device)?;
        let all = contexts();
        offer(flags, all[index].flags);
        offer(active, c_int::from(all[index].uses > 0));
        Ok(())
    }

    fn set_primary_flags(device: c_int, flags: c_uint) {
        let index = checked_device(device)?;
        contexts()[index].flags = flags;
        Ok(())
    }
}

/// The primary context of a device, whether anybody has retained it or not.
///
/// # Errors
/// There is no such device.
pub fn primary(device: c_int) -> Result<Handle> {
    checked_device(device).map(handle)
}

fn of(context: Handle) -> Result<usize> {
    index(if context.is_null() {
        required()?
    } else {
        context
    })
}

/// Keeps a value in a context.
///
/// # Errors
/// There is no such context.
pub fn keep(context: Handle, key: usize, value: usize, destructor: Option<Destructor>) -> Result {
    let index = of(context)?;
    contexts()[index].storage.insert(key, (value, destructor));
    Ok(())
}

/// Forgets it.
///
/// # Errors
/// There is no such context.
pub fn forget(context: Handle, key: usize) -> Result {
    let index = of(context)?;
    contexts()[index].storage.remove(&key);
    Ok(())
}

/// What is kept there.
///
/// # Errors
/// There is no such context, or nothing is kept.
pub fn kept(context: Handle, key: usize) -> Result<usize> {
    let index = of(context)?;
    let all = contexts();
    let found = all[index].storage.get(&key);
    found.map(|(value, _)| *value).ok_or(Code::INVALID_HANDLE)
}
