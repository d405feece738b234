//! From pages to policy and back: one round of decisions.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use rustix::thread::futex;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::DeviceControl;
use xsched_common::units::{DeviceIndex, Nanos};

use super::RosterEvent;
use super::clients::{Client, DeviceKey};
use crate::policy::{
    self, ClientId, ClientState, Decision, DeviceMemory, DeviceSettings, Settings, Sharing,
    SloVerdict,
};

/// Buffers of a round, kept to spare the allocations.
#[derive(Default)]
pub(super) struct Round {
    devices: BTreeMap<DeviceKey, Device>,
    states: Vec<ClientState>,
    decisions: Vec<Decision>,
}

/// One device as this round and those before saw it.
#[derive(Default)]
struct Device {
    members: Vec<(DeviceIndex, ClientState)>,
    memory: DeviceMemory,
    /// What the model knows of it.
    told: Option<Sharing>,
    verdicts: BTreeMap<ClientId, SloVerdict>,
}

impl Device {
    /// Tells the model what has changed of the device's numbers and targets.
    fn tell(&mut self, key: DeviceKey, settings: &DeviceSettings, roster: &dyn Fn(RosterEvent)) {
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

/// How often a round is repeated because a client changed its activity while
/// the agent wrote what it wants to hear of. The heartbeat starts another
/// round soon enough for clients that flap on purpose.
const MAX_ROUNDS: usize = 4;

impl Round {
    /// Decides and writes until the pages stand still. Returns when to
    /// decide again even if nobody rings.
    pub fn run(
        &mut self,
        settings: &Settings,
        clients: &mut BTreeMap<ClientId, Client>,
        roster: &dyn Fn(RosterEvent),
        clock: impl Fn() -> Nanos,
    ) -> Option<Nanos> {
        let mut again = None;
        for _ in 0..MAX_ROUNDS {
            let now = clock();
            for client in clients.values_mut() {
                client.observe(now);
            }
            again = self.decide(settings, clients, now);
            // The edges are written; whoever changed before that did not
            // ring, so look once more (see DeviceStatus::activity).
            let mut changed = false;
            for client in clients.values_mut() {
                changed |= client.observe(now);
            }
            if !changed {
                break;
            }
        }
        for (key, device) in &mut self.devices {
            device.tell(*key, settings.of(key.pci()), roster);
        }
        again
    }

    fn decide(
        &mut self,
        settings: &Settings,
        clients: &BTreeMap<ClientId, Client>,
        now: Nanos,
    ) -> Option<Nanos> {
        for device in self.devices.values_mut() {
            device.members.clear();
        }
        for client in clients.values() {
            for (key, index, state) in client.states() {
                let device = self.devices.entry(key).or_default();
                device.members.push((index, state));
            }
        }
        self.devices.retain(|_, device| !device.members.is_empty());
        let mut again: Option<Nanos> = None;
        for (key, device) in &mut self.devices {
            self.states.clear();
            self.states
                .extend(device.members.iter().map(|(_, state)| *state));
            self.decisions.clear();
            let of_device = settings.of(key.pci());
            let next = policy::decide(
                of_device,
                &mut device.memory,
                now,
                &self.states,
                &mut self.decisions,
            );
            again = match (again, next) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            for (&(index, state), decision) in device.members.iter().zip(&self.decisions) {
                debug_assert_eq!(state.id, decision.id);
                if let Some(client) = clients.get(&decision.id) {
                    apply(client, index, decision, of_device.fence_batch);
                }
            }
        }
        again
    }
}

fn apply(client: &Client, device: DeviceIndex, decision: &Decision, fence_batch: u32) {
    let control = &client.shared.control.devices[device.0 as usize];
    control.fence_batch.store(fence_batch, Relaxed);
    client.shared.set_reason(device, decision.reason);
    set_mode(control, decision.mode);
    if control.wanted_edges.load(Relaxed) != decision.edges.0 {
        control.wanted_edges.store(decision.edges.0, SeqCst);
    }
}

/// Writes the word if what it allows changes, and wakes its waiters.
pub(super) fn set_mode(control: &DeviceControl, mode: GateMode) {
    let word = GateWord(control.word.load(Relaxed));
    if !policy::worth_writing(word.mode(), mode) {
        return;
    }
    control.word.store(word.next(mode).0, SeqCst);
    // Shared, not private: the waiters are in another process. No process
    // waits on more than the word's own page, so this cannot block.
    let _ = futex::wake(&control.word, futex::Flags::empty(), i32::MAX as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::page::ControlPage;

    #[test]
    fn only_changes_are_written() {
        let page = ControlPage::new(1, 1);
        let control = &page.devices[0];
        set_mode(control, GateMode::Open);
        assert_eq!(GateWord(control.word.load(Relaxed)).generation(), 0);
        set_mode(control, GateMode::Closed);
        assert_eq!(
            GateWord(control.word.load(Relaxed)),
            GateWord::new(GateMode::Closed, 1)
        );
        set_mode(control, GateMode::Capped(100));
        set_mode(control, GateMode::Capped(104));
        assert_eq!(
            GateWord(control.word.load(Relaxed)).mode(),
            GateMode::Capped(100)
        );
        set_mode(control, GateMode::Capped(1));
        set_mode(control, GateMode::Capped(2));
        assert_eq!(
            GateWord(control.word.load(Relaxed)).mode(),
            GateMode::Capped(2)
        );
    }
}
