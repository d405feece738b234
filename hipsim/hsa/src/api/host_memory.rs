//! Memory of the program itself: locked for the device, copied, and what is known of a pointer.

use std::ffi::c_void;

use super::agents;
use crate::abi::call::{api, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AgentHandle, PointerInfo, PoolHandle};
use crate::memory::pool::Pool;
use crate::memory::{self, Allocation, Kind};

fn lock_pages(host: *mut c_void, size: usize, pool: Pool, at: *mut *mut c_void) -> Result {
    if host.is_null() || size == 0 {
        return Err(Status::INVALID_ARGUMENT);
    }
    let start = host as usize;
    let mut table = memory::table();
    let entry = table.entry(start).or_insert(Allocation {
        start,
        size,
        kind: Kind::Locked,
        pool,
        piece: None,
        users: 0,
    });
    if entry.kind == Kind::Locked {
        entry.users += 1;
        entry.size = entry.size.max(size);
    }
    drop(table);
    // SAFETY: the caller of the API gave a place for the address.
    unsafe { put(at, host) }
}

api! {
    /// `hsa_amd_memory_lock`: the device has it at the same address.
    fn lock(host: *mut c_void, size: usize, _agents: *const AgentHandle, _count: i32, at: *mut *mut c_void) {
        lock_pages(host, size, Pool::HOST, at)
    }

    /// `hsa_amd_memory_lock_to_pool`.
    fn lock_to_pool(
        host: *mut c_void, size: usize, _agents: *const AgentHandle, _count: i32, pool: PoolHandle, _flags: u32,
        at: *mut *mut c_void,
    ) {
        lock_pages(host, size, Pool::new(pool)?, at)
    }

    /// `hsa_amd_memory_unlock`.
    fn unlock(host: *mut c_void) {
        let mut table = memory::table();
        let entry = table.get_mut(&(host as usize)).filter(|entry| entry.kind == Kind::Locked);
        // Null and what was never locked are no errors, as in the real library.
        let Some(entry) = entry else { return Ok(()) };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0 {
            table.remove(&(host as usize));
        }
        Ok(())
    }

    /// `hsa_memory_register`: a hint.
    fn register(at: *mut c_void, size: usize) {
        if at.is_null() || size == 0 { Err(Status::INVALID_ARGUMENT) } else { Ok(()) }
    }

    /// `hsa_memory_deregister`.
    fn deregister(_at: *mut c_void, _size: usize) {
        Ok(())
    }

    /// `hsa_memory_copy`: done when it returns.
    fn copy(to: *mut c_void, from: *const c_void, size: usize) {
        if to.is_null() || from.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        std::ptr::copy(from.cast::<u8>(), to.cast(), size);
        Ok(())
    }

    /// `hsa_amd_pointer_info`. What nobody allocated or locked is of unknown type, which is no error.
    fn pointer_info(
        at: *const c_void, info: *mut PointerInfo, allocate: Option<unsafe extern "C" fn(usize) -> *mut c_void>,
        count: *mut u32, accessible: *mut *mut AgentHandle,
    ) {
        let room = info.as_ref().ok_or(Status::INVALID_ARGUMENT)?.size as usize;
        let found = memory::containing(at as usize);
        let mut answer = PointerInfo {
            size: room.min(size_of::<PointerInfo>()) as u32,
            kind: 0,
            agent_base: std::ptr::null_mut(),
            host_base: std::ptr::null_mut(),
            bytes: 0,
            user_data: std::ptr::null_mut(),
            owner: AgentHandle(0),
            flags: 0,
            registered: false,
        };
        if let Some(entry) = found {
            let start = entry.start as *mut c_void;
            answer.kind = entry.kind as u32;
            answer.agent_base = start;
            // The host reaches all of it; attached memory has no address of the host in the real library either.
            answer.host_base = if entry.kind == Kind::Attached { std::ptr::null_mut() } else { start };
            answer.bytes = entry.size;
            answer.owner = agents::owner(entry.pool);
            answer.flags = entry.pool.flags() & !1;
            answer.registered = true;
        }
        // The program knows as much of the structure as it says.
        let bytes = std::ptr::from_ref(&answer).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes, info.cast(), answer.size as usize);
        if let (Some(allocate), Some(count), false) = (allocate, count.as_mut(), accessible.is_null()) {
            let agents: Vec<AgentHandle> = if found.is_some() { agents::all().collect() } else { Vec::new() };
            *count = agents.len() as u32;
            let list = match agents.len() {
                0 => std::ptr::null_mut(),
                length => allocate(length * size_of::<AgentHandle>()).cast::<AgentHandle>(),
            };
            if !list.is_null() {
                std::ptr::copy_nonoverlapping(agents.as_ptr(), list, agents.len());
            }
            *accessible = list;
        }
        Ok(())
    }
}
