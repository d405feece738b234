//! From the text to a [`Config`], or to everything that is wrong with it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;
use xsched_common::api::SharingMode;
use xsched_common::page::ListMeaning;
use xsched_common::units::{Class, Nanos};

use super::file::{self, File};
use super::problems::{Problem, Problems, place};
use super::schema;
use super::values::{self, OneOrMany, Time};
use super::{AgentOverrides, AgentSettings, Config, Observe, OverheadBudget};
use crate::control::{NameList, Passthrough};
use crate::observe::Returns;
use crate::policy::{DeviceSettings, Linger, Settings, Terms};
use crate::rules::{self, Conditions, Rule, TermsPatch};

/// The group whose members are authorised where the file names none.
const DEFAULT_GROUP: &str = "xsched";

/// Longer budgets, lingers and slices would hold up everybody; a gate's own
/// bounds end its waits long before.
const LONGEST: Nanos = Nanos::from_secs(1);

/// A target beyond this is none.
const LONGEST_TARGET: Nanos = Nanos::from_secs(3600);

pub(super) fn check(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.error(error.span().unwrap_or(0..0), error.message());
    }
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    let file = match toml::from_str::<File>(text) {
        Ok(file) => file,
        Err(error) => {
            schema::unknown_keys(table.get_ref(), &mut problems);
            // An unknown key was found already, with a better hint.
            if !problems.has_errors() || !error.message().starts_with("unknown field") {
                problems.error(error.span().unwrap_or(0..0), error.message());
            }
            return Err(problems.into_sorted());
        }
    };
    let config = convert(text, file, &mut problems);
    if problems.has_errors() {
        return Err(problems.into_sorted());
    }
    Ok((config, problems.into_sorted()))
}

fn convert(text: &str, file: File, problems: &mut Problems<'_>) -> Config {
    let File {
        agent,
        authorise,
        defaults,
        sharing,
        device,
        passthrough,
        rule,
    } = file;
    let defaults = Terms {
        class: defaults.class.unwrap_or_default(),
        weight: defaults.weight.unwrap_or_default(),
        slo_p99: None,
    };
    let rules: Vec<Rule> = rule
        .iter()
        .filter_map(|rule| convert_rule(text, rule, defaults.class, problems))
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
    let has_target = rules.iter().any(|rule| rule.terms.slo_p99.is_some());
    let default = DeviceSettings {
        mode: match sharing.mode {
            Some(mode) => mode,
            None if has_target => SharingMode::Slo,
            None => SharingMode::Priority,
        },
        ..DeviceSettings::default()
    };
    let default = convert_sharing(&sharing, default, problems);
    let sharing = Settings {
        default,
        devices: device
            .iter()
            .map(|(address, own)| (address.0, convert_sharing(own, default, problems)))
            .collect(),
    };
    warn_of_idle_targets(&rule, &sharing, problems);
    let passthrough = passthrough.map_or_else(Passthrough::default, |given| {
        convert_passthrough(&given, problems)
    });
    Config {
        path: None,
        agent: convert_agent(agent, problems),
        authorised_group: group(authorise.group, problems),
        defaults,
        sharing,
        passthrough,
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
    } = agent;
    let overhead_budget = overhead_budget_percent.and_then(|percent| {
        let budget = OverheadBudget::from_percent(*percent.get_ref());
        if budget.is_none() {
            problems.error(percent.span(), "a percentage from 0.1 to 100");
        }
        budget
    });
    let most = AgentSettings::MAX_METRICS_PROCESSES;
    if let Some(processes) = &metrics_processes
        && *processes.get_ref() > most
    {
        problems.error(processes.span(), format!("a number from 0 to {most}"));
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
    file.over(&defaults)
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

fn user_id(name: &str) -> Option<u32> {
    let user = nix::unistd::User::from_name(name).ok().flatten();
    user.map(|user| user.uid.as_raw())
}

fn convert_rule(
    text: &str,
    rule: &Spanned<file::Rule>,
    default_class: Class,
    problems: &mut Problems<'_>,
) -> Option<Rule> {
    let span = rule.span();
    let file::Rule {
        name,
        conditions: written,
        class,
        weight,
        p99_ms,
        p99,
        passthrough,
    } = rule.get_ref();
    if name.get_ref().trim().is_empty() || name.get_ref().chars().any(char::is_control) {
        problems.error(name.span(), "a rule needs a name of visible characters");
    }
    let slo_p99 = target(p99_ms.as_ref(), p99.as_ref(), problems);
    let terms = TermsPatch {
        class: *class,
        weight: *weight,
        slo_p99,
    };
    let passthrough = passthrough
        .as_ref()
        .map(|given| Arc::new(convert_passthrough(given, problems)));
    if terms.is_empty() && passthrough.is_none() && !problems.has_errors() {
        problems.error(
            span.clone(),
            "this rule gives nothing: add class, weight, p99_ms or passthrough",
        );
    }
    let conditions = convert_conditions(written.get_ref(), &written.span(), problems);
    if conditions.is_empty() {
        problems.error(
            written.span(),
            "this rule would match every process: say which, or use [defaults]",
        );
        return None;
    }
    if conditions.can_be_feigned() && class.is_some_and(|class| class > default_class) {
        problems.warning(
            written.span(),
            format!(
                "any user can start a process that matches rule \"{}\" and so gets a higher class: \
                 add user, group, unit, cgroup or container",
                name.get_ref()
            ),
        );
    }
    Some(Rule {
        name: name.get_ref().clone(),
        line: place(text, span.start).0,
        conditions,
        terms,
        passthrough,
    })
}

fn target(
    p99_ms: Option<&Spanned<f64>>,
    p99: Option<&Spanned<Time>>,
    problems: &mut Problems<'_>,
) -> Option<Nanos> {
    let (span, target) = match (p99_ms, p99) {
        (None, None) => return None,
        (Some(ms), Some(_)) => {
            problems.error(ms.span(), "p99_ms and p99 say the same: keep one");
            return None;
        }
        // NaN and negative numbers become zero.
        (Some(ms), None) => (ms.span(), Nanos((ms.get_ref() * 1e6) as u64)),
        (None, Some(time)) => (time.span(), time.get_ref().0),
    };
    if target.0 < 1_000 || target > LONGEST_TARGET {
        problems.error(span, "a target from 1 us to 1 hour");
        return None;
    }
    Some(target)
}

fn convert_conditions(
    written: &file::Match,
    span: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Conditions {
    let file::Match {
        exe,
        arg,
        command_line,
        user,
        group,
        cgroup,
        unit,
        container,
        env,
    } = written;
    let patterns = |given: &Option<OneOrMany<values::Pattern>>| {
        let given = given.iter().flat_map(|many| &many.0);
        given.map(|pattern| pattern.0.clone()).collect()
    };
    let mut accounts =
        |given: &Option<OneOrMany<values::Account>>, what: &str, id_of: fn(&str) -> Option<u32>| {
            let given = given.iter().flat_map(|many| &many.0);
            given
                .map(|account| match account {
                    values::Account::Id(id) => rules::Account {
                        name: id.to_string(),
                        id: Some(*id),
                    },
                    values::Account::Name(name) => {
                        let id = id_of(name);
                        if id.is_none() {
                            problems.warning(
                                span.clone(),
                                format!("no {what} \"{name}\" on this machine: it matches nobody"),
                            );
                        }
                        rules::Account {
                            name: name.clone(),
                            id,
                        }
                    }
                })
                .collect()
        };
    Conditions {
        user: accounts(user, "user", user_id),
        group: accounts(group, "group", group_id),
        exe: patterns(exe),
        arg: patterns(arg),
        command_line: patterns(command_line),
        cgroup: patterns(cgroup),
        unit: patterns(unit),
        container: patterns(container),
        env: env
            .iter()
            .flatten()
            .map(|(name, given)| {
                let patterns = given.0.iter().map(|pattern| pattern.0.clone()).collect();
                (name.clone(), patterns)
            })
            .collect(),
    }
}

fn convert_sharing(
    own: &file::Sharing,
    otherwise: DeviceSettings,
    problems: &mut Problems<'_>,
) -> DeviceSettings {
    let mut within = |given: &Option<Spanned<Time>>, otherwise: Nanos, least: Nanos| {
        let Some(given) = given else { return otherwise };
        let time = given.get_ref().0;
        if time < least || time > LONGEST {
            problems.error(given.span(), format!("a time from {least} to {LONGEST}"));
        }
        time
    };
    let budget = within(&own.budget, otherwise.budget, Nanos::from_micros(10));
    let slice = within(&own.slice, otherwise.slice, Nanos::from_micros(100));
    let (shortest, longest) = otherwise.linger.limits();
    let min = within(&own.linger_min, shortest, Nanos::ZERO);
    let max = within(&own.linger_max, longest, Nanos::ZERO);
    let linger = match &own.linger {
        Some(fixed) => Linger::Fixed(within(&Some(fixed.clone()), Nanos::ZERO, Nanos::ZERO)),
        None if own.linger_min.is_none() && own.linger_max.is_none() => otherwise.linger,
        None => Linger::Adaptive { min, max },
    };
    let written = [&own.linger_min, &own.linger_max];
    if let Some(extreme) = written.into_iter().flatten().next() {
        if own.linger.is_some() {
            problems.error(
                extreme.span(),
                "linger is a fixed time: leave linger_min and linger_max out, or linger",
            );
        } else if min > max {
            problems.error(
                extreme.span(),
                format!("linger_min ({min}) is longer than linger_max ({max})"),
            );
        }
    }
    let active_limit = match &own.active_limit {
        Some(given) => {
            let time = given.get_ref().0;
            if time < Nanos::from_millis(100) || time > Nanos::from_secs(60) {
                problems.error(given.span(), "a time from 100 ms to 60 s");
            }
            time
        }
        None => otherwise.active_limit,
    };
    if let Some(cap) = &own.cap
        && !(1..=256).contains(cap.get_ref())
    {
        problems.error(cap.span(), "a number of commands from 1 to 256");
    }
    if let Some(batch) = &own.fence_batch
        && !(1..=256).contains(batch.get_ref())
    {
        problems.error(batch.span(), "a number of commands from 1 to 256");
    }
    if let Some(share) = &own.min_share_percent
        && !(0.0..=50.0).contains(share.get_ref())
    {
        problems.error(share.span(), "a percentage from 0 to 50");
    }
    DeviceSettings {
        mode: own.mode.unwrap_or(otherwise.mode),
        budget,
        linger,
        fixed_cap: own
            .cap
            .as_ref()
            .map_or(otherwise.fixed_cap, |cap| *cap.get_ref()),
        fence_batch: own
            .fence_batch
            .as_ref()
            .map_or(otherwise.fence_batch, |batch| *batch.get_ref()),
        min_share_permille: own
            .min_share_percent
            .as_ref()
            .map_or(otherwise.min_share_permille, |share| {
                (share.get_ref() * 10.0).round() as u16
            }),
        slice,
        active_limit,
    }
}

fn convert_passthrough(
    given: &Spanned<file::Passthrough>,
    problems: &mut Problems<'_>,
) -> Passthrough {
    let file::Passthrough {
        libraries,
        gate_only_libraries,
        apis,
        gate_only_apis,
    } = given.get_ref();
    for api in apis.iter().chain(gate_only_apis) {
        if let Some(message) = schema::not_gated(api.get_ref()) {
            problems.error(api.span(), message);
        }
    }
    let mut one_of = |passing: Vec<String>, only: Vec<String>, key: &str| {
        if !passing.is_empty() && !only.is_empty() {
            let message = format!("{key} and gate_only_{key} exclude each other: keep one");
            problems.error(given.span(), message);
        }
        match only.is_empty() {
            true => NameList::passing(passing),
            false => NameList {
                names: only,
                meaning: ListMeaning::OnlyGated,
            },
        }
    };
    let plain = |names: &[Spanned<String>]| names.iter().map(|n| n.get_ref().clone()).collect();
    let libraries = one_of(libraries.clone(), gate_only_libraries.clone(), "libraries");
    let apis = one_of(plain(apis), plain(gate_only_apis), "apis");
    Passthrough::new(libraries, apis).unwrap_or_else(|e| {
        problems.error(given.span(), e.to_string());
        Passthrough::default()
    })
}

/// A target counts in mode `slo` only.
fn warn_of_idle_targets(
    rules: &[Spanned<file::Rule>],
    sharing: &Settings,
    problems: &mut Problems<'_>,
) {
    let mut modes = sharing.devices.values().chain([&sharing.default]);
    if modes.any(|device| device.mode == SharingMode::Slo) {
        return;
    }
    for rule in rules {
        let rule = rule.get_ref();
        let ms = rule.p99_ms.as_ref().map(Spanned::span);
        if let Some(span) = ms.or_else(|| rule.p99.as_ref().map(Spanned::span)) {
            problems.warning(
                span,
                format!(
                    "no device adapts to this target: [sharing] has mode = \"{}\"; use \"slo\"",
                    sharing.default.mode
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
