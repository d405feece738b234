//! The maps, and the only functions that write them.

use core::arch::asm;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use xsched_common::bpf::{CallKey, Drop, FirstSeen};

/// Calls per key. Preallocated, because kernels before 6.1 allocate unsafely
/// from tracing programs; the agent sets the size when it loads.
#[map]
static CALLS: PerCpuHashMap<CallKey, u64> = PerCpuHashMap::with_max_entries(16_384, 0);

/// Keys seen for the first time.
#[map]
static FIRST_SEEN: RingBuf = RingBuf::with_byte_size(1 << 17, 0);

/// Probe hits of `runtime_call`, counted or dropped.
#[map]
static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Events that were not counted, per [`Drop`].
#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Drop::COUNT, 0);

/// The last entry of each thread into a shim's function. LRU, because a
/// thread that dies after its note leaves it behind.
#[map]
static SHIM_ENTRIES: LruHashMap<u64, ShimEntry> = LruHashMap::with_max_entries(16_384, 0);

/// What is the same at the shim's entry and at the runtime's when the shim
/// tail-jumps.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ShimEntry {
    /// Return address.
    pub caller: u64,
    /// Stack pointer.
    pub stack_pointer: u64,
    /// Index of the function, widened so that no byte is padding.
    pub api: u64,
}

/// A slot of a per-CPU map plus one. The slot is this CPU's own, but on a
/// preemptible kernel another task can run the program on this CPU between a
/// load and a store: a plain increment would lose counts.
///
/// `core` offers no `fetch_add` for BPF (the target counts as one without
/// compare-and-swap), though every BPF machine has the atomic addition.
#[inline(always)]
fn add_one(slot: *mut u64) {
    // SAFETY: `slot` comes from a map look-up: valid, aligned to 8, and only
    // changed by this instruction.
    unsafe {
        asm!(
            "lock *(u64 *)({slot} + 0) += {one}",
            slot = in(reg) slot,
            one = in(reg) 1u64,
            options(nostack),
        );
    }
}

/// Counts a probe hit.
#[inline(always)]
pub fn event() {
    if let Some(slot) = EVENTS.get_ptr_mut(0) {
        add_one(slot);
    }
}

/// Counts something that could not be counted.
#[inline(always)]
pub fn dropped(reason: Drop) {
    if let Some(slot) = DROPS.get_ptr_mut(reason as u32) {
        add_one(slot);
    }
}

/// Counts a call.
#[inline(always)]
pub fn call(key: &CallKey) {
    if let Some(slot) = CALLS.get_ptr_mut(key) {
        add_one(slot);
        return;
    }
    if CALLS.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() {
        first_seen(key);
        return;
    }
    // Another CPU was faster with this key, or the map is full.
    match CALLS.get_ptr_mut(key) {
        Some(slot) => add_one(slot),
        None => dropped(Drop::CountsFull),
    }
}

#[inline(always)]
fn first_seen(key: &CallKey) {
    let Some(mut record) = FIRST_SEEN.reserve::<FirstSeen>(0) else {
        dropped(Drop::RingFull);
        return;
    };
    record.write(FirstSeen {
        key: *key,
        tid: bpf_get_current_pid_tgid() as u32,
        reserved: 0,
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
    });
    record.submit(0);
}

/// Notes that the thread entered a shim's function.
#[inline(always)]
pub fn note_shim_entry(pid_tgid: u64, entry: &ShimEntry) {
    // LRU maps make room; an update that fails all the same only means that
    // the call is counted as direct.
    let _ = SHIM_ENTRIES.insert(pid_tgid, entry, 0);
}

/// Whether the thread's last shim entry is `entry`; forgets it if so.
#[inline(always)]
pub fn take_shim_entry(pid_tgid: u64, entry: &ShimEntry) -> bool {
    let Some(noted) = SHIM_ENTRIES.get_ptr(pid_tgid) else {
        return false;
    };
    // SAFETY: `noted` comes from a map look-up under RCU; only this thread
    // writes the element, and a recycled element merely compares unequal.
    let noted = unsafe { *noted };
    let same = noted.caller == entry.caller
        && noted.stack_pointer == entry.stack_pointer
        && noted.api == entry.api;
    if same {
        let _ = SHIM_ENTRIES.remove(pid_tgid);
    }
    same
}
