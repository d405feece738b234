//! Predictions from files, compared with what ld.so really does.

use std::path::PathBuf;
use std::process::Command;

use xsched_diagnose::{Files, PredictError, predict};

use super::*;

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| fixtures().path(name)).collect()
}

fn program(name: &str, shims: &[&str], libraries: &[&str]) -> Files {
    Files {
        program: Some(fixtures().path(name)),
        shims: paths(shims),
        libraries: paths(libraries),
        ..Files::default()
    }
}

fn predicted(files: &Files) -> Report {
    checked(predict(files).expect("it can be predicted"))
}

/// Every binding as text, without the addresses of slots.
fn bound(report: &Report) -> Vec<String> {
    let rows = report.bindings.iter();
    let mut rows: Vec<String> = rows
        .map(|b| {
            let (object, symbol, version) = (&b.object, &b.symbol, &b.version);
            format!("{object} {symbol} {version:?} {} {}", b.bound_to, b.via)
        })
        .collect();
    rows.sort();
    rows
}

/// What the process really did must be what was foretold.
#[track_caller]
fn agrees(name: &str, shim: Option<&str>, libraries: &[&str]) -> Report {
    let set = fixtures();
    let mut arguments = Vec::new();
    for library in libraries {
        arguments.extend([set.text(library), "2".to_owned(), "1".to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let preload = shim.map(|s| set.text(s));
    let process = set.start(name, preload.as_deref(), &arguments);
    let options = Options {
        shim_names: shim.into_iter().map(str::to_owned).collect(),
        ..options(process.pid())
    };
    let real = diagnose_with(&options, None).expect("it can be examined");
    let shims: Vec<&str> = shim.into_iter().collect();
    let report = predicted(&program(name, &shims, libraries));
    assert!(!report.bindings.is_empty());
    assert_eq!(bound(&report), bound(&real), "{shim:?} {libraries:?}");
    assert_eq!(codes(&report), codes(&real), "{shim:?} {libraries:?}");
    report
}

#[test]
fn predictions_agree_with_ld_so() {
    for shim in [
        None,
        Some("libxsched_shim.so"),
        Some("libshimhip.so"),
        Some("libhalhip.so"),
        Some("libmine.so"),
    ] {
        agrees("program", shim, &[]);
        for library in [
            "libnow.so",
            "libnow99.so",
            "libnoplt.so",
            "libpointer.so",
            "libgraph.so",
        ] {
            agrees("program", shim, &[library]);
        }
        agrees(
            "program",
            shim,
            &["libnow.so", "libnow99.so", "libgraph.so"],
        );
    }
    let report = agrees("program", Some("libxsched_shim.so"), &["libnow99.so"]);
    only(&report, "symbol-version-bypass", Severity::Error);
    let report = agrees("program", Some("libshimhip.so"), &["libgraph.so"]);
    only(&report, "api-not-covered", Severity::Error);
}

#[test]
fn the_runtime_can_be_named() {
    let set = fixtures();
    let runtime = set.text("copy/libamdhip64.so.5");
    let files = Files {
        runtime: Some(PathBuf::from(&runtime)),
        ..program("program", &["libxsched_shim.so"], &[])
    };
    assert_eq!(predicted(&files).runtimes[0], runtime);
    // LD_LIBRARY_PATH comes before DT_RUNPATH and after DT_RPATH.
    let by_path = Files {
        library_path: set.text("copy"),
        ..program("program", &["libxsched_shim.so"], &[])
    };
    assert_eq!(predicted(&by_path).runtimes, [runtime]);
    let by_rpath = Files {
        program: Some(set.path("rpath")),
        ..by_path
    };
    assert_eq!(
        predicted(&by_rpath).runtimes,
        [set.text("libamdhip64.so.5")]
    );
}

#[test]
fn libraries_can_be_examined_without_a_program() {
    let set = fixtures();
    let files = Files {
        libraries: paths(&["libnow.so"]),
        shims: paths(&["libxsched_shim.so"]),
        runtime: Some(set.path("libamdhip64.so.5")),
        ..Files::default()
    };
    let report = predicted(&files);
    assert_eq!((report.pid, report.exe.as_str()), (0, ""));
    assert_eq!(codes(&report), [], "{report}");
    assert_eq!(report.bindings.len(), 1);
    assert!(report.bindings[0].bound_to.ends_with("libxsched_shim.so"));
    let table = report.table();
    assert!(
        table.contains("libnow.so  hipLaunchKernel@hip_4.2  libxsched_shim.so  jump_slot"),
        "{table}"
    );
}

#[test]
fn a_library_that_is_not_found_is_said_to_be_missing() {
    let lonely = Files {
        libraries: paths(&["lonely/libnow.so"]),
        shims: paths(&["libxsched_shim.so"]),
        runtime: Some(fixtures().path("libamdhip64.so.5")),
        ..Files::default()
    };
    let report = predicted(&lonely);
    let evidence = only(&report, "library-missing", Severity::Error);
    assert!(evidence.contains("needs libabsent.so.5"), "{evidence}");
    let there = Files {
        library_path: fixtures().text("absent"),
        ..lonely
    };
    let report = predicted(&there);
    assert_eq!(codes(&report), [], "{report}");
}

#[test]
fn a_function_that_no_object_defines_is_said_to_be_missing() {
    let older = Files {
        runtime: Some(fixtures().path("older/libamdhip64.so.5")),
        ..program("program", &["libshimhip.so"], &["libgraph.so"])
    };
    let report = predicted(&older);
    let evidence = only(&report, "unsatisfied-reference", Severity::Error);
    assert!(evidence.contains("hipGraphLaunch@hip_4.3"), "{evidence}");
    let row = report
        .bindings
        .iter()
        .find(|b| b.symbol == "hipGraphLaunch");
    assert_eq!(row.map(|b| b.bound_to.as_str()), Some("none"));
}

#[test]
fn a_node_that_the_runtime_lacks_ends_the_program_even_under_a_shim() {
    let set = fixtures();
    // The shim defines the function without a node, so the reference itself
    // is satisfied.
    let files = Files {
        runtime: Some(set.path("oldest/libamdhip64.so.5")),
        ..program("program", &["libmine.so"], &["libnow99.so"])
    };
    let report = predicted(&files);
    let evidence = only(&report, "unsatisfied-reference", Severity::Error);
    assert!(
        evidence.contains("libnow99.so insists on version hip_99.0"),
        "{evidence}"
    );
    // What ld.so says to the same files.
    let output = Command::new(set.path("program"))
        .args(["./libnow99.so", "2", "1"])
        .env("LD_LIBRARY_PATH", set.path("oldest"))
        .env("LD_PRELOAD", set.path("libmine.so"))
        .current_dir(set.path(""))
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("version `hip_99.0' not found"), "{errors}");
}

#[test]
fn programs_that_nothing_can_be_preloaded_into() {
    let set = fixtures();
    let report = predicted(&program("static", &["libxsched_shim.so"], &[]));
    only(&report, "static-binary", Severity::Error);
    use std::os::unix::fs::PermissionsExt as _;
    xsched_testkit::copy_program(set.path("program"), set.path("setgid"));
    let raised = std::fs::Permissions::from_mode(0o2755);
    std::fs::set_permissions(set.path("setgid"), raised).expect("ours");
    let report = predicted(&program("setgid", &["libxsched_shim.so"], &[]));
    let evidence = only(&report, "secure-exec", Severity::Error);
    assert!(evidence.contains("set-group-ID"), "{evidence}");
    assert!(!evidence.contains("AT_SECURE"), "{evidence}");
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let refusal = |files: &Files| predict(files).expect_err("refused");
    assert!(matches!(
        refusal(&program("plain", &["libxsched_shim.so"], &[])),
        PredictError::NoRuntime
    ));
    for name in ["program.c", "nowhere"] {
        let error = refusal(&program(name, &[], &[]));
        assert!(matches!(error, PredictError::Unusable { .. }), "{error}");
    }
}

#[test]
fn what_no_runtime_defines_is_foretold_whatever_it_is_called() {
    let files = program("program", &["libxsched_shim.so"], &["libstrange.so"]);
    let report = predicted(&Files {
        runtime: Some(fixtures().path("libamdhip64.so.5")),
        ..files.clone()
    });
    let evidence = only(&report, "unsatisfied-reference", Severity::Error);
    assert!(evidence.contains("_Z7strangev@hip_4.2"), "{evidence}");
    assert!(!evidence.contains("fatbin"), "{evidence}");
    let twin = predicted(&program("program", &["libxsched_shim.so"], &["libnow.so"]));
    assert_eq!(codes(&twin), [], "{twin}");
}

#[test]
fn a_prediction_says_what_would_be_and_not_what_is() {
    let report = predicted(&program(
        "program",
        &["libxsched_shim.so", "libshimhip.so"],
        &["copy/libamdhip64.so.5"],
    ));
    let text = report.to_string();
    assert!(text.contains("would be loaded"), "{text}");
    assert!(!text.contains("are mapped"), "{text}");
}
