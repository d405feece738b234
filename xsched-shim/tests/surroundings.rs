//! Programs where no shim expects them compute under gates that change all
//! the time what they compute alone.

use crate::support;

use std::ffi::OsString;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use support::agent::Agent;
use support::simulated::Simulated;
use support::{shared_library, stdout_of};
use xsched_common::gate::GateMode;

/// Changes the gates of all clients until dropped.
struct Weather<'a>(&'a AtomicBool);

impl Drop for Weather<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn change_gates(agent: &Agent, end: &AtomicBool) {
    let modes = [
        GateMode::Open,
        GateMode::Closed,
        GateMode::Capped(1),
        GateMode::Open,
        GateMode::Capped(3),
    ];
    let mut n = 0;
    while !end.load(Relaxed) {
        for client in 0..agent.joined() {
            agent
                .client(client)
                .set(0, modes[(n + client) % modes.len()]);
        }
        n += 1;
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Runs `what` without the shim and with it, and compares what it says.
fn check(what: &str, arguments: impl Fn(&Simulated) -> Vec<OsString>) {
    check_with(what, arguments, |_, _| {});
}

fn check_with(
    what: &str,
    arguments: impl Fn(&Simulated) -> Vec<OsString>,
    prepare: impl Fn(&Simulated, &mut Command),
) {
    let device = Simulated::install();
    let binary = device.compile("surroundings");
    let agent = Agent::start();
    let command = || {
        let mut command = device.command(&binary, agent.dir());
        command.arg(what).args(arguments(&device));
        prepare(&device, &mut command);
        command
    };
    let native = stdout_of(command().env_remove("LD_PRELOAD"));
    assert!(!native.is_empty() && agent.joined() == 0);
    let end = AtomicBool::new(false);
    let scheduled = std::thread::scope(|scope| {
        scope.spawn(|| change_gates(&agent, &end));
        let _weather = Weather(&end);
        stdout_of(&mut command())
    });
    assert_eq!(scheduled, native, "{what}");
    assert!(agent.joined() > 0, "{what}: it was under the gate");
}

#[test]
fn children_that_share_memory_for_a_while() {
    check("children", |_| Vec::new());
}

#[test]
fn a_process_of_its_own_in_the_same_memory() {
    check("shared-memory", |_| Vec::new());
}

#[test]
fn a_program_that_closes_everything_and_takes_the_numbers() {
    check("descriptors", |device| vec![device.path("file").into()]);
}

#[test]
fn a_daemon() {
    check_with(
        "daemon",
        |device| vec![device.path("log").into()],
        // What is said goes to the standard error of the start, if anywhere.
        |_, command| {
            command.env("XSCHED_VERBOSE", "1");
        },
    );
}

#[test]
fn a_program_that_leaves_for_an_empty_root_as_nobody() {
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("LEFT OUT: chroot needs root");
        return;
    }
    check("root", |device| {
        let root = device.path("empty");
        std::fs::create_dir_all(&root).expect("a directory");
        vec![root.into()]
    });
}

#[test]
fn fibres_that_move_between_threads() {
    check("fibres", |_| Vec::new());
}

#[test]
fn signal_handlers_that_launch() {
    check("handlers", |_| Vec::new());
}

#[test]
fn runtimes_that_come_and_go() {
    check("come-and-go", |device| {
        [5, 6].map(|major| device.runtime(major).into()).into()
    });
}

#[test]
fn an_auditor_of_the_dynamic_linker() {
    check_with(
        "work",
        |_| Vec::new(),
        |device, command| {
            let auditor = device.path("libauditor.so");
            shared_library("auditor", &auditor, &[]);
            command.env("LD_AUDIT", auditor);
        },
    );
}

/// There is no HIP runtime for musl; but LD_PRELOAD is inherited, and a
/// program's helper may be built on it.
#[test]
fn a_program_of_another_c_library_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("helper");
    let source = support::source("simulated/helper.c");
    let built = Command::new("musl-gcc")
        .args([
            "-O1".as_ref(),
            source.as_os_str(),
            "-o".as_ref(),
            program.as_os_str(),
        ])
        .status();
    match built {
        Ok(status) => assert!(status.success()),
        Err(e) => {
            eprintln!("LEFT OUT: musl-gcc (Debian package musl-tools): {e}");
            return;
        }
    }
    let mut command = Command::new(&program);
    command
        .env("LD_PRELOAD", support::shim())
        .env("XSCHED_RUN_DIR", dir.path());
    assert_eq!(stdout_of(&mut command), "1 1 300\n");
}
