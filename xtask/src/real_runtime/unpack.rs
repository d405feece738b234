//! From packages to a folder of libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::Release;
use crate::build;
use crate::debian::Debian;
use crate::progress::note;

/// Suites that have the runtimes.
const SUITES: [&str; 2] = ["sid", "experimental"];
/// Packages that are needed by the letter only: the library that is simulated here, and what compiles host programs.
const LEFT: [&str; 2] = ["libhsa-runtime64-1", "libclang-common-"];

/// Unpacks a release into `folder`, completely or not at all.
///
/// # Errors
/// A package is not to be had, or has another version.
pub fn unpack(release: &Release, folder: &Path, lists: &Path) -> anyhow::Result<()> {
    let debian = Debian::open(lists, &SUITES, &[])?;
    check_version(&debian, release)?;
    let packages = download(&debian, release, lists)?;
    let fresh = folder.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    let all = packages.iter().try_for_each(|package| {
        let mut unpack = Command::new("dpkg-deb");
        build::run(unpack.arg("--extract").arg(package).arg(&fresh))
    });
    let done = all.and_then(|()| Ok(fs::rename(&fresh, folder)?));
    if done.is_err() {
        // Nothing half unpacked; the first failure is the one to tell.
        let _ = fs::remove_dir_all(&fresh);
    }
    done
}

/// The archive moves on: another version may import functions that are not simulated.
fn check_version(debian: &Debian, release: &Release) -> anyhow::Result<()> {
    let out = debian
        .apt("apt-cache")
        .args(["madison", release.package])
        .output()
        .context("cannot start apt-cache")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let found: Vec<&str> = text.lines().filter_map(version_of).collect();
    if found
        .iter()
        .any(|version| version.starts_with(release.number))
    {
        return Ok(());
    }
    match (found.as_slice(), debian.unreachable.as_slice()) {
        ([], [first, ..]) => bail!(
            "{} is not to be had without a network ({first})",
            release.package
        ),
        ([], []) => bail!(
            "Debian's {} has no package {}",
            SUITES.join(" and "),
            release.package
        ),
        (others, _) => bail!(
            "Debian has {} {} now, and {} is what is known here: compare its imports with hipsim/hsa/data/functions.tsv, \\
             then add it to xtask/src/real_runtime/mod.rs",
            release.package,
            others.join(", "),
            release.number
        ),
    }
}

/// The version of a line of `apt-cache madison`: `package | version | source`.
fn version_of(line: &str) -> Option<&str> {
    let version = line.split('|').nth(1)?.trim();
    (!line.trim_end().ends_with("Sources")).then_some(version)
}

/// The files of the package and of all that it needs.
fn download(debian: &Debian, release: &Release, lists: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let install = |more: &[&str]| {
        let mut apt = debian.apt("apt-get");
        apt.args(["install", "-y", "-q", "--no-install-recommends"]);
        apt.args(["-t", release.suite, release.package]).args(more);
        apt
    };
    let out = install(&["--simulate"]).output()?;
    let listed = String::from_utf8_lossy(&out.stdout).into_owned();
    let needed: Vec<String> = listed.lines().filter_map(file_of).collect();
    note(&format!(
        "downloading {} {} and what it needs",
        release.package, release.number
    ));
    let out = install(&["--download-only"]).output()?;
    ensure!(
        out.status.success(),
        "apt cannot download {}: {}",
        release.package,
        String::from_utf8_lossy(&out.stderr).trim()
    );
    let archives = lists.join("cache/archives");
    let wanted = needed
        .iter()
        .filter(|name| !LEFT.iter().any(|left| name.starts_with(left)));
    let files: Vec<PathBuf> = wanted.map(|name| archives.join(name)).collect();
    for file in &files {
        ensure!(file.exists(), "apt has put no {}", file.display());
    }
    ensure!(
        !files.is_empty(),
        "apt would install nothing for {}: {}",
        release.package,
        listed.trim()
    );
    Ok(files)
}

/// The file of a line of `apt-get --simulate`: `Inst name (version origin [architecture])`.
fn file_of(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    let version = rest.split(' ').next()?.replace(':', "%3a");
    let architecture = rest.split_once(" [")?.1.split(']').next()?;
    Some(format!("{name}_{version}_{architecture}.deb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lines_are_read() {
        let line = "Inst libllvm22 (1:22.1.8-3 Debian:unstable [amd64]) []";
        let file = "libllvm22_1%3a22.1.8-3_amd64.deb";
        assert_eq!(file_of(line).as_deref(), Some(file));
        assert_eq!(file_of("Reading package lists..."), None);
        let line = " libamdhip64-7 | 7.2.4-1~exp2 | http://mirror.example/debian experimental/main amd64 Packages";
        assert_eq!(version_of(line), Some("7.2.4-1~exp2"));
    }
}
