//! Real ROCm software, where it is installed (Debian: libamdhip64-5,
//! librocrand1, hipcc).

use std::process::Command;

use xsched_diagnose::{Files, predict};

use super::*;

const RUNTIME: &str = "/usr/lib/x86_64-linux-gnu/libamdhip64.so.5";
const RANDOM: &str = "/usr/lib/x86_64-linux-gnu/librocrand.so.1";

/// Says which test is skipped when files are missing.
fn installed(files: &[&str]) -> bool {
    let missing = files.iter().find(|f| !std::path::Path::new(f).exists());
    if let Some(file) = missing {
        eprintln!("LEFT OUT: {file} is not installed");
    }
    missing.is_none()
}

/// Bindings of an object as (function, bound to), sorted.
fn bound(report: &Report, object: &str) -> Vec<(String, String)> {
    let rows = report.bindings.iter();
    let of_object = rows.filter(|b| super::base(&b.object).starts_with(object));
    let mut out: Vec<_> = of_object
        .map(|b| (b.symbol.clone(), super::base(&b.bound_to).to_owned()))
        .collect();
    out.sort();
    out
}

#[test]
fn rocrand_is_predicted_and_examined_alike() {
    if !installed(&[RUNTIME, RANDOM]) {
        return;
    }
    let set = fixtures();
    for shim in [None, Some("libxsched_shim.so"), Some("libshimhip.so")] {
        let preload = shim.map(|name| set.text(name));
        // RTLD_NOW: every reference is bound.
        let process = set.start("plain", preload.as_deref(), &[RANDOM, "2", "0"]);
        let real = examine(&process);
        let files = Files {
            program: Some(set.path("plain")),
            libraries: vec![RANDOM.into()],
            shims: shim.into_iter().map(|name| set.path(name)).collect(),
            ..Files::default()
        };
        let foretold = checked(predict(&files).expect("it can be predicted"));
        assert_eq!(codes(&foretold), codes(&real), "{real}");
        let (foretold, real) = (bound(&foretold, "librocrand"), bound(&real, "librocrand"));
        assert!(real.len() > 5, "{real:?}");
        let library = |to: &str| to.split(".so").next().unwrap_or_default().to_owned();
        let short = |rows: &[(String, String)]| -> Vec<(String, String)> {
            rows.iter()
                .map(|(f, to)| (f.clone(), library(to)))
                .collect()
        };
        assert_eq!(short(&foretold), short(&real));
    }
}

#[test]
fn a_program_of_hipcc_is_predicted() {
    if !installed(&[RUNTIME, "/usr/bin/hipcc"]) {
        return;
    }
    let set = fixtures();
    set.write(
        "kernel.hip",
        "#include <hip/hip_runtime.h>
        __global__ void kernel(int *p) { *p = 1; }
        int main() { kernel<<<1, 1>>>(nullptr); return hipDeviceSynchronize(); }",
    );
    let output = Command::new("/usr/bin/hipcc")
        .current_dir(set.path(""))
        .args([
            "--offload-arch=gfx906",
            "-x",
            "hip",
            "kernel.hip",
            "-o",
            "kernel",
        ])
        .output()
        .expect("hipcc starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let files = Files {
        program: Some(set.path("kernel")),
        shims: vec![set.path("libxsched_shim.so")],
        ..Files::default()
    };
    let report = checked(predict(&files).expect("it can be predicted"));
    assert_eq!(codes(&report), [], "{report}");
    let bound = bound(&report, "kernel");
    let launch = ("hipLaunchKernel".to_owned(), "libxsched_shim.so".to_owned());
    assert!(bound.contains(&launch), "{bound:?}");
    let wait = bound.iter().find(|(f, _)| f == "hipDeviceSynchronize");
    assert!(
        wait.is_some_and(|(_, to)| to.starts_with("libamdhip64.so.5")),
        "{bound:?}"
    );
}
