//! The kernels that the HIP runtime itself launches, for copies, fills and values in memory. The runtime compiles them from
//! sources in its library (`__amd_rocclr_*`, ROCm/clr rocclr/device/blitcl.cpp; what they call is in ROCm-Device-Libs,
//! opencl/src/misc/amdblit.cl): here they compute by name.

use super::copies::{Block, Rows, copy};
use super::packet::Outcome;
use super::values::{OPERATION, Value, operation};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlitKernel {
    CopyBuffer,
    CopyBufferAligned,
    CopyBufferRect,
    CopyBufferRectAligned,
    Fill,
    Fill2d,
    Write,
    Wait,
    Batch,
    /// What it prepares is not simulated and not missed: heaps of kernels, waves that wait for one another.
    Nothing,
    /// Images, device-side queues, and what later runtimes may have.
    NotSimulated,
}

impl BlitKernel {
    /// By its name.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("__amd_rocclr_")? {
            "copyBuffer" => Self::CopyBuffer,
            "copyBufferAligned" => Self::CopyBufferAligned,
            "copyBufferRect" => Self::CopyBufferRect,
            "copyBufferRectAligned" => Self::CopyBufferRectAligned,
            "fillBufferAligned" => Self::Fill,
            "fillBufferAligned2D" => Self::Fill2d,
            "streamOpsWrite" => Self::Write,
            "streamOpsWait" => Self::Wait,
            "batchMemOp" => Self::Batch,
            "initHeap" | "gwsInit" => Self::Nothing,
            _ => Self::NotSimulated,
        })
    }

    /// Its time in ns, given that of a copy.
    pub fn time(self, copy: u64) -> u64 {
        match self {
            Self::Write | Self::Wait | Self::Batch | Self::Nothing => 0,
            _ => copy,
        }
    }
}

/// What one of them does.
#[derive(Debug)]
pub enum Blit {
    /// Copies a block.
    Copy { from: Rows, to: Rows, block: Block },
    /// Repeats a pattern over each row; `width` is in patterns.
    Fill {
        to: Rows,
        block: Block,
        pattern: Vec<u8>,
    },
    /// Writes and waits for values, one after another.
    Values(std::collections::VecDeque<Value>),
}

/// Arguments one after another, each at a multiple of its size.
struct Arguments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Arguments<'_> {
    fn take<const N: usize>(&mut self, alignment: usize) -> Option<[u8; N]> {
        let at = self.at.next_multiple_of(alignment);
        self.at = at + N;
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    fn word(&mut self) -> Option<u64> {
        self.take(8).map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        self.word().map(|word| word as usize)
    }

    fn int(&mut self) -> Option<u32> {
        self.take(4).map(u32::from_le_bytes)
    }

    /// `ulong4`.
    fn four(&mut self) -> Option<[usize; 4]> {
        let bytes: [u8; 32] = self.take(32)?;
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        Some(std::array::from_fn(|_| {
            words.next().unwrap_or_default() as usize
        }))
    }
}

fn line(start: usize) -> Rows {
    Rows {
        start,
        row_pitch: 0,
        plane_pitch: 0,
    }
}

fn run(width: usize) -> Block {
    Block {
        width,
        rows: 1,
        planes: 1,
    }
}

impl Blit {
    /// What a dispatch does; none when its arguments are not as known.
    ///
    /// # Safety
    /// Pointers in the arguments to patterns and lists of operations are valid now.
    pub unsafe fn new(kernel: BlitKernel, arguments: &[u8]) -> Option<Self> {
        let mut arguments = Arguments {
            bytes: arguments,
            at: 0,
        };
        let take = &mut arguments;
        Some(match kernel {
            BlitKernel::CopyBuffer => {
                let (from, to, size) = (take.size()?, take.size()?, take.size()?);
                Self::Copy {
                    from: line(from),
                    to: line(to),
                    block: run(size),
                }
            }
            BlitKernel::CopyBufferAligned => {
                let (from, to) = (take.size()?, take.size()?);
                let (from_origin, to_origin, size) = (take.size()?, take.size()?, take.size()?);
                let unit = if take.int()? == 16 { 16 } else { 4 };
                Self::Copy {
                    from: line(from + from_origin * unit),
                    to: line(to + to_origin * unit),
                    block: run(size * unit),
                }
            }
            BlitKernel::CopyBufferRect | BlitKernel::CopyBufferRectAligned => {
                let (from, to) = (take.size()?, take.size()?);
                let (from_rect, to_rect, size) = (take.four()?, take.four()?, take.four()?);
                let unit = match kernel {
                    BlitKernel::CopyBufferRect => 1,
                    _ if size[3] == 16 => 16,
                    _ => 4,
                };
                // A rectangle is row pitch, plane pitch and offset.
                let rows = |start: usize, rect: [usize; 4]| Rows {
                    start: start + rect[2] * unit,
                    row_pitch: rect[0] * unit,
                    plane_pitch: rect[1] * unit,
                };
                Self::Copy {
                    from: rows(from, from_rect),
                    to: rows(to, to_rect),
                    block: Block {
                        width: size[0] * unit,
                        rows: size[1],
                        planes: size[2],
                    },
                }
            }
            BlitKernel::Fill => {
                let (to, pattern, count, unit) =
                    (take.size()?, take.size()?, take.int()?, take.int()?);
                let end = take.size()?;
                let length = count as usize * unit.max(1) as usize;
                // SAFETY: the caller's promise.
                let pattern = unsafe { bytes(pattern, length) }?;
                Self::Fill {
                    to: line(to),
                    block: run(end.saturating_sub(to) / length),
                    pattern,
                }
            }
            BlitKernel::Fill2d => {
                let places = [
                    (take.size()?, 1),
                    (take.size()?, 2),
                    (take.size()?, 4),
                    (take.size()?, 8),
                ];
                let (pattern, count) = (take.size()?, take.int()?);
                let (offset, width, height, pitch) =
                    (take.size()?, take.size()?, take.size()?, take.size()?);
                let (to, unit) = places.into_iter().rev().find(|(place, _)| *place != 0)?;
                // SAFETY: the caller's promise.
                let pattern = unsafe { bytes(pattern, count as usize * unit) }?;
                // The width is in bytes, offset and pitch are in units.
                Self::Fill {
                    to: Rows {
                        start: to + offset * unit,
                        row_pitch: pitch * unit,
                        plane_pitch: 0,
                    },
                    block: Block {
                        width: width / pattern.len(),
                        rows: height,
                        planes: 1,
                    },
                    pattern,
                }
            }
            BlitKernel::Write => {
                let (four, eight) = (take.size()?, take.size()?);
                Self::Values([Value::written(four, eight, take.word()?)?].into())
            }
            BlitKernel::Wait => {
                let (four, eight) = (take.size()?, take.size()?);
                let (value, flags, mask) = (take.word()?, take.word()?, take.word()?);
                Self::Values([Value::awaited(four, eight, value, flags, mask)?].into())
            }
            BlitKernel::Batch => {
                let (at, count) = (take.size()?, take.int()?);
                // SAFETY: the caller's promise: as many operations as it says.
                let operations = unsafe { bytes(at, count as usize * OPERATION) }?;
                let operations: Option<Vec<Option<Value>>> =
                    operations.chunks_exact(OPERATION).map(operation).collect();
                Self::Values(operations?.into_iter().flatten().collect())
            }
            BlitKernel::Nothing | BlitKernel::NotSimulated => return None,
        })
    }

    /// Does it, as far as its conditions hold.
    ///
    /// # Safety
    /// The addresses are the program's, valid until the packet is done.
    pub unsafe fn run(&mut self) -> Outcome {
        match self {
            // SAFETY: the caller's promise.
            Self::Copy { from, to, block } => unsafe { copy(*from, *to, *block) },
            Self::Fill { to, block, pattern } => {
                for row in 0..block.rows {
                    for place in 0..block.width {
                        let at = to.start + row * to.row_pitch + place * pattern.len();
                        // SAFETY: the caller's promise.
                        unsafe {
                            std::ptr::copy_nonoverlapping(
                                pattern.as_ptr(),
                                at as *mut u8,
                                pattern.len(),
                            )
                        };
                    }
                }
            }
            Self::Values(values) => {
                while let Some(value) = values.front() {
                    // SAFETY: the caller's promise.
                    if !unsafe { value.run() } {
                        return Outcome::Retry;
                    }
                    values.pop_front();
                }
            }
        }
        Outcome::Done
    }
}

/// # Safety
/// There are `length` bytes, if the address is not null.
unsafe fn bytes(at: usize, length: usize) -> Option<Vec<u8>> {
    if at == 0 || length == 0 || length > 1 << 20 {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(at as *const u8, length) }.to_vec())
}
