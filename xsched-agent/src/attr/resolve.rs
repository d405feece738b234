//! From everything that was said about a process and its ancestors to the
//! attributes that hold.
//!
//! For each of class, weight and target the strongest source that gives one
//! counts: of the process itself `set`, `run`, its rule; then the same of its
//! parent, and so on; then the defaults. What its user lowered caps that.

use std::sync::Arc;

use xsched_common::api::ChangeWay;
use xsched_common::units::{Class, Nanos};
use xsched_host::process::ProcessId;
use xsched_policy::{SchedAttr, SliceChoice};

use super::asked::Asked;
use super::given::Given;
use crate::control::Passthrough;
use crate::rules::{SchedAttrPatch, ThreadClasses};

/// What the rules say of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Evaluated {
    /// The process itself has to be read for that: on its way.
    #[default]
    Pending,
    /// This rule applies.
    Rule(RuleApplied),
    /// None does.
    NoRule,
}

/// A rule that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleApplied {
    /// Its name.
    pub name: Arc<str>,
    /// Its line in the file.
    pub line: usize,
    /// Whose share a weight of it is.
    pub share: Share,
    /// What it gives.
    pub attr: SchedAttrPatch,
    /// Which work is not gated, if it says so.
    pub passthrough: Option<Arc<Passthrough>>,
    /// Whether its time slices are set, if it says so.
    pub time_slices: Option<SliceChoice>,
    /// Which of its threads have classes of their own, if it says so.
    pub threads: Option<Arc<ThreadClasses>>,
}

/// Whose share of a device the weight of a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The rule's own, for each user: only root starts processes that it
    /// matches, or it matches all of a user's.
    OfRule,
    /// That of the user, who decides which of his processes it matches and
    /// would have one more for each rule.
    OfUser,
}

/// A process or one of its ancestors, and what was said about it.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// Which.
    pub process: ProcessId,
    /// By hand.
    pub given: Option<&'a Given>,
    /// By rules.
    pub evaluated: &'a Evaluated,
    /// What its pod or job asks for.
    pub asked: Option<&'a Asked>,
    /// The user that it was when it was evaluated, if it was one and, of a joined
    /// process, the one that connected.
    pub user: Option<u32>,
}

/// Whether what the rules say of an ancestor counts for the process: they
/// may give more to a user, and a program that this user started for another
/// one (ssh, su, cron) is not that user's. A process itself may have become
/// another user's since it connected (a program with the set-user-ID bit).
fn counts(link: &Link<'_>, ancestry: &[Link<'_>]) -> bool {
    link.user.is_some() && ancestry.first().is_some_and(|own| own.user == link.user)
}

/// The attributes of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Those that hold.
    pub attr: SchedAttr,
    /// Those that its user may not exceed.
    pub ceiling: SchedAttr,
    /// Where they come from, for people.
    pub from: String,
    /// By the nearest rule that says so; else the file's own list holds.
    pub passthrough: Option<Arc<Passthrough>>,
    /// The same; else the file's own choice holds.
    pub time_slices: Option<SliceChoice>,
    /// The same.
    pub threads: Option<Arc<ThreadClasses>>,
    /// The highest class that any of its threads and streams may have, where
    /// somebody has said so: what was given by hand outranks rules about
    /// threads that are no nearer, and what was lowered caps them all.
    pub highest: Option<Class>,
    /// The line of the rule that gives the weight and a share of its own, if one
    /// does.
    pub weight_rule: Option<usize>,
}

/// What a source is, and what it gives.
pub struct Source<'a> {
    /// The process that it is about; generation 0 is the process itself.
    pub generation: usize,
    /// That process.
    pub process: ProcessId,
    /// Which of its sources.
    pub kind: SourceKind<'a>,
    /// What it gives.
    pub attr: SchedAttrPatch,
}

/// Kinds of [`Source`], strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind<'a> {
    /// By hand.
    Given(ChangeWay, &'a Given),
    /// By a rule.
    Rule(&'a RuleApplied),
}

impl Source<'_> {
    /// For people.
    pub fn label(&self) -> String {
        let what = match self.kind {
            SourceKind::Given(ChangeWay::Set, _) => "set by hand".to_owned(),
            SourceKind::Given(ChangeWay::Run, _) => "run".to_owned(),
            SourceKind::Rule(rule) => format!("rule \"{}\"", rule.name),
        };
        match self.generation {
            0 => what,
            _ => format!("inherited from {} ({what})", self.process),
        }
    }
}

/// All sources that give something, strongest first.
pub fn sources<'a>(ancestry: &'a [Link<'a>]) -> impl Iterator<Item = Source<'a>> {
    ancestry.iter().enumerate().flat_map(|(generation, link)| {
        let given = |way: ChangeWay, of: fn(&Given) -> SchedAttrPatch| {
            link.given
                .map(|given| (SourceKind::Given(way, given), of(given)))
        };
        let rule = match link.evaluated {
            Evaluated::Rule(rule) if counts(link, ancestry) => {
                Some((SourceKind::Rule(rule), rule.attr))
            }
            Evaluated::Rule(_) | Evaluated::Pending | Evaluated::NoRule => None,
        };
        [
            given(ChangeWay::Set, |given| given.set),
            given(ChangeWay::Run, |given| given.run),
            rule,
        ]
        .into_iter()
        .flatten()
        .filter(|(_, attr)| !attr.is_empty())
        .map(move |(kind, attr)| Source {
            generation,
            process: link.process,
            kind,
            attr,
        })
    })
}

/// The attributes of the process at the head of `ancestry`, which runs as `uid`.
pub fn resolve(ancestry: &[Link<'_>], uid: Option<u32>, defaults: SchedAttr) -> Resolved {
    let mut strongest = SchedAttrPatch::default();
    let (mut from, mut weight_rule) = (Vec::new(), None);
    for source in sources(ancestry) {
        let before = strongest;
        if let (SourceKind::Rule(rule), None, Some(_)) =
            (source.kind, strongest.weight, source.attr.weight)
            && rule.share == Share::OfRule
        {
            weight_rule = Some(rule.line);
        }
        strongest = strongest.or(source.attr);
        if strongest != before {
            from.push(source.label());
        }
    }
    let ceiling = SchedAttr {
        class: strongest.class.unwrap_or(defaults.class),
        weight: strongest.weight.unwrap_or(defaults.weight),
        slo_p99: match strongest.slo_p99 {
            Some(target) => Some(target).filter(|target| *target > Nanos::ZERO),
            None => defaults.slo_p99,
        },
    };
    let by_user = lowered(ancestry, uid);
    let asked = ancestry.first().and_then(|own| own.asked);
    let lowered = lowest(by_user, asked.map(Asked::lowering).unwrap_or_default());
    let attr = SchedAttr {
        class: lowered.class.unwrap_or(ceiling.class).min(ceiling.class),
        weight: lowered.weight.unwrap_or(ceiling.weight).min(ceiling.weight),
        slo_p99: match lowered.slo_p99 {
            Some(_) => None,
            None => ceiling.slo_p99,
        },
    };
    if attr != ceiling {
        let by = match (by_user.is_empty(), asked) {
            (true, Some(asked)) => format!("lowered by {}", asked.by),
            _ => "lowered by its user".to_owned(),
        };
        from.insert(0, by);
    }
    let from = match (from.is_empty(), ancestry.first().map(|link| link.evaluated)) {
        (true, Some(Evaluated::Pending)) => "default until its rules are judged".to_owned(),
        (true, _) => "default".to_owned(),
        (false, _) => from.join(", "),
    };
    Resolved {
        attr,
        ceiling,
        from,
        passthrough: passthrough(ancestry).map(|(_, passthrough)| passthrough.clone()),
        time_slices: time_slices(ancestry).map(|(_, choice)| choice),
        threads: threads(ancestry).map(|(_, threads)| threads.clone()),
        highest: match (by_hand(ancestry), lowered.class) {
            (Some(given), Some(lowered)) => Some(given.min(lowered)),
            (given, lowered) => given.or(lowered),
        },
        weight_rule,
    }
}

/// Which work of a process is not gated, and by which rule of whom: the
/// nearest that says so.
pub fn passthrough<'a>(ancestry: &'a [Link<'a>]) -> Option<(Source<'a>, &'a Arc<Passthrough>)> {
    nearest(ancestry, |rule| rule.passthrough.as_ref())
}

/// Whether the time slices of a process are set, and by which rule of whom.
pub fn time_slices<'a>(ancestry: &'a [Link<'a>]) -> Option<(Source<'a>, SliceChoice)> {
    nearest(ancestry, |rule| rule.time_slices)
}

/// Which threads of a process have classes of their own, and by which rule.
pub fn threads<'a>(ancestry: &'a [Link<'a>]) -> Option<(Source<'a>, &'a Arc<ThreadClasses>)> {
    nearest(ancestry, |rule| rule.threads.as_ref())
}

/// The class of a process, if it was given by hand and no rule about threads is
/// nearer.
fn by_hand(ancestry: &[Link<'_>]) -> Option<Class> {
    let source = sources(ancestry).find(|source| source.attr.class.is_some())?;
    let rule = threads(ancestry).map(|(rule, _)| rule.generation);
    let outranks = rule.is_none_or(|rule| source.generation <= rule);
    match source.kind {
        SourceKind::Given(..) if outranks => source.attr.class,
        SourceKind::Given(..) | SourceKind::Rule(_) => None,
    }
}

/// What the nearest rule that says anything about it says.
fn nearest<'a, T>(
    ancestry: &'a [Link<'a>],
    says: impl Fn(&'a RuleApplied) -> Option<T>,
) -> Option<(Source<'a>, T)> {
    ancestry.iter().enumerate().find_map(|(generation, link)| {
        let Evaluated::Rule(rule) = link.evaluated else {
            return None;
        };
        if !counts(link, ancestry) {
            return None;
        }
        let source = Source {
            generation,
            process: link.process,
            kind: SourceKind::Rule(rule),
            attr: rule.attr,
        };
        Some((source, says(rule)?))
    })
}

/// Of each attribute the lower one.
fn lowest(a: SchedAttrPatch, b: SchedAttrPatch) -> SchedAttrPatch {
    fn lower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }
    SchedAttrPatch {
        class: lower(a.class, b.class),
        weight: lower(a.weight, b.weight),
        slo_p99: a.slo_p99.or(b.slo_p99),
    }
}

/// What the user who runs the process took from it or its ancestors.
fn lowered(ancestry: &[Link<'_>], uid: Option<u32>) -> SchedAttrPatch {
    ancestry
        .iter()
        .filter_map(|link| link.given?.lowered)
        .filter(|lowered| Some(lowered.uid) == uid)
        .fold(SchedAttrPatch::default(), |nearest, lowered| {
            nearest.or(lowered.attr)
        })
}

#[cfg(test)]
mod tests;
