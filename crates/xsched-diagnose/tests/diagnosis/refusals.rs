//! Processes that cannot be examined: one clear line each.

use super::*;

#[track_caller]
fn refusal(result: Result<Report, Error>) -> String {
    let text = match result {
        Ok(report) => panic!("examined: {report}"),
        Err(e) => e.to_string(),
    };
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn a_pid_of_nobody() {
    let text = refusal(diagnose_with(&options(u32::MAX), None));
    assert!(text.contains("does not exist"), "{text}");
}

#[test]
fn a_process_without_hip() {
    let process = fixtures().start("plain", None, &[]);
    let text = refusal(diagnose_with(&options(process.pid()), None));
    assert!(text.contains("does not use HIP or CUDA"), "{text}");
    // A working shim does not make it one.
    let set = fixtures();
    let process = set.start("plain", Some(&set.text("libxsched_shim.so")), &[]);
    let text = refusal(diagnose_with(&options(process.pid()), None));
    assert!(text.contains("does not use HIP or CUDA"), "{text}");
}

#[test]
fn a_process_without_hip_whose_shim_is_missing_is_examined() {
    let set = fixtures();
    let missing = set.text("nowhere/libxsched_shim.so");
    let report = examine(&set.start("plain", Some(&missing), &[]));
    only(&report, "preload-missing", Severity::Error);
}

#[test]
fn a_zombie() {
    let mut child = std::process::Command::new("true")
        .spawn()
        .expect("it starts");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let text = loop {
        let text = refusal(diagnose_with(&options(child.id()), None));
        if text.contains("zombie") || std::time::Instant::now() > deadline {
            break text;
        }
    };
    child.wait().expect("it ended");
    assert!(text.contains("zombie"), "{text}");
}

#[test]
fn a_process_that_exits_meanwhile() {
    let set = fixtures();
    let mut process = set.start("program", None, &[]);
    let pid = process.pid();
    let result = examine_with(pid, || {
        process.kill();
        Ok(Observed::default())
    });
    let text = refusal(result);
    assert!(text.contains("exited while it was examined"), "{text}");
}

#[test]
fn a_process_that_executes_another_program_meanwhile() {
    let set = fixtures();
    let process = set.start("program", None, &[]);
    let auxv = format!("/proc/{}/auxv", process.pid());
    let before = std::fs::read(&auxv).expect("readable");
    let result = examine_with(process.pid(), || {
        process.signal(libc::SIGUSR1);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read(&auxv).expect("it lives") == before
            && std::time::Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Observed::default())
    });
    let text = refusal(result);
    assert!(text.contains("executed another program"), "{text}");
}

#[test]
fn an_observer_that_fails_leaves_the_bindings() {
    let set = fixtures();
    let process = set.start("program", None, &[]);
    let report = examine_with(process.pid(), || Err("no BPF here: run as root".into()))
        .expect("bindings need no observer");
    only(&report, "shim-not-loaded", Severity::Error);
    assert!(
        report.limits.iter().any(|l| l.contains("no BPF here")),
        "{report}"
    );
    assert!(!report.bindings.is_empty());
}

#[test]
fn a_stopped_process_is_examined_and_said_to_be_stopped() {
    let set = fixtures();
    let process = set.start("program", Some(&set.text("libxsched_shim.so")), &[]);
    let stopped = || {
        let report = examine(&process);
        assert_eq!(codes(&report), [], "{report}");
        let said = format!("kill -CONT {}", process.pid());
        report.limits.iter().any(|limit| limit.contains(&said))
    };
    assert!(!stopped());
    process.signal(libc::SIGSTOP);
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !stopped() {
        assert!(std::time::Instant::now() < deadline, "it says nothing");
    }
}

/// As many mappings as the kernel lets a process have, about.
#[test]
fn sixty_thousand_mappings_are_read_in_bounded_time() {
    let set = fixtures();
    let mut command = std::process::Command::new(set.path("program"));
    command
        .env("LD_PRELOAD", set.text("libxsched_shim.so"))
        .env("MAPPINGS", "30000");
    let process = set.spawn(command);
    let started = std::time::Instant::now();
    let report = examine(&process);
    assert_eq!(codes(&report), [], "{report}");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "took {took:?}");
}
