//! Who may change what: root and the agent's own user everything, members of
//! the configured group, too; everybody else lowers what is their own.

use std::os::fd::AsFd;

use xsched_common::api::Override;
use xsched_host::process;
use xsched_host::text::printable;

use super::agent_uid;
use crate::attr::Right;
use crate::control::{Peer, peer_groups};

/// Whoever is at the other end of a connection, by the kernel's word.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub peer: Peer,
    /// Its effective group when it connected, and its supplementary ones.
    groups: Vec<u32>,
    /// Its name when it connected, for the log.
    command: String,
}

/// What somebody wants to do, as far as it decides whether they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To the attributes of a process; how far down is checked later.
    Change,
    /// Begin a hold.
    Override(Override),
    /// End one; whether it is one's own is checked later.
    Resume,
    /// See what a process's attributes come from, which tells of its environment.
    Explain,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Somebody else's process.
    #[error(
        "process {pid} belongs to another user: only root and the authorised group may do that (sudo)"
    )]
    Foreign {
        /// The process.
        pid: u32,
    },
    /// Over all others.
    #[error("only root and the authorised group may boost: use sudo")]
    Boost,
    /// What concerns everybody.
    #[error("only root and the authorised group may do that: use sudo")]
    Everybody,
}

impl Caller {
    /// Whoever connected to `socket`.
    pub fn of(socket: impl AsFd, peer: Peer) -> Caller {
        let command = process::stat(peer.pid).map(|stat| printable(&stat.comm));
        Caller {
            peer,
            groups: {
                let mut groups = peer_groups(socket.as_fd()).unwrap_or_default();
                groups.push(peer.gid);
                groups
            },
            command: command.unwrap_or_else(|_| "?".to_owned()),
        }
    }

    /// What it may do to a process of `owner`.
    pub fn right(
        &self,
        action: Action,
        group: Option<u32>,
        pid: u32,
        owner: u32,
    ) -> Result<Right, Refusal> {
        if self.is_authorised(group) {
            return Ok(Right::Full);
        }
        if self.peer.uid != owner {
            return Err(Refusal::Foreign { pid });
        }
        match action {
            Action::Override(Override::Boosted) => Err(Refusal::Boost),
            Action::Change
            | Action::Override(Override::Suspended)
            | Action::Resume
            | Action::Explain => Ok(Right::Lower { uid: owner }),
        }
    }

    /// What concerns all processes.
    pub fn right_to_everything(&self, group: Option<u32>) -> Result<(), Refusal> {
        if self.is_authorised(group) {
            Ok(())
        } else {
            Err(Refusal::Everybody)
        }
    }

    fn is_authorised(&self, group: Option<u32>) -> bool {
        self.peer.uid == 0
            || self.peer.uid == agent_uid()
            || group.is_some_and(|group| self.groups.contains(&group))
    }
}

impl std::fmt::Display for Caller {
    /// `uid 1000 (pid 4242, bash)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Peer { pid, uid, .. } = self.peer;
        write!(f, "uid {uid} (pid {pid}, {})", self.command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU_ADMINS: u32 = 44;

    fn caller(uid: u32, groups: &[u32]) -> Caller {
        Caller {
            peer: Peer {
                pid: 9,
                uid,
                gid: 100,
            },
            groups: groups.to_vec(),
            command: "bash".to_owned(),
        }
    }

    fn ask(uid: u32, groups: &[u32], action: Action, owner: u32) -> Result<Right, Refusal> {
        caller(uid, groups).right(action, Some(GPU_ADMINS), 5, owner)
    }

    #[test]
    fn root_the_group_and_the_agent_s_user_may_do_anything() {
        for action in [
            Action::Change,
            Action::Override(Override::Boosted),
            Action::Override(Override::Suspended),
            Action::Resume,
            Action::Explain,
        ] {
            assert_eq!(ask(0, &[], action, 1000), Ok(Right::Full));
            assert_eq!(ask(agent_uid(), &[], action, 1000), Ok(Right::Full));
            assert_eq!(ask(1001, &[7, GPU_ADMINS], action, 1000), Ok(Right::Full));
            let foreign = Err(Refusal::Foreign { pid: 5 });
            assert_eq!(ask(1001, &[7], action, 1000), foreign);
            assert_eq!(ask(1001, &[7], action, 0), foreign);
        }
        assert!(
            caller(1001, &[GPU_ADMINS])
                .right_to_everything(Some(GPU_ADMINS))
                .is_ok()
        );
        assert!(
            caller(1001, &[GPU_ADMINS])
                .right_to_everything(None)
                .is_err()
        );
    }

    #[test]
    fn users_lower_and_suspend_their_own_and_boost_nobody() {
        let lower = Ok(Right::Lower { uid: 1000 });
        assert_eq!(ask(1000, &[], Action::Change, 1000), lower);
        assert_eq!(
            ask(1000, &[], Action::Override(Override::Suspended), 1000),
            lower
        );
        assert_eq!(ask(1000, &[], Action::Resume, 1000), lower);
        let boost = ask(1000, &[], Action::Override(Override::Boosted), 1000);
        assert_eq!(boost, Err(Refusal::Boost));
        assert!(
            caller(1000, &[])
                .right_to_everything(Some(GPU_ADMINS))
                .is_err()
        );
    }
}
