//! Kernel times without what others add to them.
//!
//! A client measures T between two completions, so whoever shares the device
//! stretches it: 300 us looked like 3.7 ms beside a program that nobody
//! schedules. What a client showed while it was alone at work is what it
//! takes; a longer T beside others is theirs, and neither caps nor blame
//! follow it. Without any time alone T stays what it is, an upper bound, and
//! is called so. Only a gate that is not open has fences, which tell each
//! completion; what a program's own waits tell of comes in heaps.

use xsched_common::gate::GateMode;
use xsched_common::units::Nanos;

use super::ClientState;
use super::memory::Remembered;

/// News while alone until T, which is an average, has forgotten the others;
/// or kernels, for one that is alone for moments only.
const FORGOTTEN: u32 = 4;
const FORGOTTEN_KERNELS: u64 = 32;

/// The most that others are taken to stretch a T by: beyond that its kernels
/// have changed since it was last alone.
const MOST_STRETCH: u64 = 16;

/// Whether somebody whom the agent does not schedule is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// Nobody that is known of.
    #[default]
    None,
    /// Somebody launches.
    AtWork,
}

/// What is remembered of a client's kernels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kernels {
    /// T while alone, and as it was last told.
    alone: Option<Nanos>,
    told: Option<Nanos>,
    /// News in a row while alone.
    run: u32,
    /// How long it had been busy when the run began.
    began_at: Nanos,
    busy: Nanos,
    bursts: u64,
}

impl Kernels {
    /// T as far as it is the client's own.
    pub fn time(&self, state: &ClientState) -> Option<Nanos> {
        let said = state.kernel_time?;
        let least = Nanos(said.0 / MOST_STRETCH);
        Some(self.alone.map_or(said, |alone| said.min(alone.max(least))))
    }

    /// T while alone, if that has changed since the last call.
    pub fn news(&mut self) -> Option<Nanos> {
        let changed = self.told != self.alone;
        self.told = self.alone;
        self.alone.filter(|_| changed)
    }

    fn learn(&mut self, state: &ClientState, alone: bool) {
        let news = self.busy != state.busy;
        (self.busy, self.bursts) = (state.busy, state.bursts);
        if !alone {
            (self.run, self.began_at) = (0, state.busy);
            return;
        }
        let Some(said) = state.kernel_time.filter(|_| news) else {
            return;
        };
        self.run = self.run.saturating_add(1);
        let kernels = state.busy.since(self.began_at).0 / said.0.max(1);
        if self.run < FORGOTTEN && kernels < FORGOTTEN_KERNELS {
            return;
        }
        self.alone = Some(match self.alone {
            None => said,
            Some(known) => Nanos((known.0 / 4 * 3).saturating_add(said.0.div_ceil(4))),
        });
    }
}

/// Whether a client was at work since the last decision, or still is.
fn works(client: &Remembered, state: &ClientState) -> bool {
    // What is left in flight of one that is timed is not known to be there.
    let left = state.in_flight > 0 && !client.silence.is_watched();
    client.active || left || client.kernels.bursts != state.bursts
}

/// Learns from what has happened since the last decision, before that is
/// forgotten.
pub(super) fn learn(clients: &mut [Remembered], states: &[ClientState], strangers: Strangers) {
    let at_work = |(client, state): (&Remembered, &ClientState)| works(client, state);
    let busy = clients
        .iter()
        .zip(states)
        .filter(|pair| at_work(*pair))
        .count();
    for (client, state) in clients.iter_mut().zip(states) {
        let others = busy - usize::from(works(client, state));
        let fenced = client.mode != GateMode::Open;
        let alone = others == 0 && fenced && strangers == Strangers::None;
        client.kernels.learn(state, alone);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, Presence, SchedAttr};
    use super::*;
    use xsched_common::units::Class;

    const US: fn(u64) -> Nanos = Nanos::from_micros;

    struct Two {
        clients: [Remembered; 2],
        states: [ClientState; 2],
    }

    impl Two {
        fn new() -> Two {
            let state = |id| ClientState {
                presence: Presence::Idle { since: US(1) },
                ..ClientState::new(ClientId(id), SchedAttr::of_class(Class::Low))
            };
            let states = [state(1), state(2)];
            let mut clients = [Remembered::new(&states[0]), Remembered::new(&states[1])];
            clients[0].mode = GateMode::Capped(4);
            Two { clients, states }
        }

        /// So many decisions at which the first says this T.
        fn says(&mut self, t: Nanos, times: u32, strangers: Strangers) -> Option<Nanos> {
            for _ in 0..times {
                self.states[0].presence = Presence::Active;
                self.states[0].kernel_time = Some(t);
                self.states[0].busy = self.states[0].busy + t;
                learn(&mut self.clients, &self.states, strangers);
            }
            self.clients[0].kernels.time(&self.states[0])
        }
    }

    #[test]
    fn others_do_not_stretch_it() {
        let mut two = Two::new();
        assert_eq!(two.says(US(300), 10, Strangers::None), Some(US(300)));
        two.clients[1].active = true;
        assert_eq!(two.says(US(3_680), 10, Strangers::None), Some(US(300)));
        two.clients[1].active = false;
        // A burst of the other's that nobody saw counts, too.
        two.states[1].bursts += 1;
        assert_eq!(two.says(US(3_680), 1, Strangers::None), Some(US(300)));
        assert_eq!(two.says(US(3_680), 10, Strangers::AtWork), Some(US(300)));
        // Its own kernels change: seen as soon as it is alone.
        let longer = two.says(US(3_680), 20, Strangers::None).expect("known");
        assert!(longer > US(3_500), "{longer}");
    }

    #[test]
    fn without_a_time_alone_it_is_an_upper_bound() {
        let mut two = Two::new();
        two.states[1].in_flight = 3;
        assert_eq!(two.says(US(900), 10, Strangers::None), Some(US(900)));
        assert_eq!(two.clients[0].kernels.news(), None);
    }

    /// What was seen long ago says little of kernels that are a hundred times
    /// as long.
    #[test]
    fn the_stretch_is_bounded() {
        let mut two = Two::new();
        two.says(US(10), 10, Strangers::None);
        two.clients[1].active = true;
        assert_eq!(two.says(US(1_600), 10, Strangers::None), Some(US(100)));
    }
}
