//! The tops of the trees of control groups, where they are mounted.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, fstatfs, open};

use crate::process::{self, Controller, Hierarchy};

/// File systems of control groups (linux/magic.h).
const CGROUP_MAGIC: [u64; 2] = [0x0027_e0eb, 0x6367_7270];

/// The inode of the machine's own control group namespace (linux/proc_ns.h,
/// PROC_CGROUP_INIT_INO).
const MACHINE_CGROUPS: &str = "cgroup:[4026531835]";

/// Whether rules can ask about units, control groups and containers here.
///
/// # Errors
/// Why not, for people.
pub fn control_groups_seen() -> Result<(), String> {
    // A process is in no control group until some tree is mounted.
    if fs::read("/proc/self/cgroup").is_ok_and(|groups| groups.is_empty()) {
        return Err("no control groups are mounted on this machine".to_owned());
    }
    let own = process::control_group(std::process::id()).map_err(|e| e.to_string())?;
    top(own.hierarchy)?;
    let namespace = fs::read_link("/proc/self/ns/cgroup").unwrap_or_default();
    match namespace.as_os_str() == MACHINE_CGROUPS {
        true => Ok(()),
        false => Err("this is a container's control group namespace".to_owned()),
    }
}

/// Enters the machine's own control group namespace, for this thread and those
/// that it starts later: in a container of its own namespace every path would be
/// relative to that. It takes CAP_SYS_ADMIN, and the machine's processes in
/// /proc.
///
/// # Errors
/// Why not, for people; paths then stay as they are.
pub fn enter_machine_groups() -> Result<(), String> {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/cgroup")).unwrap_or_default();
    if namespace("thread-self").as_os_str() == MACHINE_CGROUPS {
        return Ok(());
    }
    if namespace("1").as_os_str() != MACHINE_CGROUPS {
        return Err("process 1 here is not the machine's (hostPID: true, --pid=host)".to_owned());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let machine = open("/proc/1/ns/cgroup", flags, Mode::empty()).map_err(|e| e.to_string())?;
    let kind = rustix::thread::LinkNameSpaceType::ControlGroup;
    rustix::thread::move_into_link_name_space(machine.as_fd(), Some(kind))
        .map_err(|e| format!("cannot enter the machine's control group namespace: {e}"))
}

/// The top of a tree. It is opened once: what is mounted over it later is not
/// looked at.
///
/// # Errors
/// It is mounted nowhere that this process sees; for people.
pub(super) fn top(hierarchy: Hierarchy) -> Result<&'static OwnedFd, String> {
    static UNIFIED: OnceLock<OwnedFd> = OnceLock::new();
    static SYSTEMD: OnceLock<OwnedFd> = OnceLock::new();
    static CONTROLLERS: [OnceLock<OwnedFd>; Controller::ALL.len()] =
        [const { OnceLock::new() }; Controller::ALL.len()];
    let once = match hierarchy {
        Hierarchy::Unified => &UNIFIED,
        Hierarchy::Systemd => &SYSTEMD,
        Hierarchy::Controller(controller) => &CONTROLLERS[controller as usize],
    };
    if let Some(top) = once.get() {
        return Ok(top);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = mounts
        .lines()
        .filter_map(|line| mounted_at(line, hierarchy))
        .find_map(|path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let top = open(path, flags, Mode::empty()).ok()?;
            // Something else may be mounted over it.
            let magic = fstatfs(&top).ok()?.f_type.cast_unsigned();
            CGROUP_MAGIC.contains(&magic).then_some(top)
        });
    match found {
        Some(top) => Ok(once.get_or_init(|| top)),
        None => Err("control groups are not mounted where the agent runs (/sys/fs/cgroup)".into()),
    }
}

/// Where a line of /proc/self/mountinfo (proc_pid_mountinfo(5)) mounts the
/// whole of a tree.
fn mounted_at(line: &str, hierarchy: Hierarchy) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let (kind, options) = (file_system.next()?, file_system.nth(1)?);
    let is_it = match hierarchy {
        Hierarchy::Unified => kind == "cgroup2",
        Hierarchy::Systemd => {
            kind == "cgroup" && options.split(',').any(|option| option == "name=systemd")
        }
        Hierarchy::Controller(controller) => {
            let is_it = |option: &str| option == controller.name();
            kind == "cgroup" && options.split(',').any(is_it)
        }
    };
    let mut mount = mount.split(' ').skip(3);
    let (root, path) = (mount.next()?, mount.next()?);
    (is_it && root == "/").then(|| unescaped(path))
}

/// Blanks and the like are written as `\040`.
fn unescaped(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| std::str::from_utf8(after.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_trees_are_found_and_parts_of_them_are_not() {
        let at = |line, hierarchy| mounted_at(line, hierarchy);
        let unified =
            "34 25 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let path = Some(PathBuf::from("/sys/fs/cgroup"));
        assert_eq!(at(unified, Hierarchy::Unified), path);
        assert_eq!(at(unified, Hierarchy::Systemd), None);
        let old = "36 31 0:31 / /a\\040b rw - cgroup cgroup rw,xattr,name=systemd";
        assert_eq!(at(old, Hierarchy::Systemd), Some("/a b".into()));
        let memory = Hierarchy::Controller(Controller::Memory);
        let other = "37 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        assert_eq!(at(other, Hierarchy::Systemd), None);
        assert_eq!(at(other, memory), Some("/sys/fs/cgroup/memory".into()));
        let part = "34 25 0:29 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw";
        assert_eq!(at(part, Hierarchy::Unified), None);
    }

    #[test]
    fn a_container_s_namespace_is_left() {
        let namespace = || fs::read_link("/proc/thread-self/ns/cgroup").unwrap_or_default();
        // A sandbox's root cannot look at the first process's.
        let is_machine = fs::File::open("/proc/1/ns/cgroup").is_ok()
            && namespace().as_os_str() == MACHINE_CGROUPS;
        if !rustix::process::geteuid().is_root() || !is_machine {
            eprintln!("LEFT OUT: only root on the machine itself makes and leaves namespaces");
            return;
        }
        // Of one thread: the others of the test stay where they are.
        let entered = std::thread::spawn(move || {
            // SAFETY: it changes what this thread alone sees of control groups.
            let made = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
            assert_eq!(made, 0, "root may");
            assert_ne!(namespace().as_os_str(), MACHINE_CGROUPS);
            enter_machine_groups().map(|()| namespace())
        });
        let entered = entered.join().expect("ends");
        assert_eq!(entered, Ok(PathBuf::from(MACHINE_CGROUPS)));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC{0,80}") {
            let _ = mounted_at(&line, Hierarchy::Unified);
            let _ = unescaped(&line);
        }
    }
}
