//! Waits of one process for another, as far as the kernel shows them: file
//! locks, pipes, and locks in shared memory.
//!
//! A process of a high class that waits for one whose gate is closed on its
//! behalf waits for itself: priority inversion. Looked at twice, because
//! every healthy process waits for a moment.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::time::Duration;

use xsched_host::process::{self, Mapping};

use super::bindings::Memory;

/// One thread's wait for another process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// Who is waited for.
    pub holder: u32,
    /// How it is known, as a line of evidence.
    pub evidence: String,
}

/// A wait that is over by then is no concern.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Threads and descriptors that are looked at.
const MAX_THREADS: usize = 1024;
const MAX_FILES: usize = 4096;

/// Waits of `pid` for any of `holders` that last.
pub fn lasting_waits(pid: u32, holders: &[u32]) -> Vec<Wait> {
    if holders.is_empty() {
        return Vec::new();
    }
    let first = waits(pid, holders);
    if first.is_empty() {
        return Vec::new();
    }
    std::thread::sleep(BETWEEN_LOOKS);
    first.intersection(&waits(pid, holders)).cloned().collect()
}

fn waits(pid: u32, holders: &[u32]) -> BTreeSet<Wait> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut out: BTreeSet<Wait> = file_locks(&locks, pid)
        .filter(|(holder, _)| holders.contains(holder))
        .map(|(holder, kind)| Wait {
            holder,
            evidence: format!("/proc/locks: {pid} waits for a {kind} lock that {holder} holds"),
        })
        .collect();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return out;
    };
    let shared = Shared::between(pid, holders);
    for task in tasks.take(MAX_THREADS).flatten() {
        let Some(thread) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        match Blocked::parse(&call) {
            Some(Blocked::Read { descriptor }) => {
                out.extend(shared.writers(descriptor).iter().map(|&holder| Wait {
                    holder,
                    evidence: format!(
                        "thread {thread} reads from a pipe (descriptor {descriptor}) whose other end {holder} \
                         has open"
                    ),
                }));
            }
            Some(Blocked::Futex { address, protocol }) => {
                out.extend(shared.futex_owner(thread, address, protocol));
            }
            None => {}
        }
    }
    out
}

/// Locks that `pid` waits for, as (holder, kind). Lines of /proc/locks that
/// have the same number belong together: the holder's, then `->` and those
/// who wait (proc_locks(5)).
fn file_locks(text: &str, pid: u32) -> impl Iterator<Item = (u32, &str)> {
    let mut holder = None;
    text.lines().filter_map(move |line| {
        let (_, rest) = line.split_once(':')?;
        let mut fields = rest.split_ascii_whitespace();
        let kind = fields.next()?;
        if kind != "->" {
            holder = fields.nth(2).and_then(|pid| pid.parse().ok());
            return None;
        }
        let kind = fields.next()?;
        let waiter: u32 = fields.nth(2)?.parse().ok()?;
        (waiter == pid).then_some((holder?, kind))
    })
}

/// What a thread is blocked in, by /proc/PID/task/TID/syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    Read { descriptor: u32 },
    Futex { address: u64, protocol: Protocol },
}

/// How a lock in memory names its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// The futex word holds the owner's thread id (futex(2), FUTEX_LOCK_PI).
    PriorityInheritance,
    /// A pthread_mutex_t of glibc: lock, count, owner, 4 bytes each
    /// (sysdeps/x86/nptl/bits/struct_mutex.h).
    Mutex,
}

impl Blocked {
    fn parse(text: &str) -> Option<Blocked> {
        let mut fields = text.split_ascii_whitespace();
        let number: i64 = fields.next()?.parse().ok()?;
        let mut argument = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
        match number {
            libc::SYS_read | libc::SYS_readv => Some(Blocked::Read {
                descriptor: u32::try_from(argument()?).ok()?,
            }),
            libc::SYS_futex => {
                let (address, operation) = (argument()?, argument()? as i32);
                let protocol = match operation & libc::FUTEX_CMD_MASK {
                    // Private ones are between threads of one process.
                    _ if operation & libc::FUTEX_PRIVATE_FLAG != 0 => return None,
                    libc::FUTEX_LOCK_PI | libc::FUTEX_LOCK_PI2 => Protocol::PriorityInheritance,
                    libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => Protocol::Mutex,
                    _ => return None,
                };
                Some(Blocked::Futex { address, protocol })
            }
            _ => None,
        }
    }
}

/// What the process and its holders both have. Read once and when first
/// asked for: a process decides how many of its threads wait.
struct Shared<'h> {
    pid: u32,
    holders: &'h [u32],
    own: OnceCell<HashMap<FileId, Vec<u32>>>,
    writers: OnceCell<HashMap<FileId, Vec<u32>>>,
    memory: OnceCell<Vec<Mapping>>,
    mappers: OnceCell<HashMap<u32, HashSet<MappedFile>>>,
}

/// Device and inode of a file, by stat.
type FileId = (u64, u64);
/// The same as /proc/PID/maps writes them.
type MappedFile = ((u32, u32), u64);

impl<'h> Shared<'h> {
    fn between(pid: u32, holders: &'h [u32]) -> Shared<'h> {
        Shared {
            pid,
            holders,
            own: OnceCell::new(),
            writers: OnceCell::new(),
            memory: OnceCell::new(),
            mappers: OnceCell::new(),
        }
    }

    /// The holders that can write to the pipe; none if the process can, too:
    /// children inherit the pipes with which a program wakes itself.
    fn writers(&self, descriptor: u32) -> &[u32] {
        let Some(pipe) = pipe_of(self.pid, &descriptor.to_string()) else {
            return &[];
        };
        let own = || writable_pipes(&[self.pid]);
        if self.own.get_or_init(own).contains_key(&pipe) {
            return &[];
        }
        let all = self.writers.get_or_init(|| writable_pipes(self.holders));
        all.get(&pipe).map_or(&[], Vec::as_slice)
    }

    /// Who owns a lock in shared memory that a thread waits for.
    fn futex_owner(&self, thread: u32, address: u64, protocol: Protocol) -> Option<Wait> {
        let pid = self.pid;
        let memory = || process::maps(pid).unwrap_or_default();
        let mut memory = self.memory.get_or_init(memory).iter();
        let area = memory.find(|m| m.range.contains(&address) && m.shared && m.inode != 0)?;
        let (at, mask) = match protocol {
            Protocol::PriorityInheritance => (address, libc::FUTEX_TID_MASK),
            Protocol::Mutex => (address.checked_add(8)?, u32::MAX),
        };
        let bytes = Memory::open(pid).ok()?.bytes(at, 4)?;
        let owner = u32::from_le_bytes(bytes.try_into().ok()?) & mask;
        // The lock's bytes are anybody's: the owner must be a thread of a
        // process that maps the same memory. Its number is that of its own pid
        // namespace, where another process of another namespace may have the
        // same: then nobody is named.
        let mappers = self.mappers.get_or_init(|| shared_files(self.holders));
        let file = (area.device, area.inode);
        let candidates = self.holders.iter().filter(|h| mappers[h].contains(&file));
        let mut owners = candidates
            .chain([&pid])
            .filter_map(|&process| Some((process, thread_that_calls_itself(process, owner)?)));
        let (holder, thread_there) = owners.next()?;
        if holder == pid || owners.next().is_some() {
            return None;
        }
        let number = match thread_there == owner {
            true => owner.to_string(),
            false => format!("{thread_there} ({owner} in its pid namespace)"),
        };
        Some(Wait {
            holder,
            evidence: format!(
                "thread {thread} waits for a lock in {} whose owner is thread {number} of {holder}",
                area.path
            ),
        })
    }
}

/// The thread of a process that has this number in the process's own pid
/// namespace, by its number in ours.
fn thread_that_calls_itself(pid: u32, number: u32) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks.take(MAX_THREADS).flatten().find_map(|task| {
        let thread: u32 = task.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        (own_number(&status)? == number).then_some(thread)
    })
}

/// `NSpid:` lists a thread's numbers from our pid namespace to its own
/// (proc_pid_status(5)).
fn own_number(status: &str) -> Option<u32> {
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_ascii_whitespace().last()?.parse().ok()
}

/// The pipes that any of `holders` can write to, with those who can.
fn writable_pipes(holders: &[u32]) -> HashMap<FileId, Vec<u32>> {
    let mut out: HashMap<FileId, Vec<u32>> = HashMap::new();
    for &holder in holders {
        let files = fs::read_dir(format!("/proc/{holder}/fd"));
        for file in files.into_iter().flatten().take(MAX_FILES).flatten() {
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(pipe) = pipe_of(holder, name) else {
                continue;
            };
            let known = out.get(&pipe).is_some_and(|who| who.contains(&holder));
            if !known && is_writable(holder, name) {
                out.entry(pipe).or_default().push(holder);
            }
        }
    }
    out
}

/// The files that each of `holders` shares memory through.
fn shared_files(holders: &[u32]) -> HashMap<u32, HashSet<MappedFile>> {
    let of = |holder: u32| {
        let maps = process::maps(holder).unwrap_or_default();
        let shared = maps.iter().filter(|m| m.shared);
        shared.map(|m| (m.device, m.inode)).collect()
    };
    holders.iter().map(|&holder| (holder, of(holder))).collect()
}

/// Device and inode, if the descriptor is a pipe.
fn pipe_of(pid: u32, descriptor: &str) -> Option<FileId> {
    use std::os::unix::fs::FileTypeExt as _;
    let stat = fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    stat.file_type()
        .is_fifo()
        .then(|| (stat.st_dev(), stat.st_ino()))
}

fn is_writable(pid: u32, descriptor: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| i32::from_str_radix(text.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_are_told_from_holders() {
        let text = "1: POSIX  ADVISORY  WRITE 10 08:01:5 0 EOF\n\
                    1: -> POSIX  ADVISORY  WRITE 20 08:01:5 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 30 08:01:6 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 20 08:01:6 0 EOF\n\
                    3: OFDLCK ADVISORY  WRITE -1 08:01:7 0 EOF\n\
                    3: -> OFDLCK ADVISORY  WRITE 20 08:01:7 0 EOF\n";
        let of = |pid| file_locks(text, pid).collect::<Vec<_>>();
        assert_eq!(of(20), [(10, "POSIX"), (30, "FLOCK")]);
        assert_eq!(of(10), []);
        assert_eq!(file_locks("nonsense: ->", 1).count(), 0);
    }

    #[test]
    fn a_thread_in_a_container_has_a_number_of_its_own() {
        assert_eq!(
            own_number("Name:\tx\nNSpid:\t4242\t17\t3\nNSsid:\t1\n"),
            Some(3)
        );
        assert_eq!(own_number("NSpid:\t4242\n"), Some(4242));
        assert_eq!(own_number("Name:\tx\n"), None);
        let me = std::process::id();
        let own = own_number(&fs::read_to_string("/proc/self/status").expect("mine"));
        assert_eq!(
            thread_that_calls_itself(me, own.expect("a number")),
            Some(me)
        );
        assert_eq!(thread_that_calls_itself(me, u32::MAX), None);
    }

    #[test]
    fn blocked_calls() {
        let parse = Blocked::parse;
        let read = Some(Blocked::Read { descriptor: 5 });
        assert_eq!(parse("0 0x5 0x7f 0x1 0x0 0x0 0x0 0x7ffc 0x7f\n"), read);
        let futex = |protocol| {
            Some(Blocked::Futex {
                address: 0x7000,
                protocol,
            })
        };
        assert_eq!(parse("202 0x7000 0x0 0x2 0x0"), futex(Protocol::Mutex));
        let inheriting = futex(Protocol::PriorityInheritance);
        assert_eq!(parse("202 0x7000 0x6 0x0 0x0"), inheriting);
        // Between the threads of one process.
        assert_eq!(parse("202 0x7000 0x80 0x2 0x0"), None);
        for other in ["running", "-1 0x7ffc 0x7f", "", "0 5", "202 0x7000"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
