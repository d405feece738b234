//! What is counted, and how much of the maps a process and a user may have.
//!
//! A map that is full drops what is new, whoever it belongs to. So a process
//! has a quota of keys, and a user, who can have any number of processes, has
//! half of each map. Beyond it call sites are not told apart any more, which
//! takes few keys, and past an eighth more, calls are dropped. Root has no
//! quota. The agent, which removes what processes leave behind, counts anew
//! what each user has.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuHashMap, RingBuf};
use xsched_common::bpf::{
    BurstKey, CallKey, Drop, FirstSeen, KEYS_PER_PROCESS, MAX_BURSTS, MAX_KEYS, MAX_PROCESSES,
    OTHER_CALLERS, OTHER_KEYS_PER_PROCESS, ProcessChange, ProcessKeys, Room, UserUse, user_most,
    user_share,
};

use crate::maps::{add_one, dropped, lifecycle};

/// Calls per key. Preallocated, because kernels before 6.1 allocate unsafely
/// from tracing programs; the agent sets the size when it loads.
#[map]
static CALLS: PerCpuHashMap<CallKey, u64> = PerCpuHashMap::with_max_entries(MAX_KEYS, 0);

/// [`ProcessKeys`] of each process: present once it has been counted. The
/// agent sets the size.
#[map]
static KEYS: HashMap<u32, u64> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// What the processes of each user have of the maps. As large as [`KEYS`]:
/// each process runs for one user.
#[map]
static USERS: HashMap<u32, UserUse> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// The sizes that the agent has set.
#[map]
static ROOM: Array<Room> = Array::with_max_entries(1, 0);

/// Bursts per process and bucket of their length. A bucket, not a histogram
/// per key: a histogram for every CPU would be megabytes per process.
#[map]
static BURSTS: PerCpuHashMap<BurstKey, u64> = PerCpuHashMap::with_max_entries(MAX_BURSTS, 0);

/// Keys seen for the first time.
#[map]
static FIRST_SEEN: RingBuf = RingBuf::with_byte_size(1 << 17, 0);

const ROOT: u32 = 0;

/// A user and what is counted of it.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    has: *mut UserUse,
}

impl User {
    /// `None` if there is no room for another one.
    #[inline(always)]
    fn of(uid: u32) -> Option<User> {
        if let Some(has) = USERS.get_ptr_mut(uid) {
            return Some(User { uid, has });
        }
        let nothing = UserUse::default();
        // Another CPU may be faster.
        let _ = USERS.insert(uid, nothing, u64::from(BPF_NOEXIST));
        let has = USERS.get_ptr_mut(uid)?;
        Some(User { uid, has })
    }

    /// Other CPUs add to it at the same time: a user may get a few more than
    /// its share.
    #[inline(always)]
    fn has(&self) -> UserUse {
        // SAFETY: `has` comes from a map look-up under RCU.
        unsafe { self.has.read_volatile() }
    }

    /// Whether it has all that `part` gives it of the room for keys, or more
    /// than that of the room for processes.
    #[inline(always)]
    fn has_used(&self, part: impl Fn(u32) -> u64) -> bool {
        let (has, room) = (self.has(), room());
        self.uid != ROOT && (has.keys >= part(room.keys) || has.processes > part(room.processes))
    }

    #[inline(always)]
    fn add_key(&self) {
        // SAFETY: within the element that the look-up has found.
        add_one(unsafe { &raw mut (*self.has).keys });
    }

    #[inline(always)]
    fn add_process(&self) {
        // SAFETY: as above.
        add_one(unsafe { &raw mut (*self.has).processes });
    }

    #[inline(always)]
    fn add_burst(&self) {
        // SAFETY: as above.
        add_one(unsafe { &raw mut (*self.has).bursts });
    }
}

#[inline(always)]
fn room() -> Room {
    ROOM.get(0).copied().unwrap_or_default()
}

/// Counts a call.
#[inline(always)]
pub fn call(key: &CallKey) {
    if let Some(slot) = CALLS.get_ptr_mut(key) {
        add_one(slot);
        return;
    }
    if let Err(reason) = new_key(*key) {
        dropped(reason);
    }
}

#[inline(always)]
fn new_key(mut key: CallKey) -> Result<(), Drop> {
    let keys = keys_of(key.tgid)?;
    // SAFETY: `keys` comes from a map look-up. Other CPUs add to it at the
    // same time: a process may get a few keys more than its share.
    let process = ProcessKeys::unpack(unsafe { keys.read_volatile() });
    let user = User::of(process.uid).ok_or(Drop::UserQuota)?;
    if process.keys >= KEYS_PER_PROCESS || user.has_used(user_share) {
        key.caller = OTHER_CALLERS;
        if let Some(slot) = CALLS.get_ptr_mut(&key) {
            add_one(slot);
            return Ok(());
        }
        if process.keys >= KEYS_PER_PROCESS + OTHER_KEYS_PER_PROCESS {
            return Err(Drop::ProcessQuota);
        }
        if user.has_used(user_most) {
            return Err(Drop::UserQuota);
        }
    }
    if CALLS.insert(&key, 1, u64::from(BPF_NOEXIST)).is_ok() {
        add_one(keys);
        user.add_key();
        first_seen(&key);
        return Ok(());
    }
    // Another CPU was faster with this key, or the map is full.
    let slot = CALLS.get_ptr_mut(&key).ok_or(Drop::CountsFull)?;
    add_one(slot);
    Ok(())
}

/// The packed [`ProcessKeys`] of a process.
#[inline(always)]
fn keys_of(tgid: u32) -> Result<*mut u64, Drop> {
    if let Some(keys) = KEYS.get_ptr_mut(tgid) {
        return Ok(keys);
    }
    // The real uid in the initial namespace: not that of a set-user-ID
    // program, which its caller runs as often as it likes.
    let uid = bpf_get_current_uid_gid() as u32;
    let user = User::of(uid).ok_or(Drop::UserQuota)?;
    if uid != ROOT && user.has().processes >= user_most(room().processes) {
        return Err(Drop::UserQuota);
    }
    let process = ProcessKeys { uid, keys: 0 };
    if KEYS
        .insert(tgid, process.pack(), u64::from(BPF_NOEXIST))
        .is_ok()
    {
        user.add_process();
        lifecycle(tgid, ProcessChange::FirstCall);
    }
    KEYS.get_ptr_mut(tgid).ok_or(Drop::CountsFull)
}

/// Whether calls of the process have been counted.
#[inline(always)]
pub fn is_counted(tgid: u32) -> bool {
    KEYS.get_ptr(tgid).is_some()
}

/// Counts a burst; whether there was room.
#[inline(always)]
pub fn burst(key: &BurstKey) -> bool {
    if let Some(slot) = BURSTS.get_ptr_mut(key) {
        add_one(slot);
        return true;
    }
    let Some(keys) = KEYS.get_ptr(key.tgid) else {
        return false;
    };
    // SAFETY: `keys` comes from a map look-up.
    let process = ProcessKeys::unpack(unsafe { keys.read_volatile() });
    let Some(user) = User::of(process.uid) else {
        return false;
    };
    if user.uid != ROOT && user.has().bursts >= user_share(MAX_BURSTS) {
        return false;
    }
    if BURSTS.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() {
        user.add_burst();
        return true;
    }
    match BURSTS.get_ptr_mut(key) {
        Some(slot) => {
            add_one(slot);
            true
        }
        None => false,
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
