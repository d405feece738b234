//! Programs built with the compiler's sanitizers end under the shim as they
//! end without it: those that are right with success, those that err with the
//! sanitizer's report, and nothing of ours is in it.

use crate::support;

use std::process::Command;

use support::agent::Agent;
use support::simulated::Simulated;
use support::{run, shim};

/// How a sanitizer is asked for, and what it finds.
struct Sanitizer {
    flags: &'static [&'static str],
    /// What to do wrong; its exit code is not zero.
    errors: &'static [&'static str],
    /// Its runtime insists on coming first: named like this before the shim.
    runtime: Option<&'static str>,
}

const SANITIZERS: [Sanitizer; 5] = [
    Sanitizer {
        flags: &["-fsanitize=thread"],
        errors: &["race"],
        runtime: None,
    },
    Sanitizer {
        flags: &["-fsanitize=address"],
        errors: &["overflow", "leak"],
        runtime: Some("libasan.so.8"),
    },
    Sanitizer {
        flags: &["-fsanitize=address", "-static-libasan"],
        errors: &["overflow", "leak"],
        runtime: None,
    },
    Sanitizer {
        flags: &["-fsanitize=leak"],
        errors: &["leak"],
        runtime: None,
    },
    Sanitizer {
        flags: &["-fsanitize=undefined", "-fno-sanitize-recover=all"],
        errors: &["undefined"],
        runtime: None,
    },
];

/// How a program ended, and what it said.
type End = (Option<i32>, String);

fn end(command: &mut Command) -> End {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn check(sanitizer: &Sanitizer) {
    let device = Simulated::install();
    let flags = sanitizer.flags;
    let name = flags.join("");
    let program = device.compile_as("sanitized", &name, flags);
    let agent = Agent::start();
    let preload = match sanitizer.runtime {
        Some(runtime) => format!("{runtime}:{}", shim().display()),
        None => shim().display().to_string(),
    };
    for what in sanitizer.errors.iter().chain(&["nothing"]) {
        let command = || {
            let mut command = device.command(&program, agent.dir());
            // The device is not built with it, and its own locks are unknown.
            command
                .arg(what)
                .env("TSAN_OPTIONS", "ignore_noninstrumented_modules=1");
            command
        };
        let (native, _) = end(command().env_remove("LD_PRELOAD"));
        assert_eq!(
            native == Some(0),
            *what == "nothing",
            "{name} {what}: {native:?}"
        );
        for disabled in ["0", "1"] {
            let before = agent.joined();
            let (code, said) = end(command()
                .env("LD_PRELOAD", &preload)
                .env("XSCHED_DISABLE", disabled));
            assert_eq!(code, native, "{name} {what}, disabled {disabled}: {said}");
            assert!(!said.contains("libxsched_shim"), "{name} {what}: {said}");
            assert_eq!(
                agent.joined() - before,
                usize::from(disabled == "0"),
                "{name} {what}"
            );
        }
    }
}

#[test]
fn thread_sanitizer() {
    check(&SANITIZERS[0]);
}

#[test]
fn address_sanitizer_as_a_library() {
    check(&SANITIZERS[1]);
}

#[test]
fn address_sanitizer_in_the_program() {
    check(&SANITIZERS[2]);
}

#[test]
fn leak_sanitizer() {
    check(&SANITIZERS[3]);
}

#[test]
fn undefined_behaviour_sanitizer() {
    check(&SANITIZERS[4]);
}
