//! Build, test, demo and bench tasks of this repository.

mod agent;
mod bench;
mod build;
mod build_ebpf;
mod child;
mod columns;
mod conformance;
mod debian;
mod demo;
mod dialogue;
mod dist;
mod fleet;
mod gpu_bench;
mod kernels;
mod left_out;
mod platform;
mod progress;
mod provision;
mod real_runtime;
mod screenshot;
mod stats;
mod test;
mod tidy;

use std::process::ExitCode;

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
    /// Run every conformance case natively and under the shim, and compare
    Conformance(conformance::Args),
    /// Measure figures against their bounds
    Bench(bench::Args),
    /// Measure on a real NVIDIA GPU, with unmodified PyTorch
    GpuBench(gpu_bench::Args),
    /// Build the packages (deb, rpm, tarball) and their sums
    Dist(dist::Args),
    /// Draw xtop's screens on a real run into docs/
    Screenshot(screenshot::Args),
    /// Unpack what is not installed: AMD's own HIP runtimes, for `--runtime`
    Provision(real_runtime::Args),
    /// Run a command on AMD's own HIP runtime and the simulated HSA library: `on real-7.2 -- COMMAND ...`
    On(real_runtime::on::Args),
    /// Check the shape of the tree: lengths, rooms, vendors' names, glossary
    Tidy(tidy::Args),
    /// Build the BPF programs into xsched-ebpf/prebuilt
    BuildEbpf(build_ebpf::Args),
    /// Be a client of an agent: a part of `bench sched`
    #[command(hide = true)]
    ScriptedProgram(bench::sched::control::scripted::Args),
    /// Be the first program of a virtual machine: a part of `test --kernels`
    #[command(hide = true)]
    KernelGuest,
    /// Be a hostile client of an agent: a part of `bench faults`
    #[command(hide = true)]
    Attacker(bench::faults::attacker::Args),
}

fn main() -> ExitCode {
    run(Cli::parse().task).unwrap_or_else(|e| {
        // The whole chain on one line; no backtrace, whatever RUST_BACKTRACE says.
        eprintln!("xtask: {e:#}");
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let done = match task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => return test::run(&args),
        Task::Conformance(args) => return conformance::run(&args),
        Task::Bench(args) => return bench::run(&args),
        Task::GpuBench(args) => gpu_bench::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Provision(args) => real_runtime::run(&args),
        Task::On(args) => real_runtime::on::run(&args),
        Task::Tidy(args) => return tidy::run(&args),
        Task::Screenshot(args) => screenshot::run(&args),
        Task::BuildEbpf(args) => build_ebpf::run(&args),
        Task::ScriptedProgram(args) => bench::sched::control::scripted::run(&args),
        Task::KernelGuest => kernels::guest::run(),
        Task::Attacker(args) => bench::faults::attacker::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// Only debug builds look, and the guests run a release build.
    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
