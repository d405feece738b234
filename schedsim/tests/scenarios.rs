//! The policy under scenarios, in virtual time: what it promises holds for
//! whole programs, not only for single decisions.

use schedsim::program::{Arrivals, At, Batch, Op, Program, Service};
use schedsim::scenario::{Beside, SERVICE, no_linger, shares};
use schedsim::stats::{mean, quantile};
use schedsim::timing::{Rng, Timing};
use schedsim::world::{START, Tells, Under, World};
use xsched_common::api::{SharingMode, SloState};
use xsched_common::gate::{GateMode, Guard};
use xsched_common::units::{Class, Nanos, Weight};
use xsched_policy::{DeviceSettings, Linger, Override, OverrideKind, SchedAttr};

const MS: fn(u64) -> Nanos = Nanos::from_millis;
const US: fn(u64) -> Nanos = Nanos::from_micros;
const SECOND: Nanos = Nanos::from_secs(1);

fn service(kernels: u32, kernel: Nanos, arrivals: Arrivals) -> Service {
    Service {
        kernels,
        kernel,
        syncs: 1,
        think: Nanos::ZERO,
        arrivals,
        at: At::default(),
    }
}

fn class(class: Class) -> SchedAttr {
    SchedAttr::of_class(class)
}

fn world(settings: DeviceSettings) -> World {
    World::new(7, Timing::default(), settings)
}

/// Strict: beside saturating work of every lower class, each class keeps its
/// latency, the higher the better.
#[test]
fn a_higher_class_is_not_held_up_by_a_lower_one() {
    let scenario = SERVICE;
    let alone = scenario.alone(3, Nanos::from_secs(8));
    let native = scenario.native(3, Nanos::from_secs(8));
    let ours = scenario.scheduled(3, Nanos::from_secs(8), DeviceSettings::default());
    let ratio = |p99: Nanos| p99.0 as f64 / alone.p99.0 as f64;
    assert!(ratio(native.p99) > 1.8, "{native:?}");
    assert!(ratio(ours.p99) <= 1.05, "{ours:?}");
    assert!(ours.leftover >= 0.97, "{ours:?}");
}

/// Without linger a service that synchronises often gains little; with it,
/// it runs as alone.
#[test]
fn lingering_bridges_the_gaps_within_a_request() {
    let scenario = Beside {
        syncs: 50,
        think: US(50),
        ..SERVICE
    };
    let time = Nanos::from_secs(8);
    let alone = scenario.alone(3, time).p99.0 as f64;
    let ours = scenario.scheduled(3, time, DeviceSettings::default());
    let without = scenario.scheduled(3, time, no_linger());
    assert!(ours.p99.0 as f64 / alone <= 1.10, "{ours:?}");
    assert!(without.p99.0 as f64 / alone >= 1.3, "{without:?}");
}

/// Starvation: a low program beside a service that wants everything gets its
/// minimum share and no wait of it is long.
#[test]
fn nobody_starves() {
    let mut world = world(DeviceSettings::default());
    let saturating = service(1_000, US(500), Arrivals::BackToBack);
    world.start(saturating, class(Class::High), Under::Shim);
    let low = world.start(Batch::of(US(60)), class(Class::Low), Under::ShimWorker);
    world.run(SECOND);
    let before = world.device().served(low);
    world.run(Nanos::from_secs(10));
    let share = (world.device().served(low) - before).0 as f64 / 10e9;
    assert!((0.005..0.02).contains(&share), "low got {share}");

    world.set_settings(DeviceSettings {
        min_share_permille: 0,
        ..DeviceSettings::default()
    });
    let (before, from) = (world.device().finished(low), world.now());
    world.run(Nanos::from_secs(10));
    let passed = world.device().finished(low) - before;
    let shim = world.client(low).shim.as_ref().expect("under the shim");
    let guards = shim.guards[Guard::Trickle as usize];
    assert!(
        (95..=105).contains(&passed),
        "the trickle alone: {passed} since {from}"
    );
    assert!(guards >= 95);
}

/// Inversion: the middle class cannot hold up the highest, and is not held
/// up by the lowest, whatever the order in which they come.
#[test]
fn the_middle_class_does_not_stand_between() {
    let alone = {
        let mut world = world(DeviceSettings::default());
        let n = world.start(
            service(20, US(500), Arrivals::Jittered(MS(60))),
            class(Class::Realtime),
            Under::Shim,
        );
        world.run(Nanos::from_secs(6));
        quantile(&world.client(n).latencies(START + SECOND), 0.99)
    };
    let mut world = world(DeviceSettings::default());
    world.start(Batch::of(US(200)), class(Class::Low), Under::Shim);
    world.start(Batch::of(US(400)), class(Class::Normal), Under::Shim);
    let top = world.start(
        service(20, US(500), Arrivals::Jittered(MS(60))),
        class(Class::Realtime),
        Under::Shim,
    );
    world.run(Nanos::from_secs(6));
    let beside = quantile(&world.client(top).latencies(START + SECOND), 0.99);
    // Two caps of at most D + T, and delays of the machine.
    let most = alone + US(700) + US(900) + US(200);
    assert!(beside <= most, "{beside} beside, {alone} alone");
}

/// A class that takes a boost goes above all others until its end, and one
/// that is suspended launches nothing but its trickle until then.
#[test]
fn holds_take_precedence_and_end_by_themselves() {
    let mut world = world(DeviceSettings::default());
    let a = world.start(Batch::of(US(200)), class(Class::Normal), Under::ShimWorker);
    let b = world.start(Batch::of(US(200)), class(Class::Low), Under::ShimWorker);
    let gained = |world: &mut World, n: usize, time: Nanos| {
        let before = world.device().served(n);
        world.run(time);
        (world.device().served(n) - before).0 as f64 / time.0 as f64
    };
    world.run(SECOND);
    assert!(gained(&mut world, b, SECOND) < 0.03, "low beside normal");
    let until = world.now() + SECOND;
    let kind = OverrideKind::Boosted;
    world.set_hold(b, Some(Override { kind, until }));
    // What the other had queued while nobody was above it takes 50 ms.
    assert!(gained(&mut world, b, SECOND) > 0.92, "boosted");
    world.run(MS(60));
    assert!(gained(&mut world, b, SECOND) < 0.03, "the boost is over");
    let until = world.now() + SECOND;
    let kind = OverrideKind::Suspended;
    world.set_hold(a, Some(Override { kind, until }));
    let share = gained(&mut world, b, MS(900));
    assert!(share > 0.92, "beside a suspended one: {share}");
    assert_eq!(world.gate(a), Some(GateMode::Closed));
    world.run(MS(160));
    assert!(
        gained(&mut world, a, SECOND) > 0.95,
        "the suspension is over"
    );
}

/// Launches one kernel and never waits for it: active for ever.
struct Forgetful {
    launched: bool,
}

impl Program for Forgetful {
    fn next(&mut self, _: Nanos, _: &mut Rng) -> Op {
        if std::mem::replace(&mut self.launched, true) {
            return Op::Exit;
        }
        Op::Launch(US(100))
    }
}

/// A client that is always active and does nothing holds others for no
/// longer than the limit.
#[test]
fn activity_without_progress_is_not_waited_for() {
    let mut world = world(DeviceSettings::default());
    world.start(
        Forgetful { launched: false },
        class(Class::High),
        Under::Shim,
    );
    let low = world.start(Batch::of(US(200)), class(Class::Low), Under::ShimWorker);
    world.run(MS(900));
    let held = world.device().served(low);
    assert!(held < MS(40), "it holds at first: {held}");
    world.run(Nanos::from_secs(2));
    let free = world.device().served(low) - held;
    assert!(free > MS(1_700), "it was waited for: {free}");
    assert!(matches!(world.gate(low), Some(GateMode::Capped(_))));
}

/// The agent dies: everybody runs free within the lease and a poll.
#[test]
fn without_an_agent_all_run_free() {
    let mut world = world(DeviceSettings::default());
    let high = service(10_000, US(500), Arrivals::BackToBack);
    world.start(high, class(Class::High), Under::Shim);
    let low = world.start(Batch::of(US(200)), class(Class::Low), Under::ShimWorker);
    world.run(SECOND);
    world.kill_agent();
    world.run(MS(300));
    let shim = world.client(low).shim.as_ref().expect("under the shim");
    assert!(shim.guards[Guard::Lease as usize] >= 1);
}

/// Shares are those of the weights, whatever the kernels, and nothing is
/// lost by sharing.
#[test]
fn shares_follow_the_weights() {
    let cases: [&[(u16, Nanos)]; 4] = [
        &[(300, US(60)), (100, US(60))],
        &[(300, US(5_000)), (100, US(60))],
        &[(300, US(60)), (100, US(5_000))],
        &[(60, US(300)), (30, US(60)), (10, US(1_000))],
    ];
    for programs in cases {
        let got = shares(5, Nanos::from_secs(12), programs);
        assert!(got.error <= 2.0, "{programs:?}: {got:?}");
        assert!(got.sum >= 0.97, "{programs:?}: {got:?}");
    }
}

/// A client that uses less than its share leaves the rest to its peers, and
/// gets what it wants: work conservation inside a class.
#[test]
fn an_unused_share_is_used_by_others() {
    let settings = DeviceSettings {
        mode: SharingMode::Share,
        ..DeviceSettings::default()
    };
    let mut world = world(settings);
    let weight = |raw| SchedAttr {
        weight: Weight::new(raw).expect("in range"),
        ..SchedAttr::default()
    };
    // A tenth of the device, of three quarters that it might have.
    let light = service(4, US(500), Arrivals::Jittered(MS(20)));
    let light = world.start(light, weight(300), Under::Shim);
    let heavy = world.start(Batch::of(US(100)), weight(100), Under::Shim);
    world.run(Nanos::from_secs(10));
    let share = |n| world.device().served(n).0 as f64 / 10e9;
    assert!((0.09..0.11).contains(&share(light)), "{}", share(light));
    assert!(share(light) + share(heavy) > 0.97, "{}", share(heavy));
    let p99 = quantile(&world.client(light).latencies(START + SECOND), 0.99);
    assert!(p99 < MS(9), "owed time is given within about a turn: {p99}");
}

/// Charged time is the device's: in sum within 2%, whoever comes and goes.
#[test]
fn charged_time_is_conserved_under_churn() {
    for seed in 1..=5 {
        let settings = DeviceSettings {
            mode: SharingMode::Share,
            ..DeviceSettings::default()
        };
        let mut world = World::new(seed, Timing::default(), settings);
        let mut rng = Rng::new(seed);
        let mut all = Vec::new();
        for i in 0..24 {
            let of = Class::ALL[(rng.uniform() * 4.0) as usize];
            let kernel = US(20 + (rng.uniform() * 2_000.0) as u64);
            let n = match i % 3 {
                0 => world.start(Batch::of(kernel), class(of), Under::Shim),
                _ => {
                    let gap = kernel.times(10 + (rng.uniform() * 400.0) as u64);
                    let program = service(5, kernel, Arrivals::Poisson(gap));
                    world.start(program, class(of), Under::ShimWorker)
                }
            };
            all.push(n);
            world.run(MS(100));
            if i % 4 == 3 {
                let any = (rng.uniform() * all.len() as f64) as usize;
                world.set_attr(all[any], class(Class::ALL[i % 4]));
            }
        }
        world.run(Nanos::from_secs(3));
        let charged: u64 = all.iter().map(|n| world.charged(*n).0).sum();
        let busy = world.device().busy().0;
        let ratio = charged as f64 / busy as f64;
        assert!((0.98..=1.02).contains(&ratio), "seed {seed}: {ratio}");
        for n in all {
            let longest = world.client(n).longest_wait;
            assert!(longest <= MS(300), "client {n} waited {longest}");
        }
    }
}

/// No flapping: gates move with the work, not by themselves.
#[test]
fn gates_change_with_the_work_only() {
    let mut world = world(DeviceSettings::default());
    let program = service(20, US(500), Arrivals::Every(MS(50)));
    world.start(program, class(Class::High), Under::Shim);
    let low = world.start(Batch::of(US(60)), class(Class::Low), Under::Shim);
    world.run(SECOND);
    let before = world.client(low).gate_changes;
    world.run(Nanos::from_secs(10));
    // 200 requests: close and open for each, and a cap that settles.
    let changes = world.client(low).gate_changes - before;
    assert!((390..=500).contains(&changes), "{changes} changes");
}

/// Targets: cap and linger come to rest where the target is met.
#[test]
fn a_reachable_target_is_reached_and_kept() {
    let settings = DeviceSettings {
        mode: SharingMode::Slo,
        budget: MS(4),
        ..DeviceSettings::default()
    };
    let mut world = world(settings);
    let attr = SchedAttr {
        class: Class::High,
        // 5 ms alone.
        slo_p99: Some(US(5_600)),
        ..SchedAttr::default()
    };
    let program = service(10, US(500), Arrivals::Jittered(MS(15)));
    let high = world.start(program, attr, Under::Shim);
    world.start(Batch::of(US(60)), class(Class::Low), Under::Shim);
    world.run(Nanos::from_secs(40));
    let from = world.now();
    world.run(Nanos::from_secs(20));
    let verdict = world.slo(high).expect("has a target");
    assert_eq!(verdict.state, SloState::Met, "{verdict:?}");
    let p99 = verdict.p99.expect("measured");
    assert!(p99 <= US(5_600), "{p99} since {from}");
}

/// A target that no cap can meet is said to be out of reach, and whose
/// kernels stand in its way.
#[test]
fn a_target_below_a_kernel_is_impossible() {
    let settings = DeviceSettings {
        mode: SharingMode::Slo,
        ..DeviceSettings::default()
    };
    let mut world = world(settings);
    let attr = SchedAttr {
        class: Class::High,
        slo_p99: Some(MS(7)),
        ..SchedAttr::default()
    };
    let program = service(10, US(500), Arrivals::Jittered(MS(40)));
    let high = world.start(program, attr, Under::Shim);
    world.start(Batch::of(MS(31)), class(Class::Low), Under::ShimWorker);
    world.run(Nanos::from_secs(60));
    let verdict = world.slo(high).expect("has a target");
    assert_eq!(verdict.state, SloState::Impossible, "{verdict:?}");
}

/// Mean wait of a service's requests, in ns, over several seeds.
fn mean_wait(kernel: Nanos, from: Nanos, run: impl Fn(u64) -> (World, usize)) -> f64 {
    let waits = (1..=SEEDS).map(|seed| {
        let (world, n) = run(seed);
        mean(&world.client(n).latencies(from)) - kernel.0 as f64
    });
    waits.sum::<f64>() / SEEDS as f64
}

/// What makes the mean of so many requests good for a hundredth or so.
const SEEDS: u64 = 5;
const LONG: Nanos = Nanos::from_secs(200);

/// Strict priority and nothing else: no minimum share, and a linger just
/// long enough for a request that had to queue to follow the one before.
fn strict() -> DeviceSettings {
    DeviceSettings {
        min_share_permille: 0,
        linger: Linger::Fixed(US(1)),
        ..DeviceSettings::default()
    }
}

/// M/D/1 (Pollaczek and Khinchine): the gate, open, changes nothing.
#[test]
fn a_service_alone_waits_as_the_formula_says() {
    let kernel = MS(1);
    for load in [0.3, 0.6] {
        let gap = Nanos((kernel.0 as f64 / load) as u64);
        let wait = mean_wait(kernel, START, |seed| {
            let mut world = World::new(seed, Timing::IDEAL, DeviceSettings::default());
            let program = service(1, kernel, Arrivals::Poisson(gap));
            let n = world.start(program, SchedAttr::default(), Under::Shim);
            world.run(LONG);
            (world, n)
        });
        let formula = kernel.0 as f64 * load / (2.0 * (1.0 - load));
        assert!((wait / formula - 1.0).abs() < 0.02, "{wait} for {formula}");
    }
}

/// Two services of Poisson arrivals, one command of the lower in flight: the
/// higher waits as in a queue with priorities and without preemption (Cobham,
/// "Priority assignment in waiting line problems", 1954). Its kernels are the
/// longer ones: until a kernel of the lower ends, the device serves both at
/// half speed, which comes to the same.
#[test]
fn a_service_above_another_waits_as_the_formula_says() {
    let (high, low) = (MS(2), MS(1));
    let (high_load, low_load) = (0.4, 0.3);
    let gap = |kernel: Nanos, load: f64| Arrivals::Poisson(Nanos((kernel.0 as f64 / load) as u64));
    let wait = mean_wait(high, START + SECOND, |seed| {
        let mut world = World::new(seed, Timing::IDEAL, strict());
        let above = service(1, high, gap(high, high_load));
        let n = world.start(above, class(Class::High), Under::Shim);
        let below = service(1, low, gap(low, low_load));
        world.start(below, class(Class::Low), Under::ShimWorker);
        world.run(LONG);
        (world, n)
    });
    // Mean residual of what is in service, over what the higher leaves.
    let residual = (high_load * high.0 as f64 + low_load * low.0 as f64) / 2.0;
    let formula = residual / (1.0 - high_load);
    assert!((wait / formula - 1.0).abs() < 0.02, "{wait} for {formula}");
}

/// One command of a saturating lower class in flight is a server that takes
/// vacations of its length: the mean wait is that of M/D/1 and half a
/// vacation (Doshi, "Queueing systems with vacations", 1986).
#[test]
fn a_service_beside_long_kernels_waits_as_the_formula_says() {
    let (kernel, low, load) = (MS(2), MS(1), 0.4);
    let gap = Nanos((kernel.0 as f64 / load) as u64);
    let wait = mean_wait(kernel, START + SECOND, |seed| {
        let mut world = World::new(seed, Timing::IDEAL, strict());
        let program = service(1, kernel, Arrivals::Poisson(gap));
        let n = world.start(program, class(Class::High), Under::Shim);
        let batch = Batch {
            jitter_percent: 0,
            ..Batch::of(low)
        };
        world.start(batch, class(Class::Low), Under::ShimWorker);
        world.run(LONG);
        (world, n)
    });
    let queue = kernel.0 as f64 * load / (2.0 * (1.0 - load));
    let formula = queue + low.0 as f64 / 2.0;
    assert!((wait / formula - 1.0).abs() < 0.03, "{wait} for {formula}");
}

/// Deterministic: what a test found once it finds again.
#[test]
fn equal_seeds_give_equal_runs() {
    let run = || {
        let mut world = world(DeviceSettings::default());
        let program = service(20, US(500), Arrivals::Poisson(MS(40)));
        let high = world.start(program, class(Class::High), Under::Shim);
        world.start(Batch::of(US(60)), class(Class::Low), Under::Shim);
        world.run(Nanos::from_secs(2));
        world.client(high).served.clone()
    };
    assert_eq!(run(), run());
}

/// Whatever tells that its work is complete, or nothing does: the low class
/// gets what the service leaves, and the service keeps its time.
#[test]
fn services_that_never_wait_are_found_idle() {
    let time = Nanos::from_secs(30);
    for tells in [
        Tells::Sync,
        Tells::Function,
        Tells::Query,
        Tells::Chain,
        Tells::Nothing,
    ] {
        for low in [60, 500] {
            let scenario = Beside {
                low: Nanos::from_micros(low),
                ..SERVICE
            };
            let [alone, ours] = scenario.told(1, time, tells);
            let ratio = ours.p99.0 as f64 / alone.p99.0 as f64;
            let kept = ours.leftover;
            assert!(kept >= 0.95, "{tells:?} beside {low} us: {kept:.3}");
            assert!(ratio <= 1.10, "{tells:?} beside {low} us: {ratio:.3}");
        }
    }
}
