//! `cargo xtask dist`: the Debian package.
//!
//! A staged tree and dpkg-deb, which every Debian has: no packaging tool to
//! install, and what is in the package is what `stage` says. The same
//! binaries give the same package, byte by byte.

mod control;
mod stage;
mod verify;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::build::{self, Profile, root};

/// Options of `dist`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the package goes [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How the files are packed; none is for tests, in seconds
    #[arg(long, value_enum, default_value_t = Compression::Xz)]
    compression: Compression,
    /// Then install, use, remove and purge it in a minimal root of its own, made
    /// by debootstrap and kept in target/dist for the next time (root, network)
    #[arg(long)]
    verify: bool,
    /// What to pack: a package for others is of release
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Compression {
    Xz,
    None,
}

impl Compression {
    /// As dpkg-deb has it.
    fn option(self) -> &'static str {
        match self {
            Compression::Xz => "-Zxz",
            Compression::None => "-Znone",
        }
    }
}

/// Builds, packs, and prints where the package is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        std::path::Path::new("/usr/bin/dpkg-deb").exists(),
        "dpkg-deb is missing: build the package on Debian or Ubuntu (apt-get install dpkg)"
    );
    eprintln!("== building");
    let built = build::all(args.profile)?;
    let target = built.dir.parent().unwrap_or(&built.dir).join("dist");
    let out = args.out.clone().unwrap_or_else(|| target.clone());
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    eprintln!("== packing");
    let tree = tempfile::tempdir_in(&out)?;
    let epoch = epoch();
    stage::tree(&built, &epoch, tree.path())?;
    control::write(tree.path())?;
    let package = out.join(format!(
        "xsched_{}_{}.deb",
        control::VERSION,
        control::architecture()?
    ));
    build::run(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", args.compression.option(), "--build"])
            .arg(tree.path())
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", epoch)
            .stdout(std::process::Stdio::null()),
    )?;
    drop(tree);
    println!("{}", package.display());
    if args.verify {
        eprintln!("== installing, using and removing it in a minimal root");
        verify::run(&package, &built, &target)?;
    }
    Ok(())
}

/// The time that files in the package carry, s since 1970: that of the last
/// commit.
fn epoch() -> String {
    let of_commit = || {
        let out = Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(root())
            .output()
            .ok()
            .filter(|out| out.status.success())?;
        Some(String::from_utf8(out.stdout).ok()?.trim().to_owned())
    };
    std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .or_else(of_commit)
        .filter(|text| text.parse::<u64>().is_ok())
        .unwrap_or_else(|| "1700000000".to_owned())
}
