//! What to observe, and how.

use xsched_common::bpf::MAX_KEYS;

use super::compat::{Kernel, Returns};
use super::site::ProbeSet;

/// Which processes a probe fires for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, also those started later.
    All,
    /// One process with all its threads.
    Pid(u32),
}

/// How probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// All probes of an image in one link, if the kernel is new enough.
    Best,
    /// A perf event for each probe, which every kernel can.
    Perf,
}

/// Which end of a function a probe fires at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// When it is called.
    Entry,
    /// When it returns.
    Return,
}

/// What becomes of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are counted in the kernel.
    Count,
    /// Each is reported, through a ring of so many bytes (a power of two).
    Record {
        /// The ring's size.
        ring_bytes: u32,
    },
}

/// What to observe.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which processes.
    pub scope: Scope,
    /// Which functions.
    pub probes: ProbeSet,
    /// Whether the ends of waits are probed as well, for the lengths of
    /// bursts.
    pub returns: Returns,
    /// What becomes of the calls.
    pub purpose: Purpose,
    /// Whether shims are probed as well, to tell which calls came through
    /// them.
    pub shims: ShimProbes,
    /// How probes are attached.
    pub links: LinkKind,
    /// What the kernel can do: the running one, or in tests another.
    pub kernel: Kernel,
    /// How many distinct (process, function, caller, stream class) can be
    /// counted.
    pub max_keys: u32,
}

/// What to do about shims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShimProbes {
    /// Leave them alone: a shim that jumps to the runtime stays invisible.
    Leave,
    /// Probe the known ones and those with these file names.
    Probe(Vec<String>),
}

impl Plan {
    /// For a daemon: all processes, cheap.
    pub fn everything() -> Plan {
        Plan {
            scope: Scope::All,
            probes: ProbeSet::Bursts,
            returns: Returns::Leave,
            purpose: Purpose::Count,
            shims: ShimProbes::Leave,
            links: LinkKind::Best,
            kernel: Kernel::running(),
            max_keys: MAX_KEYS,
        }
    }

    /// For a trace: every call, with a ring for a quarter of a second of a
    /// million launches per second, of which beginning and end are told.
    pub fn recording(scope: Scope) -> Plan {
        Plan {
            scope,
            probes: ProbeSet::Trace,
            returns: Returns::OfWaits,
            purpose: Purpose::Record {
                ring_bytes: 32 << 20,
            },
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        }
    }

    /// For a diagnosis: one process in depth. `shims` are file names beside
    /// the known ones.
    pub fn process(pid: u32, shims: Vec<String>) -> Plan {
        Plan {
            scope: Scope::Pid(pid),
            probes: ProbeSet::Work,
            shims: ShimProbes::Probe(shims),
            ..Plan::everything()
        }
    }
}
