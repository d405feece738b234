//! A client in a process of its own, since all clients of one process have
//! one class: the test binary again, as a client that obeys its stdin.
//!
//! A test binary that uses it has a test `rival_process` that calls [`obey`].

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use xsched_common::page::StatusPage;
use xsched_common::run_dir::RunDir;

use super::FakeClient;

/// A running one; killed when it goes out of scope.
pub struct FakePeer {
    /// Its process.
    pub child: Child,
    /// Its number in its own pid namespace.
    pub own_pid: u32,
    to_child: ChildStdin,
    from_child: BufReader<ChildStdout>,
}

/// The command that makes one; for wrapping.
pub fn command(run_dir: &RunDir) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("I run"));
    command
        .args(["--exact", "rival_process", "--nocapture"])
        .env("XSCHED_RUN_DIR", &run_dir.0)
        .env("RIVAL", "1");
    command
}

impl FakePeer {
    /// Starts one and waits until it has joined.
    pub fn start(run_dir: &RunDir) -> FakePeer {
        FakePeer::spawn(&mut command(run_dir))
    }

    /// The same in other surroundings.
    pub fn spawn(command: &mut Command) -> FakePeer {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let to_child = child.stdin.take().expect("piped");
        let from_child = BufReader::new(child.stdout.take().expect("piped"));
        let mut fake_peer = FakePeer {
            child,
            own_pid: 0,
            to_child,
            from_child,
        };
        let joined = fake_peer.line("rival joined as ");
        fake_peer.own_pid = joined.parse().expect("a number");
        fake_peer
    }

    /// What follows `mark` on the next line that has it.
    fn line(&mut self, mark: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.from_child.read_line(&mut line).expect("reads");
            assert!(read > 0, "the rival died");
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Gives an order and waits until it is done; what it answers.
    pub fn tell(&mut self, order: &str) -> String {
        writeln!(self.to_child, "{order}").expect("writes");
        self.line("done ")
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }
}

impl Drop for FakePeer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does something again and again in a thread of its own, until it is told
/// to stop.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn doing(client: Arc<FakeClient>, mut act: impl FnMut(&FakeClient) + Send + 'static) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                act(&client);
            }
        });
        Busy(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The rival's side. Returns at once in a test run of its own.
pub fn obey() {
    if std::env::var_os("RIVAL").is_none() {
        return;
    }
    let client = Arc::new(FakeClient::join(&RunDir::for_agent(0)));
    println!("rival joined as {}", std::process::id());
    let mut busy = Vec::new();
    for order in std::io::stdin().lines() {
        let client = client.clone();
        match order.expect("reads").as_str() {
            "active" => {
                client.become_active();
                // As one that works: progress shows on its page.
                busy.push(Busy::doing(client, |client| {
                    client.status().devices[0].admitted.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_millis(20));
                }));
            }
            "claim" => client.become_active(),
            "idle" => {
                busy.clear();
                client.become_idle();
            }
            "flip" => busy.push(Busy::doing(client, |client| {
                client.become_active();
                client
                    .status()
                    .bursts
                    .record(xsched_common::units::Nanos(7));
                client.become_idle();
            })),
            "flood" => busy.push(Busy::doing(client, |client| {
                let _ = rustix::io::write(&client.bell, &1u64.to_ne_bytes());
            })),
            "scribble" => {
                let mut seed = u64::from(std::process::id());
                busy.push(Busy::doing(client, move |client| {
                    scribble(client.status(), &mut seed);
                }));
            }
            "mode" => {
                println!("done {:?}", client.mode());
                continue;
            }
            "beat" => {
                println!("done {}", client.control().heartbeat.load(Relaxed));
                continue;
            }
            "class" => {
                println!("done {}", client.control().class.load(Relaxed));
                continue;
            }
            other => panic!("{other}"),
        }
        println!("done ");
    }
}

/// Any bytes anywhere in the page.
pub fn scribble(page: &StatusPage, seed: &mut u64) {
    let words = size_of::<StatusPage>() / 8;
    let start = std::ptr::from_ref(page).cast::<std::sync::atomic::AtomicU64>();
    for _ in 0..words {
        // xorshift64 (Marsaglia).
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let at = (*seed >> 32) as usize % words;
        // SAFETY: within the page, which is shared memory of this process
        // and the agent; both access it by atomics.
        unsafe { (*start.add(at)).store(*seed, Relaxed) };
    }
}
