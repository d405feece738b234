//! The agents of the machine: one CPU, and the GPUs that this process sees.

use std::ffi::c_void;

use simdevice::places::MAX_DEVICES;

use super::gpu_info;
use crate::abi::call::{api, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AgentCallback, AgentHandle, Handle};
use crate::memory::places;
use crate::memory::pool::Pool;

/// The CPU.
pub const CPU: AgentHandle = AgentHandle(0x10);
/// The instruction set of the first GPU; all have the same.
const FIRST_ISA: Handle = 0x40;

/// The GPU that an agent is, by its number in this process.
///
/// # Errors
/// `INVALID_AGENT` for the CPU and for what is no agent.
pub fn gpu(agent: AgentHandle) -> Result<usize> {
    let number = agent.0.wrapping_sub(AgentHandle::FIRST_GPU) as usize;
    (number < places().len().min(MAX_DEVICES))
        .then_some(number)
        .ok_or(Status::INVALID_AGENT)
}

/// The agent whose memory a pool is.
pub fn owner(pool: Pool) -> AgentHandle {
    pool.gpu().map_or(CPU, AgentHandle::of_gpu)
}

/// All agents, the CPU first.
pub fn all() -> impl Iterator<Item = AgentHandle> {
    std::iter::once(CPU).chain((0..places().len()).map(AgentHandle::of_gpu))
}

api! {
    /// `hsa_iterate_agents`.
    fn iterate(callback: Option<AgentCallback>, data: *mut c_void) {
        let callback = callback.ok_or(Status::INVALID_ARGUMENT)?;
        for agent in all() {
            match callback(agent, data) {
                Status::SUCCESS => {}
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// `hsa_agent_get_info`.
    fn get_info(agent: AgentHandle, attribute: u32, value: *mut c_void) {
        if value.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        match gpu(agent) {
            Ok(number) => gpu_info::answer(number, attribute, value.cast()),
            Err(_) if agent == CPU => gpu_info::answer_of_cpu(attribute, value.cast()),
            Err(status) => Err(status),
        }
    }

    /// `hsa_agent_iterate_isas`: exactly one each.
    fn iterate_isas(agent: AgentHandle, callback: Option<unsafe extern "C" fn(Handle, *mut c_void) -> Status>, data: *mut c_void) {
        let number = gpu(agent)?;
        let callback = callback.ok_or(Status::INVALID_ARGUMENT)?;
        match callback(FIRST_ISA + number as u64, data) {
            Status::SUCCESS => Ok(()),
            other => Err(other),
        }
    }

    /// `hsa_isa_get_info_alt`.
    fn isa_info(isa: Handle, attribute: u32, value: *mut c_void) {
        if isa.wrapping_sub(FIRST_ISA) >= MAX_DEVICES as u64 {
            return Err(Status::INVALID_ISA);
        }
        gpu_info::answer_of_isa(attribute, value.cast())
    }

    /// `hsa_agent_extension_supported`: none of them.
    fn extension_supported(_extension: u16, _agent: AgentHandle, _major: u16, _minor: u16, supported: *mut bool) {
        put(supported, false)
    }

    /// `hsa_amd_coherency_set_type`.
    fn set_coherency(agent: AgentHandle, _kind: u32) {
        gpu(agent).map(drop)
    }

    /// `hsa_amd_agent_set_async_scratch_limit`.
    fn set_scratch_limit(agent: AgentHandle, _bytes: usize) {
        gpu(agent).map(drop)
    }
}
