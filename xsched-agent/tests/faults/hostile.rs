//! Clients that send garbage, or too much.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use xsched_common::gate::GateMode;
use xsched_common::handshake::{Hello, HelloResult};
use xsched_common::units::Class;
use xsched_testkit::fake_peer::FakePeer;
use xsched_testkit::holder::Holder;
use xsched_testkit::{Agent, FakeClient, connect, cpu_ticks, set_class, wait_for};

use crate::{assert_prompt, is_root, say_hello, times};

/// Resident memory, KiB.
fn resident(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn joining_ten_thousand_times_leaves_nothing_behind() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let watcher = FakeClient::join(&agent.run_dir);
    let hello = Hello::new(1);
    let join = |n| {
        (0..n)
            .filter(|_| say_hello(&agent.run_dir, &hello) == Some(HelloResult::Accepted))
            .count()
    };
    join(50);
    let left = |agent: &Agent| agent.descriptors() <= 40;
    wait_for("the first have left", || left(&agent));
    let (before, start) = (resident(&agent), Instant::now());
    let n = times(600, 10_000);
    let beats = watcher.control().heartbeat.load(Relaxed);
    let accepted = join(n);
    let took = start.elapsed();
    let beats = watcher.control().heartbeat.load(Relaxed) - beats;
    println!(
        "{accepted} of {n} joins accepted within {took:.1?}, {} KiB more, {beats} heartbeats",
        resident(&agent).saturating_sub(before)
    );
    assert!(accepted >= n.min(500), "those within the pace are served");
    assert!(
        u128::from(beats) >= took.as_millis() / 50 * 8 / 10,
        "{beats} beats"
    );
    wait_for("all have left", || left(&agent));
    assert!(resident(&agent) < before + 8 * 1024, "memory is returned");
}

#[test]
fn noise_and_half_messages_are_dropped_with_their_descriptors() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let before = agent.descriptors();
    let file = std::fs::File::open("/dev/null").expect("opens");
    let fds: Vec<BorrowedFd<'_>> = (0..200).map(|_| file.as_fd()).collect();
    let hello = Hello::new(1).encode();
    for round in 0..times(20, 500) {
        let socket = connect(&agent.run_dir);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        // A hello with too many descriptors, half of one, and nothing at all.
        let bytes = [&hello[..], &hello[..11], &[]][round % 3];
        let _ = rustix::net::sendmsg(
            &socket,
            &[std::io::IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
    }
    wait_for("nothing is kept", || agent.descriptors() <= before + 2);
    assert_eq!(
        say_hello(&agent.run_dir, &Hello::new(1)),
        Some(HelloResult::Accepted)
    );
}

#[test]
fn talking_after_joining_ends_the_connection_and_nothing_else() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let client = FakeClient::join(&agent.run_dir);
    let noisy = FakeClient::join(&agent.run_dir);
    let _ = rustix::net::send(&noisy.socket, &[0; 300], SendFlags::NOSIGNAL);
    let mut bytes = [0; 8];
    let hung_up = rustix::net::recv(
        &noisy.socket,
        &mut bytes[..],
        rustix::net::RecvFlags::empty(),
    );
    assert!(matches!(hung_up, Ok((0, _)) | Err(_)));
    let beat = client.control().heartbeat.load(Relaxed);
    wait_for("the heart beats on", || {
        client.control().heartbeat.load(Relaxed) > beat + 2
    });
}

/// From a high client's ring to the low one's closed gate.
fn reaction(high: &mut FakePeer, low: &FakeClient) -> Duration {
    let rung = Instant::now();
    high.tell("active");
    low.wait_for_mode("held", |mode| mode == GateMode::Closed);
    let took = rung.elapsed();
    high.tell("idle");
    low.wait_for_mode("let through", |mode| mode != GateMode::Closed);
    took
}

/// Two clients ring without end, one of them changing its activity as fast
/// as it can: others are heard all the same.
#[test]
fn a_flood_of_rings_does_not_starve_the_others() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    let mut flood = FakePeer::start(&agent.run_dir);
    set_class(&agent, flood.child.id(), Class::Low);
    flood.tell("flood");
    let mut flips = FakePeer::start(&agent.run_dir);
    set_class(&agent, flips.child.id(), Class::Low);
    flips.tell("flip");
    std::thread::sleep(Duration::from_millis(600));
    let took = (0..times(20, 200))
        .map(|_| reaction(&mut high, &low))
        .collect();
    // Both processors are taken by the flood: this is the machine's share
    // for an honest process, not the agent's doing.
    assert_prompt("heard beside a flood", took, Duration::from_millis(60));
    let ticks = cpu_ticks(agent.child.id());
    std::thread::sleep(Duration::from_secs(1));
    let ticks = cpu_ticks(agent.child.id()) - ticks;
    println!("the agent took {ticks}% of a processor beside a flood");
    assert!(ticks < 60, "{ticks}% of a processor");
}

/// A page full of anything, changing all the time.
#[test]
fn garbage_in_a_page_harms_only_its_writer() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let low = FakeClient::join(&agent.run_dir);
    set_class(&agent, std::process::id(), Class::Low);
    let mut writers: Vec<FakePeer> = (0..2).map(|_| FakePeer::start(&agent.run_dir)).collect();
    for writer in &mut writers {
        set_class(&agent, writer.child.id(), Class::Low);
        writer.tell("scribble");
    }
    let mut high = FakePeer::start(&agent.run_dir);
    set_class(&agent, high.child.id(), Class::High);
    let end = Instant::now() + Duration::from_secs(times(2, 60) as u64);
    let mut took = Vec::new();
    while Instant::now() < end {
        took.push(reaction(&mut high, &low));
        let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
        assert_eq!(snapshot["type"], "snapshot", "{snapshot}");
    }
    assert_prompt("heard beside garbage", took, Duration::from_millis(60));
}

/// A tenant that lets nobody read its memory map, for as long as it likes.
#[test]
fn snapshots_keep_their_pace_whoever_holds_up_the_observer() {
    let _machine = crate::alone();
    if !is_root() || std::env::var_os("XSCHED_TEST_NO_BPF").is_some_and(|v| v == "1") {
        return;
    }
    let agent = Agent::start_observing();
    let client = FakeClient::join(&agent.run_dir);
    let Some(_holder) = Holder::start() else {
        return;
    };
    let snapshot = || agent.ask_raw(r#"{"op":"list"}"#);
    let mut times = Vec::new();
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        times.push(snapshot()["time_unix_ns"].as_u64().expect("a time"));
        std::thread::sleep(Duration::from_millis(20));
    }
    times.dedup();
    let mut gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    println!("gaps between snapshots, ns: {gaps:?}");
    assert!(gaps.len() >= 4, "{gaps:?}");
    assert!(gaps[gaps.len() / 2] < 900_000_000, "{gaps:?}");
    wait_for("it is said", || {
        let limits = snapshot()["agent"]["limits"].to_string();
        limits.contains("holds up whoever reads it")
    });
    drop(client);
}
