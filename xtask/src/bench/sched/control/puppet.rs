//! Clients that join as shims do and act on their pages by hand: this
//! program itself, started again.

use std::io::{BufRead as _, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::join::{Hello, REPLY_FDS, Reply, Verdict};
use xsched_common::page::{ControlPage, Edges, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::PciAddress;

/// What the puppet does until its stdin ends.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(clap::Subcommand)]
enum Role {
    /// Join and print where the control page can be opened
    Held,
    /// Join, wait for a line, and print how long each of so many rings took
    /// to close another's gate, ns
    Ring {
        /// The other's control page.
        page: PathBuf,
        /// Rings.
        count: usize,
    },
    /// Join, wait for a line, and work without end; says so once the other's
    /// gate is closed
    Work {
        /// The other's control page.
        page: PathBuf,
    },
    /// Join in so many processes
    Crowd {
        /// Processes.
        count: usize,
    },
}

/// Plays the role.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.role {
        Role::Held => {
            let client = Client::join()?;
            println!(
                "/proc/{}/fd/{}",
                std::process::id(),
                client.control_fd.as_raw_fd()
            );
            wait_for_line()?;
        }
        Role::Ring { page, count } => {
            let client = Client::join()?;
            println!("joined");
            wait_for_line()?;
            let other = other(page)?;
            for _ in 0..*count {
                println!("{}", client.ring_until_closed(other)?.as_nanos());
            }
            wait_for_line()?;
        }
        Role::Work { page } => {
            let client = Client::join()?;
            println!("joined");
            wait_for_line()?;
            let other = other(page)?;
            client.ring_until_closed(other)?;
            client.status().devices[0].set_active();
            client.ring(Edges::ACTIVE)?;
            println!("working");
            loop {
                std::thread::sleep(Duration::from_millis(20));
                client.status().devices[0].admitted.fetch_add(1, Relaxed);
            }
        }
        Role::Crowd { count } => crowd(*count)?,
    }
    Ok(())
}

fn other(page: &Path) -> anyhow::Result<&'static ControlPage> {
    let file = std::fs::File::open(page).context("the other's page")?;
    let page = map::<ControlPage>(&file, ProtFlags::READ)?;
    // SAFETY: mapped for the process's life; the fields are atomics.
    Ok(unsafe { page.as_ref() })
}

fn wait_for_line() -> anyhow::Result<()> {
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// Children that have joined and sleep; killed when this one ends.
fn crowd(count: usize) -> anyhow::Result<()> {
    let mut children = Vec::new();
    for _ in 0..count {
        let (mut ready, tell) = std::io::pipe()?;
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: a constant; the child must not outlive this process.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            drop(ready);
            let joined = Client::join();
            let _ = std::io::Write::write(&mut &tell, &[u8::from(joined.is_ok())]);
            drop(tell);
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        drop(tell);
        children.push(pid);
        let mut ok = [0];
        std::io::Read::read_exact(&mut ready, &mut ok)?;
        ensure!(ok == [1], "client {} could not join", children.len());
    }
    println!("joined");
    wait_for_line()?;
    for pid in children {
        // SAFETY: our own children, not yet waited for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, ptr::null_mut(), 0);
        }
    }
    println!("left");
    wait_for_line()
}

struct Client {
    _socket: OwnedFd,
    bell: OwnedFd,
    control_fd: OwnedFd,
    control: NonNull<ControlPage>,
    status: NonNull<StatusPage>,
}

impl Client {
    fn join() -> anyhow::Result<Client> {
        let run_dir = RunDir::for_client(rustix::process::geteuid().as_raw());
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(run_dir.join_socket())?)?;
        let hello = Hello::new(std::process::id()).encode();
        rustix::net::send(&socket, &hello, SendFlags::NOSIGNAL)?;
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPLY_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let reply = Reply::decode(&bytes[..received.bytes]).map_err(|e| anyhow!("{e}"))?;
        ensure!(reply.verdict == Verdict::Accepted, "{:?}", reply.verdict);
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let [control_fd, status, bell]: [OwnedFd; REPLY_FDS] =
            fds.try_into().map_err(|_| anyhow!("three descriptors"))?;
        let client = Client {
            _socket: socket,
            bell,
            control: map(&control_fd, ProtFlags::READ)?,
            status: map(&status, ProtFlags::READ | ProtFlags::WRITE)?,
            control_fd,
        };
        client.status().devices[0].set_pci(PciAddress {
            bus: 0xc1,
            ..PciAddress::default()
        });
        client.status().device_count.store(1, Release);
        Ok(client)
    }

    fn control(&self) -> &ControlPage {
        // SAFETY: mapped for the process's life; the fields are atomics.
        unsafe { self.control.as_ref() }
    }

    fn status(&self) -> &StatusPage {
        // SAFETY: as above.
        unsafe { self.status.as_ref() }
    }

    fn wants(&self, edge: Edges) -> bool {
        let wanted = self.control().devices[0].wanted_edges.load(SeqCst);
        Edges(wanted).contains(edge)
    }

    fn ring(&self, edge: Edges) -> anyhow::Result<()> {
        if self.wants(edge) {
            rustix::io::write(&self.bell, &1u64.to_ne_bytes())?;
        }
        Ok(())
    }

    /// From the first launch after a pause, as a shim says it, to the other's
    /// closed word.
    fn ring_until_closed(&self, other: &ControlPage) -> anyhow::Result<Duration> {
        let device = &self.status().devices[0];
        let word = &other.devices[0].word;
        let is_closed = || GateWord(word.load(SeqCst)).mode() == GateMode::Closed;
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_closed() || !self.wants(Edges::ACTIVE) {
            ensure!(Instant::now() < deadline, "the other's gate stays closed");
            std::thread::sleep(Duration::from_millis(1));
        }
        // As a service between requests: away from everybody's timers.
        std::thread::sleep(Duration::from_micros(3_700));
        let start = Instant::now();
        device.set_active();
        self.ring(Edges::ACTIVE)?;
        while !is_closed() {
            ensure!(start.elapsed() < Duration::from_secs(5), "nobody heard");
            std::hint::spin_loop();
        }
        let took = start.elapsed();
        device.admitted.fetch_add(1, Relaxed);
        device.set_idle();
        self.ring(Edges::IDLE)?;
        Ok(took)
    }
}

fn map<T>(fd: &impl AsFd, protection: ProtFlags) -> anyhow::Result<NonNull<T>> {
    // SAFETY: a fresh mapping that is never unmapped.
    let at = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            size_of::<T>(),
            protection,
            MapFlags::SHARED,
            fd,
            0,
        )?
    };
    NonNull::new(at.cast()).context("mapped at null")
}
