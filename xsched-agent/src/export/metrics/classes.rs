//! What the classes did since the agent's start.

use std::fmt;

use xsched_common::api::ShimState;
use xsched_common::gate::Guard;
use xsched_common::platform::Platform;
use xsched_common::units::Class;

use super::Scrape;
use super::families::{Families, In};
use crate::model::ClassSums;

pub(super) fn collect(scrape: &Scrape, to: &mut Families<'_>) -> fmt::Result {
    let classes: Vec<(Class, &ClassSums)> = Class::ALL
        .iter()
        .rev()
        .map(|&class| (class, scrape.sums.class(class)))
        .collect();

    let routes: Vec<(Class, &str, u64)> = classes
        .iter()
        .flat_map(|(class, sums)| {
            [
                (*class, "gated", sums.gated),
                (*class, "passthrough", sums.passthrough),
                (*class, "bypass", sums.bypass),
            ]
        })
        .collect();
    to.counters(
        "launches",
        "Kernel and graph launches by the class of the process and the way they took.",
        In::Number,
        &routes,
        |(_, _, count)| *count as f64,
        |(class, route, _)| vec![("class", class.name()), ("route", route)],
    )?;
    to.counters(
        "default_stream_launches",
        "Launches on the default stream, which serialises with all others of the process.",
        In::Number,
        &classes,
        |(_, sums)| sums.default_stream as f64,
        |(class, _)| vec![("class", class.name())],
    )?;
    to.histograms(
        "burst_duration",
        "First launch after idle until the device is drained, as the shim sees it.",
        &classes,
        |(_, sums)| &sums.bursts,
        |(class, _)| vec![("class", class.name())],
    )?;
    to.histograms(
        "gate_wait",
        "Waits at the gate, those of zero length left out.",
        &classes,
        |(_, sums)| &sums.gate_waits,
        |(class, _)| vec![("class", class.name())],
    )?;
    let guards: Vec<(Class, &str, u64)> = classes
        .iter()
        .flat_map(|(class, sums)| {
            Guard::ALL.map(|guard| (*class, guard.name(), sums.guards[guard as usize]))
        })
        .collect();
    to.counters(
        "guard_passes",
        "Launches that passed a gate that did not admit them, by the guard that let them.",
        In::Number,
        &guards,
        |(_, _, count)| *count as f64,
        |(class, guard, _)| vec![("class", class.name()), ("guard", guard)],
    )?;
    to.counters(
        "device_busy",
        "Estimated device time used, from the gates' accounting.",
        In::Seconds,
        &classes,
        |(_, sums)| sums.busy.as_secs_f64(),
        |(class, _)| vec![("class", class.name())],
    )?;

    let shims = [
        (ShimState::Joined, "joined"),
        (ShimState::Mapped, "mapped"),
        (ShimState::Absent, "absent"),
    ];
    let platforms: Vec<Option<Platform>> =
        Platform::ALL.map(Some).into_iter().chain([None]).collect();
    let present: Vec<(Class, &str, Option<Platform>, usize)> = Class::ALL
        .iter()
        .rev()
        .flat_map(|&class| {
            let platforms = &platforms;
            shims.into_iter().flat_map(move |(shim, name)| {
                platforms.iter().map(move |&platform| {
                    let of = scrape.snapshot.processes.iter();
                    let count = of
                        .filter(|p| (p.class, p.shim, p.platform) == (class, shim, platform))
                        .count();
                    (class, name, platform, count)
                })
            })
        })
        .collect();
    to.gauges(
        "processes",
        "Processes that use a GPU runtime by class, platform and whether the shim is in them.",
        In::Number,
        &present,
        |(.., count)| Some(*count as f64),
        |(class, shim, platform, _)| {
            vec![
                ("class", class.name()),
                ("shim", shim),
                ("platform", platform.map_or("", Platform::name)),
            ]
        },
    )
}
