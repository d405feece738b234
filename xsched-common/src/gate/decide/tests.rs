//! Each rule of the gate, and all of them on any numbers.

use super::*;
use proptest::prelude::*;

const L: Limits = Limits::DEFAULT;
/// A living agent's heart beats this often, ns.
const BEAT: u64 = 50_000_000;

fn view(mode: GateMode, in_flight: u32, now: Nanos) -> GateView {
    GateView {
        word: GateWord::new(mode, 1),
        in_flight,
        last_completion: Nanos::ZERO,
        blind_until: Nanos::ZERO,
        last_trickle: Nanos::ZERO,
        kernel_time: Nanos::ZERO,
        beat_seen: Nanos(now.0 / BEAT * BEAT),
        now,
        cap_doublings: 0,
        turn: Turn::First,
    }
}

/// Waits as the shim would (sleeping to `until`, beating heart) and
/// returns when and why the launch passed.
fn wait_out(mode: GateMode, in_flight: u32, thread: ThreadKind, beats: bool) -> (Nanos, Decision) {
    let start = Nanos::from_secs(10);
    let mut now = start;
    let waiter = Waiter::new(now, thread);
    for _ in 0..100_000 {
        let mut v = view(mode, in_flight, now);
        if !beats {
            v.beat_seen = start;
        }
        match decide(&L, &v, &waiter) {
            Decision::Wait { until } => {
                assert!(until > now, "a wait must move on");
                now = until;
            }
            passed => return (now.since(start), passed),
        }
    }
    panic!("the wait never ended");
}

#[test]
fn open_goes_and_capped_goes_below_the_cap() {
    let w = Waiter::new(Nanos(1), ThreadKind::Worker);
    assert_eq!(
        decide(&L, &view(GateMode::Open, 9, Nanos(1)), &w),
        Decision::Go
    );
    assert_eq!(
        decide(&L, &view(GateMode::Capped(4), 3, Nanos(1)), &w),
        Decision::Go
    );
    assert!(matches!(
        decide(&L, &view(GateMode::Capped(4), 4, Nanos(1)), &w),
        Decision::Wait { .. }
    ));
}

#[test]
fn a_closed_gate_trickles() {
    let (after, why) = wait_out(GateMode::Closed, 0, ThreadKind::Worker, true);
    assert_eq!(
        (after, why),
        (Nanos::from_millis(100), Decision::Pass(Guard::Trickle))
    );
    let (after, why) = wait_out(GateMode::Closed, 0, ThreadKind::Main, true);
    assert_eq!(
        (after, why),
        (Nanos::from_millis(16), Decision::Pass(Guard::Trickle))
    );
}

#[test]
fn long_kernels_trickle_no_more_than_their_share() {
    let every = |t_us, thread| trickle_interval(&L, Nanos::from_micros(t_us), thread);
    assert_eq!(every(60, ThreadKind::Main), Nanos::from_millis(16));
    assert_eq!(every(1_000, ThreadKind::Main), Nanos::from_millis(32));
    assert_eq!(every(5_000, ThreadKind::Main), Nanos::from_millis(100));
    assert_eq!(every(5_000, ThreadKind::Worker), Nanos::from_millis(100));
}

#[test]
fn the_end_of_a_lone_kernel_is_looked_for_closely() {
    let start = Nanos::from_secs(1);
    let waiter = Waiter::new(start, ThreadKind::Worker);
    let mut v = view(GateMode::Capped(1), 1, start);
    (v.beat_seen, v.kernel_time) = (start, Nanos::from_millis(4));
    let look = |v: &GateView| match decide(&L, v, &waiter) {
        Decision::Wait { until } => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(look(&v), start + Nanos::from_millis(3));
    v.now = start + Nanos::from_millis(3);
    assert_eq!(look(&v), v.now + L.poll_last);
    v.in_flight = 2;
    v.word = GateWord::new(GateMode::Capped(2), 1);
    assert_eq!(look(&v), v.now + L.poll);
}

/// Who could not look has seen no stall, and the kernel runs on all the
/// same: the end is not later for that.
#[test]
fn blindness_postpones_a_stall_and_no_look() {
    let start = Nanos::from_secs(1);
    let waiter = Waiter::new(start, ThreadKind::Worker);
    let mut v = view(GateMode::Capped(1), 1, start + Nanos::from_millis(25));
    (v.beat_seen, v.blind_until) = (v.now, v.now);
    v.kernel_time = Nanos::from_millis(4);
    let soon = v.now + L.poll_last;
    assert_eq!(decide(&L, &v, &waiter), Decision::Wait { until: soon });
    v.blind_until = start;
    assert_eq!(decide(&L, &v, &waiter), Decision::Pass(Guard::Stall));
}

#[test]
fn a_stall_ends_a_capped_wait() {
    let (after, why) = wait_out(GateMode::Capped(2), 2, ThreadKind::Worker, true);
    assert_eq!(
        (after, why),
        (Nanos::from_millis(20), Decision::Pass(Guard::Stall))
    );
}

#[test]
fn long_kernels_are_not_stalls() {
    assert_eq!(
        stall_limit(&L, Nanos::from_millis(30)),
        Nanos::from_millis(120)
    );
    assert_eq!(
        stall_limit(&L, Nanos::from_micros(60)),
        Nanos::from_millis(20)
    );
}

/// A pause that was taken for a kernel must not become a hang.
#[test]
fn no_measured_time_makes_a_wait_endless() {
    for t in [Nanos::from_secs(60), Nanos(u64::MAX)] {
        let start = Nanos::from_secs(100);
        let waiter = Waiter::new(start, ThreadKind::Worker);
        let mut v = view(GateMode::Capped(1), 1, start + L.stall_ceiling);
        v.kernel_time = t;
        assert_eq!(decide(&L, &v, &waiter), Decision::Pass(Guard::Stall));
    }
}

#[test]
fn a_doubled_cap_admits_more() {
    let mut v = view(GateMode::Capped(2), 3, Nanos(1));
    v.cap_doublings = 1;
    let w = Waiter::new(Nanos(1), ThreadKind::Worker);
    assert_eq!(decide(&L, &v, &w), Decision::Go);
    (v.cap_doublings, v.in_flight) = (u8::MAX, u32::from(MAX_CAP) - 1);
    assert_eq!(decide(&L, &v, &w), Decision::Go);
    v.in_flight += 1;
    assert!(matches!(decide(&L, &v, &w), Decision::Wait { .. }));
}

#[test]
fn a_dead_agent_frees_even_the_last_in_line() {
    let start = Nanos::from_secs(1);
    let w = Waiter::new(start, ThreadKind::Worker);
    let mut v = view(GateMode::Closed, 0, start);
    (v.beat_seen, v.turn) = (start, Turn::Behind);
    assert_eq!(
        decide(&L, &v, &w),
        Decision::Wait {
            until: start + L.look
        }
    );
    v.now = start + L.lease;
    assert_eq!(decide(&L, &v, &w), Decision::Pass(Guard::Lease));
}

/// Whenever an agent dies between two beats, whatever the waiter was
/// doing, it is free within 300 ms.
#[test]
fn a_beat_that_is_seen_late_does_not_prolong_the_lease() {
    for died_ms in 0..200 {
        let start = Nanos::from_secs(1);
        let died = start + Nanos::from_millis(died_ms);
        let w = Waiter::new(start, ThreadKind::Worker);
        let (mut now, mut beat, mut beat_seen, mut last_trickle) = (start, 0, start, start);
        loop {
            let newest = now.min(died).since(start).0 / BEAT;
            if newest != beat {
                (beat, beat_seen) = (newest, now);
            }
            let mut v = view(GateMode::Closed, 0, now);
            (v.beat_seen, v.last_trickle) = (beat_seen, last_trickle);
            match decide(&L, &v, &w) {
                Decision::Wait { until } => now = until,
                Decision::Pass(Guard::Lease) => break,
                _ => last_trickle = now,
            }
        }
        assert!(now.since(died) <= Nanos::from_millis(280), "{died_ms} ms");
    }
}

/// A main thread passes a closed gate every 16 ms; none of these waits is
/// as long as the lease, and still it must end.
#[test]
fn a_dead_agent_frees_a_thread_that_trickles() {
    let start = Nanos::from_secs(1);
    let (mut now, mut last_trickle) = (start, Nanos::ZERO);
    loop {
        let w = Waiter::new(now, ThreadKind::Main);
        let passed = loop {
            let mut v = view(GateMode::Closed, 0, now);
            (v.beat_seen, v.last_trickle) = (start, last_trickle);
            match decide(&L, &v, &w) {
                Decision::Wait { until } => now = until,
                passed => break passed,
            }
        };
        last_trickle = now;
        assert!(now.since(start) <= L.lease, "still held after the lease");
        if passed == Decision::Pass(Guard::Lease) {
            break;
        }
    }
}

proptest! {
    /// Invariant: every wait at the gate is bounded.
    #[test]
    fn every_wait_ends(cap in 1u16..64, in_flight in 0u32..128, main: bool, beats: bool, closed: bool) {
        let mode = if closed { GateMode::Closed } else { GateMode::Capped(cap) };
        let thread = if main { ThreadKind::Main } else { ThreadKind::Worker };
        let (after, _) = wait_out(mode, in_flight, thread, beats);
        prop_assert!(after <= Nanos::from_millis(300));
    }

    /// Whatever a page or a clock says, a decision is made and a wait
    /// lies in the future.
    #[test]
    fn any_view_has_a_decision(
        raw: u32, in_flight: u32, completion: u64, blind: u64, trickle: u64, t: u64, beat: u64,
        now in 0..u64::MAX - 1, doublings: u8, arrived: u64,
    ) {
        let v = GateView {
            word: GateWord(raw), in_flight, last_completion: Nanos(completion),
            blind_until: Nanos(blind), last_trickle: Nanos(trickle), kernel_time: Nanos(t),
            beat_seen: Nanos(beat), now: Nanos(now), cap_doublings: doublings, turn: Turn::First,
        };
        let w = Waiter::new(Nanos(arrived), ThreadKind::Main);
        if let Decision::Wait { until } = decide(&L, &v, &w) {
            prop_assert!(until > v.now);
        }
    }
}
