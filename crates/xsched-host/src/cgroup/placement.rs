//! How far a control group's path is root's word.
//!
//! The path names units and containers, and whoever may write to a control
//! group names those below it: a user's own service manager, a service with
//! `Delegate=`, the inside of a container. So the path is followed from its
//! top, directory by directory, as far as each was made by root (or by the
//! agent's own user); what comes behind is known, and nobody's word but that
//! of whom it was handed to.
//!
//! The directory that is handed over still counts: its name is that of its
//! parent's owner, and in version 2 nobody can bring a process in from outside
//! without being allowed to write to a parent ("Delegation containment" in the
//! kernel's cgroup-v2.rst). In version 1 its owner can bring in any process of
//! the same user (`__cgroup1_procs_write` in kernel/cgroup/cgroup-v1.c), so it
//! does not count.
//!
//! systemd is not asked over D-Bus: it would look this same path up in its own
//! table of units, and its answer comes when it likes. A directory of root's
//! in directories of root's was made by root, whatever systemd knows of it.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fgetxattr, fstat, openat, statat};

use super::names;
use super::tops::top;
use super::workload::{Workload, workload};
use crate::process::{self, ControlGroup, Hierarchy, ProcessError};

/// How often a process that moves meanwhile is looked up again.
const TRIES: usize = 4;

/// Where a process is among the control groups, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    path: String,
    /// So many bytes of the path are root's word.
    given: usize,
    /// Whose word the rest is, if there is a rest.
    handed_to: Option<Delegate>,
}

/// Who makes the control groups below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegate {
    /// This user.
    User(u32),
    /// Anybody whom its mode, this one, allows to.
    Others(u32),
    /// A service that asked systemd for it (`Delegate=`).
    Service,
    /// Whoever is root inside of this container.
    Container,
    /// Not known, for people.
    Unseen(String),
}

impl fmt::Display for Delegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delegate::User(uid) => write!(f, "user {uid} makes the control groups there"),
            Delegate::Others(mode) => {
                write!(f, "others may make control groups there (mode {mode:04o})")
            }
            Delegate::Service => f.write_str("that service makes its own control groups"),
            Delegate::Container => f.write_str("the container makes its own control groups"),
            Delegate::Unseen(why) => write!(f, "who made it cannot be seen: {why}"),
        }
    }
}

impl Placement {
    /// A process's. Reads what the kernel itself keeps: never waits for the
    /// process.
    pub fn of(pid: u32) -> Result<Placement, ProcessError> {
        Placement::looked_up(|| process::control_group(pid))
    }

    /// A process's by `group`, which looks it up anew.
    fn looked_up(
        group: impl Fn() -> Result<ControlGroup, ProcessError>,
    ) -> Result<Placement, ProcessError> {
        let agent = rustix::process::geteuid().as_raw();
        let mut last = group()?;
        for _ in 0..TRIES {
            let (given, handed_to) = match top(last.hierarchy) {
                Ok(top) => follow(top, &last, agent),
                Err(why) => (0, Some(Delegate::Unseen(why))),
            };
            let placement = Placement {
                path: last.path,
                given,
                handed_to,
            };
            // Only root moves it out of what is given; meanwhile it may have.
            let now = group()?;
            if now.hierarchy == last.hierarchy && placement.still_holds(&now.path) {
                return Ok(placement);
            }
            last = now;
        }
        let why = "it moves from one to the other".to_owned();
        Ok(Placement {
            path: last.path,
            given: 0,
            handed_to: Some(Delegate::Unseen(why)),
        })
    }

    /// Whose work it is in a cluster's terms, as far as root says so.
    ///
    /// # Errors
    /// The process cannot be examined.
    pub fn workload(&self, pid: u32) -> Result<Option<Workload>, ProcessError> {
        if let Some(found) = self.holds(pid)? {
            return Ok(Some(found));
        }
        // Slurm on version 1 leaves systemd's tree alone.
        for named in process::controller_groups(pid)? {
            if workload(&named.path).is_none() {
                continue;
            }
            let again = || {
                let groups = process::controller_groups(pid)?.into_iter();
                let mut same = groups.filter(|group| group.hierarchy == named.hierarchy);
                Ok(same.next().unwrap_or(ControlGroup {
                    path: "/".to_owned(),
                    ..named.clone()
                }))
            };
            if let Some(found) = Placement::looked_up(again)?.holds(pid)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whose work this group holds, if the process is part of that.
    fn holds(&self, pid: u32) -> Result<Option<Workload>, ProcessError> {
        let found = workload(self.given());
        if let Some(Workload::Job(job)) = &found
            && !job.holds(self.handed_to(), &process::credentials(pid)?)
        {
            return Ok(None);
        }
        Ok(found)
    }

    fn still_holds(&self, now: &str) -> bool {
        match now.strip_prefix(self.given_bytes()) {
            Some("") => true,
            // Where it goes among the handed over ones is its owner's matter.
            Some(rest) => self.handed_to.is_some() && rest.starts_with('/'),
            None => false,
        }
    }

    fn given_bytes(&self) -> &str {
        match self.path.as_str() {
            "/" => "/",
            path => path.get(..self.given).unwrap_or(""),
        }
    }

    /// The whole path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The part of it that is root's word: `/` at least.
    pub fn given(&self) -> &str {
        match self.given_bytes() {
            "" => "/",
            given => given,
        }
    }

    /// The rest, and whose word it is.
    pub fn rest(&self) -> Option<(&str, &Delegate)> {
        let rest = self.path.strip_prefix(self.given_bytes())?;
        let handed_to = self.handed_to.as_ref()?;
        (!rest.is_empty() && rest != "/").then_some((rest, handed_to))
    }

    /// Who makes the control groups there, if that is not root.
    pub fn handed_to(&self) -> Option<&Delegate> {
        self.handed_to.as_ref()
    }

    /// The user in whose slice it is (`user-1000.slice`, in which systemd puts
    /// login sessions and the user's service manager), and the path so far.
    /// Whoever runs there as somebody else, by subordinate ids, got there
    /// through that user.
    pub fn user_slice(&self) -> Option<(u32, &str)> {
        levels(&self.path)
            .filter(|level| level.end <= self.given)
            .find_map(|level| {
                let uid = names::user_slice(level.parent, level.name)?;
                Some((uid, &self.path[..level.end]))
            })
    }

    /// The user in whose service manager's part it is, and its path there.
    pub fn user_manager(&self) -> Option<(u32, &str)> {
        levels(&self.path).find_map(|level| {
            let uid = names::user_manager(level.name)?;
            // Its name is the word of whoever made its parent.
            (level.parent_end <= self.given).then(|| (uid, &self.path[level.end..]))
        })
    }

    /// One of which so much is root's word, as whoever has found it says.
    pub fn known(given: &str, rest: &str, handed_to: Option<Delegate>) -> Placement {
        Placement {
            path: format!("{given}{rest}"),
            given: given.len(),
            handed_to,
        }
    }
}

/// One name in a path.
struct Level<'p> {
    name: &'p str,
    parent: &'p str,
    /// Where it ends, and where its parent does, in bytes from the beginning.
    end: usize,
    parent_end: usize,
}

fn levels(path: &str) -> impl Iterator<Item = Level<'_>> {
    let (mut end, mut parent) = (0, "");
    path.split('/').skip(1).map(move |name| {
        let level = Level {
            name,
            parent,
            end: end + 1 + name.len(),
            parent_end: end,
        };
        (end, parent) = (level.end, name);
        level
    })
}

/// How many bytes of the path are root's word, and whose the rest is.
fn follow(top: &OwnedFd, group: &ControlGroup, agent: u32) -> (usize, Option<Delegate>) {
    let unseen = |e: rustix::io::Errno| Some(Delegate::Unseen(e.to_string()));
    let path = group.path.trim_end_matches('/');
    let mut given = 0;
    let mut directory = match Directory::at(top, ".", group.hierarchy) {
        Ok(directory) => directory,
        Err(e) => return (given, unseen(e)),
    };
    if let Some(writer) = directory.writer(agent) {
        return (given, Some(writer));
    }
    for level in levels(path) {
        if level.name == ".." {
            let why = "it is outside of the agent's control group namespace";
            return (given, Some(Delegate::Unseen(why.to_owned())));
        }
        // Its parent is written by root alone, so it stays what it is.
        directory = match Directory::at(&directory.file, level.name, group.hierarchy) {
            Ok(directory) => directory,
            Err(e) => return (given, unseen(e)),
        };
        let writer = directory.writer(agent);
        if writer.is_some() && group.hierarchy != Hierarchy::Unified {
            return (given, writer);
        }
        given = level.end;
        let handed_to = writer.or_else(|| directory.delegate(&level, agent));
        if handed_to.is_some() {
            return (given, handed_to);
        }
    }
    (given, None)
}

/// A control group.
struct Directory {
    file: OwnedFd,
    stat: Stat,
    /// Of the files by which processes are moved in.
    doors: Vec<Stat>,
}

impl Directory {
    fn at(parent: &OwnedFd, name: &str, hierarchy: Hierarchy) -> rustix::io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let doors = match hierarchy {
            Hierarchy::Unified => &["cgroup.procs"][..],
            Hierarchy::Systemd | Hierarchy::Controller(_) => &["cgroup.procs", "tasks"],
        };
        let doors = doors
            .iter()
            .map(|door| statat(&file, *door, AtFlags::SYMLINK_NOFOLLOW))
            .collect::<Result<_, _>>()?;
        Ok(Directory { file, stat, doors })
    }

    /// Who may write to it, besides root and the agent's own user.
    fn writer(&self, agent: u32) -> Option<Delegate> {
        [&self.stat]
            .into_iter()
            .chain(&self.doors)
            .find_map(|stat| {
                if stat.st_uid != 0 && stat.st_uid != agent {
                    return Some(Delegate::User(stat.st_uid));
                }
                let by_group = stat.st_mode & 0o020 != 0 && stat.st_gid != 0;
                let by_others = stat.st_mode & 0o002 != 0;
                (by_group || by_others).then_some(Delegate::Others(stat.st_mode & 0o7777))
            })
    }

    /// Whom root has handed it to although root owns it: what runs in there
    /// may be root itself, as in most containers.
    fn delegate(&self, level: &Level<'_>, agent: u32) -> Option<Delegate> {
        if let Some(uid) = names::user_manager(level.name)
            && (uid != agent || uid == 0)
        {
            return Some(Delegate::User(uid));
        }
        if names::container_at(level.parent, level.name).is_some() {
            return Some(Delegate::Container);
        }
        // What its own user's systemd marks for the agent's user is its own, and
        // Slurm's daemon, which asks for its scope, is root.
        let own = agent != 0 && self.stat.st_uid == agent;
        let slurm = self.stat.st_uid == 0 && names::is_slurm(level.parent, level.name);
        (!own && !slurm && self.is_marked()).then_some(Delegate::Service)
    }

    /// systemd's mark (https://systemd.io/CGROUP_DELEGATION): since version
    /// 254 with both names, before with the first, which takes CAP_SYS_ADMIN
    /// to read.
    fn is_marked(&self) -> bool {
        ["trusted.delegate", "user.delegate"]
            .into_iter()
            .any(|name| {
                let mut value = [0u8; 1];
                // A value that does not fit is one.
                !matches!(
                    fgetxattr(&self.file, name, &mut value),
                    Err(rustix::io::Errno::NODATA
                        | rustix::io::Errno::OPNOTSUPP
                        | rustix::io::Errno::PERM)
                        | Ok(0)
                ) && value != *b"0"
            })
    }
}

#[cfg(test)]
mod tests;
