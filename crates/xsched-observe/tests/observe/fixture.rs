//! Observers of the programs with known calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use xsched_observe::{Observer, Plan, probe_support};
use xsched_testkit::{no_bpf, wait_for};

/// Whether BPF tests are to run. They fail where BPF is missing, unless the
/// environment says to leave them out.
pub fn bpf_or_left_out() -> bool {
    if no_bpf() {
        return false;
    }
    if let Err(reason) = probe_support() {
        panic!("{reason}. XSCHED_TEST_NO_BPF=1 leaves the tests out that need BPF");
    }
    true
}

/// For tests whose programs fill maps: every observer counts all programs, so
/// one such test at a time.
pub fn fills_maps() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An observer that has looked at every process.
pub fn observe(plan: Plan) -> Observer {
    let mut observer = Observer::start(plan).expect("observer");
    finish_looking(&mut observer);
    observer
}

/// Has it look at every process again.
pub fn look(observer: &mut Observer) {
    observer.refresh();
    finish_looking(observer);
}

/// A look ends after a quarter of a second, wherever it is, and waits for a
/// process for a moment only: beside others that have the processors it may
/// not come to a test's program.
fn finish_looking(observer: &mut Observer) {
    let late = ["left for the next look", "could not be looked at"];
    let is_late = |limit: &str| late.iter().any(|late| limit.contains(late));
    wait_for("/proc is seen whole", || {
        let done = !observer.limits().any(is_late);
        if !done {
            observer.refresh();
        }
        done
    });
    for limit in observer.limits() {
        eprintln!("not seen: {limit}");
    }
}

/// A directory seen through overlayfs. Unmounted when dropped.
pub struct Overlay {
    dir: TempDir,
}

impl Overlay {
    pub fn of(lower: &Path) -> Overlay {
        let dir = TempDir::new().expect("temporary directory");
        let at = dir.path();
        for part in ["upper", "work", "merged"] {
            fs::create_dir(at.join(part)).expect("directory");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            at.join("upper").display(),
            at.join("work").display()
        );
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(at.join("merged"))
            .status()
            .expect("mount");
        assert!(status.success(), "overlayfs cannot be mounted: {status}");
        Overlay { dir }
    }

    pub fn merged(&self) -> PathBuf {
        self.dir.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Lazily: the kernel may still be letting go of the last probe.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.merged())
            .status();
    }
}
