//! The C structures of hsa.h, hsa_ext_amd.h, amd_hsa_signal.h and amd_hsa_queue.h that cross the interface.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64};

use crate::abi::status::Status;

/// `hsa_agent_t`: zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct AgentHandle(pub u64);

impl AgentHandle {
    /// The first GPU's; the others' follow.
    pub const FIRST_GPU: u64 = 0x20;

    /// That of a GPU, by its number in this process.
    pub const fn of_gpu(number: usize) -> AgentHandle {
        AgentHandle(Self::FIRST_GPU + number as u64)
    }
}

/// `hsa_amd_memory_pool_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct PoolHandle(pub u64);

/// `hsa_signal_t`: the address of a [`SignalData`]; zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SignalHandle(pub u64);

/// Any other handle.
pub type Handle = u64;

/// `amd_signal_t`, which tools read, and the runtime when it logs.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct SignalData {
    pub kind: AtomicI64,
    pub value: AtomicI64,
    event_mailbox: u64,
    event: [u32; 2],
    /// Begin of what completed it, ns.
    pub start: AtomicU64,
    /// End of it, ns.
    pub end: AtomicU64,
    pub queue: AtomicU64,
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<SignalData>() == 64);

impl SignalData {
    /// An `AMD_SIGNAL_KIND_USER` with this value.
    pub const fn new() -> Self {
        Self {
            kind: AtomicI64::new(1),
            value: AtomicI64::new(0),
            event_mailbox: 0,
            event: [0; 2],
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
            queue: AtomicU64::new(0),
            reserved: [0; 2],
        }
    }
}

/// `hsa_queue_t`. The runtime reads it directly.
#[derive(Debug)]
#[repr(C)]
pub struct QueueData {
    pub kind: u32,
    pub features: u32,
    pub base: *mut c_void,
    pub doorbell: SignalHandle,
    pub size: u32,
    pub reserved: u32,
    pub id: u64,
}

/// `amd_queue_t` as far as tools read it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct AmdQueue {
    pub queue: QueueData,
    capabilities: u32,
    reserved1: [u32; 3],
    /// Index that the next packet gets.
    pub write_index: AtomicU64,
    apertures: [u32; 4],
    legacy_doorbell: [u32; 12],
    /// Index of the oldest packet that is not done.
    pub read_index: AtomicU64,
    rest: [u32; 30],
}

const _: () = assert!(size_of::<AmdQueue>() == 256);
const _: () = assert!(std::mem::offset_of!(AmdQueue, write_index) == 56);
const _: () = assert!(std::mem::offset_of!(AmdQueue, read_index) == 128);

impl AmdQueue {
    /// An empty queue.
    pub const fn new(queue: QueueData) -> Self {
        Self {
            queue,
            capabilities: 0,
            reserved1: [0; 3],
            write_index: AtomicU64::new(0),
            apertures: [0; 4],
            legacy_doorbell: [0; 12],
            read_index: AtomicU64::new(0),
            rest: [0; 30],
        }
    }
}

/// The first bytes of every AQL packet.
#[repr(C)]
pub struct PacketHeader {
    /// Type in bits 0 to 7; written last, so that a packet with a valid type is complete.
    pub header: AtomicU16,
    /// Dimensions of a dispatch, AMD's format of a vendor packet.
    pub setup: AtomicU16,
}

/// `hsa_kernel_dispatch_packet_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DispatchPacket {
    pub header: u16,
    pub setup: u16,
    pub workgroup: [u16; 3],
    reserved0: u16,
    pub grid: [u32; 3],
    pub private_size: u32,
    pub group_size: u32,
    pub kernel: u64,
    pub arguments: u64,
    reserved2: u64,
    pub completion: SignalHandle,
}

/// `hsa_barrier_and_packet_t` and `hsa_barrier_or_packet_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BarrierPacket {
    pub header: u16,
    reserved0: [u16; 3],
    pub signals: [SignalHandle; 5],
    reserved2: u64,
    pub completion: SignalHandle,
}

/// `hsa_amd_barrier_value_packet_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BarrierValuePacket {
    pub header: u16,
    pub format: u8,
    reserved: u8,
    reserved0: u32,
    pub signal: SignalHandle,
    pub value: i64,
    pub mask: i64,
    pub condition: u32,
    reserved1: u32,
    reserved2: [u64; 2],
    pub completion: SignalHandle,
}

/// Bytes of every packet.
pub const PACKET: usize = 64;

const _: () = assert!(size_of::<DispatchPacket>() == PACKET);
const _: () = assert!(size_of::<BarrierPacket>() == PACKET);
const _: () = assert!(size_of::<BarrierValuePacket>() == PACKET);

/// How a signal's value is compared (`hsa_signal_condition_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Equal,
    NotEqual,
    Less,
    GreaterOrEqual,
}

impl Condition {
    /// From its number.
    pub fn new(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Equal,
            1 => Self::NotEqual,
            2 => Self::Less,
            3 => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// Whether it holds.
    pub fn holds(self, value: i64, than: i64) -> bool {
        match self {
            Self::Equal => value == than,
            Self::NotEqual => value != than,
            Self::Less => value < than,
            Self::GreaterOrEqual => value >= than,
        }
    }
}

/// `hsa_dim3_t`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

/// `hsa_pitched_ptr_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PitchedPointer {
    pub base: *mut c_void,
    pub pitch: usize,
    pub slice: usize,
}

/// Begin and end in ns (`hsa_amd_profiling_dispatch_time_t` and the one of copies).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Times {
    pub start: u64,
    pub end: u64,
}

/// `hsa_amd_svm_attribute_pair_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AttributePair {
    pub attribute: u64,
    pub value: u64,
}

/// `hsa_amd_memory_access_desc_t`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AccessDescription {
    pub permissions: u32,
    pub agent: AgentHandle,
}

/// `hsa_amd_pointer_info_t`. Runtimes know shorter ones; `size` says.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PointerInfo {
    pub size: u32,
    pub kind: u32,
    pub agent_base: *mut c_void,
    pub host_base: *mut c_void,
    pub bytes: usize,
    pub user_data: *mut c_void,
    pub owner: AgentHandle,
    pub flags: u32,
    pub registered: bool,
}

/// `hsa_amd_memory_pool_link_info_t`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct LinkInfo {
    /// Least and largest latency and bandwidth, which are not told here.
    pub figures: [u32; 4],
    /// Atomics of 32 and of 64 bits, coherence.
    pub has: [bool; 3],
    /// `hsa_amd_link_info_type_t`.
    pub kind: u32,
    pub distance: u32,
}

const _: () = assert!(size_of::<LinkInfo>() == 28);

/// `hsa_amd_event_t` with a memory fault.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SystemEvent {
    /// `hsa_amd_event_type_t`.
    pub kind: u32,
    /// Whose kernel it was.
    pub agent: AgentHandle,
    /// What it used.
    pub address: u64,
    /// A set of `hsa_amd_memory_fault_reason_t`.
    pub reasons: u32,
}

/// Called for an event (`hsa_amd_system_event_callback_t`).
pub type SystemEventCallback = unsafe extern "C" fn(*const SystemEvent, *mut c_void) -> Status;
/// Called for each element of a list.
pub type AgentCallback = unsafe extern "C" fn(AgentHandle, *mut c_void) -> Status;
/// Called for each pool.
pub type PoolCallback = unsafe extern "C" fn(PoolHandle, *mut c_void) -> Status;
/// Called when a signal's condition holds; true asks to be called again.
pub type SignalCallback = unsafe extern "C" fn(i64, *mut c_void) -> bool;
/// Called when a queue fails.
pub type QueueCallback = unsafe extern "C" fn(Status, *mut QueueData, *mut c_void);
