//! The calls of the kernel themselves, on a machine without NVIDIA's driver. A thread's opens and ioctls come to a driver of
//! this test's (seccomp's user notifications), which reads them by the offsets in NVIDIA's headers, not by our structures.
//! Descriptors are of a node with the driver's number that nothing serves (O_PATH): enough to hold, duplicate and look at.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};

use super::super::rm::{Command, Control as _, OK};
use super::*;

/// `NV_ESC_RM_CONTROL` and `NV_ESC_RM_ALLOC` with 32 bytes each, as the kernel sees them.
const CONTROL: u64 = 0xc020_462a;
const ALLOC: u64 = 0xc020_462b;
/// `NV_ERR_INVALID_COMMAND`.
const INVALID_COMMAND: u32 = 0x24;
/// Of the program that is looked at.
const ITS: u32 = 0xc1d0_003f;

/// How the driver treats a session that is asked for through another's descriptor (`RmClientDataValidation`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strict,
    Lenient,
}

/// Sessions by the folder of their descriptor's node.
struct Driver {
    nodes: PathBuf,
    sessions: BTreeMap<PathBuf, Table>,
    comparison: Comparison,
}

impl Driver {
    /// A descriptor of a new node.
    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let folder = self.nodes.join(name);
        fs::create_dir(&folder)?;
        let node = folder.join("nvidiactl");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(
            CWD,
            &node,
            FileType::CharacterDevice,
            mode,
            makedev(195, 255),
        )?;
        Ok(open(&node, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// One call: what it returns, or none if it is the kernel's to answer.
    fn call(&mut self, call: &libc::seccomp_data) -> Option<io::Result<i64>> {
        let [first, second, third, ..] = call.args;
        if i64::from(call.nr) == libc::SYS_openat {
            // SAFETY: this process's thread passes a path and waits until it is answered.
            let path = unsafe { CStr::from_ptr(second as *const libc::c_char) };
            let is_ours = path == c"/dev/nvidiactl";
            let fd = || self.open(&format!("own-{}", self.sessions.len()));
            return is_ours.then(|| fd().map(|fd| fd.into_raw_fd().into()));
        }
        let link = fs::read_link(format!("/proc/self/fd/{first}")).ok()?;
        let folder = link.parent().filter(|it| it.starts_with(&self.nodes))?;
        // SAFETY: this process's thread passes a structure of 32 bytes and waits until it is answered.
        let words = unsafe { &mut *(third as *mut [u32; 8]) };
        match second & 0xffff_ffff {
            CONTROL => words[7] = self.control(folder, words),
            // A session, without parameters.
            ALLOC if (words[3], words[6]) == (0x41, 0) => {
                let number = 0xc1d0_0047 + self.sessions.len() as u32;
                self.sessions.insert(folder.to_owned(), Table::of(number));
                (words[2], words[7]) = (number, OK);
            }
            _ => return Some(Err(io::Error::from_raw_os_error(libc::EINVAL))),
        }
        Some(Ok(0))
    }

    fn control(&self, folder: &Path, words: &[u32; 8]) -> u32 {
        let [client, object, command, _flags, low, high, size, _status] = *words;
        let (command, expected) = match command {
            0xd02 => (Command::HandleInfo, 16),
            0x21b => (Command::PciInfo, 12),
            0x2080_0142 => (Command::GpuId, 4),
            0xa06c_0103 => (Command::SetTimeSlice, 8),
            0xa06c_0104 => (Command::GetTimeSlice, 8),
            _ => return INVALID_COMMAND,
        };
        assert_eq!(size, expected, "{command:?}");
        let at = u64::from(low) | u64::from(high) << 32;
        // SAFETY: as many bytes as NVIDIA's structure has, of a thread that waits until it is answered.
        let parameters =
            unsafe { std::slice::from_raw_parts_mut(at as *mut u32, size as usize / 4) };
        let mut sessions = self.sessions.iter();
        let session = match self.comparison {
            Comparison::Strict => self.sessions.get(folder),
            Comparison::Lenient => sessions.find_map(|(_, t)| (t.client == client).then_some(t)),
        };
        session.map_or(INVALID_CLIENT, |session| {
            session.control(client, object, command, parameters)
        })
    }

    /// Answers the calls of a thread until it ends.
    fn serve(&mut self, listener: &OwnedFd) {
        loop {
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            let is_polled = poll(&mut ready, None).is_ok();
            if !is_polled || !ready[0].revents().contains(PollFlags::IN) {
                return;
            }
            // SAFETY: the kernel wants it zeroed, and all bits are numbers.
            let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            let fd = listener.as_raw_fd();
            // SAFETY: the structure that belongs to the number.
            let got = unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) };
            if got != 0 {
                continue;
            }
            let (val, error, flags) = match self.call(&asked.data) {
                None => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
                Some(Ok(val)) => (val, 0, 0),
                Some(Err(e)) => (0, -e.raw_os_error().unwrap_or(libc::EIO), 0),
            };
            let mut answer = libc::seccomp_notif_resp {
                id: asked.id,
                val,
                error,
                flags,
            };
            // SAFETY: as above.
            unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
        }
    }
}

/// From now on this thread's opens and ioctls wait for whoever has the listener.
fn hand_over(to: &Sender<OwnedFd>) {
    let [load, is, give] = [
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    ]
    .map(|code| code as u16);
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        step(load, 0, 0, 0),
        step(is, 1, 0, libc::SYS_openat as u32),
        step(is, 0, 1, libc::SYS_ioctl as u32),
        step(give, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: a filter that lives through the call, for this thread alone.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    assert!(listener >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a descriptor that the kernel has just given us.
    to.send(unsafe { OwnedFd::from_raw_fd(listener as i32) })
        .expect("awaited");
}

/// A program that has a session and a context, until it goes out of scope.
struct Tenant(Child);

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does something as the agent does it, beside a program with a context; then the slice of that, in us.
fn beside<T: Send>(
    comparison: Comparison,
    work: impl FnOnce(&ResourceManager, ProcessId) -> T + Send,
) -> Option<(T, u64)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root makes device nodes");
        return None;
    }
    let nodes = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let mut driver = Driver {
        nodes: nodes.path().to_owned(),
        sessions: BTreeMap::new(),
        comparison,
    };
    let held = driver.open("its").expect("a node");
    let its = nodes.path().join("its");
    driver.sessions.insert(its.clone(), Table::of_process(ITS));
    let program = Program::new("sleep")
        .arg("60")
        .stdin(Stdio::from(held))
        .spawn();
    let tenant = Tenant(program.expect("started"));
    let id = ProcessId::of(tenant.0.id()).expect("it runs");
    let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  Thu Feb 22\n";
    let manager = of_version(version).expect("checked");
    let (to, listener) = channel();
    let done = thread::scope(|scope| {
        let agent = scope.spawn(move || {
            hand_over(&to);
            work(&manager, id)
        });
        driver.serve(&listener.recv().expect("a listener"));
        agent.join().expect("no panic")
    });
    Some((done, driver.sessions[&its].slice(0x1b)))
}

#[test]
fn a_program_s_slice_is_set_by_calls_that_the_driver_knows() {
    let done = beside(Comparison::Strict, |manager, program| {
        let mut scan = Scan::default();
        let groups = manager.look(program, &mut scan).expect("found");
        let set = manager.set(program, groups[0].id, Nanos::from_micros(100));
        (groups, scan, set.expect("set"))
    });
    let Some(((groups, scan, set), slice)) = done else {
        return;
    };
    let found = groups.iter().map(|g| (g.id.object, g.device, g.slice));
    let first = (0x5c00_001b, on(7), DEFAULT_SLICE);
    assert_eq!((groups.len(), { found }.next()), (4, Some(first)));
    assert_eq!(
        (scan.clients, scan.is_complete, scan.descriptors),
        (vec![ITS], true, 1)
    );
    assert_eq!((set, slice), (Nanos::from_micros(100), 100));
}

#[test]
fn nothing_is_touched_where_the_driver_does_not_tell_sessions_apart() {
    let refused = beside(Comparison::Lenient, |manager, program| {
        manager.look(program, &mut Scan::default())
    });
    if let Some((refused, slice)) = refused {
        assert!(matches!(refused, Err(SliceError::Lenient)), "{refused:?}");
        assert_eq!(slice, 2048);
    }
}
