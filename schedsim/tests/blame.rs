//! Causes of slow bursts that are planted in virtual time, and what the
//! account makes of the facts: without a machine's noise, so the shares have
//! to be right.
//!
//! Bursts of 10 ms with a target of 12 ms, every 40 ms. What the agent reads
//! from pages is read here every millisecond from the simulated ones; delays
//! of processors, which the kernel would tell, are those that are planted.

use schedsim::program::{Arrivals, At, Batch, Op, Program, Service};
use schedsim::timing::{Delay, Rng, Timing};
use schedsim::world::{Under, World};
use xsched_blame::{Account, Escaping, Facts, HeldUp, InFlight, Own, PeerWork, account};
use xsched_common::api::BlameCause;
use xsched_common::gate::GateMode;
use xsched_common::page::HistogramCounts;
use xsched_common::units::{Class, Nanos};
use xsched_policy::{DeviceSettings, SchedAttr};

const MS: fn(u64) -> Nanos = Nanos::from_millis;
const US: fn(u64) -> Nanos = Nanos::from_micros;

/// The estimators settle first.
const WARM: Nanos = Nanos::from_secs(2);
const TIME: Nanos = Nanos::from_secs(20);
const TARGET: Nanos = Nanos::from_millis(12);

/// A service beside others.
#[derive(Default)]
struct Plant {
    kernels: Option<u32>,
    /// Between its launches.
    pause: Nanos,
    /// Each of its waits returns so late: its thread has no processor.
    late: Nanos,
    /// The agent hears so late.
    deaf: Nanos,
    others: Vec<(Class, Other, Under)>,
}

#[derive(Clone, Copy)]
enum Other {
    /// Kernels of this length without end.
    Batch(Nanos),
    /// Bursts of 15 ms.
    Bursts,
}

/// A service that sleeps between its launches.
struct Pausing {
    inner: Service,
    pause: Nanos,
    launched: bool,
}

impl Program for Pausing {
    fn next(&mut self, now: Nanos, rng: &mut Rng) -> Op {
        if std::mem::take(&mut self.launched) && self.pause > Nanos::ZERO {
            return Op::Until(now + self.pause);
        }
        let op = self.inner.next(now, rng);
        self.launched = matches!(op, Op::Launch(_));
        op
    }
}

fn service(kernels: u32, arrivals: Arrivals) -> Service {
    Service {
        kernels,
        kernel: US(500),
        syncs: 1,
        think: Nanos::ZERO,
        arrivals,
        at: At::default(),
    }
}

fn start(world: &mut World, class: Class, other: Other, under: Under) -> usize {
    let attr = SchedAttr::of_class(class);
    match other {
        Other::Batch(kernel) => world.start(Batch::of(kernel), attr, under),
        Other::Bursts => world.start(service(30, Arrivals::Jittered(MS(37))), attr, under),
    }
}

/// The facts of [`TIME`], and what the bursts took.
fn facts(plant: &Plant, own: Option<Own>) -> Facts {
    let timing = Timing {
        sync: Timing::default().sync + plant.late,
        doorbell: match plant.deaf {
            Nanos::ZERO => Timing::default().doorbell,
            deaf => Delay {
                p50: deaf,
                p99: deaf,
            },
        },
        ..Timing::default()
    };
    let mut world = World::new(5, timing, DeviceSettings::default());
    let program = Pausing {
        inner: service(plant.kernels.unwrap_or(20), Arrivals::Jittered(MS(41))),
        pause: plant.pause,
        launched: false,
    };
    let attr = SchedAttr {
        slo_p99: Some(TARGET),
        ..SchedAttr::of_class(Class::High)
    };
    let high = world.start(program, attr, Under::Shim);
    let others = plant.others.iter();
    let others: Vec<(usize, Class, Under)> = others
        .map(|&(class, other, under)| (start(&mut world, class, other, under), class, under))
        .collect();
    world.run(WARM);
    let bursts = |world: &World| {
        let shim = world.client(high).shim.as_ref().expect("under the shim");
        shim.burst_times.counts()
    };
    let before = bursts(&world);
    let done = |world: &World| -> Vec<(u64, Nanos)> {
        let each = others.iter();
        each.map(|(n, ..)| (world.device().finished(*n), world.device().served(*n)))
            .collect()
    };
    let then = done(&world);
    let mut found = vec![(0u64, 0u64, 0u32); others.len()];
    let mut facts = Facts {
        over: TIME,
        target: Some(TARGET),
        own,
        alone: plant.others.is_empty() && plant.late == Nanos::ZERO,
        ..Facts::default()
    };
    let mut active_for = Nanos::ZERO;
    let mut launching = Nanos::ZERO;
    for _ in 0..TIME.0 / MS(1).0 {
        let launched = |world: &World| world.client(high).shim.as_ref().map_or(0, |s| s.launched);
        let earlier = launched(&world);
        world.run(MS(1));
        let shim = world.client(high).shim.as_ref().expect("under the shim");
        if shim.waits() {
            facts.gate_wait = facts.gate_wait + MS(1);
        }
        if shim.active {
            active_for = active_for + MS(1);
            if launched(&world) != earlier {
                launching = launching + MS(1);
            }
            continue;
        }
        for ((number, ..), (sum, looks, cap)) in others.iter().zip(&mut found) {
            if let Some(shim) = &world.client(*number).shim {
                *sum += shim.launched - shim.known;
                *looks += 1;
                if let GateMode::Capped(k) = shim.word.mode() {
                    *cap = (*cap).max(u32::from(k));
                }
            }
        }
    }
    facts.bursts = bursts(&world).since(&before);
    let count = facts.bursts.total();
    facts.service_delay = plant.late.times(count);
    let part = active_for.0 as f64 / TIME.0 as f64;
    for (((number, class, under), now), (then, found)) in others
        .iter()
        .zip(done(&world))
        .zip(then.into_iter().zip(&found))
    {
        let pid = *number as u32;
        let busy = Nanos(((now.1 - then.1).0 as f64 * part) as u64);
        match (under, world.client(*number).shim.as_ref()) {
            (Under::Native, _) | (_, None) => facts.past_gate.push(Escaping {
                pid,
                launches: (now.0 - then.0) as f64,
            }),
            (_, Some(shim)) if *class < Class::High => {
                if plant.deaf > Nanos::ZERO {
                    facts.agent = HeldUp {
                        delay: plant.deaf.times(count),
                    };
                }
                facts.in_flight.push(InFlight {
                    pid,
                    commands: found.0 as f64 / found.1.max(1) as f64,
                    cap: found.2,
                    kernel: shim.kernel_time,
                });
            }
            (_, Some(_)) => facts.peers.push(PeerWork {
                pid,
                busy: busy.since(facts.gate_wait),
            }),
        }
    }
    if let Some(own) = &facts.own {
        let each = Nanos(launching.0 / count.max(1)) + US(500);
        facts.host_gaps = each.since(own.p50()).times(count);
    }
    facts
}

/// Bursts alone.
fn alone() -> HistogramCounts {
    facts(&Plant::default(), None).bursts
}

fn accounted(plant: &Plant) -> Account {
    let own = Own::of(alone());
    let account = account(&facts(plant, own));
    assert!(account.slow > 100, "it is slow: {account:?}");
    let parts: u64 = account.parts.iter().map(|part| part.time.0).sum();
    assert!(parts <= account.loss.0 + 16, "{account:?}");
    account
}

fn share(account: &Account, cause: BlameCause) -> f64 {
    let parts = account.parts.iter().filter(|part| part.cause == cause);
    parts.map(|part| part.time.0 as f64).sum::<f64>() / account.loss.0 as f64
}

fn beside(class: Class, other: Other, under: Under) -> Plant {
    Plant {
        others: vec![(class, other, under)],
        ..Plant::default()
    }
}

fn single(cause: BlameCause) -> Plant {
    match cause {
        BlameCause::OwnWork => Plant {
            kernels: Some(40),
            ..Plant::default()
        },
        BlameCause::GateWait => beside(Class::Realtime, Other::Bursts, Under::Shim),
        BlameCause::InFlight => beside(Class::Low, Other::Batch(MS(15)), Under::Shim),
        BlameCause::Peer => beside(Class::High, Other::Batch(US(200)), Under::Shim),
        BlameCause::PastGate => beside(Class::Normal, Other::Batch(US(200)), Under::Native),
        BlameCause::HostGaps => Plant {
            pause: US(900),
            ..Plant::default()
        },
        BlameCause::ServiceCpu => Plant {
            late: MS(8),
            ..Plant::default()
        },
        BlameCause::AgentHeldUp => Plant {
            deaf: MS(16),
            ..beside(Class::Low, Other::Batch(US(100)), Under::Shim)
        },
    }
}

#[test]
fn each_cause_is_named_with_its_share() {
    for cause in BlameCause::ALL {
        let account = accounted(&single(cause));
        let got = share(&account, cause);
        assert!(got >= 0.85, "{cause:?}: {got:.2} {}", account.row().summary);
    }
}

#[test]
fn pairs_have_the_shares_that_each_has_by_itself() {
    let pairs = [
        (BlameCause::PastGate, BlameCause::ServiceCpu),
        (BlameCause::PastGate, BlameCause::InFlight),
    ];
    for (one, two) in pairs {
        let (mut both, second) = (single(one), single(two));
        both.late = both.late.max(second.late);
        both.others.extend(second.others);
        let [a, b] = [one, two].map(|cause| accounted(&single(cause)).loss.0 as f64);
        let account = accounted(&both);
        for (cause, alone) in [(one, a), (two, b)] {
            let (got, due) = (share(&account, cause), alone / (a + b));
            let text = account.row().summary;
            assert!(
                (got - due).abs() <= 0.15,
                "{cause:?}: {got:.2}, due {due:.2}: {text}"
            );
        }
    }
}

/// Kernels of 322 us cannot make bursts of 32 ms.
#[test]
fn short_kernels_are_not_blamed_for_long_waits() {
    let plant = Plant {
        late: MS(20),
        ..beside(Class::Low, Other::Batch(US(322)), Under::Shim)
    };
    let account = accounted(&plant);
    assert!(
        share(&account, BlameCause::InFlight) < 0.15,
        "{}",
        account.row().summary
    );
    assert!(
        share(&account, BlameCause::ServiceCpu) > 0.8,
        "{}",
        account.row().summary
    );
}
