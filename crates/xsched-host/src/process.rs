//! What /proc tells about a process: identity, mapped objects, environment.
//!
//! Everything here was written by another process or races with its exit:
//! sizes are bounded, text is kept as bytes where it may be any bytes, and a
//! process that is gone is a typed error, not a surprise.

use std::ffi::OsString;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

/// The most that is read of one /proc file: a process with 10,000 mappings
/// has about 1 MiB of maps.
const MAX_PROC_FILE: u64 = 64 << 20;

/// A process that cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such process, or it has exited meanwhile.
    #[error(
        "process {0} does not exist (any more): check the pid with `xsched-agent ps` or `ps -e`"
    )]
    Gone(u32),
    /// It belongs to somebody else, or the kernel protects it even from root.
    #[error(
        "process {0} belongs to another user or is protected: {next}",
        next = crate::text::more_rights()
    )]
    NotPermitted(u32),
    /// Anything else.
    #[error("cannot read /proc/{pid}/{file}: {source}")]
    Unreadable {
        /// The process.
        pid: u32,
        /// The file below /proc/PID.
        file: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ProcessError {
    fn from_io(pid: u32, file: &'static str, source: io::Error) -> ProcessError {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) if is_hidden(pid) => ProcessError::NotPermitted(pid),
            Some(libc::ENOENT | libc::ESRCH) => ProcessError::Gone(pid),
            Some(libc::EACCES | libc::EPERM) => ProcessError::NotPermitted(pid),
            _ => ProcessError::Unreadable { pid, file, source },
        }
    }
}

/// Whether it exists although /proc does not show it: mounted with hidepid=2
/// (proc(5)), /proc leaves other users' processes out.
fn is_hidden(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::PERM))
}

/// A process's identity: pids are reused, a pid with a start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// In the agent's pid namespace.
    pub pid: u32,
    /// Clock ticks since boot (field 22 of /proc/PID/stat).
    pub start_time: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pid)
    }
}

impl ProcessId {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Result<ProcessId, ProcessError> {
        Ok(ProcessId {
            pid,
            start_time: stat(pid)?.start_time,
        })
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_ok_and(|now| now.start_time == self.start_time && !now.ended)
    }
}

/// The fields of /proc/PID/stat that the agent uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The command name, as bytes between the outer parentheses.
    pub comm: String,
    /// Whether a signal (SIGSTOP) or a debugger has stopped it.
    pub stopped: bool,
    /// Whether it has ended and only waits for its parent to ask how.
    pub ended: bool,
    /// Parent process.
    pub parent: u32,
    /// Clock ticks since boot.
    pub start_time: u64,
}

/// Reads /proc/PID/stat.
pub fn stat(pid: u32) -> Result<Stat, ProcessError> {
    let raw = read(pid, "stat")?;
    parse_stat(&raw).ok_or_else(|| ProcessError::Unreadable {
        pid,
        file: "stat",
        source: io::Error::from(io::ErrorKind::InvalidData),
    })
}

/// The command name may itself hold blanks and parentheses, so the fields
/// are counted from the last parenthesis (proc_pid_stat(5)).
fn parse_stat(raw: &[u8]) -> Option<Stat> {
    let open = raw.iter().position(|&b| b == b'(')?;
    let close = raw.iter().rposition(|&b| b == b')')?;
    let comm = String::from_utf8_lossy(raw.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(raw.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    Some(Stat {
        comm,
        stopped: matches!(state, "T" | "t"),
        // A main thread can end before the others.
        ended: matches!(state, "Z" | "X" | "x") && threads <= 1,
        parent,
        start_time,
    })
}

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether its real or saved user or group is another one, as in a program
    /// with the set-user-ID bit: whoever started that is not who it runs as.
    pub is_mixed: bool,
}

impl Credentials {
    /// The one user that it is, if it is one.
    pub fn user(&self) -> Option<u32> {
        (!self.is_mixed).then_some(self.uid)
    }
}

/// The effective user id.
pub fn uid(pid: u32) -> Result<u32, ProcessError> {
    credentials(pid).map(|credentials| credentials.uid)
}

/// Its effective user and groups, as the agent's user namespace numbers them.
pub fn credentials(pid: u32) -> Result<Credentials, ProcessError> {
    let status = read(pid, "status")?;
    parse_credentials(&String::from_utf8_lossy(&status))
        .ok_or_else(|| ProcessError::from_io(pid, "status", io::ErrorKind::InvalidData.into()))
}

/// `Uid:` and `Gid:` list the real, effective, saved and file system's ids
/// (proc_pid_status(5)).
fn parse_credentials(status: &str) -> Option<Credentials> {
    let numbers = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_ascii_whitespace()
            .map(|number| number.parse().ok())
            .collect::<Option<Vec<u32>>>()
    };
    let (uids, gids) = (numbers("Uid:")?, numbers("Gid:")?);
    let mixed = |ids: &[u32]| ids.iter().take(3).any(|id| *id != ids[0]);
    Some(Credentials {
        uid: *uids.get(1)?,
        gid: *gids.get(1)?,
        groups: numbers("Groups:").unwrap_or_default(),
        is_mixed: mixed(&uids) || mixed(&gids),
    })
}

/// A tree of control groups that says which unit a process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// That of version 2.
    Unified,
    /// systemd's own of version 1.
    Systemd,
    /// That of a controller of version 1, in which Slurm has its jobs.
    Controller(Controller),
}

/// Controllers of version 1 by which Slurm holds jobs, the one that tracks
/// processes first (proctrack/cgroup, task/cgroup).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Which stops them.
    Freezer,
    /// Which counts their memory.
    Memory,
    /// Which binds them to processors.
    Cpuset,
    /// Which lets them open devices.
    Devices,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 4] = [
        Controller::Freezer,
        Controller::Memory,
        Controller::Cpuset,
        Controller::Devices,
    ];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Freezer => "freezer",
            Controller::Memory => "memory",
            Controller::Cpuset => "cpuset",
            Controller::Devices => "devices",
        }
    }
}

/// Where a process is in such a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroup {
    /// Which tree.
    pub hierarchy: Hierarchy,
    /// From its top, as the agent's control group namespace sees it.
    pub path: String,
}

/// The control group: that of version 2, else systemd's own hierarchy
/// (cgroups(7)).
pub fn control_group(pid: u32) -> Result<ControlGroup, ProcessError> {
    let raw = read(pid, "cgroup")?;
    parse_cgroup(&String::from_utf8_lossy(&raw))
        .ok_or_else(|| ProcessError::from_io(pid, "cgroup", io::ErrorKind::InvalidData.into()))
}

/// Its control groups by the controllers of version 1 that have one for it.
pub fn controller_groups(pid: u32) -> Result<Vec<ControlGroup>, ProcessError> {
    let raw = read(pid, "cgroup")?;
    Ok(parse_controllers(&String::from_utf8_lossy(&raw)))
}

fn parse_controllers(text: &str) -> Vec<ControlGroup> {
    let of = |controller: Controller| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = controllers.split(',').any(|name| name == controller.name());
            (is_it && path != "/").then(|| ControlGroup {
                hierarchy: Hierarchy::Controller(controller),
                path: path.to_owned(),
            })
        })
    };
    Controller::ALL.into_iter().filter_map(of).collect()
}

/// The path of [`control_group`].
pub fn cgroup(pid: u32) -> Result<String, ProcessError> {
    control_group(pid).map(|group| group.path)
}

/// Lines of `hierarchy:controllers:path`; the path may hold colons.
fn parse_cgroup(text: &str) -> Option<ControlGroup> {
    let group = |of: &str, hierarchy| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (controllers == of).then(|| ControlGroup {
                hierarchy,
                path: path.to_owned(),
            })
        })
    };
    let unified = || group("", Hierarchy::Unified);
    unified()
        .filter(|group| group.path != "/")
        .or_else(|| group("name=systemd", Hierarchy::Systemd))
        .or_else(unified)
}

/// The arguments, `argv[0]` first; empty for kernel threads and zombies.
pub fn arguments(pid: u32) -> Result<Vec<OsString>, ProcessError> {
    Ok(nul_separated(&read(pid, "cmdline")?))
}

/// As [`arguments`], from so many bytes at most; the last may be cut.
pub fn arguments_within(pid: u32, most: u64) -> Result<Vec<OsString>, ProcessError> {
    Ok(nul_separated(&read_within(pid, "cmdline", most)?))
}

/// The environment the process was started with, as `NAME=value`. What it
/// changed since (setenv) is not in it.
pub fn environ(pid: u32) -> Result<Vec<OsString>, ProcessError> {
    Ok(nul_separated(&read(pid, "environ")?))
}

/// Takes the lock of a process's memory map for a moment, for reading, and so
/// waits for whoever holds it for writing. One that is gone has none.
pub fn take_lock(pid: u32) {
    // The cheaper way, which takes no lock where there are no arguments.
    if !arguments(pid).is_ok_and(|arguments| !arguments.is_empty()) {
        let _ = all_maps(pid);
    }
}

fn nul_separated(raw: &[u8]) -> Vec<OsString> {
    raw.split(|&b| b == 0)
        .filter(|part| !part.is_empty())
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect()
}

/// The executable's path as the kernel knows it.
pub fn exe(pid: u32) -> Result<PathBuf, ProcessError> {
    fs::read_link(format!("/proc/{pid}/exe")).map_err(|e| ProcessError::from_io(pid, "exe", e))
}

/// A thread's name.
pub fn thread_name(pid: u32, tid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(String::from_utf8_lossy(name).into_owned())
}

/// One line of /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Addresses in the process.
    pub range: Range<u64>,
    /// Whether it can be executed.
    pub executable: bool,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether writes are seen by whoever maps the same file.
    pub shared: bool,
    /// Offset of its start in the file.
    pub offset: u64,
    /// Device of the file, major:minor as the kernel packs it for this file
    /// system; differs from stat's on btrfs and overlayfs.
    pub device: (u32, u32),
    /// Inode of the file; 0 for anonymous memory.
    pub inode: u64,
    /// Path in the process's own mount namespace, without the mark of
    /// deletion; `[heap]` and the like for special memory; empty otherwise.
    pub path: String,
    /// Whether the file has been deleted or replaced since it was mapped.
    pub deleted: bool,
}

impl Mapping {
    /// The file's basename; empty for anything but files.
    pub fn basename(&self) -> &str {
        if self.inode == 0 {
            return "";
        }
        self.path.rsplit('/').next().unwrap_or("")
    }
}

/// What of /proc/PID/maps was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// In address order.
    pub mappings: Vec<Mapping>,
    /// Whether these are all: a process that maps files of long paths again
    /// and again can have more than is read (64 MiB).
    pub whole: bool,
}

/// The process's mappings, and whether these are all.
pub fn all_maps(pid: u32) -> Result<Maps, ProcessError> {
    let raw = read(pid, "maps")?;
    Ok(parse_maps(&raw, raw.len() as u64 >= MAX_PROC_FILE))
}

/// The process's mappings, in address order.
pub fn maps(pid: u32) -> Result<Vec<Mapping>, ProcessError> {
    all_maps(pid).map(|maps| maps.mappings)
}

fn parse_maps(raw: &[u8], cut: bool) -> Maps {
    // Half a line may name another file than the whole one.
    let lines = match (cut, raw.iter().rposition(|&b| b == b'\n')) {
        (true, Some(end)) => &raw[..end],
        (true, None) => &[],
        (false, _) => raw,
    };
    Maps {
        mappings: lines
            .split(|&b| b == b'\n')
            .filter_map(parse_mapping)
            .collect(),
        whole: !cut,
    }
}

fn parse_mapping(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let mut rest: &str = &line;
    let mut field = || {
        let trimmed = rest.trim_start_matches(' ');
        let (field, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = after;
        (!field.is_empty()).then(|| field.to_owned())
    };
    let (range, perms, offset, device, inode) = (field()?, field()?, field()?, field()?, field()?);
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let path = rest.trim_start_matches(' ');
    let alive = path.strip_suffix(" (deleted)");
    Some(Mapping {
        range: hex(start)?..hex(end)?,
        executable: perms.as_bytes().get(2) == Some(&b'x'),
        writable: perms.as_bytes().get(1) == Some(&b'w'),
        shared: perms.as_bytes().get(3) == Some(&b's'),
        offset: hex(&offset)?,
        device: (hex(major)? as u32, hex(minor)? as u32),
        inode: inode.parse().ok()?,
        path: alive.unwrap_or(path).to_owned(),
        deleted: alive.is_some(),
    })
}

/// All processes, or rather thread groups, that /proc shows.
pub fn all_pids() -> io::Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

fn read(pid: u32, file: &'static str) -> Result<Vec<u8>, ProcessError> {
    read_within(pid, file, MAX_PROC_FILE)
}

fn read_within(pid: u32, file: &'static str, most: u64) -> Result<Vec<u8>, ProcessError> {
    let error = |e| ProcessError::from_io(pid, file, e);
    let mut out = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}"))
        .map_err(error)?
        .take(most)
        .read_to_end(&mut out)
        .map_err(error)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
