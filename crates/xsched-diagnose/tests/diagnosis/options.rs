//! Options of the shim that let launches pass.

use super::*;

fn start(name: &str, value: &str, library: &str) -> Process {
    let set = fixtures();
    let mut command = std::process::Command::new(set.path("program"));
    command
        .args([library, "2", "1"])
        .env("LD_PRELOAD", set.text("libxsched_shim.so"))
        .env(name, value);
    set.spawn(command)
}

#[test]
fn a_shim_that_is_switched_off() {
    let report = examine(&start("XSCHED_DISABLE", "1", "./libnow.so"));
    let evidence = only(&report, "shim-disabled", Severity::Error);
    assert!(evidence.contains("XSCHED_DISABLE=1"), "{evidence}");
    let twin = examine(&start("XSCHED_DISABLE", "0", "./libnow.so"));
    assert_eq!(codes(&twin), [], "{twin}");
}

#[test]
fn libraries_that_pass_on_purpose() {
    const LIST: &str = "XSCHED_PASSTHROUGH_LIBS";
    let report = examine(&start(LIST, "librocblas, libnow", "./libnow.so"));
    let evidence = only(&report, "passthrough", Severity::Warning);
    assert!(
        evidence.contains("libnow.so launches and is on the list"),
        "{evidence}"
    );
    // Neither an empty list nor one of libraries that are not there.
    for list in ["", ",", "librocblas.so"] {
        let twin = examine(&start(LIST, list, "./libnow.so"));
        assert_eq!(codes(&twin), [], "{list}: {twin}");
    }
}

/// RCCL passes without being told: said, and nothing is wrong.
#[test]
fn collectives_that_pass_on_purpose() {
    for value in ["", "librocblas"] {
        let report = examine(&start("XSCHED_PASSTHROUGH_LIBS", value, "./librccl.so.1"));
        let evidence = only(&report, "passthrough", Severity::Info);
        assert!(evidence.contains("librccl.so.1 launches"), "{evidence}");
        assert!(evidence.contains("collectives"), "{evidence}");
        assert!(report.is_clean());
    }
    let both = examine(&start(
        "XSCHED_PASSTHROUGH_LIBS",
        "librccl",
        "./librccl.so.1",
    ));
    only(&both, "passthrough", Severity::Info);
}
