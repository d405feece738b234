//! From the text to a [`Config`], or to everything that is wrong with it.

mod passthrough;
mod rules;
mod sharing;

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;
use xsched_common::api::SharingMode;
use xsched_observe::Returns;
use xsched_policy::{DeviceSettings, SchedAttr, Settings};

use super::file::{self, File};
use super::problems::{Problem, Problems};
use super::recover::{self, Read};
use super::{AgentOverrides, AgentSettings, Config, Observe, OverheadBudget};
use crate::control::Passthrough;
use crate::rules::{Rule, ThreadClasses};

/// The group whose members are authorised where the file names none.
const DEFAULT_GROUP: &str = "xsched";

/// Whether something of the file was left out, because it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completeness {
    Whole,
    Parts,
}

pub(super) fn check(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.error(error.span().unwrap_or(0..0), error.message());
    }
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    let (file, completeness) = match recover::read(table, &mut problems) {
        Read::Whole(file) => (file, Completeness::Whole),
        Read::Parts(file) => (file, Completeness::Parts),
        Read::Nothing => return Err(problems.into_sorted()),
    };
    let config = convert(text, file, completeness, &mut problems);
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    Ok((config, problems.into_sorted()))
}

fn convert(
    text: &str,
    file: File,
    completeness: Completeness,
    problems: &mut Problems<'_>,
) -> Config {
    let File {
        agent,
        authorise,
        defaults,
        sharing,
        device,
        passthrough,
        platform,
        rule,
    } = file;
    let hints = defaults.hints.unwrap_or_default();
    let defaults = SchedAttr {
        class: defaults.class.unwrap_or_default(),
        weight: defaults.weight.unwrap_or_default(),
        slo_p99: None,
    };
    let rules: Vec<Rule> = rule
        .iter()
        .filter_map(|rule| rules::convert(text, rule, (defaults, hints), completeness, problems))
        .collect();
    let mut names = BTreeSet::new();
    for rule in &rule {
        let name = &rule.get_ref().name;
        if !names.insert(name.get_ref().as_str()) {
            let message = format!(
                "a second rule called \"{}\": give each its own name",
                name.get_ref()
            );
            problems.error(name.span(), message);
        }
    }
    let has_target = rules.iter().any(|rule| rule.attr.slo_p99.is_some());
    let default = DeviceSettings {
        mode: match sharing.mode {
            Some(mode) => mode,
            None if has_target => SharingMode::Slo,
            None => SharingMode::Priority,
        },
        ..DeviceSettings::default()
    };
    let default = sharing::convert(&sharing, default, problems);
    let sharing = Settings {
        default,
        devices: device
            .iter()
            .map(|(address, own)| (address.0, sharing::convert(own, default, problems)))
            .collect(),
    };
    sharing::warn_of_idle_targets(&rule, &sharing, problems);
    let passthrough = passthrough.map_or_else(Passthrough::default, |given| {
        passthrough::convert(&given, problems)
    });
    Config {
        path: None,
        agent: convert_agent(agent, problems),
        authorised_group: group(authorise.group, problems),
        defaults,
        sharing,
        passthrough,
        time_slices: platform.time_slices(),
        queue_priority: platform.queue_priority(),
        threads: Arc::new(ThreadClasses {
            hints,
            ..ThreadClasses::default()
        }),
        rules: Arc::from(rules),
    }
}

fn convert_agent(agent: file::Agent, problems: &mut Problems<'_>) -> AgentSettings {
    let file::Agent {
        observe,
        overhead_budget_percent,
        probe_returns,
        metrics,
        metrics_processes,
        metrics_workloads,
        pods,
    } = agent;
    let overhead_budget = overhead_budget_percent.and_then(|percent| {
        let budget = OverheadBudget::from_percent(*percent.get_ref());
        if budget.is_none() {
            problems.error(percent.span(), "a percentage from 0.1 to 100");
        }
        budget
    });
    for (number, most) in [
        (&metrics_processes, AgentSettings::MAX_METRICS_PROCESSES),
        (&metrics_workloads, AgentSettings::MAX_METRICS_WORKLOADS),
    ] {
        if let Some(number) = number
            && *number.get_ref() > most
        {
            problems.error(number.span(), format!("a number from 0 to {most}"));
        }
    }
    let observe = match observe {
        Some(false) => Observe::PagesOnly,
        Some(true) | None => Observe::Probes,
    };
    let returns = match &probe_returns {
        Some(wanted) if *wanted.get_ref() => {
            if observe == Observe::PagesOnly {
                problems.warning(
                    wanted.span(),
                    "without probes nothing is measured: observe = false takes them all away",
                );
            }
            Returns::OfWaits
        }
        _ => Returns::Leave,
    };
    let defaults = AgentSettings::default();
    let file = AgentOverrides {
        observe: Some(observe),
        overhead_budget,
        returns: Some(returns),
        metrics: metrics.map(|metrics| metrics.0),
        metrics_processes: metrics_processes.map(Spanned::into_inner),
    };
    AgentSettings {
        metrics_workloads: metrics_workloads
            .map_or(defaults.metrics_workloads, Spanned::into_inner),
        pods: pods.unwrap_or_else(|| defaults.pods.clone()),
        ..file.over(&defaults)
    }
}

fn group(named: Option<Spanned<String>>, problems: &mut Problems<'_>) -> Option<u32> {
    let Some(named) = named else {
        return group_id(DEFAULT_GROUP);
    };
    let name = named.get_ref();
    if name.is_empty() {
        return None;
    }
    let id = group_id(name);
    if id.is_none() {
        problems.warning(
            named.span(),
            format!("no group \"{name}\" on this machine: only root may raise classes"),
        );
    }
    id
}

fn group_id(name: &str) -> Option<u32> {
    let group = nix::unistd::Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests;
