//! `cargo xtask on`: a command where a real runtime is the one that programs find.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::{Above, Version, enter};
use crate::build::{self, Profile};

/// Options of `on`.
#[derive(clap::Args)]
pub struct Args {
    /// The runtime
    #[arg(value_enum)]
    runtime: Version,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Becomes the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let built = build::packages(Profile::Dev, &["hsasim"])?;
    let work = place(&super::cache().join("on"))?;
    let hsa = built.file("libhsasim.so");
    enter(args.runtime, &hsa, &work, Above::default())?;
    let (program, arguments) = args.command.split_first().context("no command")?;
    let error = Command::new(program).args(arguments).exec();
    bail!("cannot start {program}: {error}")
}

/// A folder for what lies over the machine's, which the command's view needs to its end: those of ended ones are removed.
fn place(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)?.flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            // Another one may be at it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let own = folder.join(std::process::id().to_string());
    // Of a former process with this number.
    let _ = fs::remove_dir_all(&own);
    fs::create_dir(&own)?;
    Ok(own)
}
