//! What was made, tried: sums, the same files in every package, and the Debian one
//! installed, used and removed in a minimal root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::build::{self, Built};

/// What runs in the root. No systemd there: the agent is started by hand.
const SCRIPT: &str = r#"
set -eu
mount -t proc proc /proc
dpkg -i /work/xsched.deb
test ! -e /etc/systemd/system/multi-user.target.wants/xsched-agent.service
export HIPSIM_DEVICE=/work/device LD_LIBRARY_PATH=/work/hip
xsched-agent config check
xsched-agent --version
xtop --version
xsched-agent check >/work/check.txt || true
grep -q . /work/check.txt
xsched-agent --no-bpf --metrics 2>/work/log &
agent=$!
for i in $(seq 100); do [ -S /run/xsched/api.sock ] && break; sleep 0.1; done
xsched-agent run --class low -- /work/hipsim-batch --kernel-time 200us >/work/batch.txt &
batch=$!
joined=
for i in $(seq 100); do
    if xsched-agent ps | grep "^ *$batch .*joined"; then joined=yes; break; fi
    sleep 0.1
done
[ -n "$joined" ] || { cat /work/log; exit 1; }
grep -q /usr/lib/xsched/libxsched_shim.so /proc/$batch/maps
xsched-agent set --pid $batch --class normal
xtop --once | grep "$batch"
xsched-agent events | grep joined
kill $batch
wait $batch
kill $agent
wait $agent
dpkg -L xsched | grep -v '^/\.$' >/work/files.txt
if [ -d /work/tree ]; then
    while read -r file; do
        [ -d "$file" ] || cmp "$file" "/work/tree$file"
    done </work/files.txt
    find /work/tree ! -type d >/work/packed.txt
    while read -r file; do
        grep -qxF "${file#/work/tree}" /work/files.txt || { echo "not in the Debian package: $file"; exit 1; }
    done </work/packed.txt
fi
dpkg -r xsched
test -e /etc/xsched/xsched.toml
test ! -e /usr/bin/xsched-agent
dpkg -P xsched
left=$(while read -r file; do [ -d "$file" ] || [ ! -e "$file" ] || echo "$file"; done </work/files.txt)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
test ! -e /etc/xsched
test ! -e /usr/lib/xsched
umount /proc
"#;

/// Tries all that was made.
pub fn run(made: &[PathBuf], built: &Built, target: &Path) -> anyhow::Result<()> {
    let of_ending = |endings: &[&str]| {
        let is_it = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            endings.iter().any(|ending| name.ends_with(ending))
        };
        made.iter().find(is_it)
    };
    let sums = made.last().context("sums")?;
    eprintln!("== checking the sums");
    build::run(
        Command::new("sha256sum")
            .args(["--check", "--quiet"])
            .arg(sums)
            .current_dir(sums.parent().unwrap_or(Path::new("."))),
    )?;
    let scratch = tempfile::tempdir_in(target)?;
    let tree = match of_ending(&[".tar", ".tar.xz"]) {
        Some(archive) => Some(unpacked(archive, scratch.path())?),
        None => None,
    };
    if let Some((rpm, tree)) = of_ending(&[".rpm"]).zip(tree.as_deref()) {
        eprintln!("== installing the RPM package into a folder");
        same_as_rpm(rpm, tree, scratch.path())?;
    }
    let deb = of_ending(&[".deb"]).context("no package of Debian's")?;
    eprintln!("== installing, using and removing the Debian package in a minimal root");
    in_root(deb, tree.as_deref(), built, target)?;
    eprintln!("== all that was made is as it should be");
    Ok(())
}

/// The tarball, unpacked.
fn unpacked(archive: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
    let tree = scratch.join("tree");
    fs::create_dir(&tree)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(archive);
    build::run(tar.arg("--directory").arg(&tree))?;
    Ok(tree)
}

/// Its scripts run only where systemd does, and this system is not RPM's.
fn same_as_rpm(rpm: &Path, tree: &Path, scratch: &Path) -> anyhow::Result<()> {
    let root = scratch.join("rpm");
    let mut install = Command::new("rpm");
    install.arg("--root").arg(&root);
    // RPM's own database is no file of the package's: it has a folder for itself.
    let database = "rpm-database";
    install.arg("--dbpath").arg(Path::new("/").join(database));
    install.arg("--install");
    build::run(install.args(["--nodeps", "--noscripts"]).arg(rpm))?;
    fs::remove_dir_all(root.join(database))?;
    let mut diff = Command::new("diff");
    diff.args(["--recursive", "--brief"]);
    build::run(diff.arg(tree).arg(&root).stdout(Stdio::inherit()))
}

/// Makes the root, once, and a copy of it; runs the script there.
fn in_root(
    package: &Path,
    tree: Option<&Path>,
    built: &Built,
    target: &Path,
) -> anyhow::Result<()> {
    let base = target.join("root");
    if !base.join("usr/bin/dpkg").exists() {
        let release = fs::read_to_string("/etc/os-release")?;
        let suite = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .context("/etc/os-release names no release")?
            .to_owned();
        // A half-made root must not be taken for a whole one.
        let making = target.join("root.making");
        let _ = fs::remove_dir_all(&making);
        build::run(
            Command::new("debootstrap")
                .args(["--variant=minbase", &suite])
                .arg(&making)
                .stdout(std::process::Stdio::null()),
        )?;
        let _ = fs::remove_dir_all(&base);
        fs::rename(&making, &base)?;
    }
    let copy = tempfile::tempdir_in(target)?;
    let root = copy.path().join("root");
    build::run(Command::new("cp").arg("-a").arg(&base).arg(&root))?;
    let work = root.join("work");
    fs::create_dir(&work)?;
    fs::copy(package, work.join("xsched.deb"))?;
    if let Some(tree) = tree {
        build::run(
            Command::new("cp")
                .arg("-a")
                .arg(tree)
                .arg(work.join("tree")),
        )?;
    }
    hipsim::install::install(&built.file("libhipsim.so"), &work.join("hip"))?;
    fs::copy(built.file("hipsim-batch"), work.join("hipsim-batch"))?;
    build::run(
        Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "chroot"])
            .arg(&root)
            .args(["/bin/sh", "-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    )
}
