//! Where the agent's sockets are.
//!
//! One directory: `$XSCHED_RUN_DIR` if set; else `/run/xsched` for root and
//! for everybody else's look-ups; an agent run by another user takes
//! `$XDG_RUNTIME_DIR/xsched` or `/tmp/xsched-UID`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that overrides the directory, for agent, shim and tools.
pub const RUN_DIR_ENV: &str = "XSCHED_RUN_DIR";
/// The user's directory for sockets and the like (XDG Base Directory
/// Specification).
pub const USER_DIR_ENV: &str = "XDG_RUNTIME_DIR";
/// The directory of the machine's agent.
pub const SYSTEM_RUN_DIR: &str = "/run/xsched";

/// The agent's directory of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(pub PathBuf);

/// The variables that say where the sockets are, as they were at one moment:
/// who reads them later than at its start may meet another thread's `setenv`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// [`RUN_DIR_ENV`].
    run_dir: Option<OsString>,
    /// [`USER_DIR_ENV`].
    user_dir: Option<OsString>,
}

impl Surroundings {
    /// From the values of [`RUN_DIR_ENV`] and [`USER_DIR_ENV`]; an empty one
    /// counts as none.
    pub fn new(run_dir: Option<OsString>, user_dir: Option<OsString>) -> Surroundings {
        let set = |value: Option<OsString>| value.filter(|value| !value.is_empty());
        Surroundings {
            run_dir: set(run_dir),
            user_dir: set(user_dir),
        }
    }

    /// As they are now.
    fn now() -> Surroundings {
        Surroundings::new(
            std::env::var_os(RUN_DIR_ENV),
            std::env::var_os(USER_DIR_ENV),
        )
    }

    /// The directory that whoever started the process has named.
    pub fn chosen(&self) -> Option<RunDir> {
        Some(RunDir(self.run_dir.as_ref()?.into()))
    }

    /// Whether an agent of `uid` may make this directory where there is none:
    /// in /run, in the user's own directory, and its default in /tmp. A slip
    /// in the variable must not lay out directories elsewhere.
    fn may_make(&self, directory: &Path, uid: u32) -> bool {
        let user_dir = self.user_dir.as_ref().map(Path::new);
        let in_users = user_dir.is_some_and(|dir| dir.is_absolute() && directory.starts_with(dir));
        let steps_back = directory
            .components()
            .any(|part| part == std::path::Component::ParentDir);
        let known = directory.starts_with("/run") || directory.starts_with("/var/run") || in_users;
        known && !steps_back || directory == self.of_user(uid).0
    }

    /// See [`RunDir::for_client`].
    pub fn for_client(&self, uid: u32) -> RunDir {
        self.chosen().unwrap_or_else(|| {
            let own = self.of_user(uid);
            if uid != 0 && own.is_served_by(uid) {
                own
            } else {
                RunDir(SYSTEM_RUN_DIR.into())
            }
        })
    }

    fn of_user(&self, uid: u32) -> RunDir {
        match &self.user_dir {
            Some(dir) => RunDir(Path::new(dir).join("xsched")),
            None => RunDir(format!("/tmp/xsched-{uid}").into()),
        }
    }
}

/// [`RUN_DIR_ENV`] is no absolute path: agent and programs run in different
/// folders, and would take it for different directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativeRunDir(PathBuf);

impl std::fmt::Display for RelativeRunDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = self.0.display();
        write!(
            f,
            "{RUN_DIR_ENV}={named} is a relative path: begin it with a slash, as {RUN_DIR_ENV}=$PWD/{named}"
        )
    }
}

impl std::error::Error for RelativeRunDir {}

/// Checks [`RUN_DIR_ENV`] as it is now.
///
/// # Errors
/// It is a relative path.
pub fn check() -> Result<(), RelativeRunDir> {
    match Surroundings::now().chosen() {
        Some(RunDir(named)) if named.is_relative() => Err(RelativeRunDir(named)),
        _ => Ok(()),
    }
}

impl RunDir {
    /// Whether an agent of `uid` may make it where it is missing.
    pub fn may_be_made(&self, uid: u32) -> bool {
        Surroundings::now().may_make(&self.0, uid)
    }

    /// The directory that an agent run by `uid` serves in.
    pub fn for_agent(uid: u32) -> RunDir {
        let surroundings = Surroundings::now();
        surroundings.chosen().unwrap_or_else(|| {
            if uid == 0 {
                RunDir(SYSTEM_RUN_DIR.into())
            } else {
                surroundings.of_user(uid)
            }
        })
    }

    /// The directory that a client or tool of `uid` looks in: the user's own
    /// agent if it runs, else the machine's.
    pub fn for_client(uid: u32) -> RunDir {
        Surroundings::now().for_client(uid)
    }

    /// Whether there is a socket and the directory is `uid`'s: in /tmp
    /// anybody can make one of that name, and hold back whoever joins there.
    fn is_served_by(&self, uid: u32) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(&self.0)
            .is_ok_and(|directory| directory.is_dir() && directory.uid() == uid)
            && self.join_socket().exists()
    }

    /// The seqpacket socket that shims join by ([`crate::handshake`]).
    pub fn join_socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The stream socket that serves JSON lines (`crate::api`).
    pub fn api_socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn a_chosen_directory_comes_before_the_users_and_the_machines() {
        let set = |value: &str| Some(OsString::from(value));
        let chosen = Surroundings::new(set("/chosen"), set("/nowhere"));
        assert_eq!(chosen.for_client(7), RunDir("/chosen".into()));
        let empty = Surroundings::new(set(""), set("/nowhere"));
        assert_eq!(empty.chosen(), None);
        // Nobody serves in the user's.
        assert_eq!(empty.for_client(7), RunDir(SYSTEM_RUN_DIR.into()));
        assert_eq!(empty.of_user(7), RunDir("/nowhere/xsched".into()));
        let none = Surroundings::new(None, set(""));
        assert_eq!(none.of_user(7), RunDir("/tmp/xsched-7".into()));
    }

    #[test]
    fn missing_directories_are_made_in_few_places() {
        let set = |value: &str| Some(OsString::from(value));
        let user = Surroundings::new(None, set("/home/ann/run"));
        let may = |directory: &str| user.may_make(Path::new(directory), 7);
        for fine in [
            "/run/xsched",
            "/run/a/b",
            "/var/run/x",
            "/home/ann/run/xsched",
        ] {
            assert!(may(fine), "{fine}");
        }
        for bad in [
            "/tmp/xsched-7",
            "/rum/xsched",
            "/runs/x",
            "/run/../etc/x",
            "run/x",
            "/",
        ] {
            assert!(!may(bad), "{bad}");
        }
        let plain = Surroundings::default();
        assert!(plain.may_make(Path::new("/tmp/xsched-7"), 7), "its default");
        assert!(!plain.may_make(Path::new("/tmp/xsched-8"), 7));
    }

    #[test]
    fn another_users_directory_is_not_ones_own() {
        let base = std::env::temp_dir().join(format!("xsched-run-dir-{}", std::process::id()));
        let own = RunDir(base.join("own"));
        std::fs::create_dir_all(&own.0).expect("directory");
        let uid = std::fs::metadata(&own.0).expect("metadata").uid();
        assert!(!own.is_served_by(uid), "no socket");
        std::fs::write(own.join_socket(), "").expect("file");
        assert!(own.is_served_by(uid));
        assert!(!own.is_served_by(uid + 1));
        let link = RunDir(base.join("link"));
        symlink(&own.0, &link.0).expect("link");
        assert!(!link.is_served_by(uid), "it may lead elsewhere later");
        std::fs::remove_dir_all(&base).expect("removes");
    }
}
