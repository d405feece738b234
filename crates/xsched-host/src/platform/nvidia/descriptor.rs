//! A process's descriptors of the control device.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::super::slices::SliceError;
use super::rm::{NODE_NUMBER, Session};
use crate::process::ProcessId;

/// Descriptors that are looked at: a process can have a million.
const MOST_LOOKED_AT: usize = 4096;

/// Sessions that are taken part in: one process needs one, and one more where
/// it reads the management library.
const MOST_TAKEN: usize = 4;

/// Duplicates of those of `process`, in the order of their numbers.
pub fn descriptors(process: ProcessId) -> Result<Vec<Session>, SliceError> {
    let gone = || SliceError::Gone(process.pid);
    let raw = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(raw.ok_or_else(gone)?, PidfdFlags::empty()).map_err(|_| gone())?;
    // From here on the descriptor names whoever had the pid: him?
    if !process.is_alive() {
        return Err(gone());
    }
    let directory = format!("/proc/{}/fd", process.pid);
    let denied = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => SliceError::Denied {
            pid: process.pid,
            error,
        },
    };
    let mut numbers: Vec<i32> = fs::read_dir(directory)
        .map_err(denied)?
        .take(MOST_LOOKED_AT)
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| names_node(process.pid, *number))
        .collect();
    numbers.sort_unstable();
    let mut sessions = Vec::new();
    for number in numbers.into_iter().take(MOST_TAKEN) {
        match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) if is_node(fd.as_fd()) => sessions.push(Session::new(fd)),
            // Closed meanwhile, or another file.
            Ok(_) | Err(Errno::BADF) => {}
            Err(Errno::SRCH) => return Err(gone()),
            Err(error) => return Err(denied(error.into())),
        }
    }
    match sessions.is_empty() {
        true => Err(SliceError::NoSession(process.pid)),
        false => Ok(sessions),
    }
}

/// By what the kernel has written down: the file is not asked, which may lie
/// in a file system that the process serves itself.
fn names_node(pid: u32, number: i32) -> bool {
    let link = format!("/proc/{pid}/fd/{number}");
    // A container may have it at another path.
    fs::read_link(&link).is_ok_and(|path| path.starts_with("/dev") && path.ends_with("nvidiactl"))
        && statx(
            rustix::fs::CWD,
            &link,
            AtFlags::STATX_DONT_SYNC,
            StatxFlags::TYPE,
        )
        .is_ok_and(|stat| is_node_number(&stat))
}

/// The file itself: between the two looks the process can have put another
/// one in its place.
fn is_node(fd: BorrowedFd<'_>) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(fd, c"", flags, StatxFlags::TYPE).is_ok_and(|stat| is_node_number(&stat))
}

fn is_node_number(stat: &rustix::fs::Statx) -> bool {
    FileType::from_raw_mode(stat.stx_mode.into()) == FileType::CharacterDevice
        && (stat.stx_rdev_major, stat.stx_rdev_minor) == NODE_NUMBER
}
