//! What was given by hand, over restarts of the agent: a file in its
//! directory.
//!
//! Written whole and renamed into place; read as if anybody had written it,
//! except that it must belong to the agent's own user.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xsched_host::process::ProcessId;

use super::given::Given;

/// The file's name in the agent's directory.
const FILE: &str = "terms.json";
/// Of this form of the file.
const VERSION: u32 = 1;
/// The largest file that is read, bytes: about 50,000 processes.
const MAX_FILE: u64 = 16 << 20;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// By process.
    pub given: HashMap<ProcessId, Given>,
    /// Processes that inherit from ancestors which may be gone by now, with
    /// their ancestors, nearest first.
    pub ancestries: Vec<Vec<ProcessId>>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    /// Pids and start times mean nothing after a reboot.
    boot_id: String,
    given: Vec<Entry>,
    ancestries: Vec<Vec<ProcessId>>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    process: ProcessId,
    given: Given,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else may have written it.
    #[error("{} is not this user's own, or others may write it: it is ignored", .0.display())]
    Foreign(PathBuf),
    /// More than is read again, bytes.
    #[error("{}: {size} bytes are more than the {MAX_FILE} that are read again", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Of what was to be kept.
        size: usize,
    },
    /// It is not what an agent writes.
    #[error("{}: {source}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// A place to keep things.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    boot_id: String,
}

impl Store {
    /// In an agent's directory.
    pub fn in_directory(directory: &Path) -> Store {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Store {
            path: directory.join(FILE),
            boot_id: boot_id.unwrap_or_default().trim().to_owned(),
        }
    }

    /// What an earlier agent kept since the machine started; nothing if there
    /// was none.
    ///
    /// # Errors
    /// There is a file and it cannot be trusted.
    pub fn load(&self) -> Result<Kept, StoreError> {
        let error = |source| StoreError::File {
            path: self.path.clone(),
            source,
        };
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path);
        let file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            opened => opened.map_err(error)?,
        };
        let metadata = file.metadata().map_err(error)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || !own || metadata.mode() & 0o022 != 0 {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text).map_err(error)?;
        let form: Form = serde_json::from_slice(&text).map_err(|source| StoreError::Malformed {
            path: self.path.clone(),
            source,
        })?;
        if form.version != VERSION || form.boot_id != self.boot_id {
            return Ok(Kept::default());
        }
        Ok(Kept {
            given: form
                .given
                .into_iter()
                .map(|entry| (entry.process, entry.given))
                .collect(),
            ancestries: form.ancestries,
        })
    }

    /// Keeps this in place of what was kept.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still whole.
    pub fn save(&self, kept: &Kept) -> Result<(), StoreError> {
        let mut form = Form {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            given: kept
                .given
                .iter()
                .map(|(process, given)| Entry {
                    process: *process,
                    given: given.clone(),
                })
                .collect(),
            ancestries: kept.ancestries.clone(),
        };
        let error = |source| StoreError::File {
            path: self.path.clone(),
            source,
        };
        let mut text = serde_json::to_vec(&form).map_err(|e| error(e.into()))?;
        if text.len() as u64 >= MAX_FILE {
            // What was given counts for more than who inherits it.
            form.ancestries.clear();
            text = serde_json::to_vec(&form).map_err(|e| error(e.into()))?;
        }
        if text.len() as u64 >= MAX_FILE {
            return Err(StoreError::TooLarge {
                path: self.path.clone(),
                size: text.len(),
            });
        }
        let new = self.path.with_extension("json.new");
        // Whatever has this name is not followed.
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error(e)),
            _ => {}
        }
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| std::fs::rename(&new, &self.path));
        written.map_err(|source| {
            let _ = std::fs::remove_file(&new);
            error(source)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::SchedAttrPatch;
    use proptest::prelude::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use xsched_common::units::{Class, Nanos, Weight};

    fn kept() -> Kept {
        let process = ProcessId {
            pid: 7,
            start_time: 99,
        };
        let given = Given {
            set: SchedAttrPatch {
                class: Some(Class::High),
                weight: Some(Weight::MAX),
                slo_p99: Some(Nanos::from_millis(3)),
            },
            by: "uid 0 (pid 3, sh)".into(),
            ..Given::default()
        };
        Kept {
            given: HashMap::from([(process, given)]),
            ancestries: vec![vec![process]],
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::in_directory(dir.path());
        assert_eq!(store.load().expect("none"), Kept::default());
        store.save(&kept()).expect("saves");
        assert_eq!(store.load().expect("loads"), kept());
        store.save(&Kept::default()).expect("replaces");
        assert_eq!(store.load().expect("loads"), Kept::default());
        assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1);
        let mode = std::fs::metadata(&store.path).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let rebooted = Store {
            boot_id: "another".into(),
            ..store.clone()
        };
        store.save(&kept()).expect("saves");
        assert_eq!(rebooted.load().expect("loads"), Kept::default());
    }

    #[test]
    fn a_file_that_would_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::in_directory(dir.path());
        let mut large = kept();
        let ancestry = large.ancestries[0].clone();
        large.ancestries = vec![vec![ancestry[0]; 64]; 20_000];
        store.save(&large).expect("without its lineages");
        let loaded = store.load().expect("loads");
        assert_eq!(
            (loaded.given, loaded.ancestries.len()),
            (large.given.clone(), 0)
        );
        for given in large.given.values_mut() {
            given.by = "x".repeat(MAX_FILE as usize);
        }
        assert!(matches!(
            store.save(&large),
            Err(StoreError::TooLarge { .. })
        ));
        assert_eq!(store.load().expect("the one before").given, kept().given);
    }

    #[test]
    fn a_full_or_missing_directory_is_an_error_and_harms_nothing() {
        let store = Store::in_directory(Path::new("/no/such/directory"));
        assert!(matches!(store.save(&kept()), Err(StoreError::File { .. })));
    }

    #[test]
    fn files_of_others_are_ignored() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::in_directory(dir.path());
        store.save(&kept()).expect("saves");
        std::fs::set_permissions(&store.path, std::fs::Permissions::from_mode(0o666))
            .expect("chmod");
        assert!(matches!(store.load(), Err(StoreError::Foreign(_))));
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(&store.path, &elsewhere).expect("renames");
        symlink(&elsewhere, &store.path).expect("links");
        assert!(matches!(store.load(), Err(StoreError::File { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_kept_or_refused(bytes: Vec<u8>, cut in 0usize..400) {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Store::in_directory(dir.path());
            store.save(&kept()).expect("saves");
            let good = std::fs::read(&store.path).expect("reads");
            let mut damaged = good[..cut.min(good.len())].to_vec();
            damaged.extend(bytes);
            std::fs::write(&store.path, &damaged).expect("writes");
            let _ = store.load();
        }
    }
}
