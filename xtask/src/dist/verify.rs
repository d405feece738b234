//! Installing, using and removing the package in a minimal root.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

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

/// Makes the root, once, and a copy of it; runs the script there.
pub fn run(package: &Path, built: &Built, target: &Path) -> anyhow::Result<()> {
    let base = target.join("root");
    if !base.join("usr/bin/dpkg").exists() {
        let release = fs::read_to_string("/etc/os-release")?;
        let suite = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .context("/etc/os-release names no release")?
            .to_owned();
        ensure!(
            Path::new("/usr/sbin/debootstrap").exists(),
            "debootstrap is missing: apt-get install debootstrap"
        );
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
