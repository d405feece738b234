//! `cargo xtask build-ebpf`: builds the BPF programs and checks that the
//! prebuilt object comes from these sources.

/// Build the BPF programs into xsched-ebpf/prebuilt.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rebuild into a temporary directory and fail unless the prebuilt object
    /// comes from these sources
    #[arg(long)]
    check: bool,
}

/// Runs the task.
pub fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::bail!("build-ebpf (check: {}) is not available yet", args.check)
}
