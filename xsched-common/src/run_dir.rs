//! Where the agent's sockets are.
//!
//! One directory: `$XSCHED_RUN_DIR` if set; else `/run/xsched` for root and
//! for everybody else's look-ups; an agent run by another user takes
//! `$XDG_RUNTIME_DIR/xsched` or `/tmp/xsched-UID`.

use std::path::{Path, PathBuf};

/// The variable that overrides the directory, for agent, shim and tools.
pub const RUN_DIR_ENV: &str = "XSCHED_RUN_DIR";
/// The directory of the machine's agent.
pub const SYSTEM_RUN_DIR: &str = "/run/xsched";

/// The agent's directory of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(pub PathBuf);

impl RunDir {
    /// The directory that an agent run by `uid` serves in.
    pub fn for_agent(uid: u32) -> RunDir {
        from_env().unwrap_or_else(|| {
            if uid == 0 {
                RunDir(SYSTEM_RUN_DIR.into())
            } else {
                user_dir(uid)
            }
        })
    }

    /// The directory that a client or tool of `uid` looks in: the user's own
    /// agent if it runs, else the machine's.
    pub fn for_client(uid: u32) -> RunDir {
        from_env().unwrap_or_else(|| {
            let own = user_dir(uid);
            if uid != 0 && own.is_served_by(uid) {
                own
            } else {
                RunDir(SYSTEM_RUN_DIR.into())
            }
        })
    }

    /// Whether there is a socket and the directory is `uid`'s: in /tmp
    /// anybody can make one of that name, and hold back whoever joins there.
    fn is_served_by(&self, uid: u32) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(&self.0)
            .is_ok_and(|directory| directory.is_dir() && directory.uid() == uid)
            && self.join_socket().exists()
    }

    /// The seqpacket socket that shims join by ([`crate::join`]).
    pub fn join_socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The stream socket that serves JSON lines (`crate::api`).
    pub fn api_socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }
}

fn from_env() -> Option<RunDir> {
    std::env::var_os(RUN_DIR_ENV)
        .filter(|dir| !dir.is_empty())
        .map(|dir| RunDir(dir.into()))
}

fn user_dir(uid: u32) -> RunDir {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => RunDir(Path::new(&dir).join("xsched")),
        None => RunDir(format!("/tmp/xsched-{uid}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

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
