//! What this machine offers the observer, each point found out by doing it.

use std::fs::{self, File};

use xsched_host::process::{self, ProcessError};

use super::attach::Programs;
use super::compat::{Kernel, Returns};
use super::plan::{LinkKind, Purpose};
use super::support::probe_support;
use super::unavailable::Unavailable;

/// A capability that the observer uses (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Opens other users' files that are readable to nobody else, and the
    /// folders of /proc that lead to mapped ones.
    DacReadSearch = 2,
    /// Reads other users' mappings.
    SysPtrace = 19,
    /// Stands in for all others; page frames, which tell files behind
    /// overlayfs apart, need it itself.
    SysAdmin = 21,
    /// Attaches probes.
    Perfmon = 38,
    /// Loads BPF programs.
    Bpf = 39,
    /// Opens files through mappings, also deleted ones.
    CheckpointRestore = 40,
}

impl Capability {
    /// Those that let everything be seen.
    pub const ALL: [Capability; 6] = [
        Capability::Bpf,
        Capability::Perfmon,
        Capability::SysPtrace,
        Capability::CheckpointRestore,
        Capability::DacReadSearch,
        Capability::SysAdmin,
    ];

    /// As capabilities(7) spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Capability::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Capability::SysPtrace => "CAP_SYS_PTRACE",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
            Capability::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        }
    }
}

/// What this machine offers.
#[derive(Debug)]
pub struct HostCapabilities {
    /// The running one.
    pub kernel: Kernel,
    /// In effect for this process.
    pub capabilities: Vec<Capability>,
    /// Whether a probe on this very program loads, attaches and fires.
    pub probes: Result<(), Unavailable>,
    /// Whether probes come and go in one piece (multi-uprobe links).
    pub quick_links: bool,
    /// Which returns may be probed without harm.
    pub returns: Returns,
    /// Why the kernel does not tell of programs that begin, if so.
    pub lifecycle: Option<Unavailable>,
    /// Whether this is the pid namespace of the machine, whose numbers BPF
    /// tells.
    pub machine_pids: bool,
    /// Whether other users' processes can be read.
    pub others_readable: bool,
    /// Whether other users' files can be opened through mappings.
    pub mapped_files: bool,
}

/// The inode of the machine's own pid namespace (linux/proc_ns.h,
/// PROC_PID_INIT_INO).
const MACHINE_PIDS: &str = "pid:[4026531836]";

/// Asks everything once.
pub fn host_capabilities() -> HostCapabilities {
    let kernel = Kernel::running();
    let (links, purpose) = (LinkKind::Best, Purpose::Count);
    let loaded = Programs::load(64, links, purpose, Returns::Leave, kernel).ok();
    HostCapabilities {
        kernel,
        capabilities: capabilities(),
        probes: probe_support(),
        quick_links: loaded
            .as_ref()
            .is_some_and(|(programs, _)| programs.close_quickly()),
        returns: kernel.returns(Returns::OfWaits),
        lifecycle: loaded.and_then(|(programs, _)| programs.into_lifecycle_missing()),
        machine_pids: fs::read_link("/proc/self/ns/pid")
            .is_ok_and(|link| link.as_os_str() == MACHINE_PIDS),
        others_readable: others_readable(),
        // /proc/PID/map_files belongs to the process's user.
        mapped_files: opens_through_mapping()
            && capabilities().contains(&Capability::DacReadSearch),
    }
}

fn capabilities() -> Vec<Capability> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    Capability::ALL
        .into_iter()
        .filter(|&capability| effective >> capability as u32 & 1 == 1)
        .collect()
}

/// Tried with other users' processes, if there are any. Threads of the kernel
/// are none: they have no mappings, and that anybody may read.
fn others_readable() -> bool {
    let me = rustix::process::geteuid().as_raw();
    let others = process::all_pids().unwrap_or_default().into_iter();
    let mut tried = others
        .filter(|&pid| process::uid(pid).is_ok_and(|uid| uid != me))
        .filter_map(|pid| match process::maps(pid) {
            Ok(maps) => (!maps.is_empty()).then_some(true),
            Err(ProcessError::NotPermitted(_)) => Some(false),
            Err(_) => None,
        })
        .take(64)
        .peekable();
    match tried.peek() {
        Some(_) => tried.any(|readable| readable),
        None => capabilities().contains(&Capability::SysPtrace),
    }
}

fn opens_through_mapping() -> bool {
    let pid = std::process::id();
    let maps = process::maps(pid).unwrap_or_default();
    let own = maps.iter().find(|mapping| mapping.inode != 0);
    own.is_some_and(|mapping| {
        let range = &mapping.range;
        let path = format!("/proc/self/map_files/{:x}-{:x}", range.start, range.end);
        File::open(path).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where every point is reported, whatever the rights of this test.
    #[test]
    fn a_survey_never_fails() {
        let host_capabilities = host_capabilities();
        assert!(
            host_capabilities.kernel.is_new_enough(),
            "{host_capabilities:?}"
        );
        let root = host_capabilities
            .capabilities
            .contains(&Capability::SysAdmin);
        assert!(
            !root || host_capabilities.others_readable && host_capabilities.mapped_files,
            "{host_capabilities:?}"
        );
    }

    #[test]
    fn a_file_that_is_mapped_opens_through_its_mapping_for_root_only() {
        let may = [Capability::SysAdmin, Capability::CheckpointRestore];
        let has = capabilities();
        assert_eq!(
            opens_through_mapping(),
            may.iter().any(|capability| has.contains(capability))
        );
    }
}
