//! `cargo xtask test`: everything, or the product on other kernels.

mod suites;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, ensure};

use crate::build;
use crate::left_out::Reader;
use crate::{build_ebpf, fleet, kernels, provision};

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests that need BPF (root, a kernel with uprobes)
    #[arg(long)]
    no_bpf: bool,
    /// Fail when a test left something out for want of a right or a program
    #[arg(long)]
    strict: bool,
    /// Also clippy, without warnings, while tests wait
    #[arg(long)]
    lints: bool,
    /// Instead of the tests here: what matters on other kernels, Debian's,
    /// each in a virtual machine (root, for QEMU's package)
    #[arg(long, conflicts_with_all = ["no_bpf", "strict", "lints", "cargo_args"])]
    kernels: bool,
    #[command(flatten)]
    which: kernels::Args,
    /// Instead: what takes a cluster's own software, Slurm of Debian's packages
    /// and Helm's library (root); nothing is installed
    #[arg(long, conflicts_with_all = ["no_bpf", "strict", "lints", "cargo_args", "kernels"])]
    fleet: bool,
    #[command(flatten)]
    parts: fleet::Args,
    /// Print the figures as JSON: {"figures": {NAME: VALUE}, "missed"}, or {"kernels":
    /// [{"version", "source", "accel", "checks": [{"name", "ok", "detail"}], "ok",
    /// "why"}], "failed"}
    #[arg(long)]
    json: bool,
    /// Passed on to `cargo test`, which then runs the tests one after the other
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

impl Args {
    /// What tests find in their environment.
    fn environment(&self, command: &mut Command) {
        command.env(build::BUILT, "1");
        if self.no_bpf {
            command.env("XSCHED_TEST_NO_BPF", "1");
        }
    }
}

/// Provides what is needed, builds, tests, and rebuilds the BPF object to
/// compare it with the one that is checked in.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.kernels {
        return kernels::run(&args.which, args.json);
    }
    if args.fleet {
        return fleet::run(&args.parts, args.json);
    }
    ensure!(
        !args.json,
        "--json goes with --kernels or --fleet: the tests here print as cargo test does"
    );
    provision::ensure()?;
    eprintln!("== building");
    build::all_targets()?;
    let mut left_out = Reader::default();
    let failed = if args.cargo_args.is_empty() {
        suites::run(&suites::list()?, args, &mut left_out)?
    } else {
        eprintln!("== testing");
        let mut test = build::cargo();
        test.args(["test", "--workspace", "--no-fail-fast"])
            .args(with_output(&args.cargo_args));
        args.environment(&mut test);
        let status = watched(&mut test, &mut left_out)?;
        Vec::from_iter((!status.success()).then(|| "cargo test".to_owned()))
    };
    if failed.is_empty() {
        check_object(args, &mut left_out)?;
        check_dependencies(&mut left_out)?;
    }
    let left_out = left_out.summary();
    if let Some(left_out) = &left_out {
        eprintln!("{left_out}");
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
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

/// Licences, sources and second versions of what is depended on (deny.toml). Not
/// the list of known holes, which takes the network.
fn check_dependencies(left_out: &mut Reader) -> anyhow::Result<()> {
    let version = build::cargo().args(["deny", "--version"]).output()?;
    if !version.status.success() {
        let why = "no cargo-deny: `cargo install cargo-deny`";
        left_out.omit("licences and versions of dependencies", why);
        return Ok(());
    }
    eprintln!("== checking licences and versions of dependencies");
    build::run(build::cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]))
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
