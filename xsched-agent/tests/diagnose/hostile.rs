//! Processes and files that are made to hold up, or to fill, whoever examines
//! them.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use xsched_diagnose::{View, diagnose_all};
use xsched_testkit::holder::Holder;
use xsched_testkit::{Agent, wait_for};

use super::*;

/// A mean process costs everybody else less than this, however busy the
/// machine is (`cargo xtask bench faults` has the bound of an idle one); without
/// a limit it would be for ever.
const IN_TIME: Duration = Duration::from_secs(15);

/// Bombs and holders must not meet each other's times.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn holders() -> Option<Vec<Holder>> {
    is_root("a file system of one's own").then_some(())?;
    (0..4).map(|_| Holder::start()).collect()
}

/// What the agent says of a process, to root or to another user.
fn asked(agent: &Agent, uid: u32, pid: u32) -> (Value, Duration) {
    let began = Instant::now();
    let line = json!({"op": "diagnose", "pid": pid, "duration_ms": 0}).to_string();
    let answer = std::thread::scope(|scope| {
        let ask = || {
            // SAFETY: no preconditions; changes this thread alone, as the C
            // library's function would not.
            let rc = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            assert_eq!(rc, 0);
            agent.ask_raw(&line)
        };
        scope.spawn(ask).join().expect("asks")
    });
    (answer, began.elapsed())
}

#[test]
fn holders_of_their_memory_maps_stop_no_diagnosis_but_their_own() {
    let _alone = alone();
    let Some(holders) = holders() else { return };
    let agent = Agent::start();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(agent.dir.path(), open).expect("ours");
    let set = fixtures();
    set.open_to_all();
    let shim = set.text("libxsched_shim.so");
    let mut command = Command::new(set.path("program"));
    command.env("LD_PRELOAD", &shim);
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let users = set.spawn(command);
    let roots = set.start("program", Some(&shim), &[]);

    std::thread::scope(|scope| {
        for holder in &holders {
            scope.spawn(|| {
                let (answer, took) = asked(&agent, 0, holder.pid);
                assert_eq!(answer["code"], "held_up", "{answer}");
                assert!(took < IN_TIME, "{took:?}");
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..3 {
            for (uid, process) in [(65534, &users), (0, &roots)] {
                let (answer, took) = asked(&agent, uid, process.pid());
                assert_eq!(answer["type"], "diagnosis", "{uid}: {answer}");
                assert!(took < IN_TIME, "{uid}: {took:?}");
            }
        }
    });
    // What is given up stays given up: it is said at once.
    let (answer, took) = asked(&agent, 0, holders[0].pid);
    assert_eq!(answer["code"], "held_up", "{answer}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.child.id())).expect("lives");
        let names = tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name == "examine\n").count()
    };
    assert!(threads() <= holders.len(), "{}", threads());
    drop(holders);
    wait_for("they let go", || threads() == 0);
}

#[test]
fn the_command_gives_holders_up_and_examines_everybody_else() {
    let _alone = alone();
    let Some(holders) = holders() else { return };
    let set = fixtures();
    let healthy = set.start("program", Some(&set.text("libxsched_shim.so")), &[]);
    let began = Instant::now();
    let nothing: View = Arc::new(|_| None);
    let all =
        diagnose_all(&options(0), &Probes::with(&options(0)), &nothing).expect("/proc is there");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert!(all.reports.iter().any(|r| r.pid == healthy.pid()));
    for holder in &holders {
        let reason = all.refused.iter().find(|(pid, _)| *pid == holder.pid);
        let (_, reason) = reason.expect("it is said");
        assert!(reason.contains("hold up whoever reads"), "{reason}");
    }
    // In a process of its own, which it must be able to end as well.
    let began = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_xsched-agent"))
        .args(["diagnose", "--duration", "0", "--pid"])
        .arg(holders[3].pid.to_string())
        .output()
        .expect("it runs");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("hold up whoever reads"), "{text}");
}

/// The root agent tells nobody what another user's files are.
#[test]
fn files_that_a_process_names_are_looked_at_with_its_own_rights() {
    if !is_root("another user") {
        return;
    }
    let secret = tempfile::tempdir().expect("a directory");
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(secret.path(), closed).expect("ours");
    let file = secret.path().join("secret");
    std::fs::write(&file, "secret").expect("ours");
    let set = fixtures();
    set.open_to_all();
    let evidence = |uid: u32, path: &std::path::Path| {
        let mut command = Command::new(set.path("program"));
        command.env("LD_PRELOAD", path);
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        let process = set.spawn(command);
        only(&examine(&process), "preload-missing", Severity::Error)
    };
    let absent = secret.path().join("absent");
    let same = |text: String| text.replace("absent", "secret");
    assert_eq!(evidence(65534, &file), same(evidence(65534, &absent)));
    assert!(evidence(0, &file).contains("is not an ELF file"));
}
