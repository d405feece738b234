//! Who counts, in which rank, and whether what it says of its work is
//! believed.

use xsched_common::units::{Class, Nanos};

use super::memory::Remembered;
use super::own_clock::OwnTime;
use super::silence::{self, Assumption};
use super::{ClientState, DeviceSettings, Override, OverrideKind, Presence};

/// The classes, and above them whoever is boosted.
pub(super) const RANKS: usize = Class::ALL.len() + 1;

/// A client as the rest of the policy sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub state: &'a ClientState,
    /// Its class, or the rank above all of them; `None` while suspended.
    pub rank: Option<usize>,
    /// Whether it has work, as far as that is believed.
    pub presence: Presence,
    /// Whether it says that it has work and is not believed.
    pub stuck: bool,
    /// What is assumed of one of which nothing tells.
    pub assumption: Assumption,
    /// Its kernel time T, as far as that is its own.
    pub kernel_time: Option<Nanos>,
}

impl Member<'_> {
    pub fn active(&self) -> bool {
        self.presence == Presence::Active
    }
}

/// Longest time without progress that its own kernel time may excuse, in
/// limits.
const MOST_LIMITS: u64 = 10;

/// A client is active until it says that it is drained. One that never asks
/// (a program that launches and does not wait), or that lies, would hold
/// lower classes for ever: without any progress on its page for the limit,
/// or for 8 of its own kernels if they are longer, it counts as idle. Time
/// behind a closed gate does not count ([`super::own_clock`]).
pub(super) fn evaluate<'a>(
    settings: &DeviceSettings,
    now: Nanos,
    state: &'a ClientState,
    remembered: &mut Remembered,
) -> Member<'a> {
    let claims = state.presence == Presence::Active;
    let moved = state.progress != remembered.progress;
    let own_time = remembered.clock.advance(now, remembered.mode);
    if !claims || moved || remembered.progress_at == OwnTime::default() {
        remembered.progress = state.progress;
        remembered.progress_at = own_time;
    }
    let assumption = silence::evaluate(now, state, remembered);
    let limit = state.kernel_time.map_or(Nanos::ZERO, |t| t.times(8)).clamp(
        settings.active_limit,
        settings.active_limit.times(MOST_LIMITS),
    );
    // A foretold end is the client's own word, too.
    let is_idle = matches!(assumption, Assumption::Idle(_));
    let stuck = claims && !is_idle && own_time.since(remembered.progress_at) >= limit;
    let rank = match Override::in_force(state.hold, now).map(|hold| hold.kind) {
        Some(OverrideKind::Suspended) => None,
        Some(OverrideKind::Boosted) => Some(RANKS - 1),
        None => Some(state.attr.class as usize),
    };
    Member {
        state,
        rank,
        presence: match (state.presence, assumption) {
            (Presence::Active, Assumption::Idle(since)) => Presence::Idle { since },
            (Presence::Active, _) if stuck => Presence::Never,
            (said, _) => said,
        },
        stuck,
        assumption,
        kernel_time: remembered.kernels.time(state),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientId, SchedAttr};
    use super::*;
    use xsched_common::units::Class;

    /// It says for ever that its work lasts for ever.
    #[test]
    fn a_foretold_end_is_not_believed_without_progress() {
        let start = Nanos::from_secs(1);
        let state = ClientState {
            presence: Presence::Active,
            active_since: start,
            told: Some(0),
            lasts: Some(Nanos::MAX),
            ..ClientState::new(ClientId(1), SchedAttr::of_class(Class::High))
        };
        let settings = DeviceSettings::default();
        let mut remembered = Remembered::new(&state);
        let presence = |ms: u64, remembered: &mut Remembered| {
            let now = start + Nanos::from_millis(ms);
            evaluate(&settings, now, &state, remembered).presence
        };
        let limit = settings.active_limit.0 / 1_000_000;
        for ms in (0..limit).step_by(50) {
            assert_eq!(presence(ms, &mut remembered), Presence::Active, "{ms} ms");
        }
        assert_eq!(presence(limit, &mut remembered), Presence::Never);
    }
}
