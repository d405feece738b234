//! What is remembered of a device from one decision to the next.

use xsched_common::api::SharingMode;
use xsched_common::gate::GateMode;
use xsched_common::units::Nanos;

use super::handover::Drain;
use super::kernels::{Kernels, Strangers};
use super::liveness::RANKS;
use super::own_clock::{OwnClock, OwnTime};
use super::share::{Groups, Turns};
use super::silence::Silence;
use super::slo::{SloMemory, SloVerdict};
use super::{Cap, ClientId, ClientState, DeviceSettings, Knobs, Owner};

/// Owned by whoever calls [`super::decide`]; starts empty.
#[derive(Clone, Debug, Default)]
pub struct DeviceMemory {
    /// In ascending order of their ids, as the clients of the last decision.
    pub(super) clients: Vec<Remembered>,
    /// When time was charged up to; zero before the first decision.
    pub(super) charged_to: Nanos,
    /// The time that the last decision charged for.
    pub(super) charged_for: Nanos,
    pub(super) ranks: [RankMemory; RANKS],
    pub(super) slo: SloMemory,
    pub(super) knobs: Knobs,
    /// Whether others are at work whom the agent does not schedule.
    pub(super) strangers: Strangers,
    pub(super) concurrency: Concurrency,
    /// Who has left since the last decision.
    pub(super) left: Vec<Remembered>,
    /// A buffer, kept to spare the allocation.
    spare: Vec<Remembered>,
}

/// What a device does with work of several processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// It may run side by side.
    #[default]
    Together,
    /// The driver turns from one process to the next. Clients under a cap run
    /// dry long before a turn of the driver's ends, so they make it turn more
    /// often than without a cap: on an H200 two batches, each with 0.3 ms in
    /// flight, made 77% of what they make natively. So they have turns of the
    /// gate, as in mode `share`.
    InTurns,
}

/// What is remembered of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub id: ClientId,
    /// What its gate was told last, and until when what that left in flight may
    /// run if it is closed.
    pub mode: GateMode,
    pub drains_until: Nanos,
    /// Whether it counted as having work.
    pub active: bool,
    /// Since when it has had no work; `None`: it has.
    pub idle_since: Option<Nanos>,
    /// Device time charged to it, in total and by the last decision.
    pub charged: Nanos,
    pub charged_last: Nanos,
    /// What it was spared because clients of other ranks drained meanwhile.
    pub spared: Nanos,
    /// Virtual time: charged time over weight, among the clients of its owner
    /// in its rank ([`super::share`]).
    pub pass: u128,
    /// Among whom that is: another rank's or owner's is another time.
    pub line: Option<(usize, Owner)>,
    /// What it last said of its busy time.
    pub busy: Nanos,
    /// Time charged while its gate let it launch, for which its page has not
    /// shown busy time yet, ns; below zero what it used beyond that.
    pub ahead: i64,
    /// What its progress was, and since when by its own clock.
    pub progress: u64,
    pub progress_at: OwnTime,
    pub clock: OwnClock,
    pub silence: Silence,
    pub kernels: Kernels,
}

/// What is remembered of a rank.
#[derive(Clone, Debug, Default)]
pub(super) struct RankMemory {
    /// Whose turn it is.
    pub holder: Option<ClientId>,
    /// Charged to the holder in this turn.
    pub used: Nanos,
    /// What the turn waits for to end before it begins.
    pub drain: Option<Drain>,
    /// The least pass among those with work, as far as it has come.
    pub vtime: u128,
    /// The owners in it, and those who left in debt.
    pub groups: Groups,
    /// Device time that the rank has a claim to, ns ([`super::min_share`]).
    pub owed: i64,
    /// Since when it gets it.
    pub granted: Option<Nanos>,
}

/// How a device is shared, with the numbers as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// What the configuration says.
    pub settings: DeviceSettings,
    /// Cap and linger, which mode `slo` adapts.
    pub knobs: Knobs,
    /// What the device does with work of several processes.
    pub concurrency: Concurrency,
}

impl Sharing {
    /// The numbers behind the mode by name, as users see them.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let DeviceSettings { mode, .. } = self.settings;
        let turns = Turns::of(&self.settings, self.concurrency, self.knobs);
        // Of whoever may have the most in flight.
        let cap = turns.map_or(self.knobs.cap, |turns| turns.unrivalled.cap);
        let cap = match cap {
            Cap::Time(budget) => ("budget_ns", budget.0),
            Cap::Commands(cap) => ("cap", u64::from(cap)),
        };
        let gated = mode != SharingMode::Off;
        [
            (gated, cap),
            (gated, ("linger_min_ns", self.knobs.linger_min.0)),
            (gated, ("linger_max_ns", self.knobs.linger_max.0)),
            (
                gated && self.settings.fence_batch > 0,
                ("fence_batch", u64::from(self.settings.fence_batch)),
            ),
            (
                gated,
                (
                    "min_share_permille",
                    u64::from(self.settings.min_share_permille),
                ),
            ),
            (
                gated && turns.is_some(),
                ("slice_ns", self.settings.slice_of(self.concurrency).0),
            ),
            (gated, ("active_limit_ns", self.settings.active_limit.0)),
        ]
        .into_iter()
        .filter_map(|(counts, number)| counts.then_some(number))
    }
}

impl DeviceMemory {
    /// How the device is shared, as of the last decision.
    pub fn sharing(&self, settings: &DeviceSettings) -> Sharing {
        Sharing {
            settings: *settings,
            knobs: self.knobs,
            concurrency: self.concurrency,
        }
    }

    /// What is known of those whom the agent does not schedule, from now on.
    pub fn set_strangers(&mut self, strangers: Strangers) {
        self.strangers = strangers;
    }

    /// What the device does with work of several processes, from now on.
    pub fn set_concurrency(&mut self, concurrency: Concurrency) {
        self.concurrency = concurrency;
    }

    /// The kernel times of clients while they were alone, as far as they are
    /// news, with their places in the last decision.
    pub fn kernels_alone(&mut self) -> impl Iterator<Item = (usize, Nanos)> {
        let clients = self.clients.iter_mut().enumerate();
        clients.filter_map(|(at, client)| Some((at, client.kernels.news()?)))
    }

    /// How all targets go.
    pub fn verdicts(&self) -> impl Iterator<Item = (ClientId, SloVerdict)> {
        self.slo.verdicts()
    }

    /// Cap and linger as of the last decision.
    pub fn knobs(&self) -> Knobs {
        self.knobs
    }

    /// How a client's target goes, if it has one in mode `slo`.
    pub fn slo(&self, id: ClientId) -> Option<SloVerdict> {
        self.slo.verdict(id)
    }

    /// Device time charged to a client since it was first seen.
    pub fn charged(&self, id: ClientId) -> Option<Nanos> {
        let at = self.clients.binary_search_by_key(&id, |c| c.id).ok()?;
        self.clients.get(at).map(|client| client.charged)
    }

    /// Makes `self.clients` those of this decision, in time proportional to
    /// their number.
    pub(super) fn meet(&mut self, clients: &[ClientState]) {
        debug_assert!(clients.is_sorted_by(|a, b| a.id < b.id));
        self.left.clear();
        let same = self.clients.len() == clients.len()
            && self.clients.iter().zip(clients).all(|(m, c)| m.id == c.id);
        if same {
            return;
        }
        self.spare.clear();
        let mut known = self.clients.iter().peekable();
        for client in clients {
            while let Some(left) = known.next_if(|m| m.id < client.id) {
                self.left.push(*left);
            }
            let remembered = known.next_if(|m| m.id == client.id).copied();
            self.spare
                .push(remembered.unwrap_or_else(|| Remembered::new(client)));
        }
        self.left.extend(known.copied());
        std::mem::swap(&mut self.clients, &mut self.spare);
    }
}

impl Remembered {
    pub(super) fn new(client: &ClientState) -> Remembered {
        Remembered {
            id: client.id,
            mode: GateMode::Open,
            drains_until: Nanos::ZERO,
            active: false,
            charged: Nanos::ZERO,
            idle_since: Some(Nanos::ZERO),
            charged_last: Nanos::ZERO,
            spared: Nanos::ZERO,
            pass: 0,
            line: None,
            busy: client.busy,
            ahead: 0,
            progress: client.progress,
            progress_at: OwnTime::default(),
            clock: OwnClock::default(),
            silence: Silence::new(),
            kernels: Kernels::default(),
        }
    }
}
