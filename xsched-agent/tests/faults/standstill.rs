//! Nothing that a client shares makes the agent's threads wait; and if one
//! ever stands still, gates open and the agent ends.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::ReadWriteFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Signal, kill_process};
use xsched_common::gate::GateMode;
use xsched_common::handshake::Hello;
use xsched_common::page::StatusPage;
use xsched_common::units::Class;
use xsched_testkit::fake_peer::FakePeer;
use xsched_testkit::{Agent, FakeClient, connect, set_class, wait_for};

use crate::times;

/// Longest that a heart on a busy machine is late for reasons of its own: it
/// beats every 50 ms, and a lease lasts for 250.
const LATE: Duration = Duration::from_millis(400);

/// Looks at a client's heartbeat all the time.
struct Heart {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Duration>,
}

impl Heart {
    fn watch(client: FakeClient) -> Heart {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let looking = std::thread::spawn(move || {
            let beat = || client.control().heartbeat.load(Relaxed);
            let (mut last, mut since, mut longest) = (beat(), Instant::now(), Duration::ZERO);
            while !stopped.load(Relaxed) {
                let now = beat();
                longest = longest.max(since.elapsed());
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            longest
        });
        Heart { stop, looking }
    }

    /// Longest time without a beat.
    fn longest(self) -> Duration {
        self.stop.store(true, Relaxed);
        self.looking.join().expect("looks")
    }
}

/// A doorbell is an open file that its client shares: it makes reads of it
/// wait, and empties it between the agent's being told and its looking.
#[test]
fn a_client_that_empties_its_doorbell_holds_nobody_up() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let heart = Heart::watch(FakeClient::join(&agent.run_dir));
    let clients: Vec<_> = (0..6).map(|_| FakeClient::join(&agent.run_dir)).collect();
    for client in &clients {
        let flags = rustix::fs::fcntl_getfl(&client.bell).expect("flags");
        rustix::fs::fcntl_setfl(&client.bell, flags - OFlags::NONBLOCK).expect("its own file");
    }
    let end = Instant::now() + Duration::from_secs(times(4, 60) as u64);
    let mut seed = 1u32;
    while Instant::now() < end {
        for client in &clients {
            client.ring().expect("rings");
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
    let longest = heart.longest();
    assert!(longest < LATE, "the heart stood still for {longest:?}");
}

/// A socket whose last close waits: unsent bytes and SO_LINGER. Also what
/// keeps it from being sent.
fn lingering() -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (unread, _) = listener.accept().expect("accepts");
    socket.set_nonblocking(true).expect("an option");
    while std::io::Write::write(&mut &socket, &[0; 65_536]).is_ok() {}
    socket.set_nonblocking(false).expect("an option");
    let linger = Some(Duration::from_secs(20));
    rustix::net::sockopt::set_socket_linger(&socket, linger).expect("an option");
    (listener, unread, socket)
}

/// Sends `bytes` with a socket that lingers, and keeps no other reference
/// to it. `Err` if the kernel does not let it.
fn send_lingering(to: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<(TcpListener, TcpStream)> {
    let (listener, unread, socket) = lingering();
    let sent = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&sent)));
    let message = [IoSlice::new(bytes)];
    let rc = rustix::net::sendmsg(to, &message, &mut ancillary, SendFlags::NOSIGNAL);
    if rc.is_err() {
        let none = None;
        rustix::net::sockopt::set_socket_linger(&socket, none).expect("an option");
    }
    rc.map(|_| (listener, unread))
}

/// Whoever drops the last reference to it waits for 20 s.
#[test]
fn a_socket_that_lingers_in_a_message_holds_nobody_up() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let heart = Heart::watch(FakeClient::join(&agent.run_dir));
    let mut unread = Vec::new();
    // With a hello, with noise before and after joining, with a request.
    for bytes in [&Hello::new(1).encode()[..], b"noise"] {
        let guest = connect(&agent.run_dir);
        unread.extend(send_lingering(&guest, bytes));
    }
    let client = FakeClient::join(&agent.run_dir);
    unread.extend(send_lingering(&client.socket, b"noise"));
    let api = std::os::unix::net::UnixStream::connect(agent.run_dir.api_socket());
    let api = OwnedFd::from(api.expect("connects"));
    unread.extend(send_lingering(&api, b"{\"op\":\"hello\"}\n"));
    println!("{} of 4 could be sent on this kernel", unread.len());
    let asked = Instant::now();
    assert_eq!(agent.ask_raw(r#"{"op":"list"}"#)["type"], "snapshot");
    let answered = asked.elapsed();
    assert!(
        answered < Duration::from_secs(5),
        "answered in {answered:?}"
    );
    std::thread::sleep(Duration::from_millis(500));
    FakeClient::join(&agent.run_dir);
    let longest = heart.longest();
    assert!(longest < LATE, "the heart stood still for {longest:?}");
}

/// A hole that is punched into a page makes its readers wait for as long as
/// its thousands of mappings take: no page is read before that is over.
#[test]
fn a_page_that_the_agent_reads_takes_no_holes() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let punch = || rustix::fs::fallocate(&client.status_fd, hole, 0, 4096);
    wait_for("its page is sealed", || {
        punch() == Err(rustix::io::Errno::PERM)
    });
    let writable = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    let mapped = xsched_testkit::client::map::<StatusPage>(&client.status_fd, writable);
    assert!(mapped.is_err(), "mapped too late");
    // One that punched before is a client like any other.
    client.introduce();
    client.become_active();
    wait_for("its page is read", || {
        agent.row(std::process::id())["gate"]["state"] == "open"
    });
}

/// A client that never rings is one all the same, if only later.
#[test]
fn a_client_older_than_the_first_ring_is_joined_within_a_second() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let start = Instant::now();
    let client = FakeClient::join_unheard(&agent.run_dir);
    client.introduce();
    wait_for("it is seen", || {
        agent.row(std::process::id())["shim"] == "joined"
    });
    assert!(start.elapsed() < Duration::from_secs(5));
    // And one that rings at its first launch is heard at once.
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    set_class(&agent, high.child.id(), Class::High);
    high.tell("active");
    client.wait_for_mode("closed", |mode| mode == GateMode::Closed);
}

/// A thread of the agent, stopped while all others go on, as if it waited for
/// ever: until it is let go.
struct Stopped {
    thread: Pid,
}

impl Stopped {
    /// By its name.
    fn stop(agent: &Agent, name: &str) -> Stopped {
        let tasks = format!("/proc/{}/task", agent.child.id());
        let tasks = std::fs::read_dir(tasks).expect("it runs");
        let mut tasks = tasks.map(|task| task.expect("an entry").path());
        let task = tasks
            .find(|task| {
                std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
            })
            .expect("a thread of that name");
        let number = task
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let thread = Pid::from_raw(number.expect("a number")).expect("a thread");
        let trace = |request: u32| {
            let nothing = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: neither request uses memory of this process.
            let rc =
                unsafe { libc::ptrace(request, thread.as_raw_nonzero().get(), nothing, nothing) };
            assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
        };
        trace(libc::PTRACE_SEIZE);
        trace(libc::PTRACE_INTERRUPT);
        let stopped = Stopped { thread };
        assert!(stopped.wait(), "it stops");
        stopped
    }

    /// Whether the thread has stopped, rather than ended.
    fn wait(&self) -> bool {
        let mut status = 0;
        // SAFETY: `status` is writable; the thread is traced by this one.
        let rc = unsafe {
            libc::waitpid(
                self.thread.as_raw_nonzero().get(),
                &raw mut status,
                libc::__WALL,
            )
        };
        rc > 0 && libc::WIFSTOPPED(status)
    }

    /// Lets it go on.
    fn release(self) {
        let nothing = std::ptr::null_mut::<libc::c_void>();
        let thread = self.thread.as_raw_nonzero().get();
        // SAFETY: no memory of this process is used.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, thread, nothing, nothing) };
    }
}

/// A low client that a high one holds.
pub(crate) fn held(agent: &Agent) -> (FakeClient, FakePeer) {
    let low = FakeClient::join(&agent.run_dir);
    set_class(agent, std::process::id(), Class::Low);
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(agent, high.child.id(), Class::High);
    high.tell("active");
    low.wait_for_mode("closed", |mode| mode == GateMode::Closed);
    (low, high)
}

fn has_ended(agent: &mut Agent) -> bool {
    agent.child.try_wait().expect("waits").is_some()
}

#[test]
fn a_control_thread_that_hangs_frees_everybody_and_ends_the_agent() {
    let _machine = crate::alone();
    let (mut agent, log) = Agent::start_logging(&[]);
    let (low, _high) = held(&agent);
    let stopped = Stopped::stop(&agent, "control");
    let start = Instant::now();
    low.wait_for_mode("opened by the watchdog", |mode| mode == GateMode::Open);
    let opened = start.elapsed();
    assert!(!has_ended(&mut agent), "it may still go on");
    assert!(!stopped.wait(), "ended by the end of the agent");
    let status = agent.child.wait().expect("ends");
    println!(
        "opened after {opened:.1?}, ended after {:.1?}",
        start.elapsed()
    );
    assert!(opened < Duration::from_secs(3), "{opened:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(log).expect("a log");
    assert!(said.contains("the control thread hangs"), "{said}");
}

#[test]
fn a_control_thread_that_goes_on_decides_anew() {
    let _machine = crate::alone();
    let mut agent = Agent::start();
    let (low, _high) = held(&agent);
    let stopped = Stopped::stop(&agent, "control");
    low.wait_for_mode("opened by the watchdog", |mode| mode == GateMode::Open);
    stopped.release();
    low.wait_for_mode("closed again", |mode| mode == GateMode::Closed);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!has_ended(&mut agent), "it lives on");
}

/// Whichever thread waits for whatever.
#[test]
fn the_order_to_stop_ends_the_agent_whatever_a_thread_waits_for() {
    let _machine = crate::alone();
    for thread in ["control", "model", "xsched-agent"] {
        let mut agent = Agent::start();
        let (low, high) = held(&agent);
        let stopped = Stopped::stop(&agent, thread);
        let pid = Pid::from_raw(agent.child.id().cast_signed()).expect("a pid");
        kill_process(pid, Signal::TERM).expect("SIGTERM");
        let start = Instant::now();
        // The main thread's end is the child's.
        let is_main = thread == "xsched-agent";
        assert!(is_main || !stopped.wait(), "ended with the agent");
        let status = agent.child.wait().expect("ends");
        println!(
            "{thread}: ended after {:.1?} with {status}",
            start.elapsed()
        );
        assert!(start.elapsed() < Duration::from_secs(8), "{thread}");
        assert_eq!(low.mode(), GateMode::Open, "{thread}");
        drop(high);
    }
}
