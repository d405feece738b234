//! Build, test, demo and bench tasks of this repository.

mod build_ebpf;

use clap::{Parser, Subcommand};

/// Tasks of the xsched repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the BPF programs into xsched-ebpf/prebuilt
    BuildEbpf(build_ebpf::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::BuildEbpf(args) => build_ebpf::run(&args),
    }
}
