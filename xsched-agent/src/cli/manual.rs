//! `completions` and `man`: made from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

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
const MORE: &str = "\
Files:
  /etc/xsched/xsched.toml          configuration; $XDG_CONFIG_HOME/xsched/xsched.toml for a user's own agent
  /run/xsched/agent.sock           where programs under the shim join
  /run/xsched/api.sock             where tools ask (/usr/share/doc/xsched/PROTOCOL.md)
  /usr/lib/xsched/libxsched_shim.so  the shim, for LD_PRELOAD
  /usr/share/xsched/               alert rules for Prometheus, a dashboard for Grafana

See also: xtop(1), ld.so(8), systemctl(1)";

pub fn completions(options: &Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Cli::command(),
        "xsched-agent",
        &mut script,
    );
    super::print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(options: &Man) -> anyhow::Result<ExitCode> {
    let short = Cli::command();
    let examples = short.get_after_help().map(ToString::to_string);
    let more = format!("{}\n\n{MORE}", examples.unwrap_or_default());
    clap_mangen::generate_to(short.after_long_help(more), &options.dir)
        .with_context(|| format!("cannot write to {}", options.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}
