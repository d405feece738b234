//! `completions` and `man`: made from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use xsched_common::api::SharingMode;
use xsched_common::units::Class;

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
    let mut command = with_values(Cli::command());
    clap_complete::generate(options.shell, &mut command, "xsched-agent", &mut script);
    let script = String::from_utf8(script)?;
    super::print(&with_pids(options.shell, script))?;
    Ok(ExitCode::SUCCESS)
}

/// Classes and modes are offered; the commands themselves take them as text,
/// because they say better what is wrong.
fn with_values(command: clap::Command) -> clap::Command {
    let classes = || Class::ALL.iter().rev().map(|class| class.name());
    let or_default: Vec<&str> = classes().chain(["default"]).collect();
    let classes: Vec<&str> = classes().collect();
    let modes = SharingMode::ALL.map(SharingMode::name);
    command
        .mut_subcommand("run", |c| c.mut_arg("class", |a| a.value_parser(classes)))
        .mut_subcommand("set", |c| {
            c.mut_arg("class", |a| a.value_parser(or_default))
        })
        .mut_subcommand("mode", |c| c.mut_arg("mode", |a| a.value_parser(modes)))
}

/// Commands that are about a process.
const ABOUT_PROCESSES: &str = "set unset boost suspend resume explain diagnose record";

/// Has the shell ask the agent for pids, of which clap knows nothing.
fn with_pids(shell: Shell, script: String) -> String {
    match shell {
        Shell::Bash => {
            let more = format!(
                "_xsched_agent_or_pids() {{
    local word
    _xsched-agent \"$@\"
    for word in {ABOUT_PROCESSES}; do
        if [[ \"${{COMP_WORDS[1]}}\" == \"$word\" && \"${{COMP_WORDS[COMP_CWORD]}}\" != -* ]] &&
            [[ $COMP_CWORD == 2 || \"${{COMP_WORDS[COMP_CWORD-1]}}\" == --pid ]]; then
            COMPREPLY=($(compgen -W \"$(xsched-agent ps --pids 2>/dev/null)\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))
        fi
    done
}}
complete -F _xsched_agent_or_pids -o bashdefault -o default xsched-agent
"
            );
            script + &more
        }
        Shell::Zsh => {
            let pids = "_xsched_agent_pids() { compadd -- ${(f)\"$(xsched-agent ps --pids 2>/dev/null)\"} }\n";
            let asks = script.replace(":PID:_default", ":PID:_xsched_agent_pids");
            // Behind the line that says what it completes.
            asks.replacen('\n', &format!("\n\n{pids}"), 1)
        }
        Shell::Fish => {
            let ask = "-x -a '(xsched-agent ps --pids 2>/dev/null)'";
            let of = format!("-n '__fish_seen_subcommand_from {ABOUT_PROCESSES}'");
            script
                + &format!(
                    "complete -c xsched-agent {of} {ask}\ncomplete -c xsched-agent {of} -l pid {ask}\n"
                )
        }
        _ => script,
    }
}

pub fn man(options: &Man) -> anyhow::Result<ExitCode> {
    let short = Cli::command();
    let examples = short.get_after_help().map(ToString::to_string);
    let more = format!("{}\n\n{MORE}", examples.unwrap_or_default());
    clap_mangen::generate_to(short.after_long_help(more), &options.dir)
        .with_context(|| format!("cannot write to {}", options.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_offer_classes_modes_and_pids() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            let mut command = with_values(Cli::command());
            clap_complete::generate(shell, &mut command, "xsched-agent", &mut script);
            let script = with_pids(shell, String::from_utf8(script).expect("text"));
            for offered in ["realtime", "priority", "ps --pids"] {
                assert!(script.contains(offered), "{shell}: {offered}");
            }
        }
    }
}
