//! Clients whose completions nothing tells of.
//!
//! A client is active until its own calls show that its work is complete. A
//! program that never asks would hold lower classes for ever. So one of which
//! nothing has been told for a while is *watched*: its shim times its work
//! (`xsched_common::gate::Pace`) and says until when it should last. Behind
//! that time and a margin it is assumed to be idle, until its next launch. An
//! assumption that comes too early costs it a part of the device until then;
//! what it launches next shows that its work took longer, and the next
//! assumption comes later.

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::Nanos;

use super::memory::Remembered;
use super::own_clock::OwnTime;
use super::{ClientState, Decision, Presence};

/// A client of which nothing is told for so long is watched. Programs that
/// ask at the end of each request do so sooner.
const SILENCE_TIMEOUT: Nanos = Nanos::from_millis(100);
/// One that has been silent before is watched again sooner.
const LEAST_SILENCE_TIMEOUT: Nanos = Nanos::from_millis(10);
/// One of which something is told, but never that it is idle: some stream of
/// its may have work that nobody asks about.
const NEVER_IDLE: Nanos = Nanos::from_secs(1);

/// What is remembered of a client about that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// What has been told, and when that was seen to change. Times are by the
    /// client's own clock: at a closed gate there is nothing to tell.
    told: Option<u64>,
    told_at: OwnTime,
    /// Since when it is active, by its page and by its own clock.
    active_since: Nanos,
    active_at: OwnTime,
    timeout: Nanos,
    watched: bool,
    /// Bursts when it was last seen idle by its own word.
    bursts: u64,
}

/// What to think of a client's activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assumption {
    /// What it says.
    AsSaid,
    /// It has work until then, unless it launches more.
    Until(Nanos),
    /// Its work ended then.
    Idle(Nanos),
}

impl Silence {
    pub fn new() -> Silence {
        Silence {
            told: None,
            told_at: OwnTime::default(),
            active_since: Nanos::ZERO,
            active_at: OwnTime::default(),
            timeout: SILENCE_TIMEOUT,
            watched: false,
            bursts: 0,
        }
    }

    /// Whether its shim times it, because nothing else tells.
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// When it will be watched by its own clock, if it does not become idle by
    /// its own word.
    pub fn ends_at(&self, state: &ClientState) -> Option<OwnTime> {
        let counts = !self.watched && state.told.is_some() && state.presence == Presence::Active;
        let silent = self.told_at.max(self.active_at).after(self.timeout);
        counts.then(|| silent.min(self.active_at.after(NEVER_IDLE)))
    }
}

/// By how much an end that was foretold may be missed.
fn margin(lasts: Nanos) -> Nanos {
    Nanos(lasts.0 / 32).clamp(Nanos::from_micros(200), Nanos::from_millis(2))
}

/// Judges one client by what its page says now.
pub(super) fn evaluate(now: Nanos, state: &ClientState, remembered: &mut Remembered) -> Assumption {
    let closed = remembered.mode == GateMode::Closed;
    let own_time = remembered.clock.now();
    let silence = &mut remembered.silence;
    if state.presence != Presence::Active {
        if !silence.watched && silence.bursts != state.bursts {
            silence.timeout = silence.timeout.times(2).min(SILENCE_TIMEOUT);
        }
        silence.watched = false;
        silence.bursts = state.bursts;
        silence.told = state.told;
        return Assumption::AsSaid;
    }
    if silence.active_since != state.active_since {
        (silence.active_since, silence.active_at) = (state.active_since, own_time);
    }
    if silence.told != state.told {
        (silence.told, silence.told_at) = (state.told, own_time);
    }
    if silence.ends_at(state).is_some_and(|end| end <= own_time) {
        silence.watched = true;
        silence.timeout = Nanos(silence.timeout.0 / 2).max(LEAST_SILENCE_TIMEOUT);
    }
    match state.lasts {
        // Who stands at its gate has work, whatever became of earlier work.
        Some(lasts) if silence.watched && !closed && state.waiting == 0 => {
            let end = state.active_since + lasts + margin(lasts);
            match end <= now {
                true => Assumption::Idle(end),
                false => Assumption::Until(end),
            }
        }
        _ => Assumption::AsSaid,
    }
}

/// Asks the shims of watched clients to time them, where somebody wants to
/// hear of them.
pub(super) fn watch(clients: &[Remembered], states: &[ClientState], decisions: &mut [Decision]) {
    for ((client, state), decision) in clients.iter().zip(states).zip(decisions) {
        let watched = client.silence.watched && state.presence == Presence::Active;
        if !watched || decision.edges == Edges::NONE {
            continue;
        }
        decision.edges = decision.edges.with(Edges::WATCH);
        if decision.mode == GateMode::Open {
            decision.mode = GateMode::Watched;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, SchedAttr};
    use super::*;
    use xsched_common::units::Class;

    fn state(now: Nanos, told: u64, lasts: u64) -> ClientState {
        ClientState {
            presence: Presence::Active,
            active_since: now,
            told: Some(told),
            lasts: Some(Nanos::from_millis(lasts)).filter(|t| t.0 > 0),
            ..ClientState::new(ClientId(1), SchedAttr::of_class(Class::High))
        }
    }

    /// As [`super::super::liveness::evaluate`] does.
    fn evaluate(now: Nanos, state: &ClientState, client: &mut Remembered) -> Assumption {
        client.clock.advance(now, client.mode);
        super::evaluate(now, state, client)
    }

    const START: Nanos = Nanos::from_secs(1);

    fn at(ms: u64) -> Nanos {
        START + Nanos::from_millis(ms)
    }

    #[test]
    fn who_is_silent_is_watched_and_idle_behind_the_end_that_is_foretold() {
        let mut state = state(START, 0, 0);
        let mut client = Remembered::new(&state);
        assert_eq!(evaluate(at(0), &state, &mut client), Assumption::AsSaid);
        evaluate(at(99), &state, &mut client);
        assert!(!client.silence.watched);
        evaluate(at(100), &state, &mut client);
        assert!(client.silence.watched);
        state.lasts = Some(Nanos::from_millis(120));
        let end = at(120) + margin(Nanos::from_millis(120));
        assert_eq!(
            evaluate(at(110), &state, &mut client),
            Assumption::Until(end)
        );
        assert_eq!(evaluate(end, &state, &mut client), Assumption::Idle(end));
        // It launches again: a burst of its own.
        (state.active_since, state.lasts) = (at(200), Some(Nanos::from_millis(25)));
        assert!(matches!(
            evaluate(at(201), &state, &mut client),
            Assumption::Until(_)
        ));
        // And it asks, once.
        state.presence = Presence::Idle { since: at(230) };
        assert_eq!(evaluate(at(230), &state, &mut client), Assumption::AsSaid);
        (state.presence, state.active_since) = (Presence::Active, at(240));
        assert_eq!(evaluate(at(240), &state, &mut client), Assumption::AsSaid);
        evaluate(at(291), &state, &mut client);
        assert!(client.silence.watched, "sooner than the first time");
    }

    /// Others have the device every second 5 ms.
    #[test]
    fn turns_of_the_gate_do_not_begin_the_silence_anew() {
        let state = state(START, 0, 30);
        let mut client = Remembered::new(&state);
        let watched = (0..1_000).find(|ms| {
            client.mode = match ms / 5 % 2 {
                0 => GateMode::Capped(2),
                _ => GateMode::Closed,
            };
            evaluate(at(*ms), &state, &mut client);
            client.silence.watched
        });
        assert!(
            watched.is_some_and(|ms| (150..=250).contains(&ms)),
            "{watched:?}"
        );
    }

    /// Some stream's work is never asked about, while others' is.
    #[test]
    fn who_is_never_idle_is_watched_although_something_is_told() {
        let mut state = state(START, 0, 30);
        let mut client = Remembered::new(&state);
        for ms in 0..1_000 {
            state.told = Some(ms / 10);
            assert_eq!(evaluate(at(ms), &state, &mut client), Assumption::AsSaid);
        }
        assert!(matches!(
            evaluate(at(1_000), &state, &mut client),
            Assumption::Idle(_)
        ));
    }

    #[test]
    fn who_asks_is_never_watched_nor_is_an_old_shim_or_a_closed_gate() {
        let mut asks = state(START, 0, 1);
        let mut client = Remembered::new(&asks);
        for ms in 0..3_000 {
            asks.told = Some(ms / 90);
            asks.active_since = at(ms / 900 * 900);
            assert_eq!(evaluate(at(ms), &asks, &mut client), Assumption::AsSaid);
        }
        let mut old = state(START, 0, 1);
        old.told = None;
        let mut client = Remembered::new(&old);
        for ms in 0..1_000 {
            assert_eq!(evaluate(at(ms), &old, &mut client), Assumption::AsSaid);
        }
        let held = state(START, 0, 1);
        let mut client = Remembered::new(&held);
        client.mode = GateMode::Closed;
        for ms in 0..3_000 {
            assert_eq!(evaluate(at(ms), &held, &mut client), Assumption::AsSaid);
            // Or the control thread would not sleep until its gate opens.
            let again = client.silence.ends_at(&held);
            assert!(again.is_some_and(|again| client.clock.reaches(again) > at(ms)));
        }
    }
}
