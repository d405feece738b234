//! `run`: starts a program under the shim.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use xsched_common::api::{Change, Request};
use xsched_common::units::Class;

use super::client::{self, ClientError};
use super::shim_path::{self, Unpreloadable};
use super::{run_dir, say};

/// The program replaces this process: same pid, same terminal, its own exit
/// code. An LD_PRELOAD that is already set is kept, the shim comes behind it.
#[derive(clap::Args)]
pub struct Options {
    /// realtime, high, normal or low; children inherit it [default: this
    /// process's own, which is normal unless somebody set it]
    #[arg(long)]
    class: Option<Class>,
    /// The shim [default: found beside this program or in /usr/lib/xsched]
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let shim = shim_path::find(options.shim.as_deref())?;
    let (program, arguments) = options.command.split_first().context("no command")?;
    let shown = program.to_string_lossy();
    match shim_path::examine(program) {
        Some(Unpreloadable::Static) => say(&format!(
            "{shown} is statically linked: the shim cannot be loaded into it, it will run unscheduled"
        )),
        Some(Unpreloadable::Privileged) => say(&format!(
            "{shown} is setuid or setgid: the dynamic linker ignores the shim, it will run unscheduled"
        )),
        None => {}
    }
    if let Some(class) = options.class {
        // The class belongs to this pid, which exec keeps.
        let request = Request::Set(Change {
            pid: std::process::id(),
            class: Some(class),
            ..Change::default()
        });
        match client::set(&run_dir(), &request) {
            Ok(_) => {}
            Err(e @ ClientError::Refused { .. }) => return Err(e.into()),
            Err(e) => say(&format!(
                "{e}; the program runs, but unscheduled and without its class: \
                 give it the class again once the agent runs (`xsched-agent set --pid {} --class {class}`)",
                std::process::id()
            )),
        }
    }
    let error = std::process::Command::new(program)
        .args(arguments)
        .env(
            "LD_PRELOAD",
            appended(std::env::var_os("LD_PRELOAD"), &shim),
        )
        .exec();
    anyhow::bail!("cannot start {shown}: {error}")
}

fn appended(existing: Option<OsString>, shim: &std::path::Path) -> OsString {
    match existing.filter(|value| !value.is_empty()) {
        Some(mut value) => {
            value.push(":");
            value.push(shim);
            value
        }
        None => shim.as_os_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_existing_preload_is_kept() {
        let shim = Path::new("/usr/lib/xsched/libxsched_shim.so");
        assert_eq!(appended(None, shim), shim.as_os_str());
        assert_eq!(appended(Some("".into()), shim), shim.as_os_str());
        assert_eq!(
            appended(Some("libjemalloc.so.2".into()), shim),
            OsString::from("libjemalloc.so.2:/usr/lib/xsched/libxsched_shim.so")
        );
    }
}
