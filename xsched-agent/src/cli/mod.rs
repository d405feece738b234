//! The command line. Exit codes: 0 done (and nothing found), 1 findings,
//! 2 could not do it.

mod attr;
mod cdi;
mod check;
mod config;
mod daemon;
mod diagnose;
mod ending;
mod events;
mod explain;
mod hold;
mod log;
mod manual;
mod mode;
mod preload;
mod proxy;
mod ps;
mod record;
mod run;
mod set;
mod shim_path;
mod shims;
mod table;
mod what_if;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xsched_client::Endpoint;
use xsched_common::run_dir::RunDir;

/// Shows what every process does on the GPU runtimes, explains why work
/// escapes scheduling, and gives GPU time by class.
///
/// Without a subcommand this is the agent itself: it observes, serves the
/// API socket, and applies the policy until it is stopped.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  sudo xsched-agent                                   run the agent
  sudo xsched-agent run --class high -- python serve.py
  xsched-agent ps                                     who uses the GPU, and how
  sudo xsched-agent diagnose 4242                     why is this process not scheduled?
  sudo xsched-agent record -o trace.pftrace --duration 10
  xsched-agent what-if trace.pftrace --config new.toml
  sudo xsched-agent set 4242 --class low              (unset takes it back)
  sudo xsched-agent explain 4242                      which rule, and why
  xsched-agent explain --slow 4242                    where slow bursts' time went
  xsched-agent config example                         rules in five lines of TOML

Environment:
  XSCHED_RUN_DIR   directory of the agent's sockets (default /run/xsched; for
                   other users $XDG_RUNTIME_DIR/xsched or /tmp/xsched-UID)
  XSCHED_CONFIG    the configuration file (as --config)
  XSCHED_SHIM      the shim that `run` loads (as its --shim)
  XSCHED_LOG       what the agent logs, as in `info` or `xsched_agent=debug`

Exit codes: 0 done, 1 findings (diagnose, check, config check; record: calls
lost or none), 2 could not do it"
)]
struct Cli {
    /// Say more: the causes behind an error
    #[arg(short, long, global = true)]
    verbose: bool,

    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    daemon: daemon::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Start a program under the shim, with a class
    ///
    /// The program replaces this process: same pid, same terminal, its own exit
    /// code. An LD_PRELOAD that is already set is kept, the shim comes behind it.
    /// Without an agent the program runs all the same, unscheduled.
    Run(run::Options),
    /// Change class, weight or target of a process and its children to come
    ///
    /// The change holds for the process and its children to come, over rules and
    /// over what `run` said, and survives a restart of the agent. Root and members
    /// of the authorised group may set anything; other users may lower the class
    /// and weight of their own processes, and take that back.
    Set(set::Options),
    /// Take back what `set` gave a process
    ///
    /// What rules, `run` and ancestors say holds again, for the process and its
    /// children to come. Users take back what they lowered themselves; root and
    /// the authorised group take back whatever was set. A class that it inherits
    /// from an ancestor is that one's: `explain` says whose.
    Unset(set::UnsetOptions),
    /// Put a process above all classes for a while
    ///
    /// While boosted, a process and its children hold back every class, realtime
    /// too. For root and the authorised group.
    Boost(hold::BoostOptions),
    /// Close a process's gates for a while
    ///
    /// The gates of the process and its children close. What is in flight runs to
    /// its end, and about ten launches a second of each process still trickle
    /// through, up to 60 while its main thread is at the gate, so that nothing
    /// hangs for ever. Users may suspend their own processes.
    Suspend(hold::SuspendOptions),
    /// End a boost or suspension
    ///
    /// Also ends one that the process inherits from an ancestor, for all whom that
    /// holds. Without any in force it changes nothing. Users cannot end a
    /// suspension by root or the authorised group, nor a boost that those gave an
    /// ancestor.
    Resume(hold::ResumeOptions),
    /// Say why a process has its class, weight and target
    ///
    /// Lists every source of class, weight and target that was considered,
    /// strongest first: boost or suspension, `set`, `run`, each rule in the order of
    /// the file, ancestors, defaults. For root, the authorised group, and the
    /// process's own user.
    Explain(explain::Options),
    /// Change how devices are shared, for now
    ///
    /// Holds until the configuration is read again or the agent restarts; to keep
    /// it, write it to the file ([sharing] or [device."..."]).
    Mode(mode::Options),
    /// List the processes that use a GPU runtime
    Ps(ps::Options),
    /// Say what this machine allows, what is missing, and how to get it
    Check(check::Options),
    /// Print how container runtimes bring the shim into containers (CDI)
    Cdi(cdi::Options),
    /// Check, show and reload the configuration file
    ///
    /// The file is /etc/xsched/xsched.toml; for a user's own agent
    /// $XDG_CONFIG_HOME/xsched/xsched.toml (or ~/.config/...). $XSCHED_CONFIG names
    /// another.
    Config(config::Options),
    /// Explain why work of a process escapes scheduling
    Diagnose(diagnose::Options),
    /// Record every call into a trace for ui.perfetto.dev
    Record(record::Options),
    /// Predict what a recording's programs would see under a configuration
    WhatIf(what_if::Options),
    /// Show what happened lately: joins, ends, changes, refusals, drops
    Events(events::Options),
    /// Pass the API socket on over stdin and stdout, for ssh
    Proxy(proxy::Options),
    /// Print a script that completes this command line
    Completions(manual::Completions),
    #[command(hide = true)]
    Man(manual::Man),
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let verbose = cli.verbose;
    // Agent and tools would look in different places.
    if let Err(e) = xsched_common::run_dir::check() {
        say(&e.to_string());
        return ExitCode::from(2);
    }
    let done = match cli.command {
        None => daemon::run(&cli.daemon),
        Some(Command::Run(options)) => run::run(options),
        Some(Command::Set(options)) => set::run(&options),
        Some(Command::Unset(options)) => set::unset(&options),
        Some(Command::Boost(options)) => hold::boost(&options),
        Some(Command::Suspend(options)) => hold::suspend(&options),
        Some(Command::Resume(options)) => hold::resume(&options),
        Some(Command::Explain(options)) => explain::run(&options),
        Some(Command::Mode(options)) => mode::run(&options),
        Some(Command::Ps(options)) => ps::run(&options),
        Some(Command::Cdi(options)) => cdi::run(&options),
        Some(Command::Check(options)) => check::run(&options),
        Some(Command::Config(options)) => config::run(&options, &cli.daemon),
        Some(Command::Diagnose(options)) => diagnose::run(&options),
        Some(Command::Record(options)) => record::run(&options),
        Some(Command::WhatIf(options)) => what_if::run(&options),
        Some(Command::Events(options)) => events::run(&options),
        Some(Command::Proxy(options)) => proxy::run(&options),
        Some(Command::Completions(options)) => manual::completions(&options),
        Some(Command::Man(options)) => manual::man(&options),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            say(&if verbose {
                format!("{e:?}")
            } else {
                e.to_string()
            });
            ExitCode::from(2)
        }
    }
}

/// The effective user.
fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Where the agent's sockets are for this user.
fn run_dir() -> RunDir {
    RunDir::for_client(euid())
}

/// Where the agent is for commands that ask it.
fn endpoint() -> Endpoint {
    Endpoint::Socket(run_dir().api_socket())
}

/// Prints a message to stderr, whoever reads it.
fn say(message: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "xsched-agent: {message}");
}

/// Prints to stdout; a reader that closed early (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Prints one JSON value as a line.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
