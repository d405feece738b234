//! What is in the package, and where.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use xsched_common::platform::Platform;

use super::control::{MAINTAINER, VERSION};
use crate::build::{self, Built, root};

/// Lays the package's files out below `tree`; `epoch` is its time, s since
/// 1970.
pub fn tree(built: &Built, epoch: &str, tree: &Path) -> anyhow::Result<()> {
    // tempfile's own are for their owner only.
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    for name in ["xsched-agent", "xsched-pods", "xtop"] {
        stripped(&built.file(name), &tree.join("usr/bin").join(name), 0o755)?;
    }
    let libraries = tree.join("usr/lib/xsched");
    for platform in Platform::ALL {
        let name = platform.names().shim;
        stripped(&built.file(name), &libraries.join(name), 0o644)?;
    }
    for unit in entries(&root().join("dist/systemd"))? {
        copy(&unit, &tree.join("usr/lib/systemd/system"))?;
    }
    let example = fs::read_to_string(root().join("config/xsched.toml"))?;
    write(
        &tree.join("etc/xsched/xsched.toml"),
        &commented_out(&example),
    )?;
    let share = tree.join("usr/share/xsched");
    for file in [
        "config/xsched.schema.json",
        "docs/protocol.schema.json",
        "docs/diagnose.schema.json",
    ] {
        copy(&root().join(file), &share)?;
    }
    copy(
        &root().join("dist/prometheus/xsched.rules.yml"),
        &share.join("prometheus"),
    )?;
    for dashboard in entries(&root().join("dist/grafana"))? {
        copy(&dashboard, &share.join("grafana"))?;
    }
    copy(
        &root().join("crates/xsched-hint/include/xsched.h"),
        &tree.join("usr/include"),
    )?;
    wheel(&share.join("python"))?;
    deployment(&share.join("deploy"))?;
    let doc = tree.join("usr/share/doc/xsched");
    for file in entries(&root().join("docs"))? {
        if file.extension().is_some_and(|e| e == "md") {
            copy(&file, &doc)?;
        }
    }
    copy(&root().join("README.md"), &doc)?;
    copy(&root().join("config/xsched.toml"), &doc.join("examples"))?;
    write(&doc.join("copyright"), COPYRIGHT)?;
    changelog(epoch, &doc)?;
    let overrides = tree.join("usr/share/lintian/overrides/xsched");
    write(&overrides, LINTIAN_OVERRIDES)?;
    generated(built, tree)
}

/// The Python package, for `pip install` of the file.
fn wheel(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    let mut python = Command::new("python3");
    python.arg(root().join("python/wheel.py")).arg(dir);
    build::run(python.stdout(std::process::Stdio::null()))?;
    for file in entries(dir)? {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Charts, manifests and scripts for clusters.
fn deployment(to: &Path) -> anyhow::Result<()> {
    let deploy = root().join("deploy");
    let mut folders = vec![deploy.clone()];
    while let Some(folder) = folders.pop() {
        let inside = to.join(folder.strip_prefix(&deploy)?);
        for file in entries(&folder)? {
            copy(&file, &inside)?;
            if file.extension().is_some_and(|ending| ending == "sh") {
                let script = inside.join(file.file_name().context("a file")?);
                fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
            }
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// What Debian wants to have changed in this version.
fn changelog(epoch: &str, doc: &Path) -> anyhow::Result<()> {
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date"])
        .arg(format!("@{epoch}"))
        .env("LC_ALL", "C");
    let out = date.output().with_context(|| format!("{date:?}"))?;
    anyhow::ensure!(out.status.success(), "{date:?} failed");
    let date = String::from_utf8(out.stdout)?;
    let text = format!(
        "xsched ({VERSION}) unstable; urgency=medium\n\n  * Built from the sources of this time.\n\n \
         -- {MAINTAINER}  {}\n",
        date.trim()
    );
    let file = doc.join("changelog");
    write(&file, &text)?;
    build::run(Command::new("gzip").args(["-9", "-n"]).arg(file))
}

/// Man pages and completions, by the programs themselves.
fn generated(built: &Built, tree: &Path) -> anyhow::Result<()> {
    let man = tree.join("usr/share/man/man1");
    fs::create_dir_all(&man)?;
    build::run(
        Command::new(built.file("xsched-agent"))
            .arg("man")
            .arg(&man),
    )?;
    build::run(Command::new(built.file("xtop")).arg("--man").arg(&man))?;
    let mut gzip = Command::new("gzip");
    // Without name and time.
    gzip.args(["-9", "-n"]).args(entries(&man)?);
    build::run(&mut gzip)?;
    let places = [
        ("bash", "bash-completion/completions", "", ""),
        ("zsh", "zsh/vendor-completions", "_", ""),
        ("fish", "fish/vendor_completions.d", "", ".fish"),
    ];
    for program in ["xsched-agent", "xtop"] {
        for (shell, dir, before, after) in places {
            let mut command = Command::new(built.file(program));
            match program {
                "xtop" => command.args(["--completions", shell]),
                _ => command.args(["completions", shell]),
            };
            let out = command.output().with_context(|| format!("{command:?}"))?;
            anyhow::ensure!(out.status.success(), "{command:?} failed");
            let file = format!("{before}{program}{after}");
            let text = String::from_utf8(out.stdout)?;
            write(&tree.join("usr/share").join(dir).join(file), &text)?;
        }
    }
    Ok(())
}

/// The example with nothing in force: a machine's configuration begins with
/// the defaults.
fn commented_out(example: &str) -> String {
    let schema = "#:schema ./xsched.schema.json";
    let example = example.replace(schema, "#:schema /usr/share/xsched/xsched.schema.json");
    let mut out = String::new();
    for line in example.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            out += "# ";
        }
        out += line;
        out.push('\n');
    }
    out
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: xsched

Files: *
Copyright: 2026 The xsched authors
License: Apache-2.0
 On Debian systems, the full text of the Apache License, Version 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
Comment: The BPF programs inside xsched-agent are \"Dual MIT/GPL\".
";

const LINTIAN_OVERRIDES: &str = "\
# Removal stops the units that an administrator has enabled; without
# debhelper's scripts, which the package is built without, that is systemctl.
xsched: maintainer-script-calls-systemctl
";

fn stripped(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    make_parent(to)?;
    build::run(
        Command::new("strip")
            .arg("-o")
            .arg(to)
            .arg("--strip-unneeded")
            .arg(from),
    )?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn copy(from: &Path, dir: &Path) -> anyhow::Result<()> {
    let to = dir.join(from.file_name().context("a file")?);
    let text = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    make_parent(&to)?;
    write_bytes(&to, &text)
}

pub(super) fn write(to: &Path, text: &str) -> anyhow::Result<()> {
    make_parent(to)?;
    write_bytes(to, text.as_bytes())
}

fn write_bytes(to: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

fn make_parent(of: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(of.parent().context("a parent")?)?;
    Ok(())
}

fn entries(dir: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_new_configuration_changes_nothing() {
        let text = super::commented_out("#:schema ./xsched.schema.json\n# a\n[rule]\nb = 1\n\n");
        let expected = "#:schema /usr/share/xsched/xsched.schema.json\n# a\n# [rule]\n# b = 1\n\n";
        assert_eq!(text, expected);
    }
}
