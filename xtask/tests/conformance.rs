//! `cargo xtask conformance --json`: everything passes under the shim, and what should fail does.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

struct Suite {
    report: Value,
    success: bool,
    progress: String,
}

fn conformance(arguments: &[&str]) -> Suite {
    let out = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["conformance", "--json"])
        .args(arguments)
        .output()
        .expect("runs");
    let progress = String::from_utf8_lossy(&out.stderr).into_owned();
    let report =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {progress}"));
    Suite {
        report,
        success: out.status.success(),
        progress,
    }
}

impl Suite {
    fn cases(&self) -> &[Value] {
        self.report["cases"].as_array().expect("a list")
    }

    /// The outcomes of a case: native, open, stressed.
    fn outcomes(&self, name: &str) -> [&str; 3] {
        let mut cases = self.cases().iter();
        let case = cases.find(|case| case["name"] == name);
        let case = case.unwrap_or_else(|| panic!("no case {name}"));
        ["native", "open", "stressed"].map(|run| case[run].as_str().expect("an outcome"))
    }
}

fn sources(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conformance")
        .join(folder)
}

/// What users of such shims have met, and what no shim may do to a program: these cases stay, whatever else comes.
const PROMISED: [&str; 43] = [
    "device_synchronize_after_64_launches",
    "sync_memcpy_after_launches",
    "cross_stream_event_wait",
    "null_stream_and_blocking_streams",
    "host_function_and_2d_copy_keep_their_place",
    "capture_of_20_launches",
    "global_capture_beside_another_threads_launches",
    "arguments_reused_at_once_params",
    "arguments_reused_at_once_extra",
    "bad_configurations",
    "bad_functions",
    "destroyed_streams",
    "memory_and_streams_come_and_go_while_suspended",
    "freeing_waits_for_the_kernels_that_use_it",
    "destroying_a_stream_with_work",
    "module_launches_with_events",
    "stub_launches_with_events",
    "cooperative_launches",
    "per_thread_streams",
    "event_query_polling",
    "stream_query_polling",
    "threads_share_streams",
    "fork_before_use",
    "fork_after_use",
    "exec_after_use",
    "library_opened_and_closed",
    "static_constructor",
    "library_constructor_under_the_loader_lock",
    "loading_beside_first_use",
    "first_use_by_many_threads",
    "launches_from_atexit_and_destructors",
    "launches_from_thread_destructors",
    "signals_during_waits",
    "signals_during_launches",
    "a_thousand_streams",
    "kernel_needs_a_later_launch",
    "blocking_streams_need_each_other_after_default_work",
    "chains_over_eight_streams",
    "multi_device_launches",
    "dlopen_and_dlsym",
    "proc_address",
    "last_error_outlives_launches_and_waits",
    "librocrand_generates",
];

/// Of CUDA's own cases those that nobody else's gate passes, and the shared ones that matter most.
const PROMISED_CUDA: [&str; 14] = [
    "every_form_of_launch",
    "both_forms_of_graph_launch",
    "graphs_of_kernel_nodes",
    "kernels_of_libraries",
    "as_the_runtime_looks",
    "names_versions_and_flags",
    "addresses_agree",
    "a_stack_of_contexts",
    "a_thread_begins_without_one",
    "per_thread_streams",
    "capture_of_20_launches",
    "kernel_needs_a_later_launch",
    "fork_before_use",
    "first_use_by_many_threads",
];

#[test]
fn cuda_programs_behave_under_the_shim_as_without() {
    let suite = conformance(&["--platform", "cuda", "--rounds", "2"]);
    assert_eq!(suite.report["failed"], 0, "{}", suite.progress);
    assert!(suite.success);
    assert!(suite.cases().len() >= 60, "{} cases", suite.cases().len());
    for promised in PROMISED_CUDA {
        assert_eq!(suite.outcomes(promised), ["ok"; 3], "{promised}");
    }
}

#[test]
fn programs_behave_under_the_shim_as_without() {
    let suite = conformance(&[]);
    assert_eq!(suite.report["failed"], 0, "{}", suite.progress);
    assert!(suite.success);
    assert!(suite.cases().len() >= 90, "{} cases", suite.cases().len());
    assert!(
        suite.cases().iter().all(|case| case["ok"] == true),
        "{}",
        suite.progress
    );
    for promised in PROMISED {
        assert_eq!(suite.outcomes(promised), ["ok"; 3], "{promised}");
    }
    // The documented shape, for who reads it.
    for case in suite.cases() {
        let fields = case.as_object().expect("an object").keys();
        let fields: Vec<_> = fields.map(String::as_str).collect();
        assert_eq!(fields, ["name", "native", "ok", "open", "stressed"]);
    }
    let waits = suite.report["waits"].as_u64().expect("a number");
    assert!(waits > 500, "only {waits} launches waited at the gate");
}

/// The same with the gate in the runtime's own table: a few cases in each of the versions that have one.
#[test]
fn strict_mode_behaves_the_same() {
    for abi in ["6", "7"] {
        let mut arguments = vec!["--strict", "--abi", abi, "--rounds", "2"];
        for case in [
            "dlopen_and_dlsym",
            "library_opened_with_deepbind",
            "capture",
            "event_wait",
            "later_launch",
            "bad_",
            "first_use",
        ] {
            arguments.extend(["--case", case]);
        }
        let suite = conformance(&arguments);
        assert_eq!(suite.report["failed"], 0, "{}", suite.progress);
        assert!(suite.cases().len() >= 12, "{}", suite.progress);
    }
}

/// Threads and programs that end inside a launch unwind through the shim's frames: in the optimised build those are
/// others, and more functions are taken for such as cannot unwind.
#[test]
fn what_ends_threads_behaves_the_same_in_the_release_build() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release-build");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--locked", "--lib"])
        .args(["--package", "xsched-shim", "--target-dir"])
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(built.success());
    let shim = target.join("release/libxsched_shim.so");
    let mut arguments = vec!["--shim", shim.to_str().expect("UTF-8"), "--rounds", "2"];
    let cases = [
        "launches_from_atexit_and_destructors",
        "launches_from_thread_destructors",
        "cancelled_threads",
        "library_constructor",
        "static_constructor",
    ];
    arguments.extend(cases.iter().flat_map(|case| ["--case", case]));
    let suite = conformance(&arguments);
    for case in &cases[..3] {
        assert_eq!(suite.outcomes(case), ["ok"; 3], "{}", suite.progress);
    }
    assert_eq!(suite.report["failed"], 0, "{}", suite.progress);
    assert!(suite.cases().len() >= 5, "{}", suite.progress);
}

#[test]
fn what_goes_wrong_is_reported_as_what_it_is() {
    let folder = sources("faulty");
    let folder = folder.to_str().expect("UTF-8");
    let suite = conformance(&["--sources", folder, "--watchdog", "2"]);
    assert!(!suite.success, "{}", suite.progress);
    for (name, outcomes) in [
        ("passes", ["ok", "ok", "ok"]),
        ("differs_in_its_transcript", ["ok", "differs", "differs"]),
        ("differs_in_its_status", ["ok", "differs", "differs"]),
        ("hangs_under_the_shim", ["ok", "hang", "hang"]),
        ("crashes_under_the_shim", ["ok", "crash", "crash"]),
        ("hangs_natively", ["hang", "differs", "differs"]),
        ("fails_natively", ["crash", "differs", "differs"]),
        ("says_nothing", ["crash", "ok", "ok"]),
    ] {
        let found = suite.outcomes(name);
        // A native hang ends the transcript where the others go on; how they compare does not matter.
        if outcomes[0] == "ok" {
            assert_eq!(found, outcomes, "{name}: {}", suite.progress);
        } else {
            assert_eq!(found[0], outcomes[0], "{name}: {}", suite.progress);
        }
    }
    assert_eq!(suite.report["failed"], 7, "{}", suite.progress);
    assert!(
        suite.progress.contains("native shimmed 0"),
        "the difference is shown: {}",
        suite.progress
    );
}

/// A shim from conformance/faulty/shims under some cases.
fn with_shim(name: &str, cases: &[&str], more: &[&str]) -> Suite {
    let dir = tempfile::tempdir().expect("a directory");
    let shim = dir.path().join(format!("lib{name}.so"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-pthread", "-I"])
        .arg(sources("../hipsim/include"))
        .arg(sources(&format!("faulty/shims/{name}.c")))
        .arg("-o")
        .arg(&shim)
        .arg("-ldl")
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc");
    let shim = shim.to_str().expect("UTF-8");
    let mut arguments = vec!["--shim", shim, "--watchdog", "3", "--rounds", "1"];
    arguments.extend(more);
    for case in cases {
        arguments.extend(["--case", case]);
    }
    conformance(&arguments)
}

/// The cases themselves can fail: here with a shim built like XSched's, and by what is known to go wrong under that.
#[test]
fn bad_shims_are_caught() {
    let cases = [
        "device_synchronize_after_64_launches",
        "sync_memcpy_after_launches",
        "cross_stream_event_wait",
        "null_stream_and_blocking_streams",
        "host_function_and_2d_copy_keep_their_place",
        "capture_of_20_launches",
        "arguments_reused_at_once_params",
        "arguments_reused_at_once_extra",
        "bad_functions",
    ];
    let suite = with_shim("deferring", &cases, &[]);
    for case in cases {
        let [native, open, _] = suite.outcomes(case);
        assert_eq!(native, "ok", "{case}: {}", suite.progress);
        assert_ne!(open, "ok", "{case}: {}", suite.progress);
    }
    assert_eq!(suite.report["failed"], cases.len(), "{}", suite.progress);
    assert!(!suite.success);
}

/// Fences without regard to captures: on the capturing stream itself, and by another thread on its own.
#[test]
fn fences_in_captures_are_caught() {
    let suite = with_shim(
        "fencing",
        &[
            "capture_of_20_launches",
            "capture_across_streams",
            "global_capture_beside",
            "relaxed_capture_beside",
        ],
        &[],
    );
    for case in [
        "capture_of_20_launches",
        "capture_across_streams",
        "global_capture_beside_another_threads_launches",
        "relaxed_capture_beside_another_threads_launches",
    ] {
        assert_eq!(suite.outcomes(case)[0], "ok", "{}", suite.progress);
        assert_eq!(suite.outcomes(case)[1], "differs", "{}", suite.progress);
    }
}

/// Programs that never meet the gate prove nothing about it, whatever they print.
#[test]
fn a_suite_without_a_gate_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let harmless = dir.path().join("libharmless.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-x", "c", "/dev/null", "-o"])
        .arg(&harmless)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc");
    let sources = sources("faulty");
    let arguments = ["--watchdog", "2", "--rounds", "1", "--sources"];
    let mut arguments = arguments.to_vec();
    arguments.push(sources.to_str().expect("UTF-8"));
    let shim = ["--shim", harmless.to_str().expect("UTF-8")];
    let suite = conformance(&[&arguments[..], &shim].concat());
    assert_eq!(suite.outcomes("passes"), ["ok"; 3], "{}", suite.progress);
    let reasons = suite.report["invalid"].as_array().expect("a list");
    assert_eq!(reasons.len(), 2, "{}", suite.report);
    assert!(!suite.success);
}

/// The real runtimes are some 600 MB that nobody needs to have: what is there is tested.
#[test]
fn real_runtimes_behave_alike_under_the_shim() {
    for runtime in ["real-6.4", "real-7.2"] {
        if !provided(runtime) {
            println!(
                "LEFT OUT: {runtime} is not there (cargo xtask provision real-runtime --runtime {runtime})"
            );
            continue;
        }
        let cases = [
            "sync_memcpy_after_launches",
            "capture_across_streams",
            "chevron_launches",
            "null_stream_and",
        ];
        let chosen = cases.iter().flat_map(|case| ["--case", case]);
        let arguments: Vec<&str> = ["--runtime", runtime, "--rounds", "2"]
            .into_iter()
            .chain(chosen)
            .collect();
        let suite = conformance(&arguments);
        assert!(suite.success, "{runtime}: {}", suite.progress);
        assert!(
            suite.cases().len() >= cases.len(),
            "{runtime}: {}",
            suite.progress
        );
    }
}

/// Whether a real runtime was provided beside this build.
fn provided(runtime: &str) -> bool {
    let target = Path::new(env!("CARGO_BIN_EXE_xtask"))
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    let Some(target) = target else { return false };
    let folders = std::fs::read_dir(target.join("real-runtime"));
    folders.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(&format!("{runtime}."))
            && entry.path().join("usr").exists()
    })
}
