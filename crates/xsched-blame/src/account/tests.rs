use proptest::prelude::*;
use xsched_common::page::{Histogram, HistogramCounts};

use super::super::{Escaping, HeldUp, InFlight, Own, PeerWork};
use super::*;

const MS: fn(u64) -> Nanos = Nanos::from_millis;

fn bursts(lengths: impl IntoIterator<Item = Nanos>) -> HistogramCounts {
    let histogram = Histogram::new();
    lengths
        .into_iter()
        .for_each(|length| histogram.record(length));
    histogram.counts()
}

/// Bursts of 20 ms that take 12 alone and are to take 14, 25 a second.
fn facts() -> Facts {
    Facts {
        over: Nanos::from_secs(1),
        bursts: bursts([MS(20); 25]),
        target: Some(MS(14)),
        own: Own::of(bursts([MS(12); 100])),
        ..Facts::default()
    }
}

fn share(account: &Account, cause: BlameCause) -> f64 {
    let of = account.parts.iter().filter(|part| part.cause == cause);
    of.map(|part| part.time.0 as f64).sum::<f64>() / account.loss.0.max(1) as f64
}

fn first(account: &Account) -> Option<BlameCause> {
    let part = account.parts.iter().max_by_key(|part| part.time)?;
    Some(part.cause)
}

#[test]
fn what_is_past_the_gate_takes_what_is_left_if_it_can() {
    let busy = Facts {
        past_gate: vec![Escaping {
            pid: 7,
            launches: 2_201.0,
        }],
        ..facts()
    };
    let account_ = account(&busy);
    assert!(
        share(&account_, BlameCause::PastGate) > 0.99,
        "{account_:?}"
    );
    // One launch cannot have cost 25 bursts 8 ms each for a second.
    let rare = Facts {
        past_gate: vec![Escaping {
            pid: 7,
            launches: 0.5,
        }],
        ..facts()
    };
    let account = account(&rare);
    let part = account.parts[0];
    assert!(part.time <= part.at_most && part.time < Nanos(account.loss.0 * 2 / 3));
}

#[test]
fn kernels_in_flight_are_blamed_for_no_more_than_they_take() {
    let beside = Facts {
        in_flight: vec![InFlight {
            pid: 7,
            commands: 4.0,
            cap: 4,
            kernel: Nanos::from_micros(322),
        }],
        ..facts()
    };
    let account = account(&beside);
    let share = share(&account, BlameCause::InFlight);
    assert!((0.11..0.16).contains(&share), "{share}");
    let unexplained = account.unexplained().0 as f64 / account.loss.0 as f64;
    assert!(unexplained > 0.8, "{account:?}");
}

#[test]
fn own_work_beyond_the_target_is_its_own() {
    let grown = Facts {
        own: Own::of(bursts([MS(20); 100])),
        ..facts()
    };
    let account = account(&grown);
    assert_eq!(first(&account), Some(BlameCause::OwnWork));
    assert!(share(&account, BlameCause::OwnWork) > 0.95, "{account:?}");
}

#[test]
fn nothing_takes_longer_alone_than_beside_others() {
    let grown = Facts {
        own: Own::of(bursts([MS(26); 100])),
        ..facts()
    };
    let account = account(&grown);
    let alone = account.own_time.expect("known").0 / account.slow;
    assert!(alone < 21_000_000, "{alone}");
    assert!(share(&account, BlameCause::OwnWork) > 0.95, "{account:?}");
}

#[test]
fn who_is_slow_alone_has_more_work_than_before() {
    let alone = Facts {
        alone: true,
        host_gaps: MS(50),
        ..facts()
    };
    let account = account(&alone);
    assert_eq!(first(&account), Some(BlameCause::OwnWork));
    assert_eq!(account.parts.len(), 2, "{account:?}");
    assert!((0.22..0.28).contains(&share(&account, BlameCause::HostGaps)));
    assert!(account.unexplained() < MS(1), "{account:?}");
}

#[test]
fn a_stall_of_one_burst_is_its_cause_s() {
    let stalled = Facts {
        bursts: bursts([MS(12); 24].into_iter().chain([MS(22)])),
        service_delay: MS(10),
        ..facts()
    };
    let account = account(&stalled);
    assert_eq!(account.slow, 1);
    assert!(share(&account, BlameCause::ServiceCpu) > 0.9, "{account:?}");
}

#[test]
fn without_target_the_time_alone_tells_what_is_slow() {
    let no_target = Facts {
        target: None,
        gate_wait: MS(200),
        ..facts()
    };
    let accounted = account(&no_target);
    assert_eq!(accounted.slow, 25);
    assert_eq!(first(&accounted), Some(BlameCause::GateWait));
    let unknown = Facts {
        own: None,
        ..no_target
    };
    let accounted = account(&unknown);
    assert_eq!((accounted.limit, accounted.slow), (None, 0));
}

#[test]
fn sums_of_accounts_are_accounts() {
    let busy = Facts {
        past_gate: vec![Escaping {
            pid: 7,
            launches: 2_201.0,
        }],
        ..facts()
    };
    let one = account(&busy);
    let mut sum = Account::default();
    for _ in 0..10 {
        sum.add(&one);
    }
    assert_eq!((sum.slow, sum.loss), (250, one.loss.times(10)));
    assert_eq!(sum.parts.len(), 1);
    assert_eq!(sum.parts[0].time, one.parts[0].time.times(10));
    assert_eq!(sum.own_time, one.own_time.map(|own| own.times(10)));
}

fn any_time() -> impl Strategy<Value = Nanos> {
    prop_oneof![Just(0), 0u64..100_000_000, any::<u64>()].prop_map(Nanos)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let lengths = || prop::collection::vec(0u64..1 << 36, 0..40);
    let in_flight = prop::collection::vec((-5.0..400.0f64, 0u32..300, any_time()), 0..4);
    let peers = prop::collection::vec(any_time(), 0..4);
    let past = prop::collection::vec(-1.0..1e7f64, 0..4);
    let waits = (any_time(), any_time(), any_time(), any_time());
    (
        (
            lengths(),
            lengths(),
            any_time(),
            prop::option::of(any_time()),
        ),
        waits,
        (in_flight, peers, past, prop::option::of(any_time())),
    )
        .prop_map(|((now, alone, over, target), waits, others)| {
            let (in_flight, peers, past, unscheduled_busy) = others;
            let pids = 1..;
            Facts {
                pid: 1,
                over,
                bursts: bursts(now.into_iter().map(Nanos)),
                target,
                alone: over.0 % 2 == 0,
                own: Own::of(bursts(alone.into_iter().map(Nanos))),
                gate_wait: waits.0,
                service_delay: waits.1,
                host_gaps: waits.2,
                agent: HeldUp { delay: waits.3 },
                in_flight: in_flight
                    .into_iter()
                    .zip(pids.clone())
                    .map(|((commands, cap, kernel), pid)| InFlight {
                        pid,
                        commands,
                        cap,
                        kernel,
                    })
                    .collect(),
                peers: peers
                    .into_iter()
                    .zip(pids.clone())
                    .map(|(busy, pid)| PeerWork { pid, busy })
                    .collect(),
                past_gate: past
                    .into_iter()
                    .zip(pids)
                    .map(|(launches, pid)| Escaping { pid, launches })
                    .collect(),
                unscheduled_busy,
            }
        })
}

proptest! {
    /// The parts never exceed the loss, and with the rest they are the loss.
    #[test]
    fn parts_sum_up_to_the_loss(facts in any_facts()) {
        let account = account(&facts);
        let parts: u128 = account.parts.iter().map(|part| u128::from(part.time.0)).sum();
        let loss = u128::from(account.loss.0);
        // Of a float: good for one in 2^52.
        prop_assert!(parts <= loss + loss / 1_000_000 + 8, "{parts} of {loss}");
        prop_assert!(account.slow <= account.bursts);
    }

    /// No cause is blamed for more than it can have cost.
    #[test]
    fn no_part_exceeds_its_bound(facts in any_facts()) {
        for part in account(&facts).parts {
            prop_assert!(part.time.0 <= part.at_most.0.saturating_add(part.at_most.0 / 1_000_000 + 8), "{part:?}");
        }
    }

    /// What was not at work is not named.
    #[test]
    fn the_absent_are_not_blamed(facts in any_facts()) {
        let alone = Facts {
            gate_wait: Nanos::ZERO,
            alone: false,
            in_flight: Vec::new(),
            peers: Vec::new(),
            past_gate: Vec::new(),
            agent: HeldUp::default(),
            ..facts
        };
        for part in account(&alone).parts {
            prop_assert!(part.pid.is_none() && part.cause != BlameCause::GateWait);
        }
    }

    /// More of a measured cause never makes its part smaller.
    #[test]
    fn blame_grows_with_what_was_measured(facts in any_facts(), more in 0u64..1_000_000_000) {
        let of = |facts: &Facts| share(&account(facts), BlameCause::ServiceCpu);
        let before = Facts { service_delay: Nanos(facts.service_delay.0 % 1_000_000_000), ..facts };
        let after = Facts { service_delay: before.service_delay + Nanos(more), ..before.clone() };
        prop_assert!(of(&after) >= of(&before) - 1e-6);
    }
}

/// A process with a class group has gates of its own for that, and one part.
#[test]
fn two_parts_of_a_process_are_one() {
    let of = |commands| InFlight {
        pid: 9,
        commands,
        cap: 4,
        kernel: MS(1),
    };
    let account = account(&Facts {
        in_flight: vec![of(2.0), of(2.0)],
        ..facts()
    });
    let mut parts = account.parts.iter();
    let part = parts.find(|part| part.pid == Some(9)).expect("a part");
    assert!((part.in_flight - 4.0).abs() < 0.1, "{part:?}");
    assert!(parts.all(|part| part.pid != Some(9)));
}

/// Eight threads at the gate for 6 ms each have not cost a burst 48 ms.
#[test]
fn threads_that_wait_at_once_do_not_add_up() {
    let account = account(&Facts {
        gate_wait: MS(25 * 6 * 8),
        in_flight: vec![InFlight {
            pid: 9,
            commands: 4.0,
            cap: 4,
            kernel: MS(1),
        }],
        ..facts()
    });
    let in_flight = share(&account, BlameCause::InFlight);
    assert!(in_flight > 0.2, "{in_flight} of {:?}", account.parts);
    let loss = account.loss;
    assert!(account.parts.iter().all(|part| part.at_most <= loss));
}
