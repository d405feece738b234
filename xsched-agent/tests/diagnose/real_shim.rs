//! Our own shim and the real librocrand, on the simulated runtime: what a
//! user sees, whose library launches for him.

use std::path::Path;
use std::process::Command;

use xsched_testkit::built;

use super::*;

/// Draws numbers for ever; rocRAND launches the kernels.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int hipMalloc(void **, unsigned long);
int hipDeviceSynchronize(void);
int rocrand_create_generator(void **, int);
int rocrand_generate_uniform(void *, float *, unsigned long);
int main(void) {
    void *generator, *numbers;
    alarm(60);
    /* ROCRAND_RNG_PSEUDO_DEFAULT */
    if (hipMalloc(&numbers, 1 << 16) || rocrand_create_generator(&generator, 400)) return 1;
    if (rocrand_generate_uniform(generator, numbers, 1024)) return 2;
    puts("ready");
    fflush(stdout);
    for (;;) {
        rocrand_generate_uniform(generator, numbers, 1024);
        hipDeviceSynchronize();
        usleep(1000);
    }
}
"#;

const RANDOM: &str = "/usr/lib/x86_64-linux-gnu/librocrand.so.1";

/// The built shim.
pub fn ours() -> String {
    built("libxsched_shim.so").display().to_string()
}

/// What a second of the program's calls shows; `None` when it is left out.
fn observe(preload: Option<String>) -> Option<Report> {
    if xsched_testkit::no_bpf() {
        return None;
    }
    if !Path::new(RANDOM).exists() {
        eprintln!("LEFT OUT: {RANDOM} is not installed");
        return None;
    }
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    let set = fixtures();
    let hip = set.path("hip");
    INSTALLED.call_once(|| {
        hipsim::install::install(&built("libhipsim.so"), &hip).expect("installed");
        let runtime = format!("{}/libamdhip64.so.5", hip.display());
        set.cc(PROGRAM, "random", &[RANDOM, &runtime]);
    });
    let mut command = Command::new(set.path("random"));
    command
        .env("LD_LIBRARY_PATH", &hip)
        .env("HIPSIM_DEVICE", set.path("device"))
        .env("XSCHED_RUN_DIR", set.path("nobody"));
    if let Some(preload) = preload {
        command.env("LD_PRELOAD", preload);
    }
    let process = set.spawn(command);
    Some(examine_and_observe(&process))
}

#[test]
fn rocrands_launches_reach_our_shim() {
    let Some(report) = observe(Some(ours())) else {
        return;
    };
    assert!(report.is_clean(), "{report}");
    let of_rocrand = |call: &&xsched_diagnose::ObservedCall| {
        call.object.contains("librocrand") && call.is_launch()
    };
    let launches = report.calls.iter().filter(of_rocrand);
    assert!(
        launches.map(|call| call.count).sum::<u64>() > 50,
        "{report}"
    );
}

#[test]
fn rocrands_launches_miss_a_shim_of_the_wrong_node() {
    let Some(report) = observe(Some(fixtures().text("wrong/libshimhip.so"))) else {
        return;
    };
    let finding = &report.findings[0];
    assert_eq!(finding.code, "symbol-version-bypass", "{report}");
    assert_eq!(finding.severity, Severity::Error);
    let evidence = finding.evidence.join("\n");
    assert!(evidence.contains("librocrand"), "{evidence}");
    assert!(evidence.contains("under hip_99.0 only"), "{evidence}");
    let effect = finding.effect.as_deref().expect("measured");
    assert!(effect.contains("never reach the shim (100%)"), "{effect}");
}

#[test]
fn rocrands_launches_without_a_shim_run_unscheduled() {
    let Some(report) = observe(None) else {
        return;
    };
    assert_eq!(report.findings[0].code, "shim-not-loaded", "{report}");
    let evidence = report.findings[0].evidence.join("\n");
    assert!(evidence.contains("librocrand"), "{evidence}");
}
