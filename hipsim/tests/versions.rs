//! What real libraries ask of a runtime of a certain version: the copies for HIP 5, 6 and 7 answer as those do.
//!
//! Compared with Debian's builds of 5.7.1, 6.4.3 and 7.2.4.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::{Bench, finish, succeed};

/// What `tests/c/versions.c` prints, by its first word or what stands before a colon.
fn told(bench: &Bench, major: u32, set: &[(&str, &str)]) -> BTreeMap<String, String> {
    let program = bench.compile("versions");
    let library = bench.library().join(format!("libamdhip64.so.{major}"));
    let mut command = bench.command(&program);
    command.arg(library).envs(set.iter().copied());
    finish(&mut command)
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(' ')))
        .map(|(what, answer)| (what.to_owned(), answer.to_owned()))
        .collect()
}

const GFX906: &str = "gfx906:sramecc+:xnack-";

#[test]
fn each_copy_answers_as_its_version_does() {
    let bench = Bench::new();
    for (major, version, pointer) in [
        (5, "5.7", "1"),
        (6, "6.4", "0 type 0 device -2 1"),
        (7, "7.2", "0 type 0 device -2 1"),
    ] {
        let told = told(&bench, major, &[]);
        assert_eq!(told["version"], version);
        assert_eq!(told["pointer"], pointer, "{version}");
        assert_eq!(told["properties of 5"], "R0000", "{version}");
        assert_eq!(told["properties of 6"], GFX906, "{version}");
        assert_eq!(told["properties of 7"], GFX906, "{version}");
        assert_eq!(told["answers"], "right", "{version}");
    }
}

#[test]
fn a_version_that_is_set_is_reported_and_answered_for() {
    let bench = Bench::new();
    let set = |major, version| told(&bench, major, &[("HIPSIM_RUNTIME_VERSION", version)]);
    assert_eq!(set(6, "5.7")["pointer"], "1");
    let newer = set(5, "6.0");
    assert_eq!(
        (&*newer["version"], &*newer["pointer"]),
        ("6.0", "0 type 0 device -2 1")
    );
}

#[test]
fn the_compiler_is_a_real_one_or_says_that_there_is_none() {
    let bench = Bench::new();
    let none = "HIPRTC_ERROR_COMPILATION 9.0 11";
    assert_eq!(told(&bench, 5, &[])["hiprtc"], format!("3 3 {none}"));
    assert_eq!(told(&bench, 6, &[])["hiprtc"], format!("3 3 {none}"));
    // The real 7.x has them in a library of their own only.
    assert_eq!(told(&bench, 7, &[])["hiprtc"], "0 0");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/libhiprtc.c");
    for name in ["libhiprtc.so", "libhiprtc.so.6"] {
        let built = bench.library().join(name);
        succeed(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-o"])
                .arg(&built)
                .arg(&source),
            "a C compiler is needed: apt-get install gcc libc6-dev",
        );
        let real = told(&bench, 6, &[]);
        assert_eq!(
            real["hiprtc"], "3 3 HIPRTC_ERROR_COMPILATION 6.4 204",
            "{name}"
        );
        std::fs::remove_file(built).unwrap();
    }
}

#[test]
fn the_architecture_is_a_setting() {
    let bench = Bench::new();
    for (set, named) in [
        ("gfx90a", "gfx90a:sramecc+:xnack-"),
        ("gfx942:xnack+", "gfx942:xnack+:sramecc+"),
        ("gfx1100", "gfx1100"),
        ("sm_90", GFX906),
    ] {
        let told = told(&bench, 6, &[("HIPSIM_ARCHITECTURE", set)]);
        assert_eq!(told["properties of 6"], named);
    }
}
