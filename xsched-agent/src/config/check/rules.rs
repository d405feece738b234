//! `[[rule]]`: whom it matches and what it gives.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use xsched_common::page::{HintPolicy, MAX_THREAD_RULES};
use xsched_common::units::{Class, Nanos};
use xsched_policy::SchedAttr;

use super::{Completeness, group_id, passthrough};
use crate::config::file;
use crate::config::problems::{Problems, place};
use crate::config::values::{self, OneOrMany, Time};
use crate::rules::{
    Account, ClusterConditions, Conditions, Feigner, Rule, SchedAttrPatch, ThreadClasses,
};

/// A target beyond this is none.
const LONGEST_TARGET: Nanos = Nanos::from_secs(3600);

/// A rule; none where it says nothing that could be meant.
pub(super) fn convert(
    text: &str,
    rule: &Spanned<file::Rule>,
    (defaults, default_hints): (SchedAttr, HintPolicy),
    completeness: Completeness,
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
        may_ask,
        passthrough,
        time_slices,
        thread,
        hints,
        hints_up_to,
    } = rule.get_ref();
    if name.get_ref().trim().is_empty() || name.get_ref().chars().any(char::is_control) {
        problems.error(name.span(), "a rule needs a name of visible characters");
    }
    let slo_p99 = target(p99_ms.as_ref(), p99.as_ref(), problems);
    let attr = SchedAttrPatch {
        class: *class,
        weight: *weight,
        slo_p99,
    };
    let may_ask = SchedAttrPatch {
        class: may_ask.class,
        weight: may_ask.weight,
        slo_p99: target(None, may_ask.p99.as_ref(), problems),
    };
    let passthrough = passthrough
        .as_ref()
        .map(|given| Arc::new(passthrough::convert(given, problems)));
    let is_whole = completeness == Completeness::Whole;
    let has_target = p99_ms.is_some() || p99.is_some();
    let threads = threads(
        thread,
        hints.unwrap_or(default_hints),
        hints_up_to.as_ref(),
        problems,
    );
    let says_of_threads = !thread.is_empty() || hints.is_some() || hints_up_to.is_some();
    let threads = says_of_threads.then(|| Arc::new(threads));
    let gives_nothing =
        attr.is_empty() && may_ask.is_empty() && passthrough.is_none() && time_slices.is_none();
    let gives_nothing = gives_nothing && threads.is_none();
    if gives_nothing && !has_target && is_whole {
        problems.error(
            span.clone(),
            "this rule gives nothing: add class, weight, p99_ms, may_ask, passthrough, \
             time_slices, [[rule.thread]] or hints",
        );
    }
    let conditions = conditions(written.get_ref(), &written.span(), problems);
    if conditions.is_empty() {
        if is_whole {
            problems.error(
                written.span(),
                "this rule would match every process: say which, or use [defaults]",
            );
        }
        return None;
    }
    let passes = passthrough.as_ref().is_some_and(|list| !list.is_empty());
    // Whoever creates a pod or submits a job may ask for as much.
    let class = threads
        .as_ref()
        .and_then(|t| t.highest())
        .max(may_ask.class);
    let raised = SchedAttrPatch {
        class: attr.class.max(class),
        weight: attr.weight.max(may_ask.weight),
        slo_p99: attr.slo_p99.or(may_ask.slo_p99),
    };
    if let Some(gain) = gain(raised, passes, defaults)
        && let Some(feigner) = conditions.feigned_by()
    {
        let name = name.get_ref();
        let warning = match feigner {
            Feigner::User => format!(
                "any user can start a process that matches rule \"{name}\" and so gets {gain}: add \
                 user, group, or a unit, cgroup or container that only root starts processes in"
            ),
            Feigner::PodCreator => format!(
                "whoever may create pods, in whatever namespace, can have them match rule \
                 \"{name}\" and so gets {gain}: add namespace"
            ),
        };
        problems.warning(written.span(), warning);
    }
    Some(Rule {
        name: name.get_ref().clone(),
        line: place(text, span.start).0,
        conditions,
        attr,
        may_ask,
        passthrough,
        time_slices: time_slices.map(Into::into),
        threads,
    })
}

/// What a rule gives that is more than everybody has.
fn gain(attr: SchedAttrPatch, passes: bool, defaults: SchedAttr) -> Option<&'static str> {
    if attr.class.is_some_and(|class| class > defaults.class) {
        Some("a higher class")
    } else if attr.weight.is_some_and(|weight| weight > defaults.weight)
        && attr.class.is_none_or(|class| class >= defaults.class)
    {
        Some("a larger share")
    } else if attr.slo_p99.is_some() {
        Some("a target that holds back others")
    } else if passes {
        Some("work that no gate holds back")
    } else {
        None
    }
}

fn threads(
    written: &[file::ThreadRule],
    hints: HintPolicy,
    hints_up_to: Option<&Spanned<Class>>,
    problems: &mut Problems<'_>,
) -> ThreadClasses {
    let mut rules = Vec::new();
    for rule in written {
        let names = &rule.conditions.thread;
        for name in &names.get_ref().0 {
            match name.parse() {
                Ok(pattern) => rules.push((pattern, rule.class)),
                Err(e) => problems.error(names.span(), format!("\"{name}\": {e}")),
            }
        }
        if rules.len() > MAX_THREAD_RULES {
            let message =
                format!("more than {MAX_THREAD_RULES} names of threads: use fewer, with *");
            problems.error(names.span(), message);
            break;
        }
    }
    if let Some(up_to) = hints_up_to
        && hints != HintPolicy::Within
    {
        problems.error(up_to.span(), "hints raise only with hints = \"within\"");
    }
    ThreadClasses {
        rules,
        hints,
        hints_up_to: hints_up_to.map(|class| *class.get_ref()),
    }
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

fn conditions(
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
        user_unit,
        container,
        env,
        pod,
        namespace,
        label,
        slurm_partition,
        slurm_qos,
        slurm_account,
    } = written;
    let patterns = |given: &Option<OneOrMany<values::Pattern>>| {
        let given = given.iter().flat_map(|many| &many.0);
        given.map(|pattern| pattern.0.clone()).collect()
    };
    let by_name = |given: &Option<BTreeMap<String, OneOrMany<values::Pattern>>>| {
        let given = given.iter().flatten();
        let own = |of: &OneOrMany<values::Pattern>| of.0.iter().map(|p| p.0.clone()).collect();
        given.map(|(name, of)| (name.clone(), own(of))).collect()
    };
    let cluster = ClusterConditions {
        pod: patterns(pod),
        namespace: patterns(namespace),
        label: by_name(label),
        slurm_partition: patterns(slurm_partition),
        slurm_qos: patterns(slurm_qos),
        slurm_account: patterns(slurm_account),
    };
    if cluster.is_of_pods() && cluster.is_of_jobs() {
        let message = "no process is both in a pod and in a Slurm job: this matches nobody";
        problems.error(span.clone(), message);
    }
    let mut accounts =
        |given: &Option<OneOrMany<values::Account>>, what: &str, id_of: fn(&str) -> Option<u32>| {
            let given = given.iter().flat_map(|many| &many.0);
            given
                .map(|account| match account {
                    values::Account::Id(id) => Account {
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
                        Account {
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
        user_unit: patterns(user_unit),
        container: patterns(container),
        env: by_name(env),
        cluster,
    }
}

fn user_id(name: &str) -> Option<u32> {
    let user = nix::unistd::User::from_name(name).ok().flatten();
    user.map(|user| user.uid.as_raw())
}
