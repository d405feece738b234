//! Memory pools: three of the host, four of each GPU.

use simdevice::options;

use super::places;
use crate::abi::status::{Result, Status};
use crate::abi::types::PoolHandle;

/// Bytes of memory that a workgroup can share.
const GROUP_MEMORY: usize = 65_536;
/// Flags of `HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS`.
const KERNARG: u32 = 1;
const FINE: u32 = 2;
const COARSE: u32 = 4;
const EXTENDED: u32 = 8;

/// Pools of the host, by flags, and those of a GPU, of which the last is the memory that a workgroup shares.
const OF_CPU: [u32; 3] = [FINE, FINE | KERNARG, COARSE];
const OF_GPU: [u32; 4] = [COARSE, EXTENDED, FINE, 0];
/// Index of the last.
const GROUP: u8 = 3;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    gpu: Option<u8>,
    index: u8,
}

impl Pool {
    /// The host's coarse-grained memory.
    pub const HOST: Self = Self {
        gpu: None,
        index: 2,
    };

    /// The main memory of a GPU.
    pub fn of_gpu(gpu: usize) -> Self {
        Self {
            gpu: Some(gpu as u8),
            index: 0,
        }
    }

    /// Pools of a GPU, or of the host.
    pub fn all(gpu: Option<usize>) -> impl Iterator<Item = Self> {
        let count = if gpu.is_some() {
            OF_GPU.len()
        } else {
            OF_CPU.len()
        };
        let gpu = gpu.map(|gpu| gpu as u8);
        (0..count as u8).map(move |index| Self { gpu, index })
    }

    /// The pool that a handle names.
    ///
    /// # Errors
    /// `INVALID_POOL`.
    pub fn new(handle: PoolHandle) -> Result<Self> {
        let (of, index) = (handle.0 >> 8, handle.0 as u8);
        let gpu = match of {
            1 => None,
            of => Some(of.checked_sub(2).ok_or(Status::INVALID_POOL)? as usize),
        };
        let count = gpu.map_or(OF_CPU.len(), |_| OF_GPU.len());
        if usize::from(index) >= count || gpu.is_some_and(|gpu| gpu >= places().len()) {
            return Err(Status::INVALID_POOL);
        }
        Ok(Self {
            gpu: gpu.map(|gpu| gpu as u8),
            index,
        })
    }

    /// As the API names it.
    pub fn handle(self) -> PoolHandle {
        let of = self.gpu.map_or(1, |gpu| 2 + u64::from(gpu));
        PoolHandle(of << 8 | u64::from(self.index))
    }

    /// The GPU whose memory it is.
    pub fn gpu(self) -> Option<usize> {
        self.gpu.map(usize::from)
    }

    /// Whether it is what a workgroup shares.
    pub fn is_group(self) -> bool {
        self.gpu.is_some() && self.index == GROUP
    }

    /// Its global flags.
    pub fn flags(self) -> u32 {
        let flags: &[u32] = if self.gpu.is_some() { &OF_GPU } else { &OF_CPU };
        flags.get(usize::from(self.index)).copied().unwrap_or(0)
    }

    /// Its bytes.
    pub fn size(self) -> usize {
        match self.gpu {
            _ if self.is_group() => GROUP_MEMORY,
            Some(_) => options::get().memory as usize,
            // SAFETY: sysconf only reads.
            None => unsafe {
                (libc::sysconf(libc::_SC_PHYS_PAGES) * libc::sysconf(libc::_SC_PAGESIZE)) as usize
            },
        }
    }
}
