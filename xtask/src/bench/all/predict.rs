//! The same experiments in virtual time, beside what was measured.

use std::sync::Arc;

use schedsim::replay::{Actor, play};
use schedsim::stats::quantile;
use schedsim::world::Under;
use xsched_common::units::Nanos;
use xsched_policy::{DeviceSettings, SchedAttr};

use super::cast::{Cast, Part, Variant};
use super::samples::{Prediction, Raw};
use crate::bench::sched::realtime::stage::Sharing;
use crate::stats::median;

const SEED: u64 = 1;
const WARM_UP: Nanos = Nanos::from_secs(1);
const TIME: Nanos = Nanos::from_secs(30);

/// Of one cast, all variants. Threads of one process are not predicted: the
/// model has a process for each.
pub fn of(cast: &Cast, raw: &Raw) -> Vec<Prediction> {
    if cast.roles.iter().any(|role| role.program.threads.len() > 1) {
        return Vec::new();
    }
    let mut predictions = Vec::new();
    for variant in Variant::ALL {
        let workload = cast.workload(variant);
        let actors: Vec<Actor> = workload
            .programs
            .iter()
            .map(|program| Actor {
                thread: Arc::new(program.threads[0].clone()),
                attr: SchedAttr::of_class(
                    cast.role(&program.name)
                        .and_then(|role| role.class)
                        .unwrap_or_default(),
                ),
                under: match variant {
                    Variant::Alone | Variant::Native => Under::Native,
                    Variant::Ours => Under::Shim,
                },
            })
            .collect();
        let played = play(SEED, &actors, settings(cast.sharing), WARM_UP, TIME);
        for (program, played) in workload.programs.iter().zip(played) {
            let name = program.name.as_str();
            let add = |what: &str, predicted: f64, measured: f64| Prediction {
                experiment: cast.key.to_owned(),
                variant,
                program: name.to_owned(),
                what: what.to_owned(),
                predicted,
                measured,
            };
            if cast.role(name).is_some_and(|role| role.part == Part::Batch) {
                let measured = median(&raw.rates(cast.key, variant, &[name]));
                let predicted = played.device.0 as f64 / played.time.0 as f64;
                predictions.push(add("rate", predicted, measured));
                continue;
            }
            for (what, q) in [("P50", 0.5), ("P99", 0.99)] {
                let predicted = quantile(&played.took, q).0 as f64 / 1e6;
                predictions.push(add(what, predicted, raw.ms(cast.key, variant, name, q)));
            }
        }
    }
    predictions
}

fn settings(sharing: Sharing) -> DeviceSettings {
    match sharing {
        Sharing::NoMinimum => DeviceSettings {
            min_share_permille: 0,
            ..DeviceSettings::default()
        },
        _ => DeviceSettings::default(),
    }
}
