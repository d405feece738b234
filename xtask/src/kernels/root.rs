//! The guest's files: our programs, and the libraries they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::cpio::Archive;
use crate::build::Built;
use crate::platform::Platform;

/// What runs there beside the simulated runtime, from the build's folder.
const OURS: [&str; 8] = [
    "xtask",
    "xsched-agent",
    "libxsched_shim.so",
    "hipsim-batch",
    "hipsim-nullstream",
    "hipsim-service",
    "hipsim-versioned",
    "libversioned.so",
];

/// From this machine: gives a program fewer rights.
pub const SETPRIV: &str = "/usr/bin/setpriv";

/// Where ours are in the guest.
pub const PROGRAMS: &str = "/bin";

/// What is mounted on, or written to.
const FOLDERS: [&str; 5] = ["/dev", "/proc", "/sys", "/tmp", "/run"];

/// Writes the archive to `path`.
///
/// # Errors
/// A file is missing.
pub fn write(built: &Built, path: &Path) -> anyhow::Result<()> {
    let stripped = tempfile::tempdir()?;
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for &name in OURS.iter().chain(Platform::Hip.libraries()) {
        let small = stripped.path().join(name);
        strip(&built.file(name), &small)?;
        files.insert(format!("{PROGRAMS}/{name}"), small);
    }
    files.insert(SETPRIV.to_owned(), SETPRIV.into());
    let programs: Vec<PathBuf> = files.values().cloned().collect();
    for library in libraries(&programs)? {
        files.insert(library.clone(), library.into());
    }
    let mut archive = Archive::new(BufWriter::new(File::create(path)?));
    for folder in folders(files.keys()) {
        archive.directory(&folder)?;
    }
    for (name, file) in &files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        archive.file(name, &content)?;
    }
    archive.finish()?;
    Ok(())
}

/// A copy without debugging information: the guest's memory is small.
fn strip(file: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .args([to, file])
        .status()
        .context("cannot start strip (Debian: binutils)")?;
    ensure!(
        status.success(),
        "cannot strip {} ({status})",
        file.display()
    );
    Ok(())
}

/// All that the dynamic linker would load for them, itself included.
fn libraries(programs: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let out = Command::new("ldd")
        .args(programs)
        .output()
        .context("cannot start ldd")?;
    let found = loaded(&String::from_utf8_lossy(&out.stdout));
    ensure!(
        found.iter().any(|path| path.contains("/ld-linux")),
        "ldd names no dynamic linker: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(found)
}

/// The paths in what ldd prints. The runtime is not found there; the guest
/// has hipsim's.
fn loaded(ldd: &str) -> BTreeSet<String> {
    ldd.lines()
        .filter_map(|line| {
            let line = line.trim();
            let found = line.split_once(" => ").map_or(line, |(_, found)| found);
            let (path, address) = found.rsplit_once(" (0x")?;
            (path.starts_with('/') && address.ends_with(')')).then(|| path.to_owned())
        })
        .collect()
}

/// The folders of these files, parents first.
fn folders<'a>(files: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut folders: BTreeSet<String> = FOLDERS.iter().map(|&folder| folder.to_owned()).collect();
    for file in files {
        let parents = Path::new(file).ancestors().skip(1);
        folders.extend(
            parents
                .filter(|parent| parent.parent().is_some())
                .map(|parent| parent.display().to_string()),
        );
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_linker_loads_is_read_from_ldd() {
        let ldd = "\
/bin/a:
\tlinux-vdso.so.1 (0x00007ffe)
\tlibamdhip64.so.5 => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f)
/bin/b:
\tstatically linked
";
        let paths: Vec<String> = loaded(ldd).into_iter().collect();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn folders_come_after_their_parents() {
        let files = ["/lib/x/libc.so".to_owned(), "/bin/a".to_owned()];
        let all: Vec<String> = folders(files.iter()).into_iter().collect();
        assert_eq!(
            all,
            [
                "/bin", "/dev", "/lib", "/lib/x", "/proc", "/run", "/sys", "/tmp"
            ]
        );
    }
}
