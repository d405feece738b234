//! One user floods the joining door; everybody else comes in.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use xsched_common::handshake::{Hello, HelloResult, Reply};
use xsched_common::run_dir::RunDir;
use xsched_testkit::{Agent, FakeClient, cpu_ticks};

use crate::{is_root, times};

/// An agent whose socket's file lies in a tmpfs, as /run does.
fn agent_at_a_door() -> (Agent, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("opens the directory");
    Agent::start_logging_in(dir, &[])
}

/// A thread of another user's.
fn as_user<T: Send + 'static>(
    uid: u32,
    act: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        // SAFETY: no preconditions; changes this thread alone, as the C
        // library's function would not.
        let rc = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(rc, 0);
        act()
    })
}

/// As a shim does: once, without waiting for a place in the queue.
fn try_connect(run_dir: &RunDir) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(run_dir.join_socket())?)?;
    Ok(socket)
}

/// The same, to the agent's verdict; a shim waits for 50 ms.
fn try_join(run_dir: &RunDir, timeout: Duration) -> Result<HelloResult, Errno> {
    let socket = try_connect(run_dir)?;
    rustix::net::send(&socket, &Hello::new(1).encode(), SendFlags::NOSIGNAL)?;
    let mut poll = [PollFd::new(&socket, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).expect("short");
    if rustix::event::poll(&mut poll, Some(&timeout))? == 0 {
        return Err(Errno::TIMEDOUT);
    }
    let mut bytes = [0; 64];
    let (len, _) = rustix::net::recv(&socket, &mut bytes[..], RecvFlags::empty())?;
    let reply = Reply::decode(&bytes[..len]).map_err(|_| Errno::PROTO)?;
    Ok(reply.verdict)
}

/// Two processes' worth of connections as fast as the kernel makes them, some
/// of them kept.
struct Flood {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(run_dir: &RunDir, uid: u32) -> Flood {
        let (stop, made) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = [false, true].map(|keeps| {
            let (stop, made, run_dir) = (stop.clone(), made.clone(), run_dir.clone());
            as_user(uid, move || {
                let mut kept = std::collections::VecDeque::new();
                while !stop.load(Relaxed) {
                    let Ok(socket) = try_connect(&run_dir) else {
                        continue;
                    };
                    made.fetch_add(1, Relaxed);
                    if keeps {
                        kept.push_back(socket);
                    }
                    if kept.len() > 256 {
                        kept.pop_front();
                    }
                }
            })
        });
        Flood {
            stop,
            made,
            threads: threads.into(),
        }
    }

    /// Connections that were made.
    fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("floods");
        }
        self.made.load(Relaxed)
    }
}

const HOSTILE: u32 = 65_533;
const OTHER: u32 = 65_534;

#[test]
fn a_flood_of_connections_of_one_user_keeps_nobody_else_out() {
    let _machine = crate::alone();
    if !is_root() {
        return;
    }
    let (agent, _) = agent_at_a_door();
    let flood = Flood::start(&agent.run_dir, HOSTILE);
    std::thread::sleep(Duration::from_millis(500));
    // Two processors have three busy threads and the agent: 50 ms are for the
    // agent, the rest for this thread.
    let timeout = Duration::from_millis(500);
    let n = times(40, 400);
    let join_all = |run_dir: RunDir| {
        move || {
            let mut failed = Vec::new();
            for _ in 0..n {
                match try_join(&run_dir, timeout) {
                    Ok(HelloResult::Accepted) => {}
                    other => failed.push(other),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            failed
        }
    };
    let others = as_user(OTHER, join_all(agent.run_dir.clone()));
    let roots = join_all(agent.run_dir.clone())();
    let others = others.join().expect("joins");
    let ticks = cpu_ticks(agent.child.id());
    std::thread::sleep(Duration::from_secs(1));
    let ticks = cpu_ticks(agent.child.id()) - ticks;
    let made = flood.end();
    println!("{made} connections of the flood; {ticks}% of a processor for the agent");
    assert!(others.is_empty(), "of another user: {others:?}");
    assert!(roots.is_empty(), "of root: {roots:?}");
    assert!(ticks < 30, "{ticks}% of a processor");
    // The flood is over: in a while its user comes in again.
    let run_dir = agent.run_dir.clone();
    let again = as_user(HOSTILE, move || {
        let deadline = Instant::now() + Duration::from_secs(90);
        while try_join(&run_dir, Duration::from_secs(1)) != Ok(HelloResult::Accepted) {
            assert!(Instant::now() < deadline, "let in again");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    again.join().expect("is let in again");
}

/// A user's processes join and leave in a loop.
#[test]
fn a_loop_of_joins_fills_neither_the_log_nor_the_events() {
    let _machine = crate::alone();
    if !is_root() {
        return;
    }
    let (agent, log) = agent_at_a_door();
    let marker = std::process::id();
    xsched_testkit::set_class(&agent, marker, xsched_common::units::Class::Low);
    let run_dir = agent.run_dir.clone();
    let joined = as_user(HOSTILE, move || {
        let joins = (0..1500).map(|_| FakeClient::try_join(&run_dir));
        joins.filter(|joined| joined.is_ok()).count()
    });
    let joined = joined.join().expect("joins");
    assert!(joined > 1000, "{joined} joined");
    std::thread::sleep(Duration::from_millis(1500));
    let lines = std::fs::read_to_string(log).expect("a log");
    let about = lines.matches(" has ").count();
    assert!((50..400).contains(&about), "{about} lines");
    let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
    let events = snapshot["events"].as_array().expect("events");
    let changed = events.iter().any(|event| event["kind"] == "changed");
    assert!(
        changed,
        "what root has done is still there: {}",
        events.len()
    );
}
