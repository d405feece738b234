//! Who outranks whom.

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
            asked: None,
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
        asked: None,
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
            asked: None,
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

#[test]
fn a_workload_lowers_itself_and_its_user_more() {
    let patch = |class, weight| SchedAttrPatch {
        class,
        weight,
        slo_p99: None,
    };
    let asked = |class| Asked {
        by: "pod web/api".to_owned(),
        patch: patch(Some(class), Some(Weight::MIN)),
        may_raise: true,
        unclear: Vec::new(),
    };
    let high = rule("web", class(Class::High));
    let resolved = |asked: &Asked, given: Option<&Given>| {
        let link = Link {
            process: id(1),
            given,
            evaluated: &high,
            asked: Some(asked),
            user: Some(1000),
        };
        resolve(&[link], Some(1000), SchedAttr::default())
    };
    let own = resolved(&asked(Class::Normal), None);
    assert_eq!(
        (own.attr.class, own.ceiling.class),
        (Class::Normal, Class::High)
    );
    assert_eq!(own.from, "lowered by pod web/api, rule \"web\"");
    let above = resolved(&asked(Class::Realtime), None);
    assert_eq!(above.attr.class, Class::High, "a wish alone raises nothing");
    let lowered = given(None, None, Some(Class::Low));
    let both = resolved(&asked(Class::Normal), Some(&lowered));
    assert_eq!(both.attr.class, Class::Low);
    assert_eq!(both.from, "lowered by its user, rule \"web\"");
}

#[test]
fn what_is_given_by_hand_caps_what_rules_give_threads() {
    use Class::{High, Low, Normal};
    let with_threads = |attr| {
        let mut evaluated = rule("r", attr);
        if let Evaluated::Rule(rule) = &mut evaluated {
            rule.threads = Some(Arc::default());
        }
        evaluated
    };
    let (silent, high) = (
        with_threads(SchedAttrPatch::default()),
        with_threads(class(High)),
    );
    let none = Evaluated::NoRule;
    let (set, run) = (given(Some(Low), None, None), given(None, Some(Low), None));
    let lowered = given(None, None, Some(Normal));
    let highest = |links: &[(Option<&Given>, &Evaluated)]| of(links).highest;
    assert_eq!(highest(&[(None, &high)]), None, "a rule's class caps none");
    assert_eq!(highest(&[(Some(&set), &high)]), Some(Low));
    assert_eq!(highest(&[(Some(&run), &silent)]), Some(Low));
    assert_eq!(highest(&[(Some(&lowered), &high)]), Some(Normal));
    let both = given(Some(High), None, Some(Low));
    assert_eq!(highest(&[(Some(&both), &none)]), Some(Low));
    let inherited = [(None, &none), (Some(&set), &high)];
    assert_eq!(highest(&inherited), Some(Low), "it is no farther");
    let nearer = [(None, &silent), (Some(&set), &none)];
    assert_eq!(highest(&nearer), None, "the rule is the process's own");
    let lowered_above = [(None, &silent), (Some(&lowered), &none)];
    assert_eq!(highest(&lowered_above), Some(Normal));
}
