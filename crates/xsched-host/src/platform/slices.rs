//! Time slices that a driver lets be set from outside of a process.

use super::PciAddress;
use crate::process::ProcessId;
use xsched_common::platform::Platform;
use xsched_common::units::Nanos;

/// A driver that has time slices.
pub trait SliceDriver: Send + Sync {
    /// Whose processes have them.
    fn platform(&self) -> Platform;

    /// Its version, for people.
    fn version(&self) -> &str;

    /// What it gives work that nobody has set anything for. A group with
    /// another slice belongs to somebody else: to the program, or to another
    /// tool.
    fn default_slice(&self) -> Nanos;

    /// Finds the groups in which a process's work is scheduled. `scan` is
    /// what was found before and where the search goes on. A look takes some
    /// ten milliseconds, a few times that at most whatever the process does,
    /// and nothing of the process is held after it; while a call stands in the
    /// driver, copies of the process's descriptors are.
    ///
    /// # Errors
    /// It is gone, or may not be looked at.
    fn look(&self, process: ProcessId, scan: &mut Scan) -> Result<Vec<Group>, SliceError>;

    /// Sets the slice of a group that [`SliceDriver::look`] has found; returns
    /// what it is afterwards, by the driver.
    ///
    /// # Errors
    /// The process or the group is gone, or the driver refuses.
    fn set(&self, process: ProcessId, group: GroupId, slice: Nanos) -> Result<Nanos, SliceError>;
}

/// Channels of one process that take turns with those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// On which device.
    pub device: PciAddress,
    /// What it has now.
    pub slice: Nanos,
}

/// A group within its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The process's session with the driver.
    pub client: u32,
    /// The group in it.
    pub object: u32,
}

/// How far a process has been searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Its descriptors of the driver when it was.
    pub descriptors: usize,
    /// Its sessions with the driver.
    pub clients: Vec<u32>,
    /// The youngest number that was asked for.
    pub newest: Option<u32>,
    /// Where the search goes on, and how many numbers it has left.
    pub next: u32,
    /// See `next`.
    pub left: u32,
    /// Whether all sessions are known, or everything was asked for.
    pub is_complete: bool,
}

/// Why a process's slices are neither read nor set.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// It has ended, or its pid is another's now.
    #[error("process {0} has ended")]
    Gone(u32),
    /// The kernel does not let this agent take part in its session.
    #[error(
        "process {pid}: the kernel refuses its descriptors ({error}): run the agent as root with \
         CAP_SYS_PTRACE"
    )]
    Denied {
        /// The process.
        pid: u32,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// It has no session with the driver, or not yet.
    #[error("process {0} has not opened the driver")]
    NoSession(u32),
    /// The driver does not tell sessions of different processes apart.
    #[error(
        "the driver lets root use any session through any descriptor (RmClientDataValidation), so no \
         process's time slice is touched"
    )]
    Lenient,
    /// The driver refuses.
    #[error("process {pid}: the driver refuses {what} with status {status:#x}")]
    Refused {
        /// The process.
        pid: u32,
        /// What it was asked for.
        what: &'static str,
        /// Its number for the reason.
        status: u32,
    },
    /// The driver's device node cannot be used.
    #[error("{node}: {error}")]
    Node {
        /// The node.
        node: &'static str,
        /// What the kernel said.
        error: std::io::Error,
    },
}

/// Why no slices are set on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSlices {
    /// No driver that has them is loaded.
    #[error("no driver here has time slices that can be set from outside")]
    NoDriver,
    /// One is, and nobody has compared its structures with ours.
    #[error(
        "driver {version}: its structures were not checked, so no time slice is touched ({checked} \
         were)"
    )]
    Unchecked {
        /// Its version.
        version: String,
        /// Those that were.
        checked: String,
    },
    /// What it says of its version is no version.
    #[error("{0} does not say the driver's version")]
    Unreadable(&'static str),
}
