//! Whose processes are read.

use crate::cgroup::{Delegate, Placement};
use crate::process;

/// Whose processes one thread reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// [`Tenant::NOBODY`] where whoever is there can run as many users.
    pub uid: u32,
    /// The part of its control group's path that is root's word.
    pub cgroup: String,
}

impl Tenant {
    /// No single user.
    pub const NOBODY: u32 = u32::MAX;

    /// Whose process this is. The kernel itself keeps that: asking never
    /// waits for a lock of the process's own.
    pub fn of(pid: u32) -> Tenant {
        let uid = process::uid(pid).unwrap_or(Tenant::NOBODY);
        Tenant::of_user(uid, pid)
    }

    /// The same of a process that runs as user `uid`.
    pub fn of_user(uid: u32, pid: u32) -> Tenant {
        match Placement::of(pid) {
            Ok(placement) => Tenant::at(uid, &placement),
            Err(_) => Tenant::known_by(uid),
        }
    }

    /// A user of whose control group nothing is known.
    pub fn known_by(uid: u32) -> Tenant {
        Tenant {
            uid,
            cgroup: String::new(),
        }
    }

    /// A process of user `uid` there. Who logged in, or was handed a part of
    /// the control groups, is one tenant, however many of them it makes and as
    /// how many subordinate users its processes run; and so is a container. In
    /// a service that makes its own each user is one: a batch system runs the
    /// jobs of many.
    pub fn at(uid: u32, placement: &Placement) -> Tenant {
        if let Some((uid, slice)) = placement.user_slice() {
            let cgroup = slice.to_owned();
            return Tenant { uid, cgroup };
        }
        let uid = match placement.handed_to() {
            Some(Delegate::User(owner)) => *owner,
            Some(Delegate::Container) => Tenant::NOBODY,
            // Root there may be anybody's; one who is not is still a user.
            Some(Delegate::Service | Delegate::Others(_)) if uid == 0 => Tenant::NOBODY,
            Some(Delegate::Service | Delegate::Others(_) | Delegate::Unseen(_)) | None => uid,
        };
        Tenant {
            uid,
            cgroup: placement.given().to_owned(),
        }
    }

    /// Whether they share places: a user has its own in whatever control group,
    /// but root's services and containers are not one tenant.
    pub fn is_same(&self, other: &Tenant) -> bool {
        let by_user = other.uid != 0 && other.uid != Tenant::NOBODY && self.uid == other.uid;
        by_user || self == other
    }

    /// Whether it is root or the agent's own user, for whom places are kept.
    pub fn is_ours(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_makes_control_groups_is_one_tenant() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        let place = |rest: &str| Placement::known(manager, rest, Some(Delegate::User(1000)));
        let own = Tenant::at(1000, &place("/a.service"));
        assert_eq!(own, Tenant::at(1000, &place("/b.service")));
        assert_eq!(
            own,
            Tenant::at(100_000, &place("/box.scope")),
            "a subordinate user"
        );
        let service = Placement::known("/system.slice/x.service", "", None);
        assert_ne!(own, Tenant::at(1000, &service));
        assert_ne!(Tenant::at(1000, &service), Tenant::at(1001, &service));
        // From a login session as well, into which newuidmap works.
        let session = "/user.slice/user-1000.slice/session-3.scope";
        let session = Placement::known(session, "", None);
        for uid in [1000, 100_000, 165_535] {
            assert_eq!(own, Tenant::at(uid, &session));
        }
        let made = Placement::known("/a.slice", "/user-1001.slice", Some(Delegate::User(1000)));
        assert_eq!(Tenant::at(1000, &made).uid, 1000, "not root's word");
        let container = Placement::known("/docker/x", "", Some(Delegate::Container));
        assert_eq!(Tenant::at(0, &container), Tenant::at(100_000, &container));
        assert!(!Tenant::at(0, &container).is_ours());
    }

    #[test]
    fn a_process_has_a_tenant() {
        let own = Tenant::of(std::process::id());
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!(Tenant::of(u32::MAX).uid, u32::MAX, "nobody's");
    }
}
