//! Completions and the man page, made from the command line itself.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

/// Options that print something about the options.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print a script for this shell that completes xtop's options, and leave.
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,

    /// Write the man page into this directory, and leave.
    #[arg(long, value_name = "DIR", exclusive = true, hide = true)]
    man: Option<PathBuf>,
}

/// What `--help` has no room for.
const MORE: &str = "\
Examples:
  xtop                                      the screen; ? shows the keys
  xtop --once                               one table
  xtop --batch -n 10 --format csv           ten snapshots for a spreadsheet
  xtop --filter 'class:low !gate:open'      low processes that are held back
  xtop --ssh gpu7 --readonly                another machine, look only
  xtop --record run.xtop; xtop --replay run.xtop

Environment:
  XSCHED_RUN_DIR   directory of the agent's sockets
  NO_COLOR         no colours
  XDG_CONFIG_HOME  where xsched/xtop.toml is (default ~/.config)

See also: xsched-agent(1)";

impl Options {
    /// Does what is asked for, about `command`; whether anything was.
    ///
    /// # Errors
    /// What writing brings.
    pub fn serve(&self, mut command: Command) -> io::Result<bool> {
        if let Some(shell) = self.completions {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "xtop", &mut script);
            io::stdout().lock().write_all(&script)?;
        }
        if let Some(dir) = &self.man {
            let status = command.get_after_help().map(ToString::to_string);
            let more = format!("{}\n\n{MORE}", status.unwrap_or_default());
            clap_mangen::generate_to(command.after_long_help(more), dir)?;
        }
        Ok(self.completions.is_some() || self.man.is_some())
    }
}
