//! The tarball, for machines without a package manager of these, and the sums of everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::Compression;
use super::control::{Packed, VERSION};
use crate::build;

/// Packs `tree` into `out`; the archive's path. Unpacked at / it is what the packages install.
pub fn pack(
    tree: &Path,
    packed: &Packed,
    compression: Compression,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let (option, ending) = match compression {
        Compression::Xz => ("--xz", "tar.xz"),
        Compression::None => ("--no-auto-compress", "tar"),
    };
    let archive = out.join(format!("xsched-{VERSION}-x86_64.{ending}"));
    let mut tar = Command::new("tar");
    tar.args(["--create", option, "--sort=name", "--format=gnu"])
        .args([
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--exclude=./DEBIAN",
        ])
        .arg(format!("--mtime=@{}", packed.epoch))
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(tree)
        .arg(".")
        // Of one thread: the same bytes on every machine.
        .env("XZ_DEFAULTS", "--threads=1");
    build::run(&mut tar)?;
    Ok(archive)
}

/// Writes `SHA256SUMS` beside the files, for `sha256sum --check`.
pub fn sums(files: &[PathBuf], out: &Path) -> anyhow::Result<PathBuf> {
    let mut text = String::new();
    for file in files {
        let name = file.file_name().context("a file")?.to_string_lossy();
        let sum = Sha256::digest(fs::read(file)?);
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{hex}  {name}\n");
    }
    let to = out.join("SHA256SUMS");
    fs::write(&to, text)?;
    Ok(to)
}
