//! A joined process: its pages, its doorbell, and what is known of it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::Part;
use xsched_common::page::{Activity, ControlPage, DeviceStatus, MAX_DEVICES, StatusPage};
use xsched_common::units::{Class, DeviceIndex, DeviceInstance, Nanos, PciAddress, Weight};
use xsched_host::process::ProcessId;
use xsched_policy::{
    BurstLatency, ClientId, ClientState, LatencyWindow, Override, OverrideKind, Owner, Presence,
    Reason, SchedAttr,
};

use super::Passthrough;
use super::gate_times::{GateSpent, GateTimes};
use super::newcomers::{Handout, Joiner, Newcomer};
use super::pages::SharedPage;
use super::rate::Meter;

/// The part of a client that the model reads while the control thread works
/// on it.
pub struct ClientShared {
    /// Its number in this epoch.
    pub id: ClientId,
    /// Who it is, from SO_PEERCRED.
    pub process: ProcessId,
    /// Its user when it connected.
    pub uid: u32,
    /// The user whose share of a device its time is.
    pub payer: u32,
    /// Which part of the process it is.
    pub part: Part,
    /// Agent-written.
    pub control: SharedPage<ControlPage>,
    /// Client-written: distrust it.
    pub status: SharedPage<StatusPage>,
    attr: SharedAttr,
    reasons: [AtomicU64; MAX_DEVICES],
    gate_times: [GateTimes; MAX_DEVICES],
    /// Whether a thread apart is about to wake its waiters.
    pub(super) waking: AtomicBool,
    /// T while it was alone at work, ns; zero while unknown.
    kernels_alone: [AtomicU64; MAX_DEVICES],
}

impl ClientShared {
    /// The class it has now.
    pub fn class(&self) -> Class {
        self.attr().class
    }

    /// The attributes it has now.
    pub fn attr(&self) -> SchedAttr {
        self.attr.load()
    }

    pub(super) fn set_attr(&self, attr: SchedAttr) {
        self.attr.store(attr);
        self.control.class.store(attr.class as u32, Relaxed);
    }

    /// The boost or suspension in force at `now`.
    pub fn hold(&self, now: Nanos) -> Option<Override> {
        Override::in_force(self.attr.load_hold(), now)
    }

    /// Begins a boost or suspension in place of the one in force, or ends it.
    pub fn set_hold(&self, hold: Option<Override>) {
        self.attr.store_hold(hold);
    }

    /// Why its gate on `device` is as it is.
    pub fn reason(&self, device: DeviceIndex) -> Reason {
        let raw = self
            .reasons
            .get(device.0 as usize)
            .map_or(0, |r| r.load(Relaxed));
        unpack(raw)
    }

    /// Its kernel time on `device` while it was alone at work there, if it was.
    pub fn kernel_alone(&self, device: DeviceIndex) -> Option<Nanos> {
        let raw = self.kernels_alone.get(device.0 as usize)?.load(Relaxed);
        Some(Nanos(raw)).filter(|t| t.0 > 0)
    }

    pub(super) fn set_kernel_alone(&self, device: DeviceIndex, alone: Nanos) {
        if let Some(to) = self.kernels_alone.get(device.0 as usize) {
            to.store(alone.0, Relaxed);
        }
    }

    /// How long its gate on `device` has stood how until `now`; none until it
    /// was decided about.
    pub fn gate_spent(&self, device: DeviceIndex, now: Nanos) -> Option<GateSpent> {
        let at = device.0 as usize;
        let word = GateWord(self.control.devices.get(at)?.word.load(Relaxed));
        self.gate_times.get(at)?.until(word.mode(), now)
    }

    pub(super) fn decided(&self, device: DeviceIndex, before: GateMode, now: Nanos) {
        if let Some(times) = self.gate_times.get(device.0 as usize) {
            times.decided(before, now);
        }
    }

    pub(super) fn set_reason(&self, device: DeviceIndex, reason: Reason) {
        if let Some(to) = self.reasons.get(device.0 as usize) {
            to.store(pack(reason), Relaxed);
        }
    }
}

/// A reason in one word: which, and about whom. Zero is
/// [`Reason::Unrivalled`].
fn pack(reason: Reason) -> u64 {
    let (which, whom) = match reason {
        Reason::Unrivalled => (0, ClientId(0)),
        Reason::RivalIdle => (1, ClientId(0)),
        Reason::HeldBy(id) => (2, id),
        Reason::RivalStuck(id) => (3, id),
        Reason::Turn => (4, ClientId(0)),
        Reason::WaitsFor(id) => (5, id),
        Reason::MinShare => (6, ClientId(0)),
        Reason::Suspended => (7, ClientId(0)),
        Reason::Off => (8, ClientId(0)),
        Reason::RivalAssumedIdle(id) => (9, id),
    };
    whom.0 << 4 | which
}

fn unpack(raw: u64) -> Reason {
    let whom = ClientId(raw >> 4);
    match raw & 15 {
        1 => Reason::RivalIdle,
        2 => Reason::HeldBy(whom),
        3 => Reason::RivalStuck(whom),
        4 => Reason::Turn,
        5 => Reason::WaitsFor(whom),
        6 => Reason::MinShare,
        7 => Reason::Suspended,
        8 => Reason::Off,
        9 => Reason::RivalAssumedIdle(whom),
        _ => Reason::Unrivalled,
    }
}

/// Attributes that one thread writes and others read for people: a reader may
/// see half of a change for a moment.
#[derive(Default)]
struct SharedAttr {
    class: AtomicU8,
    weight: AtomicU16,
    /// Zero for none.
    slo_p99_ns: AtomicU64,
    /// Zero for none, else until when, and the lowest bit says which.
    hold: AtomicU64,
}

impl SharedAttr {
    fn load(&self) -> SchedAttr {
        SchedAttr {
            class: Class::from_raw(self.class.load(Relaxed)).unwrap_or_default(),
            weight: Weight::new(self.weight.load(Relaxed)).unwrap_or_default(),
            slo_p99: Some(Nanos(self.slo_p99_ns.load(Relaxed))).filter(|t| t.0 > 0),
        }
    }

    fn store(&self, attr: SchedAttr) {
        self.class.store(attr.class as u8, Relaxed);
        self.weight.store(attr.weight.get(), Relaxed);
        self.slo_p99_ns
            .store(attr.slo_p99.map_or(0, |t| t.0), Relaxed);
    }

    fn load_hold(&self) -> Option<Override> {
        let raw = self.hold.load(Relaxed);
        let kind = match raw & 1 {
            0 => OverrideKind::Boosted,
            _ => OverrideKind::Suspended,
        };
        (raw != 0).then_some(Override {
            kind,
            until: Nanos(raw & !1),
        })
    }

    fn store_hold(&self, hold: Option<Override>) {
        let raw = hold.map_or(0, |hold| {
            hold.until.0 & !1 | u64::from(hold.kind == OverrideKind::Suspended)
        });
        self.hold.store(raw, Relaxed);
    }
}

/// What identifies a device between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKey {
    /// By its bus address.
    Pci(PciAddress),
    /// A part of the device at that address, which has gates of its own.
    Part(PciAddress, DeviceInstance),
    /// The client did not say; its own number stands in, which is right as
    /// long as nobody renumbers (the runtime's variable for visible devices).
    Unnamed(DeviceIndex),
}

impl DeviceKey {
    /// That of a client's device `index`, as its page says.
    pub fn of(index: DeviceIndex, page: &StatusPage) -> DeviceKey {
        let status = page.devices.get(index.0 as usize);
        match (status.and_then(DeviceStatus::pci), page.instance(index)) {
            (Some(pci), Some(part)) => DeviceKey::Part(pci, part),
            (Some(pci), None) => DeviceKey::Pci(pci),
            (None, _) => DeviceKey::Unnamed(index),
        }
    }

    /// The same, told apart from those of the client's other devices: parts of a
    /// device may share its address and say no more.
    pub fn told_apart(index: DeviceIndex, page: &StatusPage) -> DeviceKey {
        let key = DeviceKey::of(index, page);
        let mut before = page.devices().take_while(|(other, _)| *other != index);
        match before.any(|(other, _)| DeviceKey::of(other, page) == key) {
            true => DeviceKey::Unnamed(index),
            false => key,
        }
    }

    /// Its bus address, if known.
    pub fn pci(self) -> Option<PciAddress> {
        match self {
            DeviceKey::Pci(pci) | DeviceKey::Part(pci, _) => Some(pci),
            DeviceKey::Unnamed(_) => None,
        }
    }
}

impl std::fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceKey::Pci(pci) => pci.fmt(f),
            DeviceKey::Part(pci, part) => write!(f, "{pci}/{part}"),
            DeviceKey::Unnamed(index) => write!(f, "device {}", index.0),
        }
    }
}

/// The control thread's own part.
pub(super) struct Client {
    pub shared: std::sync::Arc<ClientShared>,
    pub doorbell: OwnedFd,
    /// Its connection, and its pidfd: watched for as long as they are open.
    _watched: [OwnedFd; 2],
    /// Who joined.
    pub joiner: Joiner,
    /// Whose share its time counts against.
    pub owner: Owner,
    /// What it is told in place of what every client is.
    pub passthrough: Option<std::sync::Arc<Passthrough>>,
    /// How often it has rung lately.
    pub rings: Meter,
    tracked: [Tracked; MAX_DEVICES],
    /// Of a client with a latency target.
    window: Option<Box<LatencyWindow>>,
    latency: Option<BurstLatency>,
}

#[derive(Clone, Copy)]
struct Tracked {
    seen: Activity,
    presence: Presence,
    /// When its activity was last seen to change.
    since: Nanos,
    /// While it is active: how long its burst should last, if it is timed, and
    /// what was told.
    lasts_ns: u64,
    told: u64,
}

/// The first version of the pages that say what has been told.
const PACES_SINCE: u16 = 4;

const UNSEEN: Tracked = Tracked {
    seen: Activity {
        active: false,
        transitions: 0,
    },
    presence: Presence::Never,
    since: Nanos::ZERO,
    lasts_ns: 0,
    told: 0,
};

impl Client {
    /// Of a newcomer whose page is sealed.
    pub fn new(id: ClientId, newcomer: Newcomer, status: SharedPage<StatusPage>) -> Client {
        let Newcomer {
            joiner,
            handout: Handout {
                control, doorbell, ..
            },
            connection,
            pidfd,
        } = newcomer;
        let shared = ClientShared {
            id,
            process: joiner.process,
            uid: joiner.uid,
            payer: joiner.payer(),
            part: joiner.part,
            control,
            status,
            attr: SharedAttr::default(),
            reasons: [const { AtomicU64::new(0) }; MAX_DEVICES],
            gate_times: Default::default(),
            waking: AtomicBool::new(false),
            kernels_alone: [const { AtomicU64::new(0) }; MAX_DEVICES],
        };
        shared.set_attr(SchedAttr::default());
        Client {
            shared: std::sync::Arc::new(shared),
            doorbell,
            _watched: [connection, pidfd],
            owner: Owner::of(joiner.payer(), None),
            joiner,
            passthrough: None,
            rings: Meter::default(),
            tracked: [UNSEEN; MAX_DEVICES],
            window: None,
            latency: None,
        }
    }

    /// Looks at the client's page.
    pub fn observe(&mut self, now: Nanos) {
        match self.shared.attr().slo_p99 {
            None => (self.window, self.latency) = (None, None),
            Some(_) => {
                let window = self.window.get_or_insert_default();
                self.latency = window.observe(now, || self.shared.status.bursts.counts());
            }
        }
        for (device, status) in self.shared.status.devices() {
            let tracked = &mut self.tracked[device.0 as usize];
            let pace = &self.shared.status.paces[device.0 as usize];
            let activity = status.activity();
            // A page is several cache lines; those of the idle stay alone.
            if activity.active {
                tracked.lasts_ns = pace.lasts_ns.load(SeqCst);
                tracked.told = pace.told.load(Relaxed);
            }
            if activity == tracked.seen {
                continue;
            }
            (tracked.seen, tracked.since) = (activity, now);
            tracked.presence = if activity.active {
                Presence::Active
            } else {
                Presence::Idle { since: now }
            };
        }
    }

    /// Whether its activity on any device, or how long that should last, has
    /// changed since it was looked at.
    pub fn has_changed(&self) -> bool {
        let mut devices = self.shared.status.devices();
        devices.any(|(device, status)| {
            let tracked = &self.tracked[device.0 as usize];
            let lasts = &self.shared.status.paces[device.0 as usize].lasts_ns;
            let activity = status.activity();
            activity != tracked.seen || activity.active && lasts.load(SeqCst) != tracked.lasts_ns
        })
    }

    /// The devices on which the client counts. One that it has never
    /// launched on does not, unless it is the only one it can use: a process
    /// that sees eight devices and works on one must not hold back others on
    /// the remaining seven.
    pub fn counts_on(&self) -> impl Iterator<Item = (DeviceKey, DeviceIndex)> {
        let page = &self.shared.status;
        let devices = page.devices().map(|(device, _)| device);
        let only_one = page.devices().count() == 1;
        let never = move |device: &DeviceIndex| {
            self.tracked[device.0 as usize].presence == Presence::Never && !only_one
        };
        devices
            .filter(move |device| !never(device))
            .map(|device| (DeviceKey::told_apart(device, page), device))
    }

    /// What its page says of a device, by the last look at its activity.
    pub fn state(&self, device: DeviceIndex) -> ClientState {
        let at = device.0 as usize;
        let (status, tracked) = (&self.shared.status.devices[at], &self.tracked[at]);
        let known = |raw: &AtomicU64| Some(Nanos(raw.load(Relaxed))).filter(|t| t.0 > 0);
        let transitions = tracked.seen.transitions;
        let counters = [&status.admitted, &status.busy_ns].map(|raw| raw.load(Relaxed));
        ClientState {
            id: self.shared.id,
            owner: self.owner,
            attr: self.shared.attr(),
            hold: self.shared.attr.load_hold(),
            presence: tracked.presence,
            progress: counters
                .iter()
                .fold(transitions, |sum, n| sum.wrapping_add(*n)),
            in_flight: status.in_flight.load(Relaxed),
            waiting: status.waiting.load(Relaxed),
            busy: Nanos(counters[1]),
            bursts: transitions,
            latency: self.latency,
            kernel_time: known(&status.kernel_ns),
            gap: known(&status.gap_ns),
            short_gaps: status.short_gaps.load(Relaxed),
            active_since: tracked.since,
            told: (self.joiner.abi.minor >= PACES_SINCE).then_some(tracked.told),
            lasts: Some(Nanos(tracked.lasts_ns)).filter(|t| t.0 > 0),
        }
    }
}
