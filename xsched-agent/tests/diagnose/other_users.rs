//! The command line, run by a user without any privilege.

use std::process::{Command, Output};

use super::*;

/// A command run as nobody.
fn as_nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        program,
    ]);
    command
}

fn agent() -> String {
    static COPY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    COPY.get_or_init(|| {
        // Where nobody can read it.
        let set = fixtures();
        xsched_testkit::copy_program(env!("CARGO_BIN_EXE_xsched-agent"), set.path("agent"));
        set.text("agent")
    })
    .clone()
}

fn diagnose_as_nobody(pid: u32) -> Output {
    as_nobody(&agent())
        .args(["diagnose", "--json", "--duration", "0", "--pid"])
        .arg(pid.to_string())
        .output()
        .expect("setpriv and the agent start")
}

#[test]
fn ones_own_process_can_be_examined_even_when_its_files_are_gone() {
    if !is_root("becoming another user") {
        return;
    }
    let set = fixtures();
    set.open_to_all();
    let files = ["libamdhip64.so.5", "libxsched_shim.so"].map(|name| {
        let copy = set.path(&format!("lost/{name}"));
        std::fs::create_dir_all(set.path("lost")).expect("writable");
        xsched_testkit::copy_program(set.path(name), &copy);
        copy
    });
    let mut command = as_nobody("env");
    command
        .arg(format!("LD_LIBRARY_PATH={}", set.text("lost")))
        .arg(format!("LD_PRELOAD={}", files[1].display()))
        .arg(set.path("program"));
    let process = set.spawn(command);
    let examine = || -> serde_json::Value {
        let output = diagnose_as_nobody(process.pid());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let bound_to_shim = |report: &serde_json::Value| {
        let bindings = report["bindings"].as_array().expect("a list").iter();
        let launch = bindings.filter(|b| b["symbol"] == "hipLaunchKernel");
        launch.map(|b| b["bound_to"].clone()).collect::<Vec<_>>()
            == [set.text("lost/libxsched_shim.so")]
    };
    let report = examine();
    assert!(bound_to_shim(&report), "{report}");
    for file in files {
        std::fs::remove_file(file).expect("removable");
    }
    let report = examine();
    assert!(bound_to_shim(&report), "{report}");
    let limits = report["limits"].to_string();
    for name in [
        "libamdhip64.so.5 was not examined",
        "libxsched_shim.so was not examined",
    ] {
        assert!(limits.contains(name), "{limits}");
    }
}

#[test]
fn somebody_elses_process_is_refused_in_one_line() {
    if !is_root("becoming another user") {
        return;
    }
    fixtures().open_to_all();
    let process = fixtures().start("program", None, &[]);
    let output = diagnose_as_nobody(process.pid());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("belongs to another user"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}

#[test]
fn a_process_that_proc_hides_is_not_said_to_be_gone() {
    if !is_root("mounting /proc") {
        return;
    }
    fixtures().open_to_all();
    let process = fixtures().start("program", None, &[]);
    let run = |pid: u32| {
        let nobody = as_nobody(&agent());
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c"])
            .arg("mount -t proc -o hidepid=2 proc /proc && exec \"$@\"")
            .arg("sh")
            .arg(nobody.get_program())
            .args(nobody.get_args())
            .args(["diagnose", "--duration", "0", "--pid", &pid.to_string()])
            .output()
            .expect("unshare starts");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    let hidden = run(process.pid());
    assert!(hidden.contains("belongs to another user"), "{hidden}");
    let gone = run(4_194_305);
    assert!(gone.contains("does not exist"), "{gone}");
}
