//! Which processes carry the probes of an image.
//!
//! A breakpoint lies in every process that maps the file, unless its link is
//! for one process: then it lies in that one only. So an image that only
//! watched processes use has one link for all, which also catches whoever
//! starts next; one that others use as well has a link for each watched
//! process, and the others run without a single probe.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use super::attach::{Probes, Programs};
use super::images::{Image, ImageKind};
use super::plan::Scope;
use super::site::Site;

/// Links for single processes per image. Every hit passes all links of its
/// site, so beyond this one for all is cheaper, whoever pays.
const MAX_SINGLE: usize = 64;

/// Whose calls are of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Everybody's but these, also those that start later.
    AllBut(HashSet<u32>),
    /// Only these.
    Only(HashSet<u32>),
}

impl Watched {
    /// Everybody.
    pub fn everybody() -> Watched {
        Watched::AllBut(HashSet::new())
    }

    /// Nobody.
    pub fn nobody() -> Watched {
        Watched::Only(HashSet::new())
    }

    /// Whether this process is among them.
    pub fn includes(&self, pid: u32) -> bool {
        match self {
            Watched::AllBut(pids) => !pids.contains(&pid),
            Watched::Only(pids) => pids.contains(&pid),
        }
    }
}

/// Whom a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Everybody,
    Process(u32),
}

/// Whether links can come and go as processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// They detach within milliseconds.
    Quick,
    /// They take a tenth of a second per probe: one set for all or none.
    Slow,
}

/// Whom to link an image for.
pub(super) fn targets(
    users: &[u32],
    watched: &Watched,
    scope: Scope,
    links: Links,
) -> BTreeSet<Target> {
    if let Scope::Pid(pid) = scope {
        let wanted = watched.includes(pid);
        return wanted.then_some(Target::Process(pid)).into_iter().collect();
    }
    let included: Vec<u32> = users
        .iter()
        .copied()
        .filter(|&pid| watched.includes(pid))
        .collect();
    let all = included.len() == users.len();
    // Nobody maps it just now: whoever is next is watched or not.
    if users.is_empty() && *watched == Watched::nobody() || !users.is_empty() && included.is_empty()
    {
        return BTreeSet::new();
    }
    if all || links == Links::Slow || included.len() > MAX_SINGLE {
        return BTreeSet::from([Target::Everybody]);
    }
    included.into_iter().map(Target::Process).collect()
}

/// An image with its probes.
pub(super) struct Attached {
    pub image: Image,
    pub sites: Vec<Site>,
    pub last_used: Instant,
    /// What is not probed in it, in words.
    pub limit: Option<String>,
    /// Why its probes are not those that are wanted, in words.
    pub held_up: Option<String>,
    probes: BTreeMap<Target, Probes>,
}

impl Attached {
    pub fn new(image: Image, sites: Vec<Site>, now: Instant) -> Attached {
        Attached {
            image,
            sites,
            last_used: now,
            limit: None,
            held_up: None,
            probes: BTreeMap::new(),
        }
    }

    /// The links that it has.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.probes.keys().copied().collect()
    }

    /// Takes out the links that are not wanted any more.
    pub fn release(&mut self, wanted: &BTreeSet<Target>) -> Probes {
        let mut leaving = Probes::default();
        for (_, probes) in self
            .probes
            .extract_if(.., |target, _| !wanted.contains(target))
        {
            leaving.append(probes);
        }
        leaving
    }

    /// Attaches the links that are wanted and missing; whether there were
    /// any.
    pub fn place(&mut self, programs: &mut Programs, wanted: &BTreeSet<Target>) -> bool {
        let mut placed = false;
        for &target in wanted {
            if self.probes.contains_key(&target) {
                continue;
            }
            let scope = match target {
                Target::Everybody => Scope::All,
                Target::Process(pid) => Scope::Pid(pid),
            };
            let probes = programs.attach(self.image.kind, &self.image.file, &self.sites, scope);
            self.note_failures(&probes, target);
            self.probes.insert(target, probes);
            placed = true;
        }
        placed
    }

    fn note_failures(&mut self, probes: &Probes, target: Target) {
        let path = xsched_host::text::printable(&self.image.path);
        self.limit = match probes.failed.first() {
            // A process that is gone is no limit of this image.
            Some((_, error)) if matches!(target, Target::Process(_)) && error.is_gone() => None,
            Some((api, error)) => Some(format!(
                "{path}: {} of {} functions could not be probed, first {}: {error}",
                probes.failed.len(),
                self.sites.len(),
                xsched_common::platform::ENTRY_POINTS[usize::from(*api)].symbol
            )),
            None if self.sites.is_empty() && self.image.kind == ImageKind::Runtime => {
                Some(format!("{path}: no function to probe in it"))
            }
            None => None,
        };
    }

    /// All its probes, to detach.
    pub fn into_probes(self) -> Probes {
        let mut leaving = Probes::default();
        for (_, probes) in self.probes {
            leaving.append(probes);
        }
        leaving
    }

    /// Probes in place: functions, however many links lie on them.
    pub fn probed_sites(&self) -> usize {
        self.probes.values().map(Probes::sites).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(pids: &[u32]) -> HashSet<u32> {
        pids.iter().copied().collect()
    }

    fn whom(users: &[u32], watched: &Watched) -> Vec<Target> {
        targets(users, watched, Scope::All, Links::Quick)
            .into_iter()
            .collect()
    }

    #[test]
    fn those_that_are_not_watched_carry_no_probe() {
        use Target::{Everybody, Process};
        let but = |them: &[u32]| Watched::AllBut(pids(them));
        assert_eq!(whom(&[1, 2], &but(&[])), [Everybody]);
        assert_eq!(whom(&[1, 2], &but(&[9])), [Everybody]);
        assert_eq!(whom(&[1, 2, 3], &but(&[2])), [Process(1), Process(3)]);
        assert_eq!(whom(&[1, 2], &but(&[1, 2])), []);
        assert_eq!(whom(&[], &but(&[1])), [Everybody]);
        let only = |them: &[u32]| Watched::Only(pids(them));
        assert_eq!(whom(&[1, 2], &only(&[2])), [Process(2)]);
        assert_eq!(whom(&[1, 2], &only(&[1, 2])), [Everybody]);
        assert_eq!(whom(&[1, 2], &Watched::nobody()), []);
        assert_eq!(whom(&[], &Watched::nobody()), []);
    }

    #[test]
    fn slow_links_are_for_all_or_nobody() {
        let watched = Watched::AllBut(pids(&[2]));
        let slow = |users: &[u32]| targets(users, &watched, Scope::All, Links::Slow);
        assert_eq!(slow(&[1, 2]), BTreeSet::from([Target::Everybody]));
        assert_eq!(slow(&[2]), BTreeSet::new());
    }

    #[test]
    fn a_crowd_shares_one_link() {
        let users: Vec<u32> = (0..1_000).collect();
        let watched = Watched::AllBut(pids(&[7]));
        assert_eq!(whom(&users, &watched), [Target::Everybody]);
    }

    #[test]
    fn a_plan_for_one_process_links_that_one() {
        let one = |watched| targets(&[7, 8], &watched, Scope::Pid(7), Links::Quick);
        assert_eq!(
            one(Watched::everybody()),
            BTreeSet::from([Target::Process(7)])
        );
        assert_eq!(one(Watched::nobody()), BTreeSet::new());
    }
}
