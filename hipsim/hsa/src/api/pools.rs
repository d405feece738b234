//! The C functions of memory pools. All of their memory is memory of the process.

use std::ffi::c_void;

use simdevice::device::ipc::PAGE;

use super::agents;
use crate::abi::call::{api, put};
use crate::abi::status::Status;
use crate::abi::types::{AgentHandle, LinkInfo, PoolCallback, PoolHandle};
use crate::memory::pool::Pool;
use crate::memory::{self, Allocation, Kind, pages};

fn access(agent: AgentHandle, pool: Pool) -> u32 {
    // Never for what a workgroup shares; by default for its own and, on the CPU, for the host's; else when asked for.
    match agents::owner(pool) {
        _ if pool.is_group() => 0,
        owner if owner == agent => 1,
        _ => 2,
    }
}

api! {
    /// `hsa_amd_agent_iterate_memory_pools`.
    fn iterate(agent: AgentHandle, callback: Option<PoolCallback>, data: *mut c_void) {
        let callback = callback.ok_or(Status::INVALID_ARGUMENT)?;
        let gpu = match agents::gpu(agent) {
            Ok(gpu) => Some(gpu),
            Err(_) if agent == agents::CPU => None,
            Err(status) => return Err(status),
        };
        for pool in Pool::all(gpu) {
            match callback(pool.handle(), data) {
                Status::SUCCESS => {}
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// `hsa_amd_memory_pool_get_info`.
    fn get_info(pool: PoolHandle, attribute: u32, value: *mut c_void) {
        let pool = Pool::new(pool)?;
        match attribute {
            // HSA_REGION_SEGMENT_GROUP and _GLOBAL.
            0 => put(value.cast(), if pool.is_group() { 3_u32 } else { 0 }),
            1 => put(value.cast(), pool.flags()),
            2 | 16 => put(value.cast(), pool.size()),
            5 => put(value.cast(), !pool.is_group()),
            6 | 7 => put(value.cast(), PAGE),
            // 2 MiB, as the driver recommends for device memory.
            18 => put(value.cast(), if pool.gpu().is_some() { 2_usize << 20 } else { PAGE }),
            15 => put(value.cast(), pool.gpu().is_none()),
            17 => put(value.cast(), u32::from(pool.gpu().is_some())),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }

    /// `hsa_amd_agent_memory_pool_get_info`.
    fn agent_info(agent: AgentHandle, pool: PoolHandle, attribute: u32, value: *mut c_void) {
        let pool = Pool::new(pool)?;
        let hops = u32::from(agents::owner(pool) != agent);
        match attribute {
            0 => put(value.cast(), access(agent, pool)),
            1 => put(value.cast(), hops),
            2 if hops == 0 => Ok(()),
            2 => {
                // GPUs are linked by XGMI (4), the host by PCIe (2). Latencies and bandwidths are not told.
                let of_gpus = pool.gpu().is_some() && agents::gpu(agent).is_ok();
                let (kind, distance) = if of_gpus { (4_u32, 15_u32) } else { (2, 20) };
                put(value.cast(), LinkInfo { has: [true, true, true], kind, distance, ..LinkInfo::default() })
            }
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }

    /// `hsa_amd_memory_pool_allocate`.
    fn allocate(pool: PoolHandle, size: usize, _flags: u32, at: *mut *mut c_void) {
        let pool = Pool::new(pool)?;
        if size == 0 || at.is_null() || pool.is_group() {
            return Err(Status::INVALID_ARGUMENT);
        }
        if pool.gpu().is_some_and(|gpu| memory::available(gpu) < size as u64) {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let length = size.checked_next_multiple_of(PAGE).ok_or(Status::OUT_OF_RESOURCES)?;
        let start = pages(length)?;
        let entry = Allocation { start, size: length, kind: Kind::Pool, pool, piece: None, users: 1 };
        memory::table().insert(start, entry);
        put(at, start as *mut c_void)
    }

    /// `hsa_amd_memory_pool_free`. Null is no error.
    fn free(at: *mut c_void) {
        if at.is_null() {
            return Ok(());
        }
        let mut table = memory::table();
        let entry = table.get(&(at as usize)).filter(|entry| entry.kind == Kind::Pool);
        let entry = *entry.ok_or(Status::INVALID_ALLOCATION)?;
        table.remove(&entry.start);
        drop(table);
        match entry.piece {
            Some(piece) => piece.unmap(),
            None => {
                libc::munmap(at, entry.size);
            }
        }
        Ok(())
    }

    /// `hsa_amd_agents_allow_access`: all memory is the process's.
    fn allow_access(_count: u32, agents: *const AgentHandle, _flags: *const u32, at: *const c_void) {
        if agents.is_null() || at.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        Ok(())
    }
}
