//! Processes have more compute queues on a device than it runs at once.

use xsched_common::api::{DeviceRow, Severity};

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "queues-oversubscribed",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let agent = facts.agent.as_ref()?;
    let process = agent.process.as_ref()?;
    let own = process.hardware.and_then(|used| used.queues)?;
    if own == 0 {
        return None;
    }
    // One without a device of its own may be on any.
    let here = |device: &&DeviceRow| {
        process.device.is_none() || process.device.as_deref() == Some(&*device.address)
    };
    let (device, used, most) = agent.devices.iter().filter(here).find_map(|device| {
        let hardware = device.hardware.as_ref()?;
        let (used, most) = (hardware.queues_used?, hardware.queues?);
        (used > most).then_some((device, used, most))
    })?;
    let mut evidence = vec![
        format!(
            "{} runs {most} compute queues at once, and processes have {used} there",
            device.address
        ),
        format!("this process has {own} on all its devices"),
    ];
    let others = agent.others.iter().filter_map(|row| {
        let queues = row.hardware?.queues.filter(|queues| *queues > 0)?;
        Some((queues, row))
    });
    let mut others: Vec<_> = others.collect();
    others.sort_by_key(|(queues, row)| (std::cmp::Reverse(*queues), row.pid));
    evidence.extend(
        others
            .iter()
            .map(|(queues, row)| format!("{} (pid {}) has {queues}", row.command, row.pid)),
    );
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "processes have more compute queues than {} runs at once",
            device.address
        ),
        evidence,
        effect: Some(
            "the device's driver takes turns between queues, whatever the classes of their processes"
                .to_owned(),
        ),
        fix: "stop processes that are not needed, or give them fewer streams".to_owned(),
    })
}
