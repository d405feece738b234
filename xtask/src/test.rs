//! `cargo xtask test`: everything.

use crate::build::{self, Profile};
use crate::{build_ebpf, provision};

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests that need BPF (root, a kernel with uprobes)
    #[arg(long)]
    no_bpf: bool,
    /// Passed on to `cargo test`
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

/// Provides what is needed, builds, tests, and rebuilds the BPF object to
/// compare it with the one that is checked in.
pub fn run(args: &Args) -> anyhow::Result<()> {
    provision::ensure()?;
    eprintln!("== building");
    build::all(Profile::Dev)?;
    eprintln!("== testing");
    let mut test = build::cargo();
    test.args(["test", "--workspace", "--no-fail-fast"])
        .args(&args.cargo_args);
    if args.no_bpf {
        test.env("XSCHED_TEST_NO_BPF", "1");
    }
    build::run(&mut test)?;
    if args.no_bpf {
        eprintln!(
            "LEFT OUT (--no-bpf): every test that needs BPF, and the check of the BPF object"
        );
        return Ok(());
    }
    eprintln!("== checking the BPF object against its sources");
    build_ebpf::run(&build_ebpf::Args::check())
}
