//! All processes at once.

use std::process::Command;

use xsched_diagnose::{View, diagnose_all};

use super::*;

/// No agent runs.
fn nothing() -> View {
    std::sync::Arc::new(|_| None)
}

#[test]
fn every_hip_process_has_one_report_and_others_have_none() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let healthy = set.start("program", Some(&shim), &[]);
    let bare = set.start("program", None, &[]);
    let plain = set.start("plain", None, &[]);
    let all =
        diagnose_all(&options(0), &Probes::with(&options(0)), &nothing()).expect("/proc is there");
    let of = |process: &Process| {
        let reports: Vec<&Report> = all
            .reports
            .iter()
            .filter(|r| r.pid == process.pid())
            .collect();
        assert!(reports.len() <= 1);
        reports.first().map(|r| codes(r))
    };
    assert_eq!(of(&healthy), Some(vec![]));
    assert_eq!(of(&bare), Some(vec![("shim-not-loaded", Severity::Error)]));
    assert_eq!(of(&plain), None);
    let text = all.to_string();
    assert!(text.contains("processes use HIP or CUDA"), "{text}");
}

#[test]
fn the_command_prints_a_summary_of_each_or_one_report_per_line() {
    let bare = fixtures().start("program", None, &[]);
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_xsched-agent"))
            .args(["diagnose", "--all"])
            .args(more)
            .output()
            .expect("the agent starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).expect("text")
    };
    let text = run(&[]);
    let head = format!("process {}: {}", bare.pid(), fixtures().text("program"));
    let found = text.lines().skip_while(|line| !line.starts_with(&head));
    let found: Vec<&str> = found.take(2).collect();
    assert!(found[0].ends_with("(no shim)"), "{text}");
    assert!(
        found[1].starts_with("  error [shim-not-loaded]: "),
        "{text}"
    );
    let pids: Vec<u64> = run(&["--json"])
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter_map(|report| report["pid"].as_u64())
        .collect();
    assert!(pids.contains(&u64::from(bare.pid())));
    assert!(pids.is_sorted(), "{pids:?}");
}

#[test]
fn the_calls_of_all_are_observed_at_once() {
    if xsched_testkit::no_bpf() {
        return;
    }
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let healthy = set.start_loop("program", Some(&shim), &[]);
    let bare = set.start_loop("program", None, &[]);
    let watched = Options {
        duration: Duration::from_millis(500),
        ..options(0)
    };
    let all = diagnose_all(&watched, &Probes::with(&watched), &nothing()).expect("/proc is there");
    for (process, route) in [
        (healthy, xsched_common::bpf::CallRoute::Shim),
        (bare, xsched_common::bpf::CallRoute::Direct),
    ] {
        let report = all.reports.iter().find(|r| r.pid == process.pid());
        let report = report.expect("it uses HIP");
        let calls = report.calls.iter().filter(|c| c.route == route);
        assert!(calls.map(|c| c.count).sum::<u64>() > 50, "{report}");
    }
}
