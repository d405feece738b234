//! Workloads (`xsched_workload`) in virtual time: what each program would
//! see under some policy.
//!
//! A thread of a program is a process of its own here, with one stream.

use std::sync::Arc;

use xsched_common::units::Nanos;
use xsched_policy::{DeviceSettings, SchedAttr};
use xsched_workload::{Move, Player, Thread};

use crate::program::{Op, Program};
use crate::timing::{Rng, Timing};
use crate::world::{START, Under, World};

/// A thread of a workload.
pub struct Replay {
    player: Player<Arc<Thread>>,
    /// The call that it said last.
    is_calling: bool,
}

impl Replay {
    /// At its beginning.
    pub fn of(thread: Arc<Thread>) -> Replay {
        Replay {
            player: Player::new(thread),
            is_calling: false,
        }
    }
}

impl Program for Replay {
    fn next(&mut self, now: Nanos, rng: &mut Rng) -> Op {
        let passed = now.since(START).0;
        if std::mem::take(&mut self.is_calling) {
            self.player.returned(passed);
        }
        let at = |ns: u64| START + Nanos(ns);
        match self.player.next(passed, || rng.uniform()) {
            Move::Launch(launch) => {
                self.is_calling = true;
                Op::Launch(Nanos(launch.ns))
            }
            Move::Wait(wait) => {
                self.is_calling = true;
                match wait.ahead {
                    0 => Op::Sync,
                    ahead => Op::Ahead(ahead),
                }
            }
            Move::Compute(until) => Op::Compute(at(until)),
            Move::Idle(until) => Op::Until(at(until)),
            Move::Served { arrived } => Op::Served {
                arrived: at(arrived),
            },
            Move::End => Op::Exit,
        }
    }
}

/// A thread, and how it is treated.
#[derive(Clone, Debug)]
pub struct Actor {
    /// What it does.
    pub thread: Arc<Thread>,
    /// Its class, weight and target.
    pub attr: SchedAttr,
    /// Whether it runs under the shim.
    pub under: Under,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    /// How long its requests took that came after the warm-up.
    pub took: Vec<Nanos>,
    /// Kernels that ended after the warm-up.
    pub kernels: u64,
    /// Device time that it had after the warm-up.
    pub device: Nanos,
    /// Time after the warm-up.
    pub time: Nanos,
}

/// Plays them all on one device for `warm_up` and `time`.
///
/// # Panics
/// The simulated device has room for 64 processes.
pub fn play(
    seed: u64,
    actors: &[Actor],
    settings: DeviceSettings,
    warm_up: Nanos,
    time: Nanos,
) -> Vec<Predicted> {
    let mut world = World::new(seed, Timing::default(), settings);
    let numbers: Vec<usize> = actors
        .iter()
        .map(|actor| world.start(Replay::of(actor.thread.clone()), actor.attr, actor.under))
        .collect();
    world.run(warm_up);
    let before: Vec<(u64, Nanos)> = numbers
        .iter()
        .map(|n| (world.device().finished(*n), world.device().served(*n)))
        .collect();
    world.run(time);
    numbers
        .into_iter()
        .zip(before)
        .map(|(n, (kernels, device))| Predicted {
            took: world.client(n).latencies(START + warm_up),
            kernels: world.device().finished(n) - kernels,
            device: world.device().served(n).since(device),
            time,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::quantile;
    use xsched_common::units::Class;
    use xsched_workload::{BERT, RESNETS, Workload};

    const WARM_UP: Nanos = Nanos::from_secs(1);
    const TIME: Nanos = Nanos::from_secs(10);

    fn threads(text: &str) -> Vec<Arc<Thread>> {
        let workload = Workload::parse(text).expect("good");
        let programs = workload.programs.into_iter();
        programs.flat_map(|p| p.threads).map(Arc::new).collect()
    }

    fn actor(thread: &Arc<Thread>, class: Class, under: Under) -> Actor {
        Actor {
            thread: thread.clone(),
            attr: SchedAttr::of_class(class),
            under,
        }
    }

    fn played(actors: &[Actor]) -> Vec<Predicted> {
        play(1, actors, DeviceSettings::default(), WARM_UP, TIME)
    }

    #[test]
    fn alone_a_request_takes_as_long_as_host_and_device_do() {
        let [resnet18, _] = threads(RESNETS).try_into().expect("two");
        let [alone] = played(&[actor(&resnet18, Class::Normal, Under::Native)])
            .try_into()
            .expect("one");
        assert!(
            (190..=210).contains(&alone.took.len()),
            "{}",
            alone.took.len()
        );
        let p50 = quantile(&alone.took, 0.5).0 as f64 / 1e6;
        assert!((2.5..3.0).contains(&p50), "2.75 ms on the GPU: {p50}");
        assert_eq!(alone.kernels / alone.took.len() as u64, 110);
    }

    #[test]
    fn a_class_brings_a_request_near_to_alone() {
        let [bert] = threads(BERT).try_into().expect("one");
        let [_, resnet50] = threads(RESNETS).try_into().expect("two");
        let p99 = |played: &[Predicted]| quantile(&played[0].took, 0.99).0 as f64;
        let alone = p99(&played(&[actor(&bert, Class::High, Under::Native)]));
        let both = |under| {
            played(&[
                actor(&bert, Class::High, under),
                actor(&resnet50, Class::Low, under),
            ])
        };
        let (native, ours) = (both(Under::Native), both(Under::Shim));
        assert!(p99(&native) > 1.5 * alone, "{} {alone}", p99(&native));
        assert!(p99(&ours) < 1.15 * alone, "{} {alone}", p99(&ours));
        assert!(ours[1].kernels as f64 > 0.8 * native[1].kernels as f64);
    }
}
