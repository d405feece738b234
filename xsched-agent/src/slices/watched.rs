//! One process whose slices are looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xsched_common::api::{SliceSetter, TimeSliceRow};
use xsched_common::units::{Class, Nanos, PciAddress};
use xsched_host::platform::slices::{Group, GroupId, Scan, SliceDriver, SliceError};
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;
use xsched_host::readers::apart::{GivenUp, Places};
use xsched_policy::{Activity, Bounded, LENGTHS, Slice};

/// From a process's first look to its second while nothing is found: its
/// context is made when it first uses a device. Doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Between two looks at what is known: contexts on other devices come later,
/// and others may set slices, too.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// T with which a gate holds K T below 600 us, and with which K T is so long
/// that a turn of the driver's is shorter.
const SHORT_KERNELS: Nanos = Nanos::from_micros(250);
const LONG_KERNELS: Nanos = Nanos::from_micros(500);

/// A process that has launched nothing for so long is idle.
const PAUSE: Duration = Duration::from_secs(10);

/// Calls that the driver has not answered. One for a process that ends can
/// stand in the driver for as long as its memory is given back.
static CALLS: Places = Places::all_free();

/// What people are told of a call that was given up.
fn unanswered(why: &GivenUp) -> String {
    match why {
        GivenUp::HeldUp(_) | GivenUp::Crowded => {
            "the driver does not answer for this process or others of its user; it is asked again \
             later"
                .to_owned()
        }
        GivenUp::NoThread(_) => why.to_string(),
    }
}

/// A process and its groups.
pub(super) struct Watched {
    pub uid: u32,
    /// With whose other processes it shares what is spent on them.
    pub tenant: Tenant,
    /// As its launches show.
    pub activity: Activity,
    /// The lowest and the highest class of its class groups at work.
    pub classes: Option<(Class, Class)>,
    /// On which device its gate bounds its work, if on any.
    gated: Option<String>,
    /// Why each device's slice is what it should be.
    pub reasons: BTreeMap<PciAddress, Slice>,
    groups: Vec<Group>,
    scan: Scan,
    next_look: Instant,
    wait: Duration,
    /// What was refused of late, and until when it is not tried again.
    refused: HashMap<GroupId, (Nanos, Instant)>,
    /// What the agent has made of a group's slice, or taken over.
    ours: HashMap<GroupId, Nanos>,
    last_at_work: Option<Instant>,
    /// Why it is not looked at, if it is not.
    pub failure: Option<String>,
}

/// Where a process's gates bound its work, as far as that is known.
pub(super) struct Gated {
    /// The device's name in the picture.
    pub device: String,
    /// Its longest kernel time T there.
    pub kernels: Nanos,
}

/// What came of an order.
pub(super) enum Outcome {
    /// It is as it should be, or it is not tried again yet.
    Nothing,
    /// It was set.
    Set,
    /// It was not, and why.
    Failed(String),
}

impl Watched {
    pub fn new(uid: u32, tenant: Tenant, now: Instant) -> Watched {
        Watched {
            uid,
            tenant,
            activity: Activity::Idle,
            classes: None,
            gated: None,
            reasons: BTreeMap::new(),
            groups: Vec::new(),
            scan: Scan::default(),
            next_look: now,
            wait: FIRST_WAIT,
            refused: HashMap::new(),
            ours: HashMap::new(),
            last_at_work: None,
            failure: None,
        }
    }

    /// Takes note of what its launches show, and of where its gates hold. Who
    /// begins to launch has a context by now.
    pub fn note(&mut self, activity: Activity, gated: Option<Gated>, now: Instant) {
        let before = self.gated.take();
        self.gated = gated
            .filter(|gated| match before == Some(gated.device.clone()) {
                // In between it stays as it was: T jitters.
                true => gated.kernels <= LONG_KERNELS,
                false => gated.kernels <= SHORT_KERNELS,
            })
            .map(|gated| gated.device);
        let begins = (self.activity, activity) == (Activity::Idle, Activity::AtWork);
        if begins && self.groups.is_empty() {
            self.next_look = now;
            self.wait = FIRST_WAIT;
        }
        if activity == Activity::AtWork {
            self.last_at_work = Some(now);
        }
        // A pause between two requests is none.
        let paused = |at: Instant| now.duration_since(at) < PAUSE;
        self.activity = match self.last_at_work.is_some_and(paused) {
            true => Activity::AtWork,
            false => activity,
        };
    }

    /// What bounds its work on a device.
    pub fn bounded(&self, device: PciAddress) -> Bounded {
        let address = device.to_string();
        // A part of a device has its address, and more.
        let is_it = |name: &String| {
            let more = name.strip_prefix(&address);
            more.is_some_and(|more| more.is_empty() || more.starts_with('/'))
        };
        match self.gated.as_ref().is_some_and(is_it) {
            true => Bounded::ByGate,
            false => Bounded::ByNothing,
        }
    }

    /// Looks again.
    pub fn look(&mut self, driver: &Arc<dyn SliceDriver>, id: ProcessId, now: Instant) {
        // A copy: of a look that is given up nothing comes back.
        let mut scan = self.scan.clone();
        let asked = driver.clone();
        // The process's descriptors may be files that it serves itself.
        let looked = CALLS.read(id.pid, move || {
            let groups = asked.look(id, &mut scan);
            (groups, scan)
        });
        self.failure = None;
        match looked {
            Ok((Ok(groups), scan)) => {
                self.groups = groups;
                self.scan = scan;
            }
            Ok((Err(SliceError::Gone(_) | SliceError::NoSession(_)), scan)) => {
                self.groups.clear();
                self.scan = scan;
            }
            Ok((Err(error), scan)) => {
                self.failure = Some(error.to_string());
                self.scan = scan;
            }
            Err(why) => self.failure = Some(unanswered(&why)),
        }
        let found = self.groups.iter().map(|group| group.device);
        let found: BTreeSet<PciAddress> = found.collect();
        let is_there = |id: &GroupId| self.groups.iter().any(|group| group.id == *id);
        self.refused.retain(|id, _| is_there(id));
        self.ours.retain(|id, _| is_there(id));
        self.reasons.retain(|device, _| found.contains(device));
        self.wait = match (self.groups.is_empty(), self.scan.is_complete) {
            // The rest of a long search.
            (_, false) if self.scan.left > 0 => FIRST_WAIT,
            (true, _) => (self.wait * 2).min(LONGEST_WAIT),
            (false, _) => LONGEST_WAIT,
        };
        self.next_look = now + self.wait;
    }

    /// When it wants to be looked at.
    pub fn due(&self) -> Instant {
        self.next_look
    }

    /// The sessions that it takes part in.
    pub fn clients(&self) -> impl Iterator<Item = u32> {
        self.groups.iter().map(|group| group.id.client)
    }

    /// Leaves to others the groups of sessions that are not its own.
    pub fn keep_own(&mut self, is_own: impl Fn(u32) -> bool) {
        self.groups.retain(|group| is_own(group.id.client));
    }

    /// Where it has work.
    pub fn devices(&self) -> BTreeSet<PciAddress> {
        self.groups.iter().map(|group| group.device).collect()
    }

    /// Groups whose slice the agent has made what it is: not what somebody
    /// else has made of it since.
    pub fn ours(&self) -> Vec<Group> {
        let is_ours = |group: &&Group| self.ours.get(&group.id) == Some(&group.slice);
        self.groups.iter().filter(is_ours).copied().collect()
    }

    /// Its groups that are the agent's to set.
    pub fn settable(&self, default: Nanos) -> Vec<Group> {
        let may_be = |group: &&Group| group.slice == default || LENGTHS.contains(&group.slice);
        self.groups.iter().filter(may_be).copied().collect()
    }

    /// Has a group's slice set, unless it is so already.
    pub fn bring(
        &mut self,
        driver: &Arc<dyn SliceDriver>,
        id: ProcessId,
        group: Group,
        slice: Nanos,
        now: Instant,
    ) -> Outcome {
        let waits = |(what, until): &(Nanos, Instant)| *what == slice && now < *until;
        if group.slice == slice {
            // As an agent before this one has left it, perhaps.
            self.ours.insert(group.id, slice);
            return Outcome::Nothing;
        }
        if self.refused.get(&group.id).is_some_and(waits) {
            return Outcome::Nothing;
        }
        let asked = driver.clone();
        let set = CALLS.read(id.pid, move || asked.set(id, group.id, slice));
        let why = match set {
            Ok(Ok(is)) => {
                for known in self.groups.iter_mut().filter(|known| known.id == group.id) {
                    known.slice = is;
                }
                self.ours.insert(group.id, is);
                if is == slice {
                    self.refused.remove(&group.id);
                    return Outcome::Set;
                }
                format!("the driver makes {is} of {slice}")
            }
            Ok(Err(SliceError::Gone(_) | SliceError::NoSession(_))) => {
                // It ends, or its context went: look anew.
                self.next_look = now;
                self.refused.insert(group.id, (slice, now + FIRST_WAIT));
                return Outcome::Nothing;
            }
            Ok(Err(error)) => error.to_string(),
            Err(why) => unanswered(&why),
        };
        self.refused.insert(group.id, (slice, now + LONGEST_WAIT));
        Outcome::Failed(why)
    }

    /// For people and programs: of each device a group that computes, which is
    /// told from one that copies by its slice.
    pub fn rows(&self, default: Nanos) -> Vec<TimeSliceRow> {
        let row = |(device, reason): (&PciAddress, &Slice)| {
            let mut groups = self.groups.iter().filter(|group| group.device == *device);
            let settable = self.settable(default);
            let computes = settable.into_iter().find(|group| group.device == *device);
            let group = computes.or_else(|| groups.next().copied())?;
            let set_by = match group.slice {
                slice if slice == default => SliceSetter::Driver,
                slice if LENGTHS.contains(&slice) => SliceSetter::Class,
                _ => SliceSetter::Other,
            };
            Some(TimeSliceRow {
                device: device.to_string(),
                slice_ns: group.slice,
                set_by,
                reason: match set_by {
                    SliceSetter::Other => "another program has set it".to_owned(),
                    SliceSetter::Driver | SliceSetter::Class => reason.to_string(),
                },
            })
        };
        self.reasons.iter().filter_map(row).collect()
    }
}
