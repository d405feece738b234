//! Build, test and demo tasks of this repository.

mod build;
mod build_ebpf;
mod demo;
mod provision;
mod test;

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
    /// Play the whole product on a simulated device and print what it brings
    Demo(demo::Args),
    /// Run every test, after installing what they need
    Test(test::Args),
    /// Build the BPF programs into xsched-ebpf/prebuilt
    BuildEbpf(build_ebpf::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::BuildEbpf(args) => build_ebpf::run(&args),
    }
}
