//! One physical device as the decision passes see it: who counts on it,
//! what was decided, and what of that stands in the pages.

use std::collections::BTreeMap;
use std::sync::atomic::{
    Ordering::{Relaxed, Release, SeqCst},
    fence,
};
use std::time::Duration;

use rustix::thread::futex;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::{ControlPage, DeviceControl, DeviceStatus};
use xsched_common::units::{DeviceIndex, Nanos};
use xsched_host::clock::monotonic;
use xsched_host::process::ProcessId;
use xsched_policy::{
    ClientId, ClientState, Concurrency, Decision, DeviceMemory, DeviceSettings, Presence, Sharing,
    SloVerdict, Strangers,
};

use super::RosterEvent;
use super::clients::{Client, ClientShared, DeviceKey};

/// The vectors run parallel, in ascending order of the clients' ids.
#[derive(Default)]
pub(super) struct Device {
    states: Vec<ClientState>,
    /// The clients' own numbers for the device.
    indices: Vec<DeviceIndex>,
    decisions: Vec<Decision>,
    /// What the last pass left in the pages: pages of a thousand clients
    /// take longer to look at than to decide about.
    written: Vec<(DeviceIndex, Decision)>,
    fence_batch: u32,
    /// A buffer: whose words allow more than before.
    let_through: Vec<(ClientId, DeviceIndex)>,
    /// When to decide again even if nobody rings.
    due: Option<Nanos>,
    memory: DeviceMemory,
    /// One of those that count to whose work the driver turns by itself, and
    /// what that means for all.
    turn: Option<ProcessId>,
    concurrency: Concurrency,
    /// What the model knows of it.
    told: Option<Sharing>,
    verdicts: BTreeMap<ClientId, SloVerdict>,
}

/// What writing has brought about.
#[derive(Default)]
pub(super) struct Written {
    /// Who is asked for other edges than before.
    pub asked: Vec<ClientId>,
    /// Who has more waiters than were woken.
    pub crowded: Vec<ClientId>,
}

impl Device {
    /// Does not rely on what the pages said after the last pass: somebody
    /// else has opened gates.
    pub fn mistrust(&mut self) {
        self.written.clear();
    }

    /// Forgets who counts; what was written stays known.
    pub fn clear(&mut self) {
        self.states.clear();
        self.indices.clear();
        self.turn = None;
        self.concurrency = Concurrency::Together;
    }

    /// One that counts; its id is above those of the others. A client counts
    /// once, whatever its page says while it is read.
    pub fn push(&mut self, index: DeviceIndex, state: ClientState) {
        if self.states.last().is_some_and(|last| last.id == state.id) {
            return;
        }
        self.states.push(state);
        self.indices.push(index);
    }

    /// To the work of a process that counts the driver turns by itself. One
    /// such process beside others is not enough: those share the turn of a
    /// server's (MPS), or have none.
    pub fn note_turn(&mut self, process: ProcessId) {
        match self.turn {
            Some(other) if other != process => self.concurrency = Concurrency::InTurns,
            _ => self.turn = Some(process),
        }
    }

    /// Whether nobody counts on it.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// When to decide again even if nobody rings.
    pub fn due(&self) -> Option<Nanos> {
        self.due
    }

    /// Puts a new state of a client in the place of the old one; whether it
    /// had one.
    pub fn renew(&mut self, index: DeviceIndex, state: ClientState) -> bool {
        let Ok(at) = self.states.binary_search_by_key(&state.id, |s| s.id) else {
            return false;
        };
        self.states[at] = state;
        self.indices[at] == index
    }

    /// Reads the counters of all that are at work: time is charged by them.
    pub fn renew_active(&mut self, clients: &BTreeMap<ClientId, Client>) {
        for (state, index) in self.states.iter_mut().zip(&self.indices) {
            if state.presence == Presence::Active
                && let Some(client) = clients.get(&state.id)
            {
                *state = client.state(*index);
            }
        }
    }

    /// What is known of those whom the agent does not schedule.
    pub fn set_strangers(&mut self, strangers: Strangers) {
        self.memory.set_strangers(strangers);
    }

    /// Decides about all that count, and writes what is new.
    pub fn decide(
        &mut self,
        settings: &DeviceSettings,
        clients: &BTreeMap<ClientId, Client>,
        now: Nanos,
        news: &mut Written,
    ) {
        self.decisions.clear();
        self.memory.set_concurrency(self.concurrency);
        self.due = xsched_policy::decide(
            settings,
            &mut self.memory,
            now,
            &self.states,
            &mut self.decisions,
        );
        let everybody =
            std::mem::replace(&mut self.fence_batch, settings.fence_batch) != settings.fence_batch;
        let mut written = self.written.iter().peekable();
        let mut found = clients.iter().peekable();
        for (decision, &index) in self.decisions.iter().zip(&self.indices) {
            while written.next_if(|(_, w)| w.id < decision.id).is_some() {}
            let stands = written.next_if(|w| **w == (index, *decision)).is_some();
            if stands && !everybody {
                continue;
            }
            // Both come in the order of their ids.
            while found.next_if(|(id, _)| **id < decision.id).is_some() {}
            if let Some((_, client)) = found.next_if(|(id, _)| **id == decision.id) {
                let wrote = write(&client.shared, index, decision, settings.fence_batch, now);
                if wrote.edges {
                    news.asked.push(decision.id);
                }
                if wrote.more {
                    self.let_through.push((decision.id, index));
                }
            }
        }
        for (at, alone) in self.memory.kernels_alone() {
            if let Some((decision, index)) = self.decisions.get(at).zip(self.indices.get(at))
                && let Some(client) = clients.get(&decision.id)
            {
                client.shared.set_kernel_alone(*index, alone);
            }
        }
        // One fence for all: a thousand ordered stores would wait for a
        // thousand cache misses, one after the other.
        fence(SeqCst);
        let mut found = clients.iter();
        for (opened, index) in self.let_through.drain(..) {
            if let Some((_, client)) = found.find(|(id, _)| **id == opened) {
                let at = index.0 as usize;
                let shared = &client.shared;
                if wake(&shared.control.devices[at], &shared.status.devices[at])
                    && !shared.waking.swap(true, SeqCst)
                {
                    news.crowded.push(opened);
                }
            }
        }
        self.written.clear();
        let indices = self.indices.iter().copied();
        self.written
            .extend(indices.zip(self.decisions.iter().copied()));
    }

    /// Tells the model what has changed of the device's numbers and targets.
    pub fn tell(
        &mut self,
        key: DeviceKey,
        settings: &DeviceSettings,
        roster: &dyn Fn(RosterEvent),
    ) {
        let sharing = self.memory.sharing(settings);
        if self.told != Some(sharing) {
            self.told = Some(sharing);
            roster(RosterEvent::Shared(key, sharing));
        }
        self.verdicts.retain(|id, _| self.memory.slo(*id).is_some());
        for (id, verdict) in self.memory.verdicts() {
            if self.verdicts.insert(id, verdict) != Some(verdict) {
                roster(RosterEvent::Target(id, verdict));
            }
        }
    }
}

/// What was new to a page.
#[derive(Default)]
struct Wrote {
    /// Other edges: the client may have changed its activity without a ring
    /// meanwhile.
    edges: bool,
    /// A word that allows more: it may have waiters.
    more: bool,
}

/// Writes what is new; the caller's fence comes before whatever is concluded
/// from the client's page.
fn write(
    shared: &ClientShared,
    index: DeviceIndex,
    decision: &Decision,
    fence_batch: u32,
    now: Nanos,
) -> Wrote {
    let Some(control) = shared.control.devices.get(index.0 as usize) else {
        return Wrote::default();
    };
    // Every launch reads this cache line.
    if control.fence_batch.load(Relaxed) != fence_batch {
        control.fence_batch.store(fence_batch, Relaxed);
    }
    shared.set_reason(index, decision.reason);
    let before = GateWord(control.word.load(Relaxed)).mode();
    shared.decided(index, before, now);
    let edges = control.wanted_edges.load(Relaxed) != decision.edges.0;
    if edges {
        control.wanted_edges.store(decision.edges.0, Release);
    }
    Wrote {
        edges,
        more: set_word(control, decision.mode),
    }
}

/// Writes the word if what it allows changes; whether that is more than
/// before.
fn set_word(control: &DeviceControl, mode: GateMode) -> bool {
    let word = GateWord(control.word.load(Relaxed));
    if !xsched_policy::worth_writing(word.mode(), mode) {
        return false;
    }
    control.word.store(word.next(mode).0, Release);
    word.mode().allows_less_than(mode)
}

/// Waiters of one word that are woken where everybody's decisions are made.
/// Each costs a microsecond or more, and a process may have as many threads
/// as it likes; our own shim has one of them wait on the word and wakes the
/// others itself.
const WOKEN_AT_ONCE: u32 = 2;

/// Waiters of one word that are woken at all. More look by themselves within
/// 20 ms.
const WOKEN_IN_ALL: u32 = 1024;

/// Wakes whoever waits on a word that was written before a fence; whether
/// there may be more.
///
/// A waiter counts itself in its page before it sleeps on the word, and the
/// count is read here after the word was written: one of the two sees the
/// other. A count that lies costs its own process up to 20 ms, after which
/// every waiter looks by itself.
fn wake(control: &DeviceControl, status: &DeviceStatus) -> bool {
    status.waiting.load(SeqCst) != 0 && wake_some(control, WOKEN_AT_ONCE) == WOKEN_AT_ONCE
}

/// How many were woken.
fn wake_some(control: &DeviceControl, most: u32) -> u32 {
    // Shared, not private: the waiters are in another process. No process
    // waits on more than the word's own page, so this cannot block.
    let woken = futex::wake(&control.word, futex::Flags::empty(), most);
    woken.map_or(0, |woken| u32::try_from(woken).unwrap_or(most))
}

/// Wakes those that [`wake`] has left, in a thread that only its own user
/// waits for, and in a tenth of its time.
pub(super) fn wake_rest(shared: &ClientShared) {
    shared.waking.store(false, SeqCst);
    for control in &shared.control.devices {
        let mut left = WOKEN_IN_ALL;
        while left > 0 {
            let batch = left.min(64);
            let began = monotonic();
            let woken = wake_some(control, batch);
            if woken < batch {
                break;
            }
            left -= woken;
            std::thread::sleep(Duration::from_nanos(monotonic().since(began).times(9).0));
        }
    }
}

/// Opens every gate of a client.
pub(super) fn open_all(control: &ControlPage) {
    for device in &control.devices {
        if set_word(device, GateMode::Open) {
            wake_some(device, WOKEN_AT_ONCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_written() {
        let page = ControlPage::new(1, 1);
        let control = &page.devices[0];
        let set = |mode| set_word(control, mode);
        let word = || GateWord(control.word.load(Relaxed));
        assert!(!set(GateMode::Open));
        assert_eq!(word().generation(), 0);
        assert!(!set(GateMode::Closed), "nobody can go on");
        assert_eq!(word(), GateWord::new(GateMode::Closed, 1));
        assert!(set(GateMode::Capped(100)));
        assert!(!set(GateMode::Capped(104)));
        assert_eq!(word().mode(), GateMode::Capped(100));
        assert!(!set(GateMode::Capped(1)));
        assert!(set(GateMode::Capped(2)));
        assert_eq!(word().mode(), GateMode::Capped(2));
    }

    /// As many threads as a process likes wait on one word.
    #[test]
    fn a_crowd_is_woken_by_somebody_else() {
        use crate::control::newcomers::Newcomer;
        use std::sync::Arc;
        use std::sync::atomic::AtomicU32;
        const CROWD: u32 = 100;
        let process = ProcessId {
            pid: 1,
            start_time: 1,
        };
        let (client, page) = Newcomer::settled(ClientId(1), process).expect("memfds");
        let shared = &client.shared;
        let control = &shared.control.devices[0];
        set_word(control, GateMode::Closed);
        let (asleep, awake) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let sleepers = (0..CROWD).map(|_| {
            let (shared, asleep, awake) = (shared.clone(), asleep.clone(), awake.clone());
            std::thread::spawn(move || {
                let word = &shared.control.devices[0].word;
                let closed = word.load(SeqCst);
                asleep.fetch_add(1, SeqCst);
                let _ = futex::wait(word, futex::Flags::empty(), closed, None);
                awake.fetch_add(1, SeqCst);
            })
        });
        let sleepers: Vec<_> = sleepers.collect();
        while asleep.load(SeqCst) < CROWD {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(300));
        // The word stays as it is, so that nobody finds it changed.
        assert!(!wake(control, &shared.status.devices[0]), "nobody says so");
        page.devices[0].waiting.store(CROWD, SeqCst);
        assert!(wake(control, &shared.status.devices[0]), "there are more");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(awake.load(SeqCst), WOKEN_AT_ONCE);
        shared.waking.store(true, SeqCst);
        wake_rest(shared);
        for sleeper in sleepers {
            sleeper.join().expect("woken");
        }
        assert!(!shared.waking.load(SeqCst), "it may be asked for again");
        assert!(!wake(control, &shared.status.devices[0]), "nobody is left");
    }
}
