//! The two pages that agent and shim share per client.
//!
//! [`ControlPage`] is written by the agent and read-only for the client,
//! enforced by the kernel (memfd seals); [`StatusPage`] is written by the
//! client and distrusted by the agent. Both are `#[repr(C)]` with explicit
//! padding, one writer per cache line, and start with a [`PageHeader`]. All
//! fields past the header are atomics: a page is never borrowed mutably.

mod activity;
mod callers;
mod control;
mod hist;
mod label;
mod passthrough;
mod scope;
mod status;
mod thread_rules;

pub use crate::buckets::{BUCKETS, bucket_bounds, bucket_of};
pub use activity::{Activity, ActivityWord, Settled};
pub use callers::{CALLER_NAME_LEN, CALLER_SLOTS, CallerSlot};
pub use control::{ControlPage, DeviceControl, Edges, QueuePriority};
pub use hist::{Histogram, HistogramCounts};
pub use label::{Label, LabelState};
pub use passthrough::{PASSTHROUGH_LEN, PassthroughError, PassthroughList};
pub use scope::{GateScope, ListMeaning, Listed, MAX_SCOPE_APIS, TooManyApis, api_hash};
pub use status::{DeviceStatus, LaunchTotals, Pace, Route, StatusPage};
pub use thread_rules::{
    BadThreadPattern, Ceilings, HintPolicy, MAX_THREAD_RULES, THREAD_PATTERN_LEN, ThreadPattern,
    ThreadRules,
};

use crate::Abi;

/// The files of the protocols between threads name their atomics by this
/// path, so that tests can compile them against loom's.
mod atomic {
    pub use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
}

/// Devices that one process's pages have room for.
pub const MAX_DEVICES: usize = 16;

/// Class groups of one process: itself, and up to three sets of its threads and
/// streams with classes of their own. Each joins for itself and has pages of its
/// own ([`crate::handshake::Part`]), so that gate, guards, bursts and policy are
/// those of a process.
pub const MAX_GROUPS: usize = 4;

/// First word of a control page: "xsct".
pub const CONTROL_MAGIC: u32 = u32::from_le_bytes(*b"xsct");
/// First word of a status page: "xsst".
pub const STATUS_MAGIC: u32 = u32::from_le_bytes(*b"xsst");

/// The start of both pages; written once, before the peer maps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// [`CONTROL_MAGIC`] or [`STATUS_MAGIC`].
    pub magic: u32,
    /// The writer's ABI.
    pub abi: Abi,
    /// Bytes in the page, header included.
    pub size: u32,
    /// Zero.
    pub reserved: u32,
}

impl PageHeader {
    /// The header that the owner of a page writes.
    pub const fn new(magic: u32, size: usize) -> PageHeader {
        PageHeader {
            magic,
            abi: crate::ABI,
            size: size as u32,
            reserved: 0,
        }
    }

    /// Whether the peer may read the page behind this header.
    pub const fn check(self, magic: u32, size: usize) -> Result<(), PageMismatch> {
        if self.magic != magic {
            return Err(PageMismatch::Magic(self.magic));
        }
        if !crate::ABI.understands(self.abi) {
            return Err(PageMismatch::Abi(self.abi));
        }
        if (self.size as usize) < size {
            return Err(PageMismatch::Size(self.size));
        }
        Ok(())
    }
}

/// Why a page cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageMismatch {
    /// Not such a page at all.
    Magic(u32),
    /// Written by an incompatible version.
    Abi(Abi),
    /// Shorter than this version's layout.
    Size(u32),
}

impl core::fmt::Display for PageMismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            PageMismatch::Magic(magic) => write!(f, "not an xsched page (magic {magic:#010x})"),
            PageMismatch::Abi(abi) => write!(
                f,
                "shared page has ABI {abi}, this side speaks {}: install the same xsched version on both",
                crate::ABI
            ),
            PageMismatch::Size(size) => write!(f, "shared page of {size} bytes is too short"),
        }
    }
}

impl core::error::Error for PageMismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_strangers_apart() {
        let header = PageHeader::new(CONTROL_MAGIC, 128);
        assert_eq!(header.check(CONTROL_MAGIC, 128), Ok(()));
        assert!(matches!(
            header.check(STATUS_MAGIC, 128),
            Err(PageMismatch::Magic(_))
        ));
        assert_eq!(
            header.check(CONTROL_MAGIC, 129),
            Err(PageMismatch::Size(128))
        );
        let mut newer = header;
        newer.abi.minor += 1;
        newer.size += 64;
        assert_eq!(newer.check(CONTROL_MAGIC, 128), Ok(()));
        newer.abi.major += 1;
        assert!(matches!(
            newer.check(CONTROL_MAGIC, 128),
            Err(PageMismatch::Abi(_))
        ));
    }

    #[test]
    fn pages_of_one_client_stay_small() {
        let bytes = size_of::<ControlPage>() + size_of::<StatusPage>();
        assert!(bytes <= 64 * 1024, "{bytes} bytes per client");
    }
}
