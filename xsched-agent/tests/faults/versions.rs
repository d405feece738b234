//! Old shims and new agents, and the reverse.

use xsched_common::handshake::{Hello, HelloResult};
use xsched_common::platform::Platform;
use xsched_testkit::{Agent, FakeClient};

use crate::say_hello;
use crate::shim::agent::{Agent as FakeAgent, Manner};
use crate::shim::scripted::ScriptedProgram;

/// The minor version grows in reserved space: both ways understand.
#[test]
fn minor_versions_understand_each_other() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    let mut old = Hello::new(1);
    old.abi.minor = 0;
    // Its pages were no longer than ours.
    (old.control_size, old.status_size) = (2048, 4096);
    assert_eq!(say_hello(&agent.run_dir, &old), Some(HelloResult::Accepted));
    let mut new = Hello::new(1);
    new.abi.minor += 7;
    assert_eq!(say_hello(&agent.run_dir, &new), Some(HelloResult::Accepted));
    // A longer hello is a newer version's, read as far as it is known.
    let socket = xsched_testkit::connect(&agent.run_dir);
    let mut bytes = Hello::new(1).encode().to_vec();
    bytes.extend([7; 40]);
    rustix::net::send(&socket, &bytes, rustix::net::SendFlags::NOSIGNAL).expect("sends");
    let mut reply = [0; 64];
    let (len, _) = rustix::net::recv(&socket, &mut reply[..], rustix::net::RecvFlags::empty())
        .expect("a reply");
    let reply = xsched_common::handshake::Reply::decode(&reply[..len]).expect("a reply");
    assert_eq!(reply.verdict, HelloResult::Accepted);
}

/// Other layouts refuse each other, and say which.
#[test]
fn major_versions_refuse_each_other() {
    let _machine = crate::in_company();
    let agent = Agent::start();
    for (major, control, status) in [(0, 1, 1), (2, 1, 1), (u16::MAX, 1, 1)] {
        let mut other = Hello::new(1);
        other.abi.major = major;
        (other.control_size, other.status_size) = (control, status);
        assert_eq!(
            say_hello(&agent.run_dir, &other),
            Some(HelloResult::AbiMismatch)
        );
    }
    // More than this agent's pages have: reading on would be a SIGBUS.
    let mut longer = Hello::new(1);
    longer.status_size += 4096;
    assert_eq!(
        say_hello(&agent.run_dir, &longer),
        Some(HelloResult::AbiMismatch)
    );
    FakeClient::join(&agent.run_dir);
}

/// A program under a shim that its agent refuses runs as if it were alone.
fn a_program_whose_shim_is_refused_runs_as_native(platform: Platform) {
    let _machine = crate::in_company();
    let agent = FakeAgent::start_with(Manner::OtherAbi);
    let mut scripted = ScriptedProgram::start_on(platform, agent.dir());
    scripted.run("launch 100 0");
    scripted.run("sync");
    assert_eq!(scripted.stat("launches"), 100);
    assert_eq!(agent.joined(), 0);
    scripted.quit();
}

on_each_platform! {
    a_program_whose_shim_is_refused_runs_as_native
}
