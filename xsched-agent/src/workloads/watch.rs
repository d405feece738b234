//! The thread that sees pods come and go.
//!
//! It looks, ten times a second, whether the files have changed, which is two
//! calls of the kernel: a pod has its class within half a second of its first
//! launch. inotify would save those, and is silent for a file on a volume that
//! another container's mount brings in. Whoever may create pods can have the
//! files change without end: reading them has a pace.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;

use super::pods::{self, Listing, Pods};
use super::{Inner, Workloads};
use crate::control::{Meter, Rate};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How often changed files are read, and their pods' processes evaluated
/// anew.
const READS: Rate = Rate {
    interval: Nanos::from_secs(1),
    burst: 4,
};

/// How often it is said that pods are not believed.
const DOUBTS: Rate = Rate {
    interval: Nanos::from_secs(60),
    burst: 1,
};

/// The running thread; dropping it ends it.
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts it; `changed` is told of pods that are others now.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn start(
        workloads: Workloads,
        changed: impl Fn(HashSet<String>) + Send + 'static,
    ) -> io::Result<Watcher> {
        let (stop, stopped) = channel::<()>();
        let mut look = Look::default();
        let thread = std::thread::Builder::new()
            .name("pods".into())
            .spawn(move || {
                loop {
                    if let Some(pods) = look.again(&workloads.inner, monotonic()) {
                        let uids = workloads.replace(pods);
                        if !uids.is_empty() {
                            changed(uids);
                        }
                    }
                    match stopped.recv_timeout(LOOK) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
        Ok(Watcher {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the last look found.
#[derive(Default)]
struct Look {
    file: Option<Stamp>,
    logs: Option<Stamp>,
    /// Those of the file. They stay when it cannot be read: without the API
    /// server everything goes on as it was.
    listed: Listing,
    logged: Pods,
    /// What was last said about the file.
    said: Option<String>,
    reads: Meter,
    doubts: Meter,
}

/// Tells whether a file is another or has changed.
type Stamp = (u64, u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::symlink_metadata(path).ok()?;
    Some((
        data.dev(),
        data.ino(),
        data.mtime(),
        data.mtime_nsec(),
        data.size(),
    ))
}

impl Look {
    /// All pods, if the files have changed and may be read again.
    fn again(&mut self, at: &Inner, now: Nanos) -> Option<Pods> {
        let (file, logs) = (stamp(&at.pods_file), stamp(&at.pod_logs));
        if (file, logs) == (self.file, self.logs) || !self.reads.take(&READS, now) {
            return None;
        }
        if file != self.file && file.is_some() {
            match pods::listed(&at.pods_file) {
                Ok(listed) => {
                    if self.said.take().is_some() || self.listed.is_empty() {
                        info!("{}: {} pods", at.pods_file.display(), listed.len());
                    }
                    self.listed = listed;
                }
                Err(why) => {
                    if self.said.as_ref() != Some(&why) {
                        warn!("{} does not count: {why}", at.pods_file.display());
                    }
                    self.said = Some(why);
                }
            }
        }
        if logs != self.logs {
            self.logged = pods::logged(&at.pod_logs);
        }
        (self.file, self.logs) = (file, logs);
        let (all, doubts) = pods::believed(&self.listed, &self.logged);
        if let Some(first) = doubts.first()
            && self.doubts.take(&DOUBTS, now)
        {
            let all = doubts.len();
            warn!("{all} pods of the list are not believed, the first since {first}");
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    fn write(file: &Path, pods: &str) {
        let fresh = file.with_extension("new");
        fs::write(&fresh, format!(r#"{{"pods":[{pods}]}}"#)).expect("written");
        fs::rename(&fresh, file).expect("renamed");
    }

    #[test]
    fn files_that_change_without_end_are_read_once_a_second() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pods.json");
        let workloads = Workloads::at(&file, &dir.path().join("logs"), dir.path());
        let mut look = Look::default();
        let start = Nanos::from_secs(100);
        let mut reads = 0;
        for tenth in 0..100 {
            write(
                &file,
                &format!(r#"{{"uid":"u","namespace":"n","name":"p{tenth}"}}"#),
            );
            let now = start + Nanos::from_millis(100 * tenth);
            reads += u64::from(look.again(&workloads.inner, now).is_some());
        }
        let least = u64::from(READS.burst) + 9;
        assert!((least..=least + 1).contains(&reads), "{reads} in 10 s");
        // The last change is read, too.
        let read = look.again(&workloads.inner, start + Nanos::from_secs(12));
        assert_eq!(read.expect("read")["u"].name, "p99");
    }

    #[test]
    fn changes_are_told_and_a_lost_file_loses_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, logs) = (dir.path().join("pods.json"), dir.path().join("logs"));
        fs::create_dir(&logs).expect("made");
        fs::create_dir(logs.join("web_old_u0")).expect("made");
        let workloads = Workloads::at(&file, &logs, &dir.path().join("jobs"));
        let (tell, told) = mpsc::channel();
        let watcher = Watcher::start(workloads.clone(), move |uids| {
            let _ = tell.send(uids);
        });
        let watcher = watcher.expect("a thread");
        let next = || told.recv_timeout(Duration::from_secs(10)).expect("told");
        assert!(next().contains("u0"));
        assert_eq!(workloads.pod("u0").expect("known").name, "old");
        let began = Instant::now();
        write(&file, r#"{"uid":"u1","namespace":"web","name":"api"}"#);
        assert_eq!(next(), HashSet::from(["u1".to_owned()]));
        assert!(began.elapsed() < Duration::from_secs(5));
        // A file that is broken, or gone, takes nothing away.
        write(&file, "nonsense");
        std::thread::sleep(LOOK * 3);
        fs::remove_file(&file).expect("removed");
        std::thread::sleep(LOOK * 3);
        assert!(workloads.pod("u1").is_some() && told.try_recv().is_err());
        write(&file, "");
        assert_eq!(next(), HashSet::from(["u1".to_owned()]));
        assert!(workloads.pod("u1").is_none() && workloads.pod("u0").is_some());
        drop(watcher);
    }
}
