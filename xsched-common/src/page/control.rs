//! The control page: what the agent tells one client.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::units::Class;

use super::{CONTROL_MAGIC, GateScope, MAX_DEVICES, PageHeader, PassthroughList, ThreadRules};

/// Agent-written; mapped read-only by the client.
#[repr(C, align(64))]
pub struct ControlPage {
    /// Magic, ABI and size.
    pub header: PageHeader,
    /// Changes with every start of the agent; 0 is never used.
    pub epoch: u64,
    /// The client's number within the epoch.
    pub client_id: u64,
    /// Counts up at least every 50 ms while the agent lives. A counter and
    /// not a time: the two clocks may differ (time namespaces).
    pub heartbeat: AtomicU64,
    /// The client's [`crate::units::Class`], for its own log lines and for whoever
    /// asks for the class that it has already; no gate is decided from it on the
    /// client's side.
    pub class: AtomicU32,
    /// A [`QueuePriority`]: what the hardware queues of the client's process get.
    /// In space that older agents leave zero and older shims do not read; the
    /// process's own page counts, not its groups'.
    pub queue_priority: AtomicU32,
    /// The client's process id as its agent sees it, for whoever looks on: the page
    /// may be mapped by others. Zero from older agents.
    pub pid: AtomicU32,
    /// Zero.
    pub reserved0: [u8; 4],
    /// By [`crate::units::DeviceIndex`].
    pub devices: [DeviceControl; MAX_DEVICES],
    /// Libraries that the agent's configuration lets past the gate.
    pub passthrough: PassthroughList,
    /// Which work the gate is for, beyond `passthrough`.
    pub scope: GateScope,
    /// Which threads have classes of their own. Since ABI 1.6.
    pub threads: ThreadRules,
}

/// One device's part of a [`ControlPage`]; a cache line of its own because
/// every launch on the device reads it.
#[repr(C, align(64))]
pub struct DeviceControl {
    /// A [`crate::gate::GateWord`]; also the futex (shared, not private, flag)
    /// that the first in line of the process's waiting threads sleeps on. It
    /// wakes those behind it, so one woken thread is enough. More than one
    /// sleeps here only where a first was taken for gone and was not, in a
    /// function that the runtime calls, and in shims before ABI 1.3; those that
    /// are not woken look at the word within 20 ms.
    pub word: AtomicU32,
    /// An [`Edges`] set: which changes of activity ring the doorbell.
    pub wanted_edges: AtomicU32,
    /// Gated commands between two fences while the gate is not open;
    /// 0 means that the shim chooses.
    pub fence_batch: AtomicU32,
    /// Zero.
    pub reserved: [u8; 52],
}

/// What priority a process's hardware queues get, where its runtime has such a
/// thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum QueuePriority {
    /// Whatever they have.
    #[default]
    Leave = 0,
    /// Below others.
    Low = 1,
    /// The runtime's own.
    Normal = 2,
    /// Above others.
    High = 3,
}

impl QueuePriority {
    /// By class.
    pub const fn of(class: Class) -> QueuePriority {
        match class {
            Class::Low => QueuePriority::Low,
            Class::Normal => QueuePriority::Normal,
            Class::High | Class::Realtime => QueuePriority::High,
        }
    }

    /// Out of the page's word; what is none means [`QueuePriority::Leave`].
    pub const fn from_raw(raw: u32) -> QueuePriority {
        match raw {
            1 => QueuePriority::Low,
            2 => QueuePriority::Normal,
            3 => QueuePriority::High,
            _ => QueuePriority::Leave,
        }
    }
}

/// A set of activity changes that the agent wants to hear of.
///
/// While nothing depends on a client (nobody of a lower class waits, or the
/// agent already knows that it is active) the set is empty and the client's
/// launches make no system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Edges(pub u32);

impl Edges {
    /// Ring for nothing.
    pub const NONE: Edges = Edges(0);
    /// Ring when the device goes from idle to active.
    pub const ACTIVE: Edges = Edges(1);
    /// Ring when the last work in flight is known to be complete.
    pub const IDLE: Edges = Edges(2);
    /// No edge: nothing tells when the client's work is complete, so its shim
    /// times it and says in [`super::Pace`] until when it should last. With
    /// [`Edges::ACTIVE`] the agent takes an active client for idle: a launch
    /// behind that time begins a burst and rings. Since ABI 1.4.
    pub const WATCH: Edges = Edges(4);

    /// Whether all of `other` is in the set.
    pub const fn contains(self, other: Edges) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub const fn with(self, other: Edges) -> Edges {
        Edges(self.0 | other.0)
    }
}

const _: () = {
    assert!(size_of::<DeviceControl>() == 64);
    assert!(core::mem::offset_of!(ControlPage, devices) == 64);
    assert!(core::mem::offset_of!(ControlPage, passthrough) == 64 + 64 * MAX_DEVICES);
    assert!(size_of::<ControlPage>() == 64 + 64 * MAX_DEVICES + 1024);
};

impl ControlPage {
    /// A page with every gate open, as the agent first writes it.
    pub fn new(epoch: u64, client_id: u64) -> ControlPage {
        ControlPage {
            header: PageHeader::new(CONTROL_MAGIC, size_of::<ControlPage>()),
            epoch,
            client_id,
            heartbeat: AtomicU64::new(0),
            class: AtomicU32::new(0),
            queue_priority: AtomicU32::new(QueuePriority::Leave as u32),
            pid: AtomicU32::new(0),
            reserved0: [0; 4],
            devices: [const {
                DeviceControl {
                    word: AtomicU32::new(crate::gate::GateWord::OPEN.0),
                    wanted_edges: AtomicU32::new(0),
                    fence_batch: AtomicU32::new(0),
                    reserved: [0; 52],
                }
            }; MAX_DEVICES],
            passthrough: PassthroughList::new(),
            scope: GateScope::new(),
            threads: ThreadRules::new(),
        }
    }
}
