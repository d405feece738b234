//! The contracts between xsched's parts, and nothing else.
//!
//! Whatever two of the parts (BPF programs, agent, shim, xtop) must agree on
//! lives here once: units ([`units`]), the gate's control word and its
//! decision ([`gate`]), the shared pages ([`page`]), the messages of joining
//! ([`join`]), what the shim's file says of itself ([`note`]), the BPF maps'
//! keys ([`bpf`]), latency buckets ([`buckets`]), the platforms' entry points
//! and names ([`platform`]) and the agent's JSON messages (`api`, feature `api`).
//!
//! The core is `no_std` and knows no clock, no system call and, outside
//! [`platform`], no vendor.

#![cfg_attr(not(any(feature = "std", test)), no_std)]

#[cfg(feature = "api")]
pub mod api;
pub mod bpf;
pub mod buckets;
pub mod gate;
// BPF has no compare-and-swap in `core`, and no business with pages.
#[cfg(not(target_arch = "bpf"))]
pub mod elf_note;
#[cfg(not(target_arch = "bpf"))]
pub mod handshake;
#[cfg(not(target_arch = "bpf"))]
pub mod page;
pub mod platform;
#[cfg(feature = "std")]
pub mod run_dir;
pub mod units;

/// Version of every binary contract in this crate: pages, joining messages.
///
/// The major part changes when an older peer would misread the layout (the
/// peers then refuse each other and the program runs as native); the minor
/// part when fields are appended in reserved space.
///
/// 1.1: [`page::PassthroughList`] in the control page. 1.2:
/// [`page::GateScope`] behind it. 1.3: `split_intervals` in the status page.
/// 1.4: [`gate::GateMode::Watched`], [`page::Edges::WATCH`] and
/// [`page::Pace`] in the status page. 1.5: parts of devices in it
/// ([`page::StatusPage::instance`]). 1.6: class groups ([`handshake::Part`],
/// [`page::ThreadRules`]).
pub const ABI: Abi = Abi { major: 1, minor: 6 };

/// The first minor version whose agents let groups of a process join: others
/// would take a group for the process once more.
pub const GROUPS_SINCE: u16 = 6;

/// A version of the binary contracts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abi {
    /// Incompatible layouts differ in this.
    pub major: u16,
    /// Additions differ in this.
    pub minor: u16,
}

impl Abi {
    /// Whether a peer that speaks `self` understands one that speaks `other`.
    pub const fn understands(self, other: Abi) -> bool {
        self.major == other.major
    }
}

impl core::str::FromStr for Abi {
    type Err = core::num::ParseIntError;

    /// The form that it displays as.
    fn from_str(text: &str) -> Result<Abi, Self::Err> {
        let (major, minor) = text.split_once('.').unwrap_or((text, ""));
        Ok(Abi {
            major: major.parse()?,
            minor: minor.parse()?,
        })
    }
}

impl core::fmt::Display for Abi {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
