//! What dpkg is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::stage::write as write_file;

/// The workspace's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who answers for the package.
pub const MAINTAINER: &str = "The xsched authors <xsched@example.invalid>";

/// Debian's name of this machine's architecture.
pub fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        other => bail!("no package for {other}: xsched runs on x86-64"),
    }
}

/// What all packages say of the files in a tree.
pub struct Packed {
    /// The time that files carry, s since 1970.
    pub epoch: String,
    /// A build of one's own of this version.
    pub revision: Option<u32>,
    /// The newest version of glibc's symbols that a program or library names.
    pub glibc: (u32, u32),
}

impl Packed {
    /// Looks the files up.
    pub fn of(tree: &Path, epoch: String, revision: Option<u32>) -> anyhow::Result<Packed> {
        let glibc = newest_glibc(tree, &files_of(tree)?)?;
        Ok(Packed {
            epoch,
            revision,
            glibc,
        })
    }

    /// As Debian has it.
    pub fn version(&self) -> String {
        match self.revision {
            Some(revision) => format!("{VERSION}-{revision}"),
            None => VERSION.to_owned(),
        }
    }

    /// As RPM has it.
    pub fn release(&self) -> u32 {
        self.revision.unwrap_or(1)
    }
}

/// The files in a tree, sorted, without what dpkg is told.
pub fn files_of(tree: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(tree, tree, &mut files)?;
    files.retain(|file| !file.starts_with("DEBIAN"));
    files.sort();
    Ok(files)
}

/// Writes `DEBIAN/` for the files in `tree`.
pub fn write(tree: &Path, packed: &Packed) -> anyhow::Result<()> {
    let files = files_of(tree)?;
    let size = files
        .iter()
        .map(|file| Ok(fs::metadata(tree.join(file))?.len().div_ceil(1024)))
        .sum::<std::io::Result<u64>>()?;
    let (major, minor) = packed.glibc;
    let version = packed.version();
    let debian = tree.join("DEBIAN");
    write_file(
        &debian.join("control"),
        &format!(
            "\
Package: xsched
Version: {version}
Architecture: {}
Maintainer: {MAINTAINER}
Installed-Size: {size}
Depends: libc6 (>= {major}.{minor}), libgcc-s1
Recommends: openssh-client
Suggests: prometheus, grafana
Section: admin
Priority: optional
Description: priority scheduling and observation of GPU programs
 Shows what every process does on AMD's HIP and NVIDIA's CUDA, explains why
 work escapes scheduling, and gives GPU time by class to unmodified programs.
 .
 The agent's units are installed disabled: nothing runs and no program
 changes before `systemctl enable --now xsched-agent`.
",
            architecture()?
        ),
    )?;
    write_file(&debian.join("conffiles"), "/etc/xsched/xsched.toml\n")?;
    script(&debian.join("postinst"), POSTINST)?;
    script(&debian.join("prerm"), PRERM)?;
    script(&debian.join("postrm"), POSTRM)
}

// systemctl only where systemd runs and the root is the machine's own: not in
// a chroot, a container being built, or with dpkg --root.

const POSTINST: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    # After an upgrade, if it runs: gates open first, clients join again.
    [ -z "$2" ] || systemctl try-restart xsched-agent.service || true
fi
"#;

const PRERM: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now xsched-agent.service xsched-agent.socket xsched-agent-api.socket || true
fi
"#;

const POSTRM: &str = r#"#!/bin/sh
set -e
if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
"#;

fn script(to: &Path, text: &str) -> anyhow::Result<()> {
    write_file(to, text)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn collect(tree: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // Whatever the umask was.
        if path.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            collect(tree, &path, files)?;
        } else {
            files.push(path.strip_prefix(tree)?.to_owned());
        }
    }
    Ok(())
}

/// The newest version of glibc's symbols that a program or library names.
fn newest_glibc(tree: &Path, files: &[PathBuf]) -> anyhow::Result<(u32, u32)> {
    let mut newest = None;
    for file in files {
        let bytes = fs::read(tree.join(file))?;
        if bytes.starts_with(b"\x7fELF") {
            newest = newest.max(newest_in(&bytes));
        }
    }
    newest.context("no program names a version of glibc")
}

fn newest_in(bytes: &[u8]) -> Option<(u32, u32)> {
    let name = b"GLIBC_";
    bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| window == name)
        .filter_map(|(at, _)| {
            let rest = &bytes[at + name.len()..];
            let end = rest
                .iter()
                .position(|b| !b.is_ascii_digit() && *b != b'.')?;
            let mut parts = std::str::from_utf8(&rest[..end]).ok()?.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let bytes = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.3.4\0GLIBC_PRIVATE\0";
        assert_eq!(newest_in(bytes), Some((2, 34)));
    }
}
