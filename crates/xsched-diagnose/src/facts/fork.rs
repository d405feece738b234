//! Whether a process is the child of a fork that was made after the GPU had
//! been opened. Neither runtime nor kernel driver supports that.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use xsched_common::platform::{Platform, names};
use xsched_host::elf::word_at;
use xsched_host::process;

use super::bindings::Memory;

/// Proof that a process was forked, without exec, from one that used the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkedAfterInit {
    /// Whose child it is.
    pub parent: u32,
    /// The descriptor of the driver's file that it inherited.
    pub descriptor: u32,
}

/// Key of the auxiliary vector: address of 16 bytes that the kernel draws at
/// random for every program it executes.
const AT_RANDOM: u64 = 25;

/// What kcmp compares: open file descriptions.
const KCMP_FILE: i32 = 0;

/// More descriptors of the GPU than anyone holds.
const MAX_DESCRIPTORS: usize = 16;

/// Looks for the proof; `None` also when it cannot be had.
pub fn after_init(pid: u32) -> Option<ForkedAfterInit> {
    let own = gpu_descriptors(pid);
    let parent = process::stat(pid).ok()?.parent;
    if own.is_empty() || random_bytes(pid)? != random_bytes(parent)? {
        return None;
    }
    let parents = gpu_descriptors(parent);
    let (inherited, _) = own.iter().find(|&&(fd, _)| {
        parents
            .iter()
            .any(|&(other, _)| is_same_file((pid, fd), (parent, other)))
    })?;
    Some(ForkedAfterInit {
        parent,
        descriptor: *inherited,
    })
}

/// The descriptors of drivers' files that a process holds, and whose they are.
pub fn gpu_descriptors(pid: u32) -> Vec<(u32, Platform)> {
    // More open files than a user could want to wait for are not all looked at.
    const MAX_FILES: usize = 65_536;
    let Ok(dir) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    dir.take(MAX_FILES)
        .flatten()
        .filter_map(|entry| {
            let to = fs::read_link(entry.path()).ok()?;
            let platform = names::device(to.as_os_str().as_bytes())?;
            Some((entry.file_name().to_str()?.parse().ok()?, platform))
        })
        .take(MAX_DESCRIPTORS)
        .collect()
}

/// Equal in two processes only if one was forked from the other and neither
/// has executed a program since.
fn random_bytes(pid: u32) -> Option<(u64, Vec<u8>)> {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let mut pairs = auxv.chunks_exact(16);
    let pair = pairs.find(|pair| word_at(pair, 0) == Some(AT_RANDOM))?;
    let address = word_at(pair, 8)?;
    Some((address, Memory::open(pid).ok()?.bytes(address, 16)?))
}

/// Whether two descriptors are of one open file, that is inherited: opening
/// the same path twice makes two.
fn is_same_file(a: (u32, u32), b: (u32, u32)) -> bool {
    // SAFETY: kcmp takes numbers and compares; it touches no memory.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, a.0, b.0, KCMP_FILE, a.1, b.1) };
    order == 0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn descriptors_of_one_open_file_are_told_from_others() {
        use std::os::fd::AsRawFd as _;
        let me = std::process::id();
        let open = || fs::File::open("/dev/null").expect("it is there");
        let (first, second) = (open(), open());
        let copy = first.try_clone().expect("a copy");
        let fd = |file: &fs::File| (me, file.as_raw_fd() as u32);
        assert!(is_same_file(fd(&first), fd(&copy)));
        assert!(!is_same_file(fd(&first), fd(&second)));
    }

    #[test]
    fn an_executed_program_has_other_random_bytes_than_its_parent() {
        let mut child = std::process::Command::new("sleep")
            .arg("10")
            .spawn()
            .expect("it starts");
        let mine = random_bytes(std::process::id());
        // spawn returns while the kernel still sets the new program up.
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut childs = None;
        while childs.is_none() && Instant::now() < deadline {
            childs = random_bytes(child.id());
        }
        child
            .kill()
            .and_then(|()| child.wait().map(drop))
            .expect("ours");
        assert!(mine.is_some() && childs.is_some());
        assert_ne!(mine, childs);
    }
}
