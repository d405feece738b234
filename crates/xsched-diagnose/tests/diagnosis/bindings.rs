//! Where references lead, for every way a compiler can make them.

use super::*;

/// How `symbol` of an object is bound, as (version, bound to, via).
fn bound(report: &Report, object: &str, symbol: &str) -> Vec<(String, String, &'static str)> {
    let rows = report.bindings.iter();
    rows.filter(|b| b.object.ends_with(object) && b.symbol == symbol)
        .map(|b| {
            let to = b.bound_to.rsplit('/').next().unwrap_or_default();
            (b.version.clone().unwrap_or_default(), to.to_owned(), b.via)
        })
        .collect()
}

fn row(version: &str, to: &str, via: &'static str) -> (String, String, &'static str) {
    (version.into(), to.into(), via)
}

#[test]
fn a_healthy_process_is_silent_and_all_its_launches_lead_to_the_shim() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let process = set.start("program", Some(&shim), &["./libnow.so", "1", "1"]);
    let report = examine(&process);
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.shim.as_deref(), Some(shim.as_str()));
    assert_eq!(report.runtimes, [set.text("libamdhip64.so.5")]);
    for object in ["program", "libnow.so"] {
        let bound = bound(&report, object, "hipLaunchKernel");
        assert!(!bound.is_empty(), "{object}");
        for (version, to, _) in bound {
            assert_eq!(
                (version.as_str(), to.as_str()),
                ("hip_4.2", "libxsched_shim.so")
            );
        }
    }
    // What the shim leaves to the runtime is not its affair.
    assert_eq!(
        bound(&report, "program", "hipGetDeviceCount")[0].1,
        "libamdhip64.so.5"
    );
}

#[test]
fn every_kind_of_slot_is_read() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let arguments = [
        "./liblazy.so",
        "1",
        "0",
        "./libnow.so",
        "1",
        "0",
        "./libnoplt.so",
        "1",
        "0",
        "./libpointer.so",
        "1",
        "0",
    ];
    let report = examine(&set.start("program", Some(&shim), &arguments));
    assert_eq!(codes(&report), [], "{report}");
    let of = |object| bound(&report, object, "hipLaunchKernel");
    assert_eq!(
        of("liblazy.so"),
        [row("hip_4.2", "unresolved", "jump_slot")]
    );
    assert_eq!(
        of("libnow.so"),
        [row("hip_4.2", "libxsched_shim.so", "jump_slot")]
    );
    assert_eq!(
        of("libnoplt.so"),
        [row("hip_4.2", "libxsched_shim.so", "glob_dat")]
    );
    assert!(of("libpointer.so").contains(&row("hip_4.2", "libxsched_shim.so", "absolute")));
}

#[test]
fn a_stub_of_a_program_at_fixed_addresses_is_followed_to_the_function() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    for (preload, target) in [
        (Some(shim.as_str()), "libxsched_shim.so"),
        (None, "libamdhip64.so.5"),
    ] {
        let report = examine(&set.start("fixed", preload, &["./libpointer.so", "1", "1"]));
        let of_library = bound(&report, "libpointer.so", "hipLaunchKernel");
        assert!(
            of_library.contains(&row("hip_4.2", target, "absolute")),
            "{of_library:?}"
        );
        assert_eq!(report.findings.is_empty(), preload.is_some(), "{report}");
    }
}

/// Starts the program on a runtime and a shim of its own, and removes both.
fn start_and_remove(directory: &str) -> Process {
    let set = fixtures();
    let files = ["libamdhip64.so.5", "libxsched_shim.so"].map(|name| {
        let copy = format!("{directory}/{name}");
        std::fs::create_dir_all(set.path(directory)).expect("writable");
        std::fs::copy(set.path(name), set.path(&copy)).expect("writable");
        set.path(&copy)
    });
    let mut command = std::process::Command::new(set.path("program"));
    command
        // The program's DT_RUNPATH comes after LD_LIBRARY_PATH.
        .env("LD_LIBRARY_PATH", set.path(directory))
        .env("LD_PRELOAD", &files[1]);
    let process = set.spawn(command);
    for file in files {
        std::fs::remove_file(file).expect("removable");
    }
    process
}

#[test]
fn files_that_are_gone_are_read_through_the_mappings() {
    if !is_root("/proc/PID/map_files") {
        return;
    }
    let process = start_and_remove("gone");
    let report = examine(&process);
    assert_eq!(report.runtimes, [fixtures().text("gone/libamdhip64.so.5")]);
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.limits.len(), 1, "{:?}", report.limits);
}
