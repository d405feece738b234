//! `completions` and `man`: made from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use xsched_manual::Section;

use super::Cli;

/// Write it to where your shell looks: bash
/// /usr/share/bash-completion/completions/xsched-agent, zsh
/// /usr/share/zsh/vendor-completions/_xsched-agent, fish
/// /usr/share/fish/vendor_completions.d/xsched-agent.fish.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Writes the man pages; for packages.
#[derive(clap::Args)]
pub struct Man {
    /// Where to
    dir: PathBuf,
}

/// What `--help` has no room for.
const MORE: &[Section<'_>] = &[
    Section {
        title: "FILES",
        text: "\
/etc/xsched/xsched.toml          configuration; $XDG_CONFIG_HOME/xsched/xsched.toml for a user's own agent
/run/xsched/agent.sock           where programs under the shim join
/run/xsched/api.sock             where tools ask (/usr/share/doc/xsched/PROTOCOL.md)
/usr/lib/xsched/libxsched_shim.so  the shim, for LD_PRELOAD
/usr/share/xsched/               alert rules for Prometheus, a dashboard for Grafana",
    },
    Section {
        title: "SEE ALSO",
        text: "xtop(1), ld.so(8), systemctl(1)",
    },
];

pub fn completions(options: &Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    xsched_manual::completions(Cli::command(), options.shell, &mut script)?;
    super::print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(options: &Man) -> anyhow::Result<ExitCode> {
    xsched_manual::man_pages(Cli::command(), MORE, &options.dir)
        .with_context(|| format!("cannot write to {}", options.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
