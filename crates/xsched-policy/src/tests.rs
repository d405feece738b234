//! The rules that hold for one decision, whatever the state.

use proptest::prelude::*;
use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::{Class, Nanos};

use super::*;

fn client(id: u64, class: Class, presence: Presence) -> ClientState {
    ClientState {
        presence,
        kernel_time: Some(Nanos::from_micros(60)),
        ..ClientState::new(ClientId(id), SchedAttr::of_class(class))
    }
}

fn decide(now: Nanos, clients: &[ClientState]) -> (Vec<Decision>, Option<Nanos>) {
    decide_in(SharingMode::Priority, now, clients)
}

fn decide_in(
    mode: SharingMode,
    now: Nanos,
    clients: &[ClientState],
) -> (Vec<Decision>, Option<Nanos>) {
    let mut out = Vec::new();
    let mut memory = DeviceMemory::default();
    let settings = DeviceSettings {
        mode,
        fixed_cap: 7,
        // The minimum share has tests of its own.
        min_share_permille: 0,
        ..DeviceSettings::default()
    };
    let again = super::decide(&settings, &mut memory, now, clients, &mut out);
    (out, again)
}

const NOW: Nanos = Nanos::from_secs(1);

#[test]
fn a_lone_process_pays_nothing() {
    let (out, again) = decide(NOW, &[client(1, Class::Low, Presence::Active)]);
    assert_eq!(
        (out[0].mode, out[0].edges, again),
        (GateMode::Open, Edges::NONE, None)
    );
}

#[test]
fn equals_do_not_gate_each_other() {
    let (out, _) = decide(
        NOW,
        &[
            client(1, Class::Normal, Presence::Active),
            client(2, Class::Normal, Presence::Active),
        ],
    );
    assert!(
        out.iter()
            .all(|d| d.mode == GateMode::Open && d.edges == Edges::NONE)
    );
}

/// Where the driver turns from process to process, two that are capped have
/// turns of the gate instead; nothing changes where nobody is capped.
#[test]
fn capped_equals_take_turns_where_the_driver_does() {
    let idle = Presence::Idle { since: Nanos::ZERO };
    let mut clients = [
        client(1, Class::High, idle),
        client(2, Class::Low, Presence::Active),
        client(3, Class::Low, Presence::Active),
    ];
    let mut memory = DeviceMemory::default();
    let mut at = |now, clients: &[ClientState], concurrency| {
        memory.set_concurrency(concurrency);
        let mut out = Vec::new();
        let settings = DeviceSettings::default();
        let again = super::decide(&settings, &mut memory, now, clients, &mut out);
        let modes: Vec<_> = out.iter().map(|decision| decision.mode).collect();
        (modes, again)
    };
    let (capped, closed) = (GateMode::Capped(6), GateMode::Closed);
    let (modes, _) = at(NOW, &clients, Concurrency::Together);
    assert_eq!(modes[1..], [capped, capped]);
    let (modes, again) = at(NOW, &clients, Concurrency::InTurns);
    assert_eq!(modes[1..], [capped, closed]);
    let slice = DeviceSettings::default().slice_of(Concurrency::InTurns);
    assert_eq!(again, Some(NOW + slice));
    for client in &mut clients[1..2] {
        client.busy = slice;
        client.progress += 1;
    }
    let (modes, _) = at(NOW + slice, &clients, Concurrency::InTurns);
    assert_eq!(modes[1..], [closed, capped]);
    // When whoever has the turn drains, it passes on at once.
    clients[2].presence = Presence::Idle { since: NOW + slice };
    let (modes, _) = at(NOW + slice, &clients, Concurrency::InTurns);
    assert_eq!(modes[1], capped);
    let (modes, _) = at(NOW + slice, &clients[1..], Concurrency::InTurns);
    assert_eq!(modes, [GateMode::Open; 2], "nobody is capped");
}

#[test]
fn an_active_higher_class_closes_lower_ones() {
    let (out, again) = decide(
        NOW,
        &[
            client(1, Class::High, Presence::Active),
            client(2, Class::Low, Presence::Active),
        ],
    );
    assert_eq!((out[0].mode, out[0].edges), (GateMode::Open, Edges::IDLE));
    assert_eq!(out[1].mode, GateMode::Closed);
    assert_eq!(out[1].reason, Reason::HeldBy(ClientId(1)));
    assert_eq!(again, None, "only an edge can change this");
}

#[test]
fn a_lingering_class_closes_until_its_linger_ends() {
    let since = NOW - Nanos::from_micros(50);
    let idle = Presence::Idle { since };
    let mut clients = [
        client(1, Class::High, idle),
        client(2, Class::Low, Presence::Active),
    ];
    let (out, again) = decide(NOW, &clients);
    assert_eq!((out[0].edges, out[1].mode), (Edges::NONE, GateMode::Closed));
    let linger = linger_for(&Knobs::default(), &clients[0], Nanos::from_micros(6 * 60));
    assert_eq!(again, Some(since + linger));

    clients[0].presence = Presence::Idle {
        since: NOW - linger,
    };
    let (out, again) = decide(NOW, &clients);
    assert_eq!(
        (out[0].edges, out[1].mode),
        (Edges::ACTIVE, GateMode::Capped(6))
    );
    assert_eq!(again, None);
}

#[test]
fn linger_follows_the_holders_own_gaps_within_limits() {
    let knobs = Knobs::default();
    let reclaim = Nanos::from_micros(9 * 60);
    let mut high = client(1, Class::High, Presence::Active);
    assert_eq!(
        linger_for(&knobs, &high, reclaim),
        Nanos::from_micros(9 * 60 + 50)
    );
    high.gap = Some(Nanos::from_millis(2));
    assert_eq!(linger_for(&knobs, &high, reclaim), Nanos::from_millis(2));
    high.gap = Some(Nanos::MAX);
    assert_eq!(linger_for(&knobs, &high, reclaim), knobs.linger_max);
}

/// A service whose bursts are whole requests lingers as its gaps say; one
/// whose shim does not count its gaps may synchronise within requests.
#[test]
fn only_who_counts_its_gaps_is_known_to_have_few() {
    let knobs = Knobs::default();
    let (reclaim, reclaimed) = (Nanos::from_micros(540), Nanos::from_micros(540 + 50));
    let mut high = client(1, Class::High, Presence::Active);
    high.bursts = 1_000;
    assert_eq!(linger_for(&knobs, &high, reclaim), knobs.linger_min);
    (high.gap, high.short_gaps) = (Some(Nanos::from_micros(200)), 9);
    assert_eq!(linger_for(&knobs, &high, reclaim), Nanos::from_micros(200));
    high.short_gaps = 980;
    assert_eq!(linger_for(&knobs, &high, reclaim), reclaimed);
    high.short_gaps = 0;
    assert_eq!(linger_for(&knobs, &high, reclaim), reclaimed);
}

/// Mode fixed: the cap is the operator's, whatever T is; classes stay strict
/// and weights mean nothing.
#[test]
fn a_fixed_cap_does_not_follow_the_kernel_time() {
    let idle = Presence::Idle { since: Nanos::ZERO };
    for kernel_time in [None, Some(Nanos(1)), Some(Nanos::from_millis(50))] {
        let low = |id| ClientState {
            kernel_time,
            ..client(id, Class::Low, Presence::Active)
        };
        let clients = [client(1, Class::High, idle), low(2), low(3)];
        let (out, _) = decide_in(SharingMode::Fixed, NOW, &clients);
        let modes: Vec<_> = out.iter().map(|d| d.mode).collect();
        let capped = GateMode::Capped(7);
        assert_eq!(modes, [GateMode::Open, capped, capped], "{kernel_time:?}");
    }
    let clients = [
        client(1, Class::High, Presence::Active),
        client(2, Class::Low, Presence::Active),
    ];
    let (out, _) = decide_in(SharingMode::Fixed, NOW, &clients);
    assert_eq!(out[1].mode, GateMode::Closed);
}

/// Mode off: nobody is held and nobody need say anything, whatever was
/// decided about them.
#[test]
fn off_holds_nobody_even_if_suspended() {
    let mut clients = [
        client(1, Class::Realtime, Presence::Active),
        client(2, Class::Low, Presence::Active),
        client(3, Class::Normal, Presence::Never),
    ];
    clients[1].hold = Some(Override {
        kind: OverrideKind::Suspended,
        until: NOW + Nanos::from_secs(1),
    });
    let (out, _) = decide_in(SharingMode::Off, NOW, &clients);
    assert!(
        out.iter()
            .all(|d| { (d.mode, d.edges, d.reason) == (GateMode::Open, Edges::NONE, Reason::Off) })
    );
}

/// Seconds of heartbeats were lost when this took time in proportion to
/// the cube of the number.
#[test]
fn thousands_of_clients_are_decided_in_no_time() {
    let clients: Vec<_> = (0..4_000)
        .map(|i| {
            let idle = Presence::Idle { since: NOW };
            client(i, Class::ALL[i as usize % 4], idle)
        })
        .collect();
    let start = std::time::Instant::now();
    decide(NOW, &clients);
    assert!(start.elapsed() < std::time::Duration::from_millis(200));
}

fn any_client() -> impl Strategy<Value = ClientState> {
    (
        0..4u8,
        0..3u8,
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(class, presence, since, t, gap)| ClientState {
            presence: match presence {
                0 => Presence::Never,
                1 => Presence::Active,
                _ => Presence::Idle {
                    since: Nanos(since % (2 * NOW.0)),
                },
            },
            kernel_time: t.map(Nanos),
            gap: gap.map(Nanos),
            ..ClientState::new(
                ClientId(0),
                SchedAttr::of_class(Class::from_raw(class).expect("0 to 3")),
            )
        })
}

proptest! {
    /// Whatever clients say about themselves: the highest class present
    /// is open, a gate closes only for a higher class that has (or just
    /// had) work, and no cap exceeds its budget.
    #[test]
    fn strictness_holds(mut clients in prop::collection::vec(any_client(), 1..12)) {
        for (i, c) in clients.iter_mut().enumerate() {
            c.id = ClientId(i as u64);
        }
        let (out, again) = decide(NOW, &clients);
        prop_assert_eq!(out.len(), clients.len());
        let top = clients.iter().map(|c| c.attr.class).max().expect("not empty");
        for (c, d) in clients.iter().zip(&out) {
            prop_assert_eq!(c.id, d.id);
            let active_above = clients.iter().any(|r| r.attr.class > c.attr.class && r.presence == Presence::Active);
            match (d.mode, d.reason) {
                (GateMode::Open, Reason::Unrivalled) => prop_assert_eq!(c.attr.class, top),
                (GateMode::Closed, Reason::HeldBy(holder)) => {
                    let holder = clients[holder.0 as usize];
                    prop_assert!(holder.attr.class > c.attr.class && holder.presence != Presence::Never);
                }
                (GateMode::Capped(cap), Reason::RivalIdle) => {
                    prop_assert!(!active_above && cap >= 1);
                    if let Some(t) = c.kernel_time.filter(|t| t.0 > 0) {
                        let held = t.times(u64::from(cap));
                        prop_assert!(cap == 1 || held <= DeviceSettings::default().budget + t);
                    }
                }
                other => prop_assert!(false, "{:?}", other),
            }
            if active_above {
                prop_assert_eq!(d.mode, GateMode::Closed);
            }
        }
        if let Some(again) = again {
            prop_assert!(again > NOW && again < NOW.times(2) + DeviceSettings::default().linger.limits().1);
        }
    }
}
