//! `cargo xtask test`: everything, or the product on other kernels.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, ensure};

use crate::build;
use crate::left_out::Reader;
use crate::{build_ebpf, kernels, provision};

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests that need BPF (root, a kernel with uprobes)
    #[arg(long)]
    no_bpf: bool,
    /// Fail when a test left something out for want of a right or a program
    #[arg(long)]
    strict: bool,
    /// Instead of the tests here: what matters on other kernels, Debian's,
    /// each in a virtual machine (root, for QEMU's package)
    #[arg(long, conflicts_with_all = ["no_bpf", "strict", "cargo_args"])]
    kernels: bool,
    #[command(flatten)]
    which: kernels::Args,
    /// Passed on to `cargo test`
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

/// Provides what is needed, builds, tests, and rebuilds the BPF object to
/// compare it with the one that is checked in.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.kernels {
        return kernels::run(&args.which);
    }
    provision::ensure()?;
    eprintln!("== building");
    build::all_targets()?;
    eprintln!("== testing");
    let mut test = build::cargo();
    test.args(["test", "--workspace", "--no-fail-fast"])
        .args(with_output(&args.cargo_args))
        .env(build::BUILT, "1");
    if args.no_bpf {
        test.env("XSCHED_TEST_NO_BPF", "1");
    }
    let mut left_out = Reader::default();
    let status = watched(&mut test, &mut left_out)?;
    if status.success() {
        check_object(args, &mut left_out)?;
    }
    let left_out = left_out.summary();
    if let Some(left_out) = &left_out {
        eprintln!("{left_out}");
    }
    ensure!(status.success(), "cargo test failed ({status})");
    ensure!(
        !args.strict || left_out.is_none(),
        "tests left something out (--strict)"
    );
    Ok(ExitCode::SUCCESS)
}

/// Rebuilds the BPF object, if there is what that takes: to install it takes
/// longer than all tests, and that the sources are those the object was built
/// from has been tested.
fn check_object(args: &Args, left_out: &mut Reader) -> anyhow::Result<()> {
    let mut omit = |why: &str| left_out.omit("rebuilding the BPF object", why);
    if args.no_bpf {
        omit("--no-bpf");
    } else if !build_ebpf::can_build() {
        omit("no compiler for BPF: `cargo xtask build-ebpf --check` installs one");
    } else {
        eprintln!("== checking the BPF object against its sources");
        build_ebpf::run(&build_ebpf::Args::check())?;
    }
    Ok(())
}

/// Has libtest print what passing tests print, which is where they say what
/// they left out.
fn with_output(cargo_args: &[String]) -> Vec<String> {
    let mut args = cargo_args.to_vec();
    if !args.iter().any(|arg| arg == "--") {
        args.push("--".to_owned());
    }
    args.push("--show-output".to_owned());
    args
}

/// Runs it, shows what it prints but for the output of passing tests, and has
/// all of that read.
fn watched(command: &mut Command, reader: &mut Reader) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if reader.take(text.trim_end_matches('\n')) {
            print!("{text}");
        }
        line.clear();
    }
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_arguments_for_libtest_stay() {
        let with = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            with_output(&args).join(" ")
        };
        assert_eq!(with(&[]), "-- --show-output");
        assert_eq!(with(&["-p", "xtop"]), "-p xtop -- --show-output");
        assert_eq!(with(&["--", "name"]), "-- name --show-output");
    }
}
