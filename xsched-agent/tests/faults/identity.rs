//! Numbers of processes that mean another process by now.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use xsched_common::handshake::{Hello, Reply};
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, connect, fake_peer, set_class};

use crate::is_root;

/// Connects, leaves the connection to a child and dies; the child says hello
/// when it is told to.
pub fn orphan() {
    if std::env::var_os("RIVAL").is_none_or(|fake_peer| fake_peer != "orphan") {
        return;
    }
    let socket = connect(&RunDir::for_agent(0));
    // The agent sees it now.
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: the child goes on with this thread alone, which holds no lock;
    // it only reads, sends and prints.
    if unsafe { libc::fork() } > 0 {
        std::process::exit(0);
    }
    let mut order = String::new();
    std::io::stdin().read_line(&mut order).expect("an order");
    let _ = rustix::net::send(&socket, &Hello::new(1).encode(), SendFlags::NOSIGNAL);
    let mut bytes = [0; 64];
    let verdict = match rustix::net::recv(socket.as_fd(), &mut bytes[..], RecvFlags::empty()) {
        Ok((len, _)) => Reply::decode(&bytes[..len]).ok().map(|reply| reply.verdict),
        Err(_) => None,
    };
    println!("the orphan was told {verdict:?}");
    std::process::exit(0);
}

/// A process that sleeps and has the number `pid`.
fn with_number(pid: u32) -> Option<u32> {
    let set_tid = [pid];
    // SAFETY: plain numbers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = set_tid.as_ptr() as u64;
    args.set_tid_size = 1;
    // SAFETY: as fork; the child only sleeps.
    let rc = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    if rc == 0 {
        // SAFETY: no preconditions.
        unsafe {
            libc::sleep(30);
            libc::_exit(0);
        }
    }
    u32::try_from(rc).ok()
}

/// Invariant: identity comes from the kernel. A hostile process connects,
/// dies, waits until an important process has its number, and has a child say
/// hello: it does not get that process's class.
#[test]
fn a_reused_number_is_nobodys_identity() {
    let _machine = crate::in_company();
    if !is_root() {
        return;
    }
    let agent = Agent::start();
    let mut parent = fake_peer::command(&agent.run_dir)
        .env("RIVAL", "orphan")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let number = parent.id();
    let mut order = parent.stdin.take().expect("piped");
    let mut answer = BufReader::new(parent.stdout.take().expect("piped"));
    parent.wait().expect("dies");
    let Some(important) = with_number(number) else {
        eprintln!("LEFT OUT: this kernel or container does not let numbers be chosen");
        return;
    };
    assert_eq!(important, number);
    set_class(&agent, important, Class::Realtime);
    writeln!(order, "hello").expect("orders");
    let mut line = String::new();
    while !line.contains("was told") {
        line.clear();
        assert!(answer.read_line(&mut line).expect("reads") > 0, "no answer");
    }
    assert!(!line.contains("Accepted"), "{line}");
    let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
    assert_eq!(snapshot["processes"], serde_json::json!([]), "{snapshot}");
    // SAFETY: our own child.
    unsafe {
        libc::kill(important.cast_signed(), libc::SIGKILL);
        libc::waitpid(important.cast_signed(), std::ptr::null_mut(), 0);
    }
    assert_eq!(
        FakeClient::join(&agent.run_dir)
            .status()
            .pid
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}
