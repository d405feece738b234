//! `run`: starts a program under the shim.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use xsched_client::{Error, blocking as client};
use xsched_common::api::{Change, ChangeWay, Request};
use xsched_common::units::{Class, Weight};

use super::attr::Target;
use super::preload::{self, Obstacle};
use super::shims;
use super::{endpoint, say};

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
  xsched-agent run python infer.py                    by the rules of the file

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
    /// The only shim to preload [default: $XSCHED_SHIM, else those that the
    /// program may need, beside this program or in /usr/lib/xsched]
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
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
    let found = preload::examine(program);
    let shims = shims::choose(options.shim.as_deref(), &found.linked)?;
    match (found.obstacle, &shims.note) {
        (Some(obstacle), _) => say(&format!("{shown} {obstacle}")),
        (None, Some(note)) => say(note),
        (None, None) => {}
    }
    let change = Change {
        // The attributes belong to this pid, which exec keeps.
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
        start.env("LD_PRELOAD", shims::list(existing, &shims.paths));
        if found.is_jealous {
            let existing = std::env::var_os("ASAN_OPTIONS");
            start.env("ASAN_OPTIONS", asan_options(existing));
        }
    }
    let error = start.exec();
    say(&format!("cannot start {shown}: {error}"));
    Ok(ExitCode::from(match error.kind() {
        ErrorKind::NotFound => NO_PROGRAM,
        _ => NOT_EXECUTABLE,
    }))
}

/// A program that may not have its attributes does not start; one that no agent
/// can give them to does, since it runs without an agent as well.
fn give(change: Change) -> Result<(), Error> {
    match client::settle(&endpoint(), &Request::Set(change)) {
        Ok(_) => Ok(()),
        Err(e @ (Error::Refused(_) | Error::Unknown(_))) => Err(e),
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
                "{e}; the program runs, but unscheduled and without its attributes: give them again once \
                 the agent runs (`{again}`)"
            ));
            Ok(())
        }
    }
}

/// What AddressSanitizer is told so that it starts behind the shim. Putting its
/// runtime into LD_PRELOAD as well would put it into every descendant.
fn asan_options(existing: Option<OsString>) -> OsString {
    const OPTION: &str = "verify_asan_link_order";
    let text = existing.as_deref().unwrap_or_default().as_bytes();
    let mut names = text.split(|b| b":, ".contains(b));
    match names.any(|option| option.starts_with(OPTION.as_bytes())) {
        // The user has said what is wanted.
        true => existing.unwrap_or_default(),
        false => appended(existing, OsStr::new(&format!("{OPTION}=0"))),
    }
}

fn appended(existing: Option<OsString>, last: &OsStr) -> OsString {
    let existing = existing.filter(|value| !value.is_empty());
    let parts: Vec<&OsStr> = existing.as_deref().into_iter().chain([last]).collect();
    parts.join(OsStr::new(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_asks_of_the_sanitizer_is_kept() {
        for (existing, expected) in [
            ("", "verify_asan_link_order=0"),
            (
                "halt_on_error=1",
                "halt_on_error=1:verify_asan_link_order=0",
            ),
            ("verify_asan_link_order=1", "verify_asan_link_order=1"),
        ] {
            assert_eq!(
                asan_options(Some(existing.into())),
                OsString::from(expected)
            );
        }
    }

    /// With the machine's own compiler and its runtime.
    #[test]
    fn the_sanitizer_starts_behind_another_library_and_still_finds_errors() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("a.c");
        let text = "#include <stdlib.h>\nint main(int n, char **v) { char *p = malloc(8); p[8 * (n - 1)] = 1; free(p); }";
        std::fs::write(&source, text).expect("written");
        std::fs::write(dir.path().join("s.c"), "int unused;").expect("written");
        let compile = |flags: &[&str], out: &str, from: &str| {
            let mut cc = std::process::Command::new("cc");
            let cc = cc
                .current_dir(dir.path())
                .args(flags)
                .args(["-o", out, from]);
            cc.status().is_ok_and(|status| status.success())
        };
        let built = compile(&["-fsanitize=address"], "a", "a.c");
        if !built || !compile(&["-shared", "-fPIC"], "s.so", "s.c") {
            return eprintln!("LEFT OUT: no compiler with AddressSanitizer");
        }
        let program = dir.path().join("a");
        assert!(preload::examine(program.as_os_str()).is_jealous);
        let ends_well = |arguments: &[&str], options: Option<OsString>| {
            let mut start = std::process::Command::new(&program);
            start
                .args(arguments)
                .env("LD_PRELOAD", dir.path().join("s.so"));
            if let Some(options) = options {
                start.env("ASAN_OPTIONS", options);
            }
            start.output().expect("starts").status.success()
        };
        assert!(!ends_well(&[], None), "it refuses by itself");
        assert!(ends_well(&[], Some(asan_options(None))));
        assert!(!ends_well(&["an overflow"], Some(asan_options(None))));
    }
}
