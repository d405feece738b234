//! References that lead past a mapped shim.

use super::*;

/// Starts the program with a shim and one library.
fn start(shim: &str, library: [&str; 3]) -> Process {
    let set = fixtures();
    set.start("program", Some(&set.text(shim)), &library)
}

const LAZY: &str = "1";
const LAZY_DEEPBIND: &str = "9";
const DLMOPEN: &str = "-1";

#[test]
fn a_reference_to_another_node_goes_past_the_shim() {
    for library in ["./libnow99.so", "./liblazy99.so"] {
        let report = examine(&start("libxsched_shim.so", [library, LAZY, "1"]));
        let evidence = only(&report, "symbol-version-bypass", Severity::Error);
        for part in [
            &library[2..],
            "hipLaunchKernel@hip_99.0",
            "leads to",
            "libamdhip64.so.5",
            "under hip_4.2 only",
            "jump_slot 0x",
        ] {
            assert!(evidence.contains(part), "{part}: {evidence}");
        }
    }
}

#[test]
fn an_unbound_reference_to_another_node_is_predicted() {
    let report = examine(&start("libxsched_shim.so", ["./liblazy99.so", LAZY, "0"]));
    let evidence = only(&report, "symbol-version-bypass", Severity::Warning);
    assert!(evidence.contains("is not bound yet"), "{evidence}");
}

#[test]
fn an_unversioned_shim_receives_every_version() {
    let set = fixtures();
    let process = set.start(
        "program",
        Some(&set.text("libmine.so")),
        &["./libnow99.so", LAZY, "1"],
    );
    let options = Options {
        shim_names: vec!["libmine.so".into()],
        ..options(process.pid())
    };
    let report = diagnose_with(&options, None).expect("it can be examined");
    assert_eq!(codes(&report), [], "{report}");
    assert!(report.shim.is_some_and(|s| s.ends_with("libmine.so")));
}

#[test]
fn deepbind_is_named_as_the_one_possible_cause() {
    let report = examine(&start(
        "libxsched_shim.so",
        ["./libnow.so", LAZY_DEEPBIND, "1"],
    ));
    let evidence = only(&report, "binding-bypass", Severity::Error);
    assert!(evidence.contains("RTLD_DEEPBIND"), "{evidence}");
    assert!(!evidence.contains("dlmopen"), "{evidence}");
    let twin = examine(&start("libxsched_shim.so", ["./libnow.so", LAZY, "1"]));
    assert_eq!(codes(&twin), [], "{twin}");
}

#[test]
fn another_namespace_has_its_own_runtime_and_no_shim() {
    let report = examine(&start("libxsched_shim.so", ["./libnow.so", DLMOPEN, "1"]));
    assert_eq!(
        codes(&report),
        [
            ("namespace-bypass", Severity::Error),
            ("several-runtimes", Severity::Warning)
        ],
        "{report}"
    );
    let evidence = report.findings[0].evidence.join("\n");
    assert!(evidence.contains("libnow.so at 0x"), "{report}");
    assert!(evidence.contains("in link namespace 1"), "{report}");
    assert!(!evidence.contains("possible"), "{report}");
    // The other namespace has no say in what the first one does.
    let twin = [
        "./libnow.so",
        DLMOPEN,
        "1",
        "./libnow.so",
        LAZY_DEEPBIND,
        "1",
    ];
    let set = fixtures();
    let report = examine(&set.start("program", Some(&set.text("libxsched_shim.so")), &twin));
    assert_eq!(
        codes(&report),
        [
            ("binding-bypass", Severity::Error),
            ("namespace-bypass", Severity::Error),
            ("several-runtimes", Severity::Warning)
        ],
        "{report}"
    );
    let evidence = report.findings[0].evidence.join("\n");
    assert!(evidence.contains("RTLD_DEEPBIND"), "{evidence}");
    assert!(!evidence.contains("dlmopen"), "{evidence}");
}

#[test]
fn a_shim_in_a_namespace_of_its_own_is_no_ones_shim() {
    let set = fixtures();
    let report = examine(&set.start("program", None, &["./libxsched_shim.so", DLMOPEN, "0"]));
    only(&report, "namespace-bypass", Severity::Error);
}

#[test]
fn a_launch_function_that_the_shim_lacks_is_not_covered() {
    let report = examine(&start("libxsched_shim.so", ["./libgraph.so", LAZY, "1"]));
    let evidence = only(&report, "api-not-covered", Severity::Error);
    assert!(evidence.contains("hipGraphLaunch@hip_4.3"), "{evidence}");
    assert!(evidence.contains("does not export it"), "{evidence}");
}

#[test]
fn a_launch_function_that_the_shim_has_is_covered() {
    let report = examine(&start(
        "graphs/libxsched_shim.so",
        ["./libgraph.so", LAZY, "1"],
    ));
    assert_eq!(codes(&report), [], "{report}");
}

#[test]
fn a_second_copy_of_the_runtime_is_a_finding_and_the_same_file_is_not() {
    let shim = "libxsched_shim.so";
    let report = examine(&start(shim, ["./copy/libamdhip64.so.5", LAZY, "0"]));
    let evidence = only(&report, "several-runtimes", Severity::Warning);
    assert!(evidence.contains("copy/libamdhip64.so.5"), "{evidence}");
    let twin = examine(&start(shim, ["./libamdhip64.so.5", LAZY, "0"]));
    assert_eq!(codes(&twin), [], "{twin}");
}

#[test]
fn two_shims_are_a_finding() {
    let set = fixtures();
    let both = format!(
        "{} {}",
        set.text("libxsched_shim.so"),
        set.text("libshimhip.so")
    );
    let report = examine(&set.start("program", Some(&both), &[]));
    only(&report, "several-shims", Severity::Warning);
    assert!(
        report
            .shim
            .is_some_and(|s| s.ends_with("libxsched_shim.so"))
    );
}

#[test]
fn a_shim_that_was_opened_and_not_preloaded_comes_last() {
    let report = examine(&fixtures().start("program", None, &["./libxsched_shim.so", LAZY, "0"]));
    let evidence = only(&report, "binding-bypass", Severity::Error);
    assert!(evidence.contains("was not preloaded"), "{evidence}");
    assert!(!evidence.contains("RTLD_DEEPBIND"), "{evidence}");
}

#[test]
fn xscheds_libraries_are_shims_in_every_finding() {
    for shim in ["libshimhip.so", "libhalhip.so"] {
        let of = |library, how| examine(&start(shim, [library, how, "1"]));
        let healthy = of("./libnow.so", LAZY);
        assert_eq!(codes(&healthy), [], "{healthy}");
        assert!(healthy.shim.is_some_and(|s| s.ends_with(shim)));
        let evidence = only(
            &of("./libnow99.so", LAZY),
            "symbol-version-bypass",
            Severity::Error,
        );
        assert!(evidence.contains(shim), "{evidence}");
        let evidence = only(
            &of("./libgraph.so", LAZY),
            "api-not-covered",
            Severity::Error,
        );
        assert!(evidence.contains(shim), "{evidence}");
        only(
            &of("./libnow.so", LAZY_DEEPBIND),
            "binding-bypass",
            Severity::Error,
        );
        let apart = of("./libnow.so", DLMOPEN);
        assert_eq!(codes(&apart)[0].0, "namespace-bypass", "{apart}");
        // Our own shim's options mean nothing to it.
        let set = fixtures();
        let mut command = std::process::Command::new(set.path("program"));
        command
            .env("LD_PRELOAD", set.text(shim))
            .env("XSCHED_DISABLE", "1");
        let other = examine(&set.spawn(command));
        assert_eq!(codes(&other), [], "{other}");
    }
    // Its two libraries belong together.
    let set = fixtures();
    let both = [set.text("libshimhip.so"), set.text("libhalhip.so")].join(":");
    let report = examine(&set.start("program", Some(&both), &[]));
    assert_eq!(codes(&report), [], "{report}");
}

/// A library that finds the C library's dlsym before the shim's, and with it
/// the runtime's functions: no reference to the runtime tells.
#[test]
fn a_look_up_past_the_shim_is_proven_by_the_slot_of_dlsym_and_what_it_got() {
    let shim = "lookup/libxsched_shim.so";
    for call in ["0", "1"] {
        let report = examine(&start(shim, ["./liblookup.so", LAZY_DEEPBIND, call]));
        let evidence = only(&report, "lookup-bypass", Severity::Error);
        for part in [
            "liblookup.so: ",
            " of dlsym@",
            "leads to ",
            "libc.so.6, not to the one of libxsched_shim.so",
            "holds the address of hipLaunchKernel",
            "RTLD_DEEPBIND",
        ] {
            assert!(evidence.contains(part), "{part}: {evidence}");
        }
        let fix = &report.findings[0].fix;
        assert!(fix.contains("XSCHED_STRICT=1"), "{fix}");
        assert!(fix.contains("without RTLD_DEEPBIND"), "{fix}");
        assert!(!fix.contains("preload"), "{fix}");
    }
    // Without DEEPBIND it asks the shim, and who looks nothing of HIP up may
    // ask whom it likes.
    for library in [
        ["./liblookup.so", LAZY, "1"],
        ["./libother.so", LAZY_DEEPBIND, "1"],
    ] {
        let twin = examine(&start(shim, library));
        assert_eq!(codes(&twin), [], "{twin}");
    }
}

#[test]
fn a_function_that_no_runtime_present_defines_is_an_error() {
    let report = examine(&start("libxsched_shim.so", ["./libstrange.so", LAZY, "1"]));
    let evidence = only(&report, "unsatisfied-reference", Severity::Error);
    assert!(
        evidence.contains("libstrange.so refers to _Z7strangev@hip_4.2, which no object defines"),
        "{evidence}"
    );
    let title = &report.findings[0].title;
    assert!(title.contains("first call"), "{title}");
    let data = |b: &xsched_diagnose::BindingRow| b.symbol.contains("fatbin");
    assert!(!report.bindings.iter().any(data), "{report}");
}

#[test]
fn of_two_runtimes_the_one_that_is_used_is_named() {
    let set = fixtures();
    // The copy comes first in memory or last: both orders.
    for libraries in [
        &["./copy/libamdhip64.so.5", LAZY, "0"][..],
        &[
            "./libnow.so",
            LAZY,
            "1",
            "./copy/libamdhip64.so.5",
            LAZY,
            "0",
        ],
    ] {
        let report = examine(&set.start("program", None, libraries));
        let missing = report.findings.iter().find(|f| f.code == "shim-not-loaded");
        let evidence = missing.expect("no shim").evidence.join("\n");
        let used = format!("{} is mapped, no shim is", set.text("libamdhip64.so.5"));
        assert!(evidence.contains(&used), "{evidence}");
    }
}
