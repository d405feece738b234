//! Devices and what they say.

use crate::support::{Bench, output};

#[test]
fn an_agent_answers_all_that_a_runtime_asks() {
    let bench = Bench::new();
    let program = bench.compile("agents");
    let said = bench.run(&program, &[]);
    assert!(said.contains("gpus 1\n"), "{said}");
    assert!(
        said.contains("isa amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-\n"),
        "{said}"
    );
    assert!(said.contains("bus 3 units 304 "), "{said}");
    assert!(said.contains("HSA_STATUS_ERROR_OUT_OF_RESOURCES"), "{said}");
}

#[test]
fn devices_are_counted_selected_and_named() {
    let bench = Bench::new();
    let program = bench.compile("agents");
    let mut command = bench.command(&program);
    command
        .env("HIPSIM_DEVICES", "3")
        .env("ROCR_VISIBLE_DEVICES", "2,0")
        .env_remove("HIPSIM_ARCHITECTURE");
    let said = output(&mut command);
    let buses: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("bus"))
        .collect();
    assert!(
        buses[0].starts_with("bus 5 ") && buses[1].starts_with("bus 3 "),
        "{said}"
    );
    assert!(
        said.contains("isa amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-\n"),
        "{said}"
    );
}

#[test]
fn an_architecture_that_is_not_simulated_is_one_line() {
    let bench = Bench::new();
    let program = bench.compile("agents");
    let mut command = bench.command(&program);
    let ran = command.env("HIPSIM_ARCHITECTURE", "sm_90").output();
    let ran = ran.expect("starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    let about = said
        .lines()
        .filter(|line| line.contains("HIPSIM_ARCHITECTURE"));
    let about: Vec<&str> = about.collect();
    assert_eq!(about.len(), 1, "{said}");
    assert!(about[0].contains("sm_90"), "{said}");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("gfx942"), "the default holds: {said}");
}

#[test]
fn a_function_that_no_runtime_calls_says_so() {
    let bench = Bench::new();
    let program = bench.compile("agents");
    let ran = bench.command(&program).output().expect("starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        lines[0].starts_with("hsasim: hsa_region_get_info is not simulated"),
        "{said}"
    );
}
