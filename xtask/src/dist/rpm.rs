//! The RPM package, by rpmbuild, from the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;

use super::Compression;
use super::control::{self, Packed, VERSION};
use crate::build;

/// Packs `tree` into `out`; the package's path.
pub fn pack(
    tree: &Path,
    packed: &Packed,
    compression: Compression,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    ensure!(
        Path::new("/usr/bin/rpmbuild").exists(),
        "rpmbuild is missing: apt-get install rpm, or leave it out with --formats deb,tar"
    );
    let work = tempfile::tempdir_in(out)?;
    let spec = work.path().join("xsched.spec");
    fs::write(&spec, text(tree, packed)?)?;
    let payload = match compression {
        Compression::Xz => "w6.xzdio",
        Compression::None => "w0.gzdio",
    };
    let mut rpmbuild = Command::new("rpmbuild");
    for (name, value) in [
        ("_topdir", work.path().display().to_string()),
        ("_rpmdir", work.path().join("out").display().to_string()),
        ("_buildhost", "xsched".to_owned()),
        ("_binary_payload", payload.to_owned()),
        ("_build_id_links", "none".to_owned()),
        ("debug_package", "%{nil}".to_owned()),
        ("__os_install_post", "%{nil}".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
    ] {
        rpmbuild.arg("--define").arg(format!("{name} {value}"));
    }
    rpmbuild.args(["-bb", "--quiet"]).arg(&spec);
    rpmbuild.env("SOURCE_DATE_EPOCH", &packed.epoch);
    build::run(rpmbuild.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let name = format!("xsched-{VERSION}-{}.x86_64.rpm", packed.release());
    let package = out.join(&name);
    fs::rename(work.path().join("out/x86_64").join(name), &package)?;
    Ok(package)
}

/// The specification: files as they lie in the tree, and the scripts of the Debian package in RPM's words.
fn text(tree: &Path, packed: &Packed) -> anyhow::Result<String> {
    let mut files = String::new();
    for file in control::files_of(tree)? {
        let config = match file.starts_with("etc") {
            true => "%config(noreplace) ",
            false => "",
        };
        files += &format!("{config}\"/{}\"\n", file.display());
    }
    let (major, minor) = packed.glibc;
    let release = packed.release();
    let tree = tree.display();
    Ok(format!(
        r#"Name: xsched
Version: {VERSION}
Release: {release}
Summary: Priority scheduling and observation of GPU programs
License: Apache-2.0
AutoReqProv: no
Requires: glibc >= {major}.{minor}, libgcc

%description
Shows what every process does on AMD's HIP and NVIDIA's CUDA, explains why
work escapes scheduling, and gives GPU time by class to unmodified programs.

The agent's units are installed disabled: nothing runs and no program
changes before `systemctl enable --now xsched-agent`.

%install
mkdir -p %{{buildroot}}
cp -a {tree}/. %{{buildroot}}/

%post
# Where systemd runs: not in an image that is being built.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
# After an upgrade, if it runs: gates open first, clients join again.
[ "$1" -lt 2 ] || systemctl try-restart xsched-agent.service || true

%preun
[ -d /run/systemd/system ] && [ "$1" -eq 0 ] || exit 0
systemctl disable --now xsched-agent.service xsched-agent.socket xsched-agent-api.socket || true

%postun
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true

%files
%defattr(-,root,root)
{files}%dir /etc/xsched
%dir /usr/lib/xsched
%dir /usr/share/xsched
%dir /usr/share/doc/xsched
"#
    ))
}
