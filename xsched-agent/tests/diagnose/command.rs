//! The command's exit codes and what it prints of a prediction.

use std::process::Command;

use super::*;

/// The exit code and the output of the command.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xsched-agent"))
        .arg("diagnose")
        .args(arguments)
        .current_dir(fixtures().path(""))
        .output()
        .expect("the agent starts");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_command_line_tells_by_its_exit_code() {
    let shim = ["--shim", "libxsched_shim.so"];
    let with = |more: &[&str]| run(&[more, &shim[..]].concat());
    let (code, text) = with(&["--exe", "program"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("OBJECT"), "{text}");
    let (code, text) = with(&["--lib", "libnow.so", "libnow99.so", "--json"]);
    assert_eq!(code, Some(1), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["findings"][0]["code"], "symbol-version-bypass");
    for bad in [
        &["--exe", "nowhere"][..],
        &["--exe", "plain"],
        &["--exe", "program", "--pid", "1"],
        &["--all", "--lib", "libnow.so"],
        &["--exe", "program", "--duration", "1"],
        &[],
    ] {
        let (code, text) = with(bad);
        assert_eq!(code, Some(2), "{bad:?}: {text}");
    }
}
