//! Why a process has the attributes it has: every source that was considered.

use std::sync::Arc;

use xsched_common::api::{ChangeWay, ExplainStep, Explanation, Override as OverrideKind, Settled};
use xsched_common::units::Class;
use xsched_host::process::ProcessId;
use xsched_policy::SliceChoice;

use super::asked::Asked;
use super::given::Given;
use super::keeper::OverrideGiven;
use super::resolve::{
    Evaluated, Link, Source, SourceKind, passthrough, resolve, sources, threads, time_slices,
};
use crate::config::Config;
use crate::rules::{Facts, MatchOutcome, Rule, SchedAttrPatch};

/// Everything that bears on a process's attributes, as the keeper knows it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The attributes in force.
    pub settled: Settled,
    /// The user that it runs as.
    pub uid: Option<u32>,
    /// A boost or suspension.
    pub(super) hold: Option<OverrideGiven>,
    /// It and its ancestors.
    pub ancestry: Vec<Ancestor>,
    /// What it was evaluated by.
    pub config: Arc<Config>,
}

/// A process or an ancestor.
#[derive(Clone, Debug)]
pub struct Ancestor {
    /// Which.
    pub process: ProcessId,
    /// Its name, if it still runs.
    pub command: Option<String>,
    /// What was given to it by hand.
    pub given: Option<Given>,
    /// What the rules say of it.
    pub(super) evaluated: Evaluated,
    /// What its pod or job asks for.
    pub(super) asked: Option<Asked>,
    /// See [`Link::user`].
    pub(super) user: Option<u32>,
}

impl Explained {
    /// Whether the process is still to be read before all is known.
    pub fn is_pending(&self) -> bool {
        let own = self.ancestry.first();
        own.is_some_and(|own| own.evaluated == Evaluated::Pending)
    }

    /// All sources, strongest first. Reads the process for the reasons of
    /// rules, which may take as long as the process likes: not for a thread
    /// that others wait for.
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let links: Vec<Link<'_>> = self
            .ancestry
            .iter()
            .map(|ancestor| Link {
                process: ancestor.process,
                given: ancestor.given.as_ref(),
                evaluated: &ancestor.evaluated,
                asked: ancestor.asked.as_ref(),
                user: ancestor.user,
            })
            .collect();
        let counted = counted(&links);
        let mut steps = vec![self.hold_step()];
        let given = self.ancestry.first().and_then(|own| own.given.as_ref());
        steps.push(hand_step("set by hand", ChangeWay::Set, given, &counted));
        steps.extend(self.lowered_step(&links));
        steps.push(hand_step("run", ChangeWay::Run, given, &counted));
        steps.extend(self.asked_step());
        steps.extend(self.rule_steps(facts, &counted));
        steps.extend(
            counted
                .iter()
                .filter(|(source, _)| source.generation > 0)
                .map(|(source, new)| {
                    let ancestor = self.ancestry.get(source.generation);
                    let command = ancestor.and_then(|ancestor| ancestor.command.as_deref());
                    let who = command.unwrap_or("gone by now");
                    ExplainStep {
                        source: source.label(),
                        applied: !new.is_empty(),
                        because: format!(
                            "ancestor {} ({who}): {}",
                            source.process,
                            effect(source, *new)
                        ),
                    }
                }),
        );
        steps.push(self.default_step(&counted));
        steps.push(self.passthrough_step(&links));
        steps.push(self.time_slices_step(&links));
        steps.push(self.threads_step(&links));
        Explanation {
            settled: self.settled,
            steps,
        }
    }

    fn hold_step(&self) -> ExplainStep {
        match (&self.hold, self.settled.hold) {
            (Some(given), Some(row)) => ExplainStep {
                source: match row.hold {
                    OverrideKind::Boosted => "boost".to_owned(),
                    OverrideKind::Suspended => "suspension".to_owned(),
                },
                applied: true,
                because: format!("by {}, for {} more", given.by, row.remaining_ns),
            },
            _ => ExplainStep {
                source: "boost or suspension".to_owned(),
                applied: false,
                because: "none is in force".to_owned(),
            },
        }
    }

    fn lowered_step(&self, links: &[Link<'_>]) -> Option<ExplainStep> {
        let resolved = resolve(links, self.uid, self.config.defaults);
        let (link, lowered) = links
            .iter()
            .find_map(|link| Some((link, link.given?.lowered?)))?;
        let applied = resolved.attr != resolved.ceiling;
        let whose = match link.process.pid == self.settled.pid {
            true => String::new(),
            false => format!(" on ancestor {}", link.process),
        };
        Some(ExplainStep {
            source: "lowered by its user".to_owned(),
            applied,
            because: if Some(lowered.uid) == self.uid {
                format!("{} by uid {}{whose}", lowered.attr, lowered.uid)
            } else {
                format!("by uid {}{whose}, and it runs as another user", lowered.uid)
            },
        })
    }

    /// What its pod or job asks for, and what came of it.
    fn asked_step(&self) -> Option<ExplainStep> {
        let own = self.ancestry.first()?;
        let asked = own.asked.as_ref()?;
        let holds = SchedAttrPatch {
            class: Some(self.settled.class),
            weight: Some(self.settled.weight),
            slo_p99: None,
        };
        let is_met = asked
            .patch
            .class
            .is_none_or(|class| Some(class) == holds.class)
            && asked
                .patch
                .weight
                .is_none_or(|weight| Some(weight) == holds.weight);
        let next = match is_met {
            true => "",
            false => "; it may lower, and raise as far as its rule says (may_ask)",
        };
        Some(ExplainStep {
            source: "asked by its pod or job".to_owned(),
            applied: is_met && !asked.patch.is_empty(),
            because: format!("{asked}{next}"),
        })
    }

    fn rule_steps(
        &self,
        facts: &Facts,
        counted: &[(Source<'_>, SchedAttrPatch)],
    ) -> Vec<ExplainStep> {
        let file = match &self.config.path {
            Some(path) => path.display().to_string(),
            None => {
                return vec![ExplainStep {
                    source: "rules".to_owned(),
                    applied: false,
                    because: "there is no configuration file (`xsched-agent config example`)"
                        .to_owned(),
                }];
            }
        };
        let own = self.ancestry.first().map(|own| &own.evaluated);
        let applied_name = match own {
            Some(Evaluated::Rule(rule)) => Some(rule.name.clone()),
            _ => None,
        };
        let pending = own == Some(&Evaluated::Pending);
        let is_another = self.ancestry.first().is_some_and(|own| own.user.is_none());
        let is_its_own = |source: &Source<'_>| {
            source.generation == 0 && matches!(source.kind, SourceKind::Rule(_))
        };
        let own_rule = counted.iter().find(|(source, _)| is_its_own(source));
        let new = own_rule.map(|(_, new)| *new).unwrap_or_default();
        let mut earlier = None;
        let step = |rule: &Rule| {
            let is_it = applied_name.as_deref() == Some(rule.name.as_str());
            let verdict = rule.conditions.evaluate(facts);
            let because = match (&verdict, &earlier) {
                (MatchOutcome::Holds(met), None) if is_it && is_another => {
                    format!(
                        "matches ({met}), but it runs as several users, or as another than the \
                         one that connected: no rule counts"
                    )
                }
                (MatchOutcome::Holds(met), None) if is_it && rule.attr.is_empty() => {
                    format!("matches ({met}); it gives no attributes")
                }
                (MatchOutcome::Holds(met), None) if is_it && new.is_empty() => {
                    format!("matches ({met}), but all it gives is given above")
                }
                (MatchOutcome::Holds(met), None) if is_it => format!("{new}: {met}"),
                (MatchOutcome::Holds(met), None) if pending => {
                    format!("matches ({met}); the agent is still reading the process")
                }
                (MatchOutcome::Holds(met), None) => {
                    format!(
                        "matches now ({met}), but did not when the process joined or the file was read"
                    )
                }
                (MatchOutcome::Holds(_), Some(first)) => {
                    format!("matches, but rule \"{first}\" comes first")
                }
                (MatchOutcome::Fails(why), _) if is_it => {
                    format!("{new}: it matched when the process joined; now {why}")
                }
                (MatchOutcome::Fails(why), _) => why.clone(),
                (MatchOutcome::Undecided, _) => "the process could not be read".to_owned(),
            };
            if earlier.is_none() && (is_it || matches!(verdict, MatchOutcome::Holds(_))) {
                earlier = Some(rule.name.clone());
            }
            ExplainStep {
                source: format!("rule \"{}\" ({file}:{})", rule.name, rule.line),
                applied: is_it && !new.is_empty(),
                because,
            }
        };
        self.config.rules.iter().map(step).collect()
    }

    fn default_step(&self, counted: &[(Source<'_>, SchedAttrPatch)]) -> ExplainStep {
        let given = counted
            .iter()
            .fold(SchedAttrPatch::default(), |given, (source, _)| {
                given.or(source.attr)
            });
        let defaults = self.config.defaults;
        let left = SchedAttrPatch {
            class: Some(defaults.class),
            weight: Some(defaults.weight),
            slo_p99: None,
        }
        .without(given);
        ExplainStep {
            source: "defaults".to_owned(),
            applied: !left.is_empty(),
            because: if left.is_empty() {
                "all is given above".to_owned()
            } else {
                left.to_string()
            },
        }
    }

    fn passthrough_step(&self, links: &[Link<'_>]) -> ExplainStep {
        let (source, passthrough) = match passthrough(links) {
            Some((source, passthrough)) => (
                format!("passthrough: {}", source.label()),
                passthrough.as_ref(),
            ),
            None => ("passthrough".to_owned(), &self.config.passthrough),
        };
        ExplainStep {
            source,
            applied: !passthrough.is_empty(),
            because: passthrough.to_string(),
        }
    }

    fn threads_step(&self, links: &[Link<'_>]) -> ExplainStep {
        let (source, threads) = match threads(links) {
            Some((source, threads)) => (format!("threads: {}", source.label()), threads.as_ref()),
            None => ("threads".to_owned(), &*self.config.threads),
        };
        let highest = resolve(links, self.uid, self.config.defaults).highest;
        let is_above = |highest: &Class| threads.highest().is_some_and(|class| class > *highest);
        let because = match highest.filter(is_above) {
            Some(highest) => {
                format!("{threads}; none above {highest}, as was set by hand, run or lowered")
            }
            None => threads.to_string(),
        };
        ExplainStep {
            source,
            applied: !threads.rules.is_empty(),
            because,
        }
    }

    fn time_slices_step(&self, links: &[Link<'_>]) -> ExplainStep {
        let (source, choice) = match time_slices(links) {
            Some((source, choice)) => (format!("time slices: {}", source.label()), choice),
            None => ("time slices".to_owned(), self.config.time_slices),
        };
        let because = match choice {
            SliceChoice::ByClass => {
                "they follow its class where the driver lets them be set (`xsched-agent check`); `ps` \
                 shows them"
            }
            SliceChoice::Leave => "they are left as the driver has them",
        };
        ExplainStep {
            source,
            applied: choice == SliceChoice::ByClass,
            because: because.to_owned(),
        }
    }
}

/// The sources of an ancestry, each with what it gives that no stronger one
/// does.
fn counted<'a>(links: &'a [Link<'a>]) -> Vec<(Source<'a>, SchedAttrPatch)> {
    let mut given = SchedAttrPatch::default();
    sources(links)
        .map(|source| {
            let new = source.attr.without(given);
            given = given.or(source.attr);
            (source, new)
        })
        .collect()
}

fn hand_step(
    name: &str,
    way: ChangeWay,
    given: Option<&Given>,
    counted: &[(Source<'_>, SchedAttrPatch)],
) -> ExplainStep {
    let found = counted.iter().find(|(source, _)| {
        source.generation == 0 && matches!(source.kind, SourceKind::Given(of, _) if of == way)
    });
    match (found, given) {
        (Some((source, new)), Some(given)) => ExplainStep {
            source: name.to_owned(),
            applied: !new.is_empty(),
            because: format!("{}; last changed by {}", effect(source, *new), given.by),
        },
        _ => ExplainStep {
            source: name.to_owned(),
            applied: false,
            because: match way {
                ChangeWay::Set => "nobody with full rights has set anything".to_owned(),
                ChangeWay::Run => "it was not started with a class, weight or target".to_owned(),
            },
        },
    }
}

fn effect(source: &Source<'_>, new: SchedAttrPatch) -> String {
    if new.is_empty() {
        format!("{}, all of it given above", source.attr)
    } else {
        new.to_string()
    }
}
