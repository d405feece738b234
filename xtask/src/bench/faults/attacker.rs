//! Clients that mean harm: this program itself, started again.

use std::io::{BufRead as _, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::ReadWriteFlags;
use rustix::mm::ProtFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::thread::futex;
use xsched_common::handshake::{Hello, HelloResult, Reply};
use xsched_common::page::StatusPage;
use xsched_common::run_dir::RunDir;
use xsched_testkit::client::{FakeClient, connect, map};

/// What the attacker does.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(clap::Subcommand)]
enum Role {
    /// Ring doorbells and empty them unseen, for so many seconds
    Bells { seconds: u64 },
    /// Send sockets whose last close waits, for so many seconds
    Linger { seconds: u64 },
    /// Punch holes into pages, for so many seconds
    Holes { seconds: u64 },
    /// Wait in so many threads on one gate
    Sleepers { threads: usize },
    /// Connect as fast as the kernel lets user UID, for so many seconds
    Flood { uid: u32, seconds: u64 },
    /// Use the processor as user UID, for so many seconds
    Spin { uid: u32, seconds: u64 },
    /// Join so many times as user UID, as a shim does; prints how often in vain
    Joins { uid: u32, count: usize },
}

/// Plays the role.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let run_dir = RunDir::for_client(rustix::process::geteuid().as_raw());
    let until = |seconds: u64| Instant::now() + Duration::from_secs(seconds);
    match args.role {
        Role::Bells { seconds } => bells(&run_dir, until(seconds))?,
        Role::Linger { seconds } => linger(&run_dir, until(seconds))?,
        Role::Holes { seconds } => holes(&run_dir, until(seconds))?,
        Role::Sleepers { threads } => sleepers(&run_dir, threads)?,
        Role::Flood { uid, seconds } => {
            become_user(uid)?;
            println!("{}", flood(&run_dir, until(seconds)));
        }
        Role::Spin { uid, seconds } => {
            become_user(uid)?;
            let end = until(seconds);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        Role::Joins { uid, count } => {
            become_user(uid)?;
            let failed = (0..count).filter(|_| {
                std::thread::sleep(Duration::from_millis(20));
                !joins(&run_dir)
            });
            println!("{}", failed.count());
        }
    }
    Ok(())
}

fn become_user(uid: u32) -> anyhow::Result<()> {
    // SAFETY: no preconditions; this process has one thread.
    let rc = unsafe { libc::setresuid(uid, uid, uid) };
    ensure!(rc == 0, "setresuid: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Its doorbells are open files that it shares: it makes reads of them wait,
/// and empties them between the agent's being told and its looking.
fn bells(run_dir: &RunDir, end: Instant) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..7 {
        let client = FakeClient::try_join(run_dir)?;
        let flags = rustix::fs::fcntl_getfl(&client.bell)?;
        rustix::fs::fcntl_setfl(&client.bell, flags - OFlags::NONBLOCK)?;
        clients.push(client);
    }
    let mut seed = 1u32;
    while Instant::now() < end {
        for client in &clients {
            client.ring()?;
        }
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let pause = Instant::now() + Duration::from_micros(u64::from(seed >> 16) % 400);
        while Instant::now() < pause {
            std::hint::spin_loop();
        }
        for client in clients.iter().rev() {
            let mut count = [0; 8];
            let mut buffer = [IoSliceMut::new(&mut count)];
            let nowait = ReadWriteFlags::NOWAIT;
            let _ = rustix::io::preadv2(&client.bell, &mut buffer, u64::MAX, nowait);
        }
    }
    Ok(())
}

/// Whoever drops the last reference to the socket in the message waits.
fn linger(run_dir: &RunDir, end: Instant) -> anyhow::Result<()> {
    let mut unread = Vec::new();
    while Instant::now() < end {
        let guest = connect(run_dir)?;
        unread.extend(send_lingering(&guest)?);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// What keeps the socket from being sent; `None` if the kernel does not let
/// it go with a message.
fn send_lingering(to: &OwnedFd) -> anyhow::Result<Option<(TcpListener, TcpStream)>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let (unread, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    while std::io::Write::write(&mut &socket, &[0; 65_536]).is_ok() {}
    socket.set_nonblocking(false)?;
    let linger = |time| rustix::net::sockopt::set_socket_linger(&socket, time);
    linger(Some(Duration::from_secs(20)))?;
    let hello = Hello::new(std::process::id()).encode();
    let sent = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&sent)));
    let message = [IoSlice::new(&hello)];
    let sent = rustix::net::sendmsg(to, &message, &mut ancillary, SendFlags::NOSIGNAL);
    if sent.is_err() {
        linger(None)?;
        return Ok(None);
    }
    Ok(Some((listener, unread)))
}

/// Mappings that a hole takes its time with.
const MAPPINGS: usize = 20_000;

fn holes(run_dir: &RunDir, end: Instant) -> anyhow::Result<()> {
    while Instant::now() < end {
        let client = FakeClient::try_join_unheard(run_dir)?;
        client.introduce();
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        let mut mapped = Vec::new();
        for _ in 0..MAPPINGS {
            let Ok(page) = map::<StatusPage>(&client.status_fd, writable) else {
                break;
            };
            // SAFETY: mapped until it is unmapped below.
            unsafe { page.as_ref() }.waits.fetch_add(1, Relaxed);
            mapped.push(page);
        }
        client.ring()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let size = size_of::<StatusPage>() as u64;
        for _ in 0..20 {
            let _ = rustix::fs::fallocate(&client.status_fd, flags, 0, size);
            client.become_active();
            client.become_idle();
        }
        for page in mapped {
            // SAFETY: exactly a mapping of this loop, not used any more.
            unsafe { rustix::mm::munmap(page.as_ptr().cast(), size_of::<StatusPage>())? };
        }
    }
    Ok(())
}

fn sleepers(run_dir: &RunDir, threads: usize) -> anyhow::Result<()> {
    let client: &'static FakeClient = Box::leak(Box::new(FakeClient::try_join(run_dir)?));
    client.introduce();
    client.status().devices[0].waiting.store(u32::MAX, SeqCst);
    for n in 0..threads {
        let sleeper = std::thread::Builder::new().stack_size(64 << 10);
        let started = sleeper.spawn(move || {
            let word = &client.control().devices[0].word;
            loop {
                let _ = futex::wait(word, futex::Flags::empty(), word.load(SeqCst), None);
            }
        });
        started.with_context(|| format!("thread {n} of {threads}"))?;
    }
    client.become_active();
    println!("waiting");
    std::thread::spawn(|| {
        loop {
            // As one at work: progress shows.
            client.status().devices[0].admitted.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    std::io::stdin().lock().read_line(&mut String::new())?;
    std::process::exit(0);
}

/// Without waiting for a place in the queue, as a shim does.
fn try_connect(run_dir: &RunDir) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(run_dir.join_socket())?)?;
    Ok(socket)
}

fn flood(run_dir: &RunDir, end: Instant) -> u64 {
    let mut kept = std::collections::VecDeque::new();
    let mut made = 0;
    while Instant::now() < end {
        for _ in 0..64 {
            if let Ok(socket) = try_connect(run_dir) {
                made += 1;
                kept.push_back(socket);
            }
            if kept.len() > 256 {
                kept.pop_front();
            }
        }
    }
    made
}

/// Whether the agent lets it in; a shim waits for 50 ms.
fn joins(run_dir: &RunDir) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let Ok(socket) = try_connect(run_dir) else {
        return false;
    };
    let hello = Hello::new(std::process::id()).encode();
    let mut poll = [PollFd::new(&socket, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    let mut bytes = [0; 64];
    rustix::net::send(&socket, &hello, SendFlags::NOSIGNAL).is_ok()
        && rustix::event::poll(&mut poll, Some(&timeout)).is_ok_and(|ready| ready > 0)
        && rustix::net::recv(&socket, &mut bytes[..], RecvFlags::empty()).is_ok_and(|(len, _)| {
            Reply::decode(&bytes[..len]).is_ok_and(|reply| reply.verdict == HelloResult::Accepted)
        })
}
