//! From everything that was said about a process and its ancestors to the
//! attributes that hold.
//!
//! For each of class, weight and target the strongest source that gives one
//! counts: of the process itself `set`, `run`, its rule; then the same of its
//! parent, and so on; then the defaults. What its user lowered caps that.

use std::sync::Arc;

use xsched_common::api::ChangeWay;
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;
use xsched_policy::{SchedAttr, SliceChoice};

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
    let lowered = lowered(ancestry, uid);
    let attr = SchedAttr {
        class: lowered.class.unwrap_or(ceiling.class).min(ceiling.class),
        weight: lowered.weight.unwrap_or(ceiling.weight).min(ceiling.weight),
        slo_p99: match lowered.slo_p99 {
            Some(_) => None,
            None => ceiling.slo_p99,
        },
    };
    if attr != ceiling {
        from.insert(0, "lowered by its user".to_owned());
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
mod tests {
    use super::*;
    use crate::attr::given::Right;
    use crate::control::NameList;
    use proptest::prelude::*;
    use xsched_common::units::{Class, Weight};

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, start_time: 1 }
    }

    fn class(class: Class) -> SchedAttrPatch {
        SchedAttrPatch {
            class: Some(class),
            ..SchedAttrPatch::default()
        }
    }

    fn given(set: Option<Class>, run: Option<Class>, lowered: Option<Class>) -> Given {
        let mut given = Given::default();
        for (patch, way, right) in [
            (set, ChangeWay::Set, Right::Full),
            (run, ChangeWay::Run, Right::Full),
            (lowered, ChangeWay::Set, Right::Lower { uid: 1000 }),
        ] {
            if let Some(patch) = patch {
                given.change(class(patch), way, right, String::new());
            }
        }
        given
    }

    fn rule(name: &str, attr: SchedAttrPatch) -> Evaluated {
        Evaluated::Rule(RuleApplied {
            name: name.into(),
            line: 1,
            share: Share::OfRule,
            attr,
            passthrough: None,
            time_slices: None,
            threads: None,
        })
    }

    #[test]
    fn the_nearest_rule_that_names_work_lets_it_pass() {
        let passing = |name: &str| {
            let names = NameList::passing(vec![name.to_owned()]);
            let passing = Passthrough::new(names, NameList::default());
            Some(Arc::new(passing.expect("fits")))
        };
        let with = |passthrough| {
            let mut evaluated = rule("r", SchedAttrPatch::default());
            if let Evaluated::Rule(rule) = &mut evaluated {
                rule.passthrough = passthrough;
            }
            evaluated
        };
        let (silent, fft, rand) = (with(None), with(passing("fft")), with(passing("rand")));
        let resolved = of(&[(None, &silent), (None, &fft), (None, &rand)]);
        assert_eq!(resolved.passthrough, passing("fft"));
        assert_eq!(resolved.from, "default", "it is no term");
        assert_eq!(of(&[(None, &silent)]).passthrough, None);
    }

    fn of(links: &[(Option<&Given>, &Evaluated)]) -> Resolved {
        let ancestry = links.iter().enumerate();
        let ancestry: Vec<Link<'_>> = ancestry
            .map(|(at, (given, evaluated))| Link {
                process: id(at as u32 + 10),
                given: *given,
                evaluated,
                user: Some(1000),
            })
            .collect();
        resolve(&ancestry, Some(1000), SchedAttr::default())
    }

    #[test]
    fn each_source_outranks_the_next() {
        use Class::{High, Low, Normal, Realtime};
        let (low, none) = (rule("batch", class(Low)), Evaluated::NoRule);
        let all = given(Some(Realtime), Some(High), None);
        let run = given(None, Some(High), None);
        let expect = |links: &[(Option<&Given>, &Evaluated)], class, from: &str| {
            let resolved = of(links);
            assert_eq!((resolved.attr.class, &*resolved.from), (class, from));
        };
        expect(&[(Some(&all), &low)], Realtime, "set by hand");
        expect(&[(Some(&run), &low)], High, "run");
        expect(&[(None, &low), (Some(&all), &none)], Low, "rule \"batch\"");
        let inherited = "inherited from 11 (set by hand)";
        expect(&[(None, &none), (Some(&all), &low)], Realtime, inherited);
        let inherited = "inherited from 12 (rule \"batch\")";
        expect(
            &[(None, &none), (None, &none), (None, &low)],
            Low,
            inherited,
        );
        expect(&[(None, &none)], Normal, "default");
        expect(
            &[(None, &Evaluated::Pending)],
            Normal,
            "default until its rules are judged",
        );
        expect(&[], Normal, "default");
    }

    #[test]
    fn each_term_has_its_own_source() {
        let weight = Weight::new(300).expect("a weight");
        let parent = rule(
            "all",
            SchedAttrPatch {
                class: Some(Class::Low),
                weight: Some(weight),
                slo_p99: Some(Nanos::from_millis(30)),
            },
        );
        let set = given(Some(Class::High), None, None);
        let resolved = of(&[(Some(&set), &Evaluated::NoRule), (None, &parent)]);
        assert_eq!(resolved.attr.class, Class::High);
        assert_eq!(resolved.attr.weight, weight);
        assert!(resolved.weight_rule.is_some(), "its share is the rule's");
        let mut feigned = parent.clone();
        if let Evaluated::Rule(rule) = &mut feigned {
            rule.share = Share::OfUser;
        }
        let own = of(&[(None, &feigned)]);
        assert_eq!((own.attr.weight, own.weight_rule), (weight, None));
        assert_eq!(resolved.attr.slo_p99, Some(Nanos::from_millis(30)));
        assert_eq!(
            resolved.from,
            "set by hand, inherited from 11 (rule \"all\")"
        );
        let untargeted = rule(
            "no target",
            SchedAttrPatch {
                slo_p99: Some(Nanos::ZERO),
                ..SchedAttrPatch::default()
            },
        );
        let resolved = of(&[(None, &untargeted), (None, &parent)]);
        assert_eq!(resolved.attr.slo_p99, None, "removed, not inherited");
    }

    #[test]
    fn users_lower_their_own_and_nobody_else_s() {
        let lowered = given(None, None, Some(Class::Low));
        let high = rule("serving", class(Class::High));
        let resolved = of(&[(Some(&lowered), &high)]);
        assert_eq!(resolved.attr.class, Class::Low);
        assert_eq!(resolved.ceiling.class, Class::High);
        assert_eq!(resolved.from, "lowered by its user, rule \"serving\"");
        let parent = of(&[(None, &high), (Some(&lowered), &Evaluated::NoRule)]);
        assert_eq!(parent.attr.class, Class::Low, "children, too");
        let link = Link {
            process: id(1),
            given: Some(&lowered),
            evaluated: &high,
            user: Some(0),
        };
        let sudo = resolve(&[link], Some(0), SchedAttr::default());
        assert_eq!(sudo.attr.class, Class::High, "another user's");
        let absurd = given(None, None, Some(Class::Realtime));
        let resolved = of(&[(Some(&absurd), &Evaluated::NoRule)]);
        assert_eq!(resolved.attr.class, Class::Normal);
        assert_eq!(resolved.from, "default");
    }

    #[test]
    fn rules_of_other_users_ancestors_are_not_inherited() {
        let high = rule("root's", class(Class::High));
        let of_users = |users: &[Option<u32>]| {
            let links = users.iter().enumerate().map(|(at, user)| Link {
                process: id(at as u32 + 10),
                given: None,
                evaluated: if at + 1 == users.len() {
                    &high
                } else {
                    &Evaluated::NoRule
                },
                user: *user,
            });
            let links: Vec<_> = links.collect();
            resolve(&links, users[0], SchedAttr::default()).attr.class
        };
        // A user's shell of sshd's.
        assert_eq!(of_users(&[Some(1000), Some(1000), Some(0)]), Class::Normal);
        assert_eq!(
            of_users(&[Some(1000), Some(0), Some(1000)]),
            Class::High,
            "sudo and back"
        );
        assert_eq!(of_users(&[Some(0), Some(0)]), Class::High);
        assert_eq!(of_users(&[Some(0)]), Class::High);
        // It runs as another than the one who connected, or as several.
        assert_eq!(of_users(&[None]), Class::Normal);
        assert_eq!(of_users(&[None, None]), Class::Normal);
    }

    fn any_class() -> impl Strategy<Value = Option<Class>> {
        prop::option::of(prop::sample::select(Class::ALL.to_vec()))
    }

    proptest! {
        /// Whatever users did: nobody is above what root and the rules say.
        #[test]
        fn nobody_is_above_the_ceiling(
            sources in prop::collection::vec((any_class(), any_class(), any_class(), any_class()), 0..6),
        ) {
            let givens: Vec<Given> = sources
                .iter()
                .map(|&(set, run, lowered, _)| given(set, run, lowered))
                .collect();
            let evaluated: Vec<Evaluated> = sources
                .iter()
                .map(|(.., by_rule)| by_rule.map_or(Evaluated::NoRule, |c| rule("r", class(c))))
                .collect();
            let links: Vec<_> = givens.iter().map(Some).zip(&evaluated).collect();
            let resolved = of(&links);
            prop_assert!(resolved.attr.class <= resolved.ceiling.class);
            let strongest = sources.iter().find_map(|&(set, run, _, rule)| set.or(run).or(rule));
            prop_assert_eq!(resolved.ceiling.class, strongest.unwrap_or_default());
        }
    }
}
