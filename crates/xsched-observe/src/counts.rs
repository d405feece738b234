//! Reads what the BPF programs count.

use std::collections::HashMap as StdMap;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf};
use xsched_common::bpf::{
    BurstKey, CallKey, CallRecord, Drop, FirstSeen, KernelName, ProcessEvent, ProcessKeys, Room,
    UserUse,
};
use xsched_common::page::HistogramCounts;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RawKey(CallKey);

// SAFETY: `CallKey` is `repr(C)` of integers without padding; every bit
// pattern is one.
unsafe impl aya::Pod for RawKey {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RawBurstKey(BurstKey);

// SAFETY: as `RawKey`.
unsafe impl aya::Pod for RawBurstKey {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RawRoom(Room);

// SAFETY: as `RawKey`.
unsafe impl aya::Pod for RawRoom {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RawUserUse(UserUse);

// SAFETY: as `RawKey`.
unsafe impl aya::Pod for RawUserUse {}

/// Events that could not be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    by_reason: [u64; Drop::COUNT as usize],
}

/// Per CPU, by reason.
pub type DropsByCpu = Vec<[u64; Drop::COUNT as usize]>;

impl Drops {
    /// For one reason.
    pub fn of(&self, reason: Drop) -> u64 {
        self.by_reason[reason as usize]
    }

    /// Calls that are missing in the counts. A lost notice is not one.
    pub fn calls(&self) -> u64 {
        let lost = Drop::ALL.into_iter().filter(|reason| reason.loses_call());
        lost.map(|reason| self.of(reason)).sum()
    }

    /// What was dropped between `earlier` and `self`.
    pub fn since(&self, earlier: &Drops) -> Drops {
        let mut since = *self;
        for (now, before) in since.by_reason.iter_mut().zip(earlier.by_reason) {
            *now = now.saturating_sub(before);
        }
        since
    }
}

/// The maps of the loaded programs.
pub struct Maps {
    calls: PerCpuHashMap<MapData, RawKey, u64>,
    keys: HashMap<MapData, u32, u64>,
    users: HashMap<MapData, u32, RawUserUse>,
    bursts: PerCpuHashMap<MapData, RawBurstKey, u64>,
    epoch: Array<MapData, u64>,
    first_seen: RingBuf<MapData>,
    lifecycle: RingBuf<MapData>,
    records: RingBuf<MapData>,
    kernel_names: RingBuf<MapData>,
    events: PerCpuArray<MapData, u64>,
    drops: PerCpuArray<MapData, u64>,
}

impl Maps {
    /// Takes them from programs that were loaded with so much room.
    pub(super) fn take(bpf: &mut Ebpf, room: Room) -> Result<Maps, MapError> {
        let missing = |name: &str| MapError::InvalidName {
            name: name.to_owned(),
        };
        // Not taken: programs that are yet to be loaded need it open.
        let sizes = bpf.map_mut("ROOM").ok_or_else(|| missing("ROOM"))?;
        Array::<_, RawRoom>::try_from(sizes)?.set(0, RawRoom(room), 0)?;
        let mut take = |name: &str| bpf.take_map(name).ok_or_else(|| missing(name));
        Ok(Maps {
            calls: take("CALLS")?.try_into()?,
            keys: take("KEYS")?.try_into()?,
            users: take("USERS")?.try_into()?,
            bursts: take("BURSTS")?.try_into()?,
            epoch: take("EPOCH")?.try_into()?,
            first_seen: take("FIRST_SEEN")?.try_into()?,
            lifecycle: take("LIFECYCLE")?.try_into()?,
            records: take("RECORDS")?.try_into()?,
            kernel_names: take("KERNEL_NAMES")?.try_into()?,
            events: take("EVENTS")?.try_into()?,
            drops: take("DROPS")?.try_into()?,
        })
    }

    /// Total per key since the key was first seen.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn calls(&self) -> Result<StdMap<CallKey, u64>, CountsError> {
        self.calls
            .iter()
            .map(|entry| {
                let (RawKey(key), per_cpu) = entry?;
                Ok((key, per_cpu.iter().sum()))
            })
            .collect()
    }

    /// Bursts per process since it was first seen.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn bursts(&self) -> Result<StdMap<u32, HistogramCounts>, CountsError> {
        let mut bursts: StdMap<u32, HistogramCounts> = StdMap::new();
        for entry in self.bursts.iter() {
            let (RawBurstKey(key), per_cpu) = entry?;
            let counts = &mut bursts.entry(key.tgid).or_default().0;
            if let Some(count) = counts.get_mut(key.bucket as usize) {
                let total: u64 = per_cpu.iter().sum();
                *count = u32::try_from(total).unwrap_or(u32::MAX);
            }
        }
        Ok(bursts)
    }

    /// The processes that have been counted, or would have been if there had
    /// been room.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn processes(&self) -> Result<Vec<u32>, CountsError> {
        Ok(self.keys.keys().collect::<Result<_, _>>()?)
    }

    /// Counts anew what each user has of the maps. What the kernel adds
    /// meanwhile may be missing until the next time.
    ///
    /// # Errors
    /// The kernel refuses to read or write a map.
    pub fn recount_users(&mut self) -> Result<(), CountsError> {
        let mut users: StdMap<u32, UserUse> = StdMap::new();
        let mut user_of: StdMap<u32, u32> = StdMap::new();
        for entry in self.keys.iter() {
            let (tgid, packed) = entry?;
            let process = ProcessKeys::unpack(packed);
            let user = users.entry(process.uid).or_default();
            user.processes += 1;
            user.keys += u64::from(process.keys);
            user_of.insert(tgid, process.uid);
        }
        for key in self.bursts.keys() {
            let RawBurstKey(key) = key?;
            if let Some(user) = user_of.get(&key.tgid).and_then(|uid| users.get_mut(uid)) {
                user.bursts += 1;
            }
        }
        let mut gone = Vec::new();
        for entry in self.users.iter() {
            let (uid, RawUserUse(noted)) = entry?;
            match users.get(&uid) {
                None => gone.push(uid),
                Some(user) if *user == noted => {
                    users.remove(&uid);
                }
                Some(_) => {}
            }
        }
        for uid in gone {
            // As in `forget`.
            let _ = self.users.remove(&uid);
        }
        for (uid, user) in users {
            self.users.insert(uid, RawUserUse(user), 0)?;
        }
        Ok(())
    }

    /// Makes room: forgets a key.
    pub fn forget(&mut self, key: CallKey) {
        // It may be gone already: nobody counts on the result.
        let _ = self.calls.remove(&RawKey(key));
    }

    /// Makes room: forgets a process, apart from its keys.
    pub fn forget_process(&mut self, tgid: u32, bursts: Option<&HistogramCounts>) {
        // As above.
        let _ = self.keys.remove(&tgid);
        let used = bursts.into_iter().flat_map(|counts| counts.0.iter());
        for (bucket, _) in (0..).zip(used).filter(|&(_, &count)| count > 0) {
            let _ = self.bursts.remove(&RawBurstKey(BurstKey { tgid, bucket }));
        }
    }

    /// Says that probes have been set: what threads were at before that is
    /// not known any more.
    ///
    /// # Errors
    /// The kernel refuses to write the map.
    pub fn begin_epoch(&mut self) -> Result<(), CountsError> {
        let epoch = self.epoch.get(&0, 0)?;
        Ok(self.epoch.set(0, epoch.wrapping_add(1), 0)?)
    }

    /// Probe hits since the programs were loaded, counted or dropped.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn events(&self) -> Result<u64, CountsError> {
        Ok(self.events.get(&0, 0)?.iter().sum())
    }

    /// What could not be counted since the programs were loaded.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn drops(&self) -> Result<Drops, CountsError> {
        let mut drops = Drops::default();
        for reason in Drop::ALL {
            let index = reason as u32;
            drops.by_reason[reason as usize] = self.drops.get(&index, 0)?.iter().sum();
        }
        Ok(drops)
    }

    /// What could not be counted, by CPU.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn drops_by_cpu(&self) -> Result<DropsByCpu, CountsError> {
        let mut by_cpu = DropsByCpu::new();
        for reason in Drop::ALL {
            let values = self.drops.get(&(reason as u32), 0)?;
            by_cpu.resize(values.len().max(by_cpu.len()), Default::default());
            for (cpu, value) in values.iter().enumerate() {
                by_cpu[cpu][reason as usize] = *value;
            }
        }
        Ok(by_cpu)
    }

    /// Hands every pending notice of a new key to `each`.
    pub fn drain_first_seen(&mut self, each: impl FnMut(FirstSeen)) {
        // SAFETY: `FirstSeen` is integers only.
        unsafe { drain(&mut self.first_seen, usize::MAX, each) };
    }

    /// Hands what is told of processes to `each`.
    pub fn drain_lifecycle(&mut self, each: impl FnMut(ProcessEvent)) {
        // SAFETY: `ProcessEvent` is integers only.
        unsafe { drain(&mut self.lifecycle, usize::MAX, each) };
    }

    /// Hands recorded calls to `each`, so many at most: a flood must not
    /// keep the reader from everything else. Returns how many.
    pub fn drain_records(&mut self, most: usize, each: impl FnMut(CallRecord)) -> usize {
        // SAFETY: `CallRecord` is integers only.
        unsafe { drain(&mut self.records, most, each) }
    }

    /// Hands kernels that were looked up by name to `each`.
    pub fn drain_kernel_names(&mut self, each: impl FnMut(KernelName)) {
        // SAFETY: `KernelName` is integers only.
        unsafe { drain(&mut self.kernel_names, usize::MAX, each) };
    }

    /// Readable when a notice of a new key, or of a process, is pending.
    pub fn notice_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.first_seen.as_fd(), self.lifecycle.as_fd()]
    }
}

/// Hands up to `most` pending records to `each`; says how many.
///
/// # Safety
/// Every bit pattern is a `T`.
unsafe fn drain<T>(ring: &mut RingBuf<MapData>, most: usize, mut each: impl FnMut(T)) -> usize {
    let mut drained = 0;
    while drained < most
        && let Some(record) = ring.next()
    {
        drained += 1;
        if record.len() >= mem::size_of::<T>() {
            // SAFETY: the length was checked, any bits are a `T` by the
            // contract above, and an unaligned read needs no alignment.
            each(unsafe { record.as_ptr().cast::<T>().read_unaligned() });
        }
    }
    drained
}

/// The counts cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the BPF maps: {0}")]
pub struct CountsError(String);

impl From<MapError> for CountsError {
    fn from(error: MapError) -> CountsError {
        CountsError(match error {
            MapError::SyscallError(e) => format!("{e}: {}", e.io_error),
            e => e.to_string(),
        })
    }
}
