//! `run`: starts a program under the shim.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use xsched_common::api::{Change, ChangeWay, Request};
use xsched_common::units::{Class, Weight};

use super::client::{self, ClientError};
use super::preload::{self, Obstacle};
use super::shim_path;
use super::terms::Target;
use super::{run_dir, say};

/// As shells, env(1) and nohup(1) say that there is no such program.
const NO_PROGRAM: u8 = 127;
/// As those say that there is one, and that it cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// Options of `run`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent run --class high --slo 30ms -- python serve.py
  xsched-agent run --class low --weight 50 -- python train.py
  xsched-agent run -- python infer.py                 by the rules of the file

Only root and the authorised group may ask for more than normal.
Exit codes: the program's own; 127 if there is no such program, 126 if it cannot
be executed, 2 if it was not started for another reason")]
pub struct Options {
    /// realtime, high, normal or low; children inherit it [default: by the
    /// rules of the configuration, else this process's own]
    #[arg(long)]
    class: Option<Class>,
    /// Its share within the class, 1 to 10000 (modes share and slo); others
    /// have 100
    #[arg(long)]
    weight: Option<Weight>,
    /// The P99 of its bursts to reach, as 30ms (mode slo)
    #[arg(long, value_name = "TIME")]
    slo: Option<Target>,
    /// The shim [default: $XSCHED_SHIM, else found beside this program or in
    /// /usr/lib/xsched]
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (program, arguments) = options.command.split_first().context("no command")?;
    let shown = program.to_string_lossy();
    // Before anything is said or changed for it.
    if preload::is_missing(program) {
        say(&format!(
            "there is no program {shown}: check its name and PATH"
        ));
        return Ok(ExitCode::from(NO_PROGRAM));
    }
    let shim = shim_path::find(options.shim.as_deref())?;
    let found = preload::examine(program);
    if let Some(obstacle) = found.obstacle {
        say(&format!("{shown} {obstacle}"));
    }
    let change = Change {
        // The terms belong to this pid, which exec keeps.
        pid: std::process::id(),
        class: options.class,
        weight: options.weight,
        slo_p99_ns: options.slo.map(|target| target.0),
        way: ChangeWay::Run,
    };
    if options.class.is_some() || options.weight.is_some() || options.slo.is_some() {
        give(change)?;
    }
    let mut start = std::process::Command::new(program);
    start.args(arguments);
    if found.obstacle.is_none_or(Obstacle::leaves_preload) {
        let existing = std::env::var_os("LD_PRELOAD");
        start.env("LD_PRELOAD", list(found.first.as_deref(), existing, &shim));
    }
    let error = start.exec();
    say(&format!("cannot start {shown}: {error}"));
    Ok(ExitCode::from(match error.kind() {
        ErrorKind::NotFound => NO_PROGRAM,
        _ => NOT_EXECUTABLE,
    }))
}

/// A program that may not have its terms does not start; one that no agent
/// can give them to does, since it runs without an agent as well.
fn give(change: Change) -> Result<(), ClientError> {
    match client::settle(&run_dir(), &Request::Set(change)) {
        Ok(_) => Ok(()),
        Err(e @ ClientError::Refused { .. }) => Err(e),
        Err(e) => {
            let mut again = format!("xsched-agent set --pid {}", change.pid);
            if let Some(class) = change.class {
                again += &format!(" --class {class}");
            }
            if let Some(weight) = change.weight {
                again += &format!(" --weight {weight}");
            }
            if let Some(target) = change.slo_p99_ns {
                again += &format!(" --slo {}ns", target.0);
            }
            say(&format!(
                "{e}; the program runs, but unscheduled and without its terms: give them again once \
                 the agent runs (`{again}`)"
            ));
            Ok(())
        }
    }
}

/// The list for LD_PRELOAD: what insists on being first, what was there, and
/// the shim.
fn list(first: Option<&OsStr>, existing: Option<OsString>, shim: &Path) -> OsString {
    let existing = existing.filter(|value| !value.is_empty());
    // The user may have put it there already.
    let first = first.filter(|first| {
        let list = existing.as_deref().unwrap_or_default().as_bytes();
        let name = |path: &[u8]| path.rsplit(|&b| b == b'/').next() == Some(first.as_bytes());
        !list.split(|b| b" :".contains(b)).any(name)
    });
    let parts = [first, existing.as_deref(), Some(shim.as_os_str())];
    let parts: Vec<&OsStr> = parts.into_iter().flatten().collect();
    parts.join(OsStr::new(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_preload_is_kept() {
        let shim = Path::new("/usr/lib/xsched/libxsched_shim.so");
        assert_eq!(list(None, None, shim), shim.as_os_str());
        assert_eq!(list(None, Some("".into()), shim), shim.as_os_str());
        assert_eq!(
            list(None, Some("libjemalloc.so.2".into()), shim),
            OsString::from("libjemalloc.so.2:/usr/lib/xsched/libxsched_shim.so")
        );
    }

    #[test]
    fn what_insists_on_being_first_is_first_and_once() {
        let (shim, first) = (Path::new("/s.so"), Some(OsStr::new("libasan.so.8")));
        for (existing, expected) in [
            ("", "libasan.so.8:/s.so"),
            ("a.so", "libasan.so.8:a.so:/s.so"),
            (
                "/usr/lib/libasan.so.8 a.so",
                "/usr/lib/libasan.so.8 a.so:/s.so",
            ),
        ] {
            assert_eq!(
                list(first, Some(existing.into()), shim),
                OsString::from(expected)
            );
        }
    }
}
