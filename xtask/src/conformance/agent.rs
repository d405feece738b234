//! An agent without a policy: it lets programs join and plays with their gates.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::thread::futex;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::{HELLO_LEN, Hello, HelloResult, Part, REPLY_FDS, Reply};
use xsched_common::page::{Ceilings, ControlPage, Edges, HintPolicy, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;

/// Changes with every start of an agent; ours never restarts.
const EPOCH: u64 = 1;
/// Longest time between two heartbeats.
const BEAT: Duration = Duration::from_millis(10);
/// How long a peer may take between connecting and its hello.
const HELLO_TIMEOUT: Duration = Duration::from_millis(200);
/// Highest cap of a random gate.
const MAX_CAP: u64 = 8;

/// What the agent does with the gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// All stay open.
    Open,
    /// Each opens, is capped and closes at random.
    Stressed {
        /// Of the random numbers.
        seed: u64,
        /// How often.
        pace: Pace,
    },
}

/// How long a random gate stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// 1 to 8 ms, as agents do.
    Usual,
    /// 50 to 800 us: changes meet threads that are just about to wait, or have just woken.
    Hurried,
}

impl Pace {
    fn next(self, random: &mut Random) -> Duration {
        Duration::from_micros(match self {
            Pace::Usual => 1000 + random.below(7000),
            Pace::Hurried => 50 + random.below(750),
        })
    }
}

/// What an agent saw of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Processes that joined.
    pub joined: u64,
    /// Launches that reached the shim.
    pub launches: u64,
    /// Launches that waited at the gate.
    pub waits: u64,
}

impl Seen {
    /// Both together.
    pub fn plus(self, other: Seen) -> Seen {
        Seen {
            joined: self.joined + other.joined,
            launches: self.launches + other.launches,
            waits: self.waits + other.waits,
        }
    }
}

/// A running agent.
pub struct Agent {
    alive: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<Seen>>>,
}

impl Agent {
    /// One that serves in `dir`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(dir: &Path, manner: Manner) -> anyhow::Result<Agent> {
        let path = RunDir(dir.to_owned()).join_socket();
        let listener =
            listen(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let alive = Arc::new(AtomicBool::new(true));
        let still = alive.clone();
        let thread = std::thread::spawn(move || serve(listener.as_fd(), manner, &still));
        Ok(Agent {
            alive,
            thread: Some(thread),
        })
    }

    /// Ends it and says what it saw.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(mut self) -> anyhow::Result<Seen> {
        self.alive.store(false, Relaxed);
        let thread = self.thread.take().context("an agent stops once")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the agent's thread panicked"))?
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.alive.store(false, Relaxed);
    }
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

fn serve(listener: BorrowedFd<'_>, manner: Manner, alive: &AtomicBool) -> anyhow::Result<Seen> {
    let mut random = Random(match manner {
        Manner::Open => 0,
        Manner::Stressed { seed, .. } => seed,
    });
    let mut clients: Vec<Client> = Vec::new();
    let mut change = Instant::now();
    while alive.load(Relaxed) {
        let now = Instant::now();
        if now >= change {
            for client in &clients {
                client.control.page().heartbeat.fetch_add(1, SeqCst);
                if manner != Manner::Open {
                    client.shake(&mut random);
                }
            }
            change = now
                + match manner {
                    Manner::Open => BEAT,
                    Manner::Stressed { pace, .. } => pace.next(&mut random),
                };
        }
        if readable(listener, change.saturating_duration_since(Instant::now()))?
            && let Ok(connection) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
            && let Some(hello) = hello(&connection)?
        {
            let client = Client::new(connection, clients.len() as u64, hello.part)?;
            if manner != Manner::Open {
                client.shake(&mut random);
            }
            client.welcome();
            clients.push(client);
        }
    }
    let mut seen = Seen::default();
    for client in &clients {
        let status = client.status.page();
        seen.joined += 1;
        seen.launches += status.launch_totals().total();
        seen.waits += status.waits.load(Relaxed);
    }
    Ok(seen)
}

fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).unwrap_or_default();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A joined process. Its connection stays open as long as the agent lives.
struct Client {
    id: u64,
    control: Shared<ControlPage>,
    status: Shared<StatusPage>,
    bell: OwnedFd,
    connection: OwnedFd,
}

impl Client {
    fn new(connection: OwnedFd, id: u64, part: Part) -> anyhow::Result<Client> {
        let control = ControlPage::new(EPOCH, id);
        // Whoever wants a class gets it.
        let class = match part {
            Part::Process => Class::default(),
            Part::Group(wish) => wish.class,
        };
        control.class.store(class as u32, Relaxed);
        if part == Part::Process {
            let names = [("worker*", Class::Low), ("other*", Class::High)];
            let rules = names.map(|(name, class)| (name.parse().expect("a pattern"), class));
            control
                .threads
                .write(&rules, HintPolicy::Within, Ceilings::default());
        }
        Ok(Client {
            id,
            control: Shared::new("control", control, SealFlags::FUTURE_WRITE)?,
            status: Shared::new("status", StatusPage::new(), SealFlags::empty())?,
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            connection,
        })
    }

    /// Hands the peer its descriptors. One that has ended meanwhile needs none.
    fn welcome(&self) {
        let reply = Reply {
            abi: xsched_common::ABI,
            verdict: HelloResult::Accepted,
            epoch: EPOCH,
            client_id: self.id,
        };
        let fds: [BorrowedFd<'_>; REPLY_FDS] = [
            self.control.fd.as_fd(),
            self.status.fd.as_fd(),
            self.bell.as_fd(),
        ];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPLY_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let _ = rustix::net::sendmsg(
            &self.connection,
            &[io::IoSlice::new(&reply.encode())],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
    }

    /// Changes every gate at random, and what the agent wants to hear of.
    fn shake(&self, random: &mut Random) {
        for device in &self.control.page().devices {
            let mode = match random.below(4) {
                0 => GateMode::Open,
                1 => GateMode::Closed,
                2 => GateMode::Watched,
                _ => GateMode::Capped(1 + random.below(MAX_CAP) as u16),
            };
            device.wanted_edges.store(random.below(8) as u32, SeqCst);
            device.fence_batch.store(random.below(3) as u32, SeqCst);
            let next = GateWord(device.word.load(Relaxed)).next(mode);
            device.word.store(next.0, SeqCst);
            // Shared, not private: the waiters are in other processes. It cannot fail on a mapped word.
            let _ = futex::wake(&device.word, futex::Flags::empty(), i32::MAX as u32);
        }
    }
}

const _: () = assert!(
    Edges::ACTIVE.with(Edges::IDLE).with(Edges::WATCH).0 == 7,
    "every set of edges is below 8"
);

/// A peer's first packet; `None` when it does not speak the protocol.
fn hello(connection: &OwnedFd) -> io::Result<Option<Hello>> {
    if !readable(connection.as_fd(), HELLO_TIMEOUT)? {
        return Ok(None);
    }
    let mut bytes = [0; HELLO_LEN * 4];
    let Ok((len, _)) = rustix::net::recv(connection, &mut bytes[..], RecvFlags::DONTWAIT) else {
        return Ok(None);
    };
    Ok(Hello::decode(&bytes[..len.min(bytes.len())]).ok())
}

/// A sealed page that another process maps too; everything behind its header is atomics.
struct Shared<T> {
    at: NonNull<T>,
    fd: OwnedFd,
}

impl<T> Shared<T> {
    fn new(name: &str, page: T, seal: SealFlags) -> anyhow::Result<Self> {
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, size_of::<T>() as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let at = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                size_of::<T>(),
                access,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        let at = NonNull::new(at.cast::<T>()).context("mmap returned null")?;
        // SAFETY: writable, aligned to a page, as long as the value, and nobody else has it yet.
        unsafe { at.write(page) };
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals | seal)?;
        Ok(Shared { at, fd })
    }

    fn page(&self) -> &T {
        // SAFETY: mapped and initialised in `new`, unmapped in `drop`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: exactly our own mapping, and no reference outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
