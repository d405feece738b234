//! One agent for each directory, which nobody else can write to.

use std::io;
use std::path::PathBuf;

use xsched_common::run_dir::RunDir;

/// What keeps control from starting.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another agent serves the same directory.
    #[error(
        "another agent{} already serves {}: stop it first, or set XSCHED_RUN_DIR to serve another directory",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .directory.display()
    )]
    AlreadyServed {
        /// The directory.
        directory: PathBuf,
        /// The other agent, if it left its number.
        pid: Option<u32>,
    },
    /// The directory is somebody else's, who could put sockets in place of ours.
    #[error(
        "cannot serve {0}: user {owner} owns it and could answer in the agent's place; `chown {euid} {0}` \
         if nobody else needs it, or set XSCHED_RUN_DIR to another directory",
        .directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: u32,
        /// The agent's user.
        euid: u32,
    },
    /// Others may write to the directory.
    #[error(
        "cannot serve {0}: others may write to it (mode {mode:04o}) and could answer in the agent's place; \
         `chmod go-w {0}`, or set XSCHED_RUN_DIR to another directory",
        .directory.display()
    )]
    Writable {
        /// The directory.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no such directory, and it is not where directories are made.
    #[error(
        "there is no directory {0}: make it (`mkdir -m 755 {0}`), or set XSCHED_RUN_DIR to one in /run \
         or in $XDG_RUNTIME_DIR, which the agent makes itself",
        .directory.display()
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory or a socket in it cannot be made.
    #[error("cannot serve {}: {source}; set XSCHED_RUN_DIR to a directory you may write (its name at most 96 bytes long){}", .path.display(), xsched_host::text::or_root())]
    Unservable {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused an epoll, an eventfd or a thread.
    #[error("cannot start the control thread: {0}")]
    Resources(#[from] io::Error),
}

/// Holds a directory for one agent: the kernel drops the lock with the file,
/// however the agent ends.
pub(super) struct Claim {
    _lock: std::fs::File,
}

/// Makes the directory, open to all and writable for the agent alone, whatever
/// the umask is. One that is there is taken if nobody else can put sockets in
/// place of ours: in /tmp anybody can make one of any name. Root's agent is no
/// exception: its clients trust whatever answers there. A user's own agent may
/// serve a directory of root's, who can do anything to it as it is.
fn own_directory(directory: &std::path::Path) -> Result<(), ControlError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let unservable = |source| ControlError::Unservable {
        path: directory.to_owned(),
        source,
    };
    if !directory.exists() {
        let euid = rustix::process::geteuid().as_raw();
        if !RunDir(directory.to_owned()).may_be_made(euid) {
            return Err(ControlError::Missing {
                directory: directory.to_owned(),
            });
        }
        std::fs::create_dir_all(directory).map_err(unservable)?;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory, open).map_err(unservable)?;
    }
    let metadata = std::fs::metadata(directory).map_err(unservable)?;
    let euid = rustix::process::geteuid().as_raw();
    if ![0, euid].contains(&metadata.uid()) {
        return Err(ControlError::Foreign {
            directory: directory.to_owned(),
            owner: metadata.uid(),
            euid,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(ControlError::Writable {
            directory: directory.to_owned(),
            mode,
        });
    }
    Ok(())
}

pub(super) fn claim(run_dir: &RunDir) -> Result<Claim, ControlError> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = run_dir.0.join("agent.lock");
    let unservable = |path: &std::path::Path| {
        let path = path.to_owned();
        |source| ControlError::Unservable { path, source }
    };
    own_directory(&run_dir.0)?;
    let mut lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(unservable(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = (&lock).take(16).read_to_string(&mut text);
            return Err(ControlError::AlreadyServed {
                directory: run_dir.0.clone(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(unservable(&path)(e)),
    }
    // For people, and a full file system is no reason to refuse.
    let _ = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(Claim { _lock: lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        std::fs::create_dir(&run_dir.0).expect("creates");
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        for open in [0o1777, 0o757, 0o2775] {
            std::fs::set_permissions(&run_dir.0, mode(open)).expect("chmod");
            let refused = claim(&run_dir).err().expect("refused").to_string();
            let path = run_dir.0.display();
            assert!(refused.contains(&format!("(mode {open:04o})")), "{refused}");
            assert!(
                refused.contains(&format!("`chmod go-w {path}`")),
                "{refused}"
            );
        }
        std::fs::set_permissions(&run_dir.0, mode(0o700)).expect("chmod");
        std::os::unix::fs::symlink("/dev/null", run_dir.0.join("agent.lock")).expect("links");
        assert!(matches!(
            claim(&run_dir),
            Err(ControlError::Unservable { .. })
        ));
    }

    #[test]
    fn a_directory_of_another_user_is_refused_to_root_too() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("LEFT OUT: only root can give a directory away");
            return;
        }
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        std::fs::create_dir(&run_dir.0).expect("creates");
        std::os::unix::fs::chown(&run_dir.0, Some(65_534), None).expect("chown");
        let refused = claim(&run_dir).err().expect("refused").to_string();
        let next = format!("`chown 0 {}`", run_dir.0.display());
        assert!(
            refused.contains("user 65534 owns it") && refused.contains(&next),
            "{refused}"
        );
        assert!(!run_dir.0.join("agent.lock").exists());
    }

    #[test]
    fn a_second_agent_refuses_and_names_the_first() {
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        let missing = claim(&run_dir).err().expect("not made here").to_string();
        assert!(missing.contains("`mkdir -m 755 "), "{missing}");
        std::fs::create_dir(&run_dir.0).expect("creates");
        let first = claim(&run_dir).expect("free");
        match claim(&run_dir) {
            Err(ControlError::AlreadyServed { pid, .. }) => {
                assert_eq!(pid, Some(std::process::id()))
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("two agents in one directory"),
        }
        drop(first);
        assert!(claim(&run_dir).is_ok());
    }
}
