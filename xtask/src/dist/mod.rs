//! `cargo xtask dist`: packages for Debian and for RPM's systems, a tarball, and
//! their sums.
//!
//! A staged tree, dpkg-deb, which every Debian has, and rpmbuild: what is in the
//! packages is what `stage` says. The same
//! binaries give the same package, byte by byte.

mod archive;
mod control;
mod rpm;
mod stage;
mod verify;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::build::{self, Profile, root};
use crate::provision;
use control::Packed;

/// Options of `dist`.
#[derive(clap::Args)]
pub struct Args {
    /// Where the package goes [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to make
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "deb,rpm,tar",
        value_name = "FORMAT,..."
    )]
    formats: Vec<Format>,
    /// A revision after the version, for builds of your own: 0.1.0-2
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
    /// How the files are packed; none is for tests, in seconds
    #[arg(long, value_enum, default_value_t = Compression::Xz)]
    compression: Compression,
    /// Then install, use, remove and purge the Debian package in a minimal root of
    /// its own, made by debootstrap and kept in target/dist for the next time, and
    /// see that all that was made holds the same files (root, network)
    #[arg(long)]
    verify: bool,
    /// What to pack: a package for others is of release
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Debian and Ubuntu
    Deb,
    /// Fedora, RHEL, SUSE
    Rpm,
    /// To be unpacked at /
    Tar,
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

/// Builds, packs, and prints where the packages are.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        std::path::Path::new("/usr/bin/dpkg-deb").exists(),
        "dpkg-deb is missing: build the package on Debian or Ubuntu (apt-get install dpkg)"
    );
    if args.verify {
        ensure!(
            args.formats.contains(&Format::Deb),
            "--verify takes --formats deb"
        );
        provision::ensure_verified_packages()?;
    }
    eprintln!("== building");
    let built = build::all(args.profile)?;
    let target = built.dir.parent().unwrap_or(&built.dir).join("dist");
    let out = args.out.clone().unwrap_or_else(|| target.clone());
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    eprintln!("== packing");
    let tree = tempfile::tempdir_in(&out)?;
    let epoch = epoch();
    stage::tree(&built, &epoch, tree.path())?;
    let packed = Packed::of(tree.path(), epoch, args.revision)?;
    let mut made = Vec::new();
    for format in &args.formats {
        made.push(match format {
            Format::Deb => deb(tree.path(), &packed, args.compression, &out)?,
            Format::Rpm => rpm::pack(tree.path(), &packed, args.compression, &out)?,
            Format::Tar => archive::pack(tree.path(), &packed, args.compression, &out)?,
        });
    }
    drop(tree);
    made.push(archive::sums(&made, &out)?);
    for file in &made {
        println!("{}", file.display());
    }
    if args.verify {
        verify::run(&made, &built, &target)?;
    }
    Ok(())
}

fn deb(
    tree: &Path,
    packed: &Packed,
    compression: Compression,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    control::write(tree, packed)?;
    let (version, architecture) = (packed.version(), control::architecture()?);
    let package = out.join(format!("xsched_{version}_{architecture}.deb"));
    build::run(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", compression.option(), "--build"])
            .arg(tree)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", &packed.epoch)
            .stdout(std::process::Stdio::null()),
    )?;
    std::fs::remove_dir_all(tree.join("DEBIAN"))?;
    Ok(package)
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
