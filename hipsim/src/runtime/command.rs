//! What a program asks a stream to do, before it is queued; also what a captured graph is made of.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use simdevice::known::KnownCall;

use super::devices::DeviceIndex;
use super::events::EventId;
use super::memory;
use super::shared_event::Mark;
use super::streams::Point;
use crate::abi::types::{HostFunction, StreamCallback, StreamHandle};

/// An address of the program, used by whoever executes the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub usize);

impl Address {
    /// As a pointer.
    pub fn pointer<T>(self) -> *mut T {
        self.0 as *mut T
    }
}

impl<T> From<*const T> for Address {
    fn from(pointer: *const T) -> Self {
        Self(pointer as usize)
    }
}

impl<T> From<*mut T> for Address {
    fn from(pointer: *mut T) -> Self {
        Self(pointer as usize)
    }
}

/// A box of bytes: `rows` x `planes` runs of `width` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub width: usize,
    pub rows: usize,
    pub planes: usize,
}

/// Where the rows of a [`Block`] lie.
#[derive(Clone, Copy, Debug)]
pub struct RowLayout {
    pub start: Address,
    pub row_pitch: usize,
    pub plane_pitch: usize,
}

impl RowLayout {
    fn row<T>(self, row: usize, plane: usize) -> *mut T {
        Address(self.start.0 + plane * self.plane_pitch + row * self.row_pitch).pointer()
    }
}

/// How a value in memory is compared (`hipStreamWaitValue*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    GreaterOrEqual,
    Equal,
    And,
    Nor,
}

/// A value of 4 or 8 bytes in memory.
#[derive(Clone, Copy, Debug)]
pub enum Width {
    Four,
    Eight,
}

/// Work done by the host at its place in stream order.
#[derive(Clone, Debug)]
pub enum External {
    Copy {
        from: RowLayout,
        to: RowLayout,
        block: Block,
    },
    /// Repeats a value of `unit` bytes (1, 2 or 4).
    Fill {
        to: RowLayout,
        block: Block,
        value: u32,
        unit: usize,
    },
    Kernel(KnownCall),
    Free(Address),
    Host {
        function: HostFunction,
        data: Address,
    },
    Callback {
        function: StreamCallback,
        stream: Address,
        data: Address,
    },
    WriteValue {
        at: Address,
        value: u64,
        width: Width,
    },
    WaitValue {
        at: Address,
        value: u64,
        mask: u64,
        width: Width,
        compare: Compare,
    },
    /// Tells other processes that an event they share was reached.
    Reach(Mark),
    /// Waits for another process to reach an event.
    WaitForProcess(Mark),
    /// Waits for a place in the order of another device.
    WaitForDevice {
        device: DeviceIndex,
        point: Point,
    },
}

/// One request to a stream.
#[derive(Clone, Debug)]
pub enum Command {
    /// A kernel that takes this much service, in ns.
    Kernel {
        service: u64,
        effect: Option<KnownCall>,
    },
    External(External),
    Record(EventId),
    WaitFor(Vec<Point>),
}

/// Who may execute an external command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// The runtime's own thread for what a device does by itself.
    Engine,
    /// The runtime's own thread for functions of the program. Apart, because the device goes on while one of them runs.
    Host,
    /// A thread of the program that waits for it anyway.
    Waiter,
}

/// Whether an external command is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Its condition does not hold yet.
    Retry,
}

impl External {
    /// Program code runs only on a thread for it: a waiting thread may hold the program's locks.
    pub fn may_run_on(&self, executor: Executor) -> bool {
        executor == Executor::Host || self.is_quick()
    }

    /// Whether it is done at once whatever the program does; the others run code of the program.
    pub fn is_quick(&self) -> bool {
        !matches!(self, Self::Host { .. } | Self::Callback { .. })
    }

    /// Least time between reaching the head of the ring and the effect, in ns.
    pub fn latency(&self, copy_latency: u64) -> u64 {
        match self {
            Self::Copy { .. } => copy_latency,
            _ => 0,
        }
    }

    /// Does it.
    ///
    /// # Safety
    /// The addresses are the program's, valid as the API demands until the command has run.
    pub unsafe fn execute(&self) -> Outcome {
        // SAFETY: the caller's promise, for every arm below.
        unsafe {
            match self {
                Self::Copy { from, to, block } => copy(*from, *to, *block),
                Self::Fill {
                    to,
                    block,
                    value,
                    unit,
                } => fill(*to, *block, *value, *unit),
                Self::Kernel(call) => call.run(),
                Self::Free(address) => memory::release(*address),
                Self::Host { function, data } => function(data.pointer()),
                Self::Callback {
                    function,
                    stream,
                    data,
                } => {
                    function(
                        stream.pointer::<c_void>() as StreamHandle,
                        0,
                        data.pointer(),
                    );
                }
                Self::WriteValue { at, value, width } => match width {
                    Width::Four => {
                        (*at.pointer::<AtomicU32>()).store(*value as u32, Ordering::SeqCst)
                    }
                    Width::Eight => (*at.pointer::<AtomicU64>()).store(*value, Ordering::SeqCst),
                },
                Self::WaitValue {
                    at,
                    value,
                    mask,
                    width,
                    compare,
                } => {
                    let found = match width {
                        Width::Four => {
                            u64::from((*at.pointer::<AtomicU32>()).load(Ordering::SeqCst))
                        }
                        Width::Eight => (*at.pointer::<AtomicU64>()).load(Ordering::SeqCst),
                    };
                    if !holds(*compare, found, *value, *mask, *width) {
                        return Outcome::Retry;
                    }
                }
                Self::Reach(mark) => mark.reach(),
                Self::WaitForProcess(mark) => {
                    if !mark.is_reached() {
                        return Outcome::Retry;
                    }
                }
                Self::WaitForDevice { device, point } => {
                    // A device that cannot be used any more has nothing to wait for.
                    if super::on(*device).is_ok_and(|other| !other.has_reached(point)) {
                        return Outcome::Retry;
                    }
                }
            }
        }
        Outcome::Done
    }
}

/// As hip_runtime_api.h says of `hipStreamWaitValue32`; "nor" masks both.
fn holds(compare: Compare, found: u64, value: u64, mask: u64, width: Width) -> bool {
    let found = found & mask;
    match compare {
        Compare::GreaterOrEqual => found >= value,
        Compare::Equal => found == value,
        Compare::And => found & value != 0,
        Compare::Nor => match width {
            Width::Four => !(found | value & mask) as u32 != 0,
            Width::Eight => !(found | value & mask) != 0,
        },
    }
}

unsafe fn copy(from: RowLayout, to: RowLayout, block: Block) {
    for plane in 0..block.planes {
        for row in 0..block.rows {
            // SAFETY: the caller's promise. `copy`, not `copy_nonoverlapping`: programs do overlap.
            unsafe {
                std::ptr::copy(
                    from.row::<u8>(row, plane),
                    to.row::<u8>(row, plane),
                    block.width,
                )
            };
        }
    }
}

unsafe fn fill(to: RowLayout, block: Block, value: u32, unit: usize) {
    let bytes = value.to_le_bytes();
    for plane in 0..block.planes {
        for row in 0..block.rows {
            let start = to.row::<u8>(row, plane);
            if unit == 1 {
                // SAFETY: the caller's promise.
                unsafe { std::ptr::write_bytes(start, bytes[0], block.width) };
                continue;
            }
            for offset in (0..block.width / unit * unit).step_by(unit) {
                // SAFETY: the caller's promise; `unit` is 2 or 4, no more than `bytes`.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(offset), unit) };
            }
        }
    }
}
