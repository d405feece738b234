//! Who can have a process meet conditions: whoever that is gets what the rule
//! gives.

use std::ffi::OsStr;

use xsched_host::cgroup;

use super::{Conditions, Pattern, first};

/// Who can have a process meet conditions that are not about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feigner {
    /// Any user.
    User,
    /// Whoever may create pods, in whatever namespace.
    PodCreator,
}

/// Where processes of any user can be: at the top where there is no systemd,
/// in a login session, under their own service manager (its user's number is
/// made up), and in the services that run users' jobs.
const EVERYBODYS: [&str; 6] = [
    "/",
    "/user.slice/user-65533.slice/session-65533.scope",
    "/user.slice/user-65533.slice/user@65533.service",
    "/system.slice/cron.service",
    "/system.slice/crond.service",
    "/system.slice/atd.service",
];

/// Where containers of pods can be, by kubelet's drivers and classes of service
/// (their numbers are made up).
const PODS: [&str; 6] = [
    "/kubepods/pod1/2",
    "/kubepods/burstable/pod1/2",
    "/kubepods/besteffort/pod1/2",
    "/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope",
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-2.scope",
    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/crio-2.scope",
];

impl Conditions {
    /// Who can start a process that meets them: programs choose
    /// their arguments and environment, a user's own mount namespace can show
    /// any path as executable, users name the units of their own service
    /// managers, and each of them has login sessions and cron jobs. Whoever
    /// creates a pod chooses its names, labels and users.
    pub fn feigned_by(&self) -> Option<Feigner> {
        let at = |paths: &[&str]| paths.iter().any(|path| self.holds_at(path));
        if !self.container.is_empty() {
            return None;
        }
        if self.cluster.is_of_any_pod() {
            return at(&PODS).then_some(Feigner::PodCreator);
        }
        let by_root = !self.user.is_empty() || !self.group.is_empty() || !self.cluster.is_empty();
        (!by_root && at(&EVERYBODYS)).then_some(Feigner::User)
    }

    /// Whether a user decides which of his processes meet them: by what a
    /// program can say of itself, or by where he starts it.
    pub fn is_chosen_by_users(&self) -> bool {
        let by_word = !self.exe.is_empty()
            || !self.arg.is_empty()
            || !self.command_line.is_empty()
            || !self.env.is_empty()
            || !self.user_unit.is_empty()
            || self.cluster.is_chosen_by_users();
        by_word || self.feigned_by().is_some()
    }

    /// What is asked of the control group, for one that is root's word.
    fn holds_at(&self, path: &str) -> bool {
        let any = |patterns: &[Pattern], text: &str| first(patterns, OsStr::new(text)).is_some();
        (self.cgroup.is_empty() || any(&self.cgroup, path))
            && (self.unit.is_empty() || cgroup::units(path).any(|unit| any(&self.unit, unit)))
    }
}
