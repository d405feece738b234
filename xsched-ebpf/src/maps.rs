//! The maps beside the counts, and the only functions that write them.

use core::arch::asm;

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, RingBuf};
use xsched_common::bpf::{
    CallRecord, Drop, KERNEL_NAME_LEN, KernelName, ProcessChange, ProcessEvent, ThreadBurst,
};

/// Processes that come and go. A ring of its own: calls cannot flood it.
#[map]
static LIFECYCLE: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

/// Every call, while a trace is recorded; the agent sets the size.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// Kernels that were looked up by name, while a trace is recorded.
#[map]
static KERNEL_NAMES: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// By thread: where a look-up under way puts the handle, and the name. LRU,
/// because a thread may end in it.
#[map]
static LOOKUPS: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(1_024, 0);

/// What each thread is at. LRU, because threads leave theirs behind.
#[map]
static THREAD_BURSTS: LruHashMap<u64, ThreadBurst> = LruHashMap::with_max_entries(16_384, 0);

/// How often the agent has set probes.
#[map]
static EPOCH: Array<u64> = Array::with_max_entries(1, 0);

/// Probe hits that count or record, counted or dropped.
#[map]
static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Events that were not counted, per [`Drop`].
#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Drop::COUNT, 0);

/// The last entry of each thread into a shim's function. LRU, because a
/// thread that dies after its note leaves it behind.
#[map]
static SHIM_ENTRIES: LruHashMap<u64, ShimEntry> = LruHashMap::with_max_entries(16_384, 0);

/// Whether there is anything in [`SHIM_ENTRIES`] and [`THREAD_BURSTS`]: as
/// long as there is not, no call needs to look there. An array's element is
/// found without a call, a hash table's costs 30 ns.
#[map]
static USED: Array<u64> = Array::with_max_entries(2, 0);
const USED_SHIM_ENTRIES: u32 = 0;
const USED_THREAD_BURSTS: u32 = 1;

/// What a thread's entry into a shim's function looked like.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ShimEntry {
    /// Return address; 0 once the call has been met at the runtime, since no
    /// call returns there.
    pub caller: u64,
    /// Stack pointer.
    pub stack_pointer: u64,
    /// Of the probed instruction: in the shim.
    pub address: u64,
    /// Index of the function, widened so that no byte is padding.
    pub api: u64,
    /// When the shim's was entered, CLOCK_MONOTONIC, ns.
    pub time_ns: u64,
}

/// A slot of a per-CPU map plus one. The slot is this CPU's own, but on a
/// preemptible kernel another task can run the program on this CPU between a
/// load and a store: a plain increment would lose counts.
///
/// `core` offers no `fetch_add` for BPF (the target counts as one without
/// compare-and-swap), though every BPF machine has the atomic addition.
#[inline(always)]
pub fn add_one(slot: *mut u64) {
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

/// Tells the agent about a process.
#[inline(always)]
pub fn lifecycle(tgid: u32, change: ProcessChange) {
    let Some(mut record) = LIFECYCLE.reserve::<ProcessEvent>(0) else {
        dropped(Drop::LifecycleFull);
        return;
    };
    record.write(ProcessEvent {
        // SAFETY: a helper without arguments.
        time_ns: unsafe { bpf_ktime_get_ns() },
        tgid,
        change: change as u32,
    });
    record.submit(0);
}

/// Hands a call to the trace. The agent looks every few milliseconds:
/// waking it for every call would cost more than the call.
#[inline(always)]
pub fn record(call: &CallRecord) {
    let Some(mut record) = RECORDS.reserve::<CallRecord>(0) else {
        dropped(Drop::RecordFull);
        return;
    };
    record.write(*call);
    record.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// A thread looks a kernel up.
#[inline(always)]
pub fn note_lookup(pid_tgid: u64, handle_at: u64, name_at: u64) {
    // Without it the kernel has no name: nothing is lost but that.
    let _ = LOOKUPS.insert(&pid_tgid, &[handle_at, name_at], 0);
}

/// The look-up that has ended.
#[inline(always)]
pub fn take_lookup(pid_tgid: u64) -> Option<(u64, u64)> {
    // SAFETY: copied at once; an element that is replaced meanwhile is that of
    // the same thread, which is here.
    let [handle_at, name_at] = *unsafe { LOOKUPS.get(&pid_tgid) }?;
    let _ = LOOKUPS.remove(&pid_tgid);
    Some((handle_at, name_at))
}

/// Tells of a kernel's name, which is in the process's memory.
#[inline(always)]
pub fn kernel_name(tgid: u32, handle: u64, name_at: u64) {
    let Some(mut record) = KERNEL_NAMES.reserve::<KernelName>(0) else {
        return;
    };
    let to = record.as_mut_ptr();
    // SAFETY: reserved and as long as the record. The helper ends the name with a
    // NUL and may leave what is behind as it was.
    let read = unsafe {
        (*to).handle = handle;
        (*to).tgid = tgid;
        (*to).reserved = 0;
        let name = (&raw mut (*to).name).cast::<u8>();
        bpf_probe_read_user_str(name.cast(), KERNEL_NAME_LEN as u32, name_at as *const _)
    };
    match read > 0 {
        true => record.submit(u64::from(BPF_RB_NO_WAKEUP)),
        false => record.discard(0),
    }
}

/// What a thread was at when last seen.
#[inline(always)]
pub fn thread_burst(pid_tgid: u64) -> Option<*mut ThreadBurst> {
    if !is_used(USED_THREAD_BURSTS) {
        return None;
    }
    THREAD_BURSTS.get_ptr_mut(pid_tgid)
}

/// Begins to follow a thread.
#[inline(always)]
pub fn note_thread_burst(pid_tgid: u64, thread: &ThreadBurst) {
    set_used(USED_THREAD_BURSTS);
    // LRU maps make room; an update that fails all the same only means that
    // the thread's next wait is its first again.
    let _ = THREAD_BURSTS.insert(pid_tgid, thread, 0);
}

/// How often the agent has set probes.
#[inline(always)]
pub fn epoch() -> u64 {
    EPOCH.get(0).copied().unwrap_or(0)
}

#[inline(always)]
fn is_used(map: u32) -> bool {
    USED.get(map).is_some_and(|used| *used != 0)
}

#[inline(always)]
fn set_used(map: u32) {
    if let Some(used) = USED.get_ptr_mut(map) {
        // SAFETY: `used` comes from a map look-up; it is only ever set.
        unsafe { used.write_volatile(1) };
    }
}

/// Notes that the thread entered a shim's function: in place if it has a
/// note already, because adding to a hash table and removing from it costs
/// several times as much as finding.
#[inline(always)]
pub fn note_shim_entry(pid_tgid: u64, entry: &ShimEntry) {
    if let Some(noted) = SHIM_ENTRIES.get_ptr_mut(pid_tgid) {
        // SAFETY: `noted` comes from a map look-up under RCU; only this
        // thread writes the element. One that is recycled meanwhile costs its
        // new owner a note: that call counts as direct.
        unsafe { *noted = *entry };
        return;
    }
    set_used(USED_SHIM_ENTRIES);
    // LRU maps make room; an update that fails all the same only means that
    // the call is counted as direct.
    let _ = SHIM_ENTRIES.insert(pid_tgid, entry, 0);
}

/// The thread's last entry into a shim's function if `is_same` takes it for
/// the call that is in the runtime now; forgets it if so.
#[inline(always)]
pub fn take_shim_entry(
    pid_tgid: u64,
    is_same: impl FnOnce(&ShimEntry) -> bool,
) -> Option<ShimEntry> {
    if !is_used(USED_SHIM_ENTRIES) {
        return None;
    }
    let noted = SHIM_ENTRIES.get_ptr_mut(pid_tgid)?;
    // SAFETY: as in `note_shim_entry`; a recycled element merely compares
    // unequal.
    let entry = unsafe { *noted };
    if entry.caller == 0 || !is_same(&entry) {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*noted).caller = 0 };
    Some(entry)
}
