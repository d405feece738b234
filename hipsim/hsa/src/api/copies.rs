//! The C functions of the copy engines.

use super::agents;
use crate::abi::call::{api, list, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AgentHandle, Dim3, PitchedPointer, SignalHandle};
use crate::counted::{Taken, count};
use crate::machine::copies::{Block, Copy, Engine, Rows};
use crate::machine::signal::{Signal, all_of};
use crate::machine::{Driver, MACHINE};

/// Engines of a GPU, as bits of a mask.
const ENGINES: u32 = 0x3;

/// The engine that the hardware would take: one for each direction.
fn engine(to: AgentHandle, from: AgentHandle) -> Engine {
    match (agents::gpu(to), agents::gpu(from)) {
        (Ok(gpu), Err(_)) => Engine { gpu, number: 0 },
        (Err(_), Ok(gpu)) => Engine { gpu, number: 1 },
        (Ok(_), Ok(gpu)) => Engine { gpu, number: 2 },
        (Err(_), Err(_)) => Engine { gpu: 0, number: 3 },
    }
}

fn queue(engine: Engine, copy: Copy) -> Result {
    if copy.block.width > 0 {
        count(Taken::Copy);
    }
    let mut state = MACHINE.lock();
    state.copies.push(engine, copy);
    MACHINE.notify(state, Driver::Program);
    Ok(())
}

fn linear(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    dependencies: Vec<Signal>,
    completion: Option<Signal>,
) -> Copy {
    let rows = |start| Rows {
        start,
        row_pitch: 0,
        plane_pitch: 0,
    };
    Copy {
        dependencies,
        from: rows(from as usize),
        to: rows(to as usize),
        block: Block {
            width: bytes,
            rows: 1,
            planes: 1,
        },
        completion,
    }
}

/// Completes a signal when others are zero, on an engine of this GPU.
pub fn nothing(gpu: usize, dependencies: Vec<Signal>, completion: Option<Signal>) -> Result {
    let nowhere = std::ptr::null_mut();
    queue(
        Engine { gpu, number: 4 },
        linear(nowhere, nowhere, 0, dependencies, completion),
    )
}

api! {
    /// `hsa_amd_memory_async_copy`.
    fn copy(
        to: *mut u8, to_agent: AgentHandle, from: *const u8, from_agent: AgentHandle, bytes: usize,
        count: u32, dependencies: *const SignalHandle, completion: SignalHandle,
    ) {
        if to.is_null() || from.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let dependencies = all_of(list(dependencies, count as usize));
        queue(engine(to_agent, from_agent), linear(to, from, bytes, dependencies, Signal::of(completion)))
    }

    /// `hsa_amd_memory_async_copy_on_engine`.
    fn copy_on_engine(
        to: *mut u8, to_agent: AgentHandle, from: *const u8, from_agent: AgentHandle, bytes: usize,
        count: u32, dependencies: *const SignalHandle, completion: SignalHandle, number: u32, _force: bool,
    ) {
        if to.is_null() || from.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let dependencies = all_of(list(dependencies, count as usize));
        let usual = engine(to_agent, from_agent);
        let engine = match number.is_power_of_two() {
            true => Engine { number: 8 + number.trailing_zeros(), ..usual },
            false => usual,
        };
        queue(engine, linear(to, from, bytes, dependencies, Signal::of(completion)))
    }

    /// `hsa_amd_memory_async_copy_rect`.
    fn copy_rect(
        to: *const PitchedPointer, to_offset: *const Dim3, from: *const PitchedPointer, from_offset: *const Dim3,
        range: *const Dim3, agent: AgentHandle, direction: u32,
        count: u32, dependencies: *const SignalHandle, completion: SignalHandle,
    ) {
        let (Some(to), Some(to_offset)) = (to.as_ref(), to_offset.as_ref()) else {
            return Err(Status::INVALID_ARGUMENT);
        };
        let (Some(from), Some(from_offset)) = (from.as_ref(), from_offset.as_ref()) else {
            return Err(Status::INVALID_ARGUMENT);
        };
        let range = range.as_ref().ok_or(Status::INVALID_ARGUMENT)?;
        let rows = |place: &PitchedPointer, offset: &Dim3| Rows {
            start: place.base as usize + offset.x as usize + offset.y as usize * place.pitch
                + offset.z as usize * place.slice,
            row_pitch: place.pitch,
            plane_pitch: place.slice,
        };
        let copy = Copy {
            dependencies: all_of(list(dependencies, count as usize)),
            from: rows(from, from_offset),
            to: rows(to, to_offset),
            block: Block { width: range.x as usize, rows: range.y as usize, planes: range.z as usize },
            completion: Signal::of(completion),
        };
        let gpu = agents::gpu(agent)?;
        queue(Engine { gpu, number: direction.min(3) }, copy)
    }

    /// `hsa_amd_memory_copy_engine_status`: those that are free.
    fn engine_status(_to: AgentHandle, _from: AgentHandle, mask: *mut u32) {
        put(mask, ENGINES)
    }

    /// `hsa_amd_memory_get_preferred_copy_engine`.
    fn preferred_engine(_to: AgentHandle, _from: AgentHandle, mask: *mut u32) {
        put(mask, ENGINES)
    }
}
