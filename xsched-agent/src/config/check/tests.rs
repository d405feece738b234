use xsched_common::page::HintPolicy;
use xsched_common::units::{Class, Nanos};
use xsched_policy::Linger;

use super::*;
use crate::config::{EXAMPLE, Severity, schema};
use proptest::prelude::*;

fn good(text: &str) -> Config {
    match check(text) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// The errors as `line:column: message`.
fn errors(text: &str) -> Vec<String> {
    let problems = check(text).expect_err("refused");
    problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| format!("{}:{}: {}", p.line, p.column, p.message))
        .collect()
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = check(text).expect("accepted");
    assert!(warnings.iter().all(|p| p.severity == Severity::Warning));
    warnings.into_iter().map(|p| p.message).collect()
}

#[test]
fn five_lines_are_enough() {
    let config = good(
        "[[rule]]\nname = \"serving\"\nmatch = { unit = \"serve.service\" }\nclass = \"high\"\np99_ms = 30\n",
    );
    assert_eq!(config.rules.len(), 1);
    let rule = &config.rules[0];
    assert_eq!((rule.name.as_str(), rule.line), ("serving", 1));
    assert_eq!(rule.attr.class, Some(Class::High));
    assert_eq!(rule.attr.slo_p99, Some(Nanos::from_millis(30)));
    assert_eq!(
        config.sharing.default.mode,
        SharingMode::Slo,
        "a rule has a target"
    );
}

#[test]
fn nothing_is_the_defaults() {
    let config = good("");
    assert_eq!(config.sharing, Settings::default());
    assert_eq!(config.defaults, SchedAttr::default());
    assert!(config.rules.is_empty());
    assert_eq!(config.agent, AgentSettings::default());
}

/// Every key of the example is there, with its default where it is one.
#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let config = good(EXAMPLE);
    assert_eq!(config.rules.len(), 3);
    let expected = DeviceSettings {
        mode: SharingMode::Slo,
        ..DeviceSettings::default()
    };
    assert_eq!(config.sharing.default, expected);
    assert_eq!(config.defaults, SchedAttr::default());
    assert_eq!(config.agent, AgentSettings::default());
    assert_eq!(config.sharing.devices.len(), 1);
    assert!(warnings(EXAMPLE).is_empty(), "{:?}", warnings(EXAMPLE));
}

#[test]
fn a_rule_may_have_a_passthrough_of_its_own() {
    let rule = |given: &str| {
        format!("[[rule]]\nname = \"a\"\nmatch = {{ user = 0 }}\npassthrough = {given}\n")
    };
    let own = |text: &str| good(text).rules[0].passthrough.clone();
    let shown = |given: &str| own(&rule(given)).expect("its own").to_string();
    assert_eq!(shown("{}"), "everything is gated");
    assert_eq!(
        shown("{ libraries = [\"libfoo\"], gate_only_apis = [\"hipLaunchKernel\"] }"),
        "libraries libfoo pass; only functions hipLaunchKernel are gated"
    );
    let without = "[[rule]]\nname = \"a\"\nmatch = { user = 0 }\nweight = 1\n";
    assert!(own(without).is_none());
    let bad = errors(&rule("{ apis = [\"hipLaunchKernal\"] }"));
    assert!(
        bad[0].contains("did you mean `hipLaunchKernel`?"),
        "{bad:?}"
    );
}

#[test]
fn the_agent_s_own_keys_are_checked() {
    let agent = good(
        "[agent]\nobserve = true\nprobe_returns = true\nmetrics = \"0.0.0.0:9999\"\n\
         metrics_processes = 0\noverhead_budget_percent = 2.5\nmetrics_workloads = 10\n\
         pods = \"/p\"\n",
    )
    .agent;
    let expected = AgentSettings {
        observe: Observe::Probes,
        overhead_budget: OverheadBudget::from_percent(2.5).expect("a percentage"),
        returns: Returns::OfWaits,
        metrics: "0.0.0.0:9999".parse().ok(),
        metrics_processes: 0,
        metrics_workloads: 10,
        pods: "/p".into(),
    };
    assert_eq!(agent, expected);
    assert_eq!(good("[agent]\nmetrics = \"off\"\n").agent.metrics, None);
    assert_eq!(
        errors("[agent]\nmetrics = \"localhost\"\n"),
        [
            "2:11: \"localhost\" is no address with a port: write it as \"127.0.0.1:9464\" or \
          \"[::]:9464\", or \"off\""
        ]
    );
    assert_eq!(
        errors("[agent]\nmetrics_processes = 1001\n"),
        ["2:21: a number from 0 to 1000"]
    );
    assert_eq!(
        errors("[agent]\nmetrics_workloads = 5001\n"),
        ["2:21: a number from 0 to 5000"]
    );
    let idle = warnings("[agent]\nobserve = false\nprobe_returns = true\n");
    assert!(idle[0].starts_with("without probes nothing is measured"));
}

#[test]
fn a_device_is_as_all_but_for_what_it_says() {
    let config = good(
        "[sharing]\nbudget = \"1ms\"\nlinger = \"200us\"\n[device.\"0000:03:00.0\"]\nmode = \"share\"\n\
         [device.\"c1:00.0\"]\nlinger_max = \"1ms\"\n",
    );
    let of = |address: &str| config.sharing.of(address.parse().ok());
    assert_eq!(of("0000:03:00.0").mode, SharingMode::Share);
    assert_eq!(of("0000:03:00.0").budget, Nanos::from_millis(1));
    assert_eq!(
        of("0000:03:00.0").linger,
        Linger::Fixed(Nanos::from_micros(200))
    );
    assert_eq!(of("0000:c1:00.0").mode, SharingMode::Priority);
    assert_eq!(of("0000:c1:00.0").linger.limits().1, Nanos::from_millis(1));
    assert_eq!(of("0000:04:00.0"), &config.sharing.default);
}

#[test]
fn rules_for_threads_are_checked() {
    let config = good(
        "[defaults]\nhints = \"off\"\n[[rule]]\nname = \"a\"\nmatch = { user = 0 }\nhints = \"within\"\n\
         hints_up_to = \"high\"\n[[rule.thread]]\nmatch = { thread = [\"train*\", \"io\"] }\nclass = \"low\"\n\
         [[rule.thread]]\nmatch = { thread = \"serve\" }\nclass = \"realtime\"\n",
    );
    let threads = config.rules[0].threads.as_deref().expect("some");
    assert_eq!(threads.rules.len(), 3);
    assert_eq!(threads.highest(), Some(Class::Realtime));
    assert_eq!(config.threads.hints, HintPolicy::Off);
    let rule = |rest: &str| format!("[[rule]]\nname = \"a\"\nmatch = {{ user = 0 }}\n{rest}");
    for (bad, what) in [
        ("hints_up_to = \"high\"\n", "only with hints"),
        (
            "[[rule.thread]]\nmatch = { thread = \"longer than a name\" }\nclass = \"low\"\n",
            "1 to 15 bytes",
        ),
        (
            "[[rule.thread]]\nmatch = { thread = \"re:x\" }\nclass = \"low\"\n",
            "1 to 15 bytes",
        ),
    ] {
        let found = errors(&rule(bad));
        assert!(found[0].contains(what), "{found:?}");
    }
}

#[test]
fn unknown_keys_are_all_named_with_what_was_meant() {
    let text = "[sharring]\n[[rule]]\nname = \"a\"\nmatch = { exee = \"x\", exe = \"y\" }\nclas = \"low\"\nzzz = 1\n";
    let found = errors(text);
    assert_eq!(
        found[0],
        "1:2: unknown key `sharring`: did you mean `sharing`?"
    );
    assert_eq!(found[1], "4:11: unknown key `exee`: did you mean `exe`?");
    assert_eq!(found[2], "5:1: unknown key `clas`: did you mean `class`?");
    assert!(
        found[3]
            .starts_with("6:1: unknown key `zzz`: known here: class, hints, hints_up_to, match"),
        "{found:?}"
    );
    assert_eq!(found.len(), 4);
}

/// Of several mistakes in one table each is told, and none that follows from
/// another.
#[test]
fn all_mistakes_are_found_at_once() {
    let text = "[sharing]\nmode = \"fair\"\nbudget = 500\ncap = 0\nmin_share_percent = \"a\"\n\
                [[rule]]\nname = \"a\"\nmatch = { user = 1.5, exe = \"re:(\" }\nclass = \"lowest\"\n\
                weight = 0\np99 = 5\n[[rule]]\nname = 7\nmatch = { user = 1 }\n\
                [[rule]]\nname = \"b\"\nclass = 1\n";
    let found = errors(text);
    let places: Vec<&str> = found
        .iter()
        .map(|error| error.split(": ").next().expect("a place"))
        .collect();
    assert_eq!(
        places,
        [
            "2:8", "3:10", "4:7", "5:21", "8:18", "8:29", "9:9", "10:10", "11:7", "13:8", "15:1",
            "17:9"
        ],
        "{found:#?}"
    );
    let mode = "2:8: `mode` takes one of \"priority\", \"share\"";
    assert!(found[0].starts_with(mode), "{found:#?}");
    let class = "17:9: `class` takes one of \"low\", \"normal\", \"high\", \"realtime\", not a whole number";
    assert!(found[11].starts_with(class), "{found:#?}");
    assert!(
        found.iter().all(|error| !error.contains("expected")),
        "{found:#?}"
    );
}

#[test]
fn mistakes_have_places() {
    for (text, expected) in [
        ("[[rule]\n", "1:8: "),
        ("a = 1\n", "1:1: unknown key `a`"),
        (
            "[sharing]\nmode = \"fair\"\n",
            "2:8: `mode` takes one of \"",
        ),
        (
            "[sharing]\nbudget = 500\n",
            "2:10: `budget` takes a time with its unit, not a whole number: write it as budget = \"30ms\"",
        ),
        ("[sharing]\nbudget = \"500\"\n", "2:10: not a time: \"500\""),
        (
            "[sharing]\nbudget = \"2s\"\n",
            "2:10: a time from 10.0 us to 1.00 s",
        ),
        (
            "[sharing]\nlinger = \"1ms\"\nlinger_max = \"2ms\"\n",
            "3:14: linger is a fixed time",
        ),
        (
            "[sharing]\nlinger_min = \"9ms\"\n",
            "2:14: linger_min (9.00 ms) is longer",
        ),
        ("[sharing]\ncap = 0\n", "2:7: a number of commands"),
        (
            "[sharing]\ncap = -1\n",
            "2:7: `cap` takes a whole number from 1 to 256: write it as cap = 1",
        ),
        (
            "[sharing]\ncap = \"four\"\n",
            "2:7: `cap` takes a whole number from 1 to 256, not a text: write it as cap = 1",
        ),
        (
            "[passthrough]\nlibraries = \"librocfft\"\n",
            "2:13: `libraries` takes a list, not a text: write it as libraries = [\"...\"]",
        ),
        (
            "[agent]\nobserve = 1\n",
            "2:11: `observe` takes true or false, not a whole number: write it as observe = true",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { user = 1.5 }\nclass = \"low\"\n",
            "3:18: `user` takes a text or a whole number from 0 on",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = \"serve.service\"\nclass = \"low\"\n",
            "3:9: `match` takes a table, not a text",
        ),
        (
            "[sharing]\nmin_share_percent = 60.0\n",
            "2:21: a percentage",
        ),
        ("[device.\"3:0\"]\n", "1:9: not a PCI address"),
        ("[defaults]\nweight = 0\n", "2:10: not a weight"),
        (
            "[agent]\noverhead_budget_percent = nan\n",
            "2:27: a percentage",
        ),
        (
            "[passthrough]\napis = [\"hipMemsetAsnyc\"]\n",
            "2:9: no function `hipMemsetAsnyc` is gated: did you mean `hipMemsetAsync`?",
        ),
        (
            "[passthrough]\ngate_only_apis = [\"hipMalloc\"]\n",
            "2:19: `hipMalloc` is never gated",
        ),
        (
            "[passthrough]\ngate_only_apis = [\"hipMemcpy\"]\n",
            "2:19: `hipMemcpy` is never gated, since the program waits in it: leave it out; \
             gated functions like it: `hipMemcpyAsync`",
        ),
        (
            "[passthrough]\nlibraries = [\"a\"]\ngate_only_libraries = [\"b\"]\n",
            "1:1: libraries and gate_only_libraries exclude each other",
        ),
        (
            "[passthrough]\nlibraries = [\"\"]\n",
            "1:1: a passthrough name is empty",
        ),
        (
            "[[rule]]\nname = \"a\"\nclass = \"low\"\n",
            "1:1: this rule has no `match`: add one, as match = { unit",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = {}\nclass = \"low\"\n",
            "3:9: this rule would match every process",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { exe = \"a\" }\n",
            "1:1: this rule gives nothing",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { exe = [] }\nclass = \"low\"\n",
            "3:17: an empty list",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { exe = \"re:(\" }\nclass = \"low\"\n",
            "3:17: not a regular expression",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { user = -1 }\nclass = \"low\"\n",
            "3:18: ",
        ),
        (
            "[[rule]]\nname = \" \"\nmatch = { user = 1 }\nclass = \"low\"\n",
            "2:8: a rule needs a name",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { user = 1 }\np99_ms = -1\n",
            "4:10: a target from",
        ),
        (
            "[[rule]]\nname = \"a\"\nmatch = { user = 1 }\np99_ms = 1\np99 = \"1ms\"\n",
            "4:10: p99_ms and p99",
        ),
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{text}{found:#?}");
        assert!(found[0].starts_with(expected), "{text}{found:#?}");
        assert!(!found[0].contains('\n'));
    }
    let twice = "[[rule]]\nname = \"a\"\nmatch = { user = 1 }\nclass = \"low\"\n".repeat(2);
    assert_eq!(
        errors(&twice),
        ["6:8: a second rule called \"a\": give each its own name"]
    );
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let rule = |conditions: &str, attr: &str| {
        format!("[[rule]]\nname = \"a\"\nmatch = {{ {conditions} }}\n{attr}\n")
    };
    let feigned = warnings(&rule("exe = \"serve\"", "class = \"high\""));
    assert!(
        feigned[0].starts_with("any user can start a process"),
        "{feigned:?}"
    );
    assert!(warnings(&rule("exe = \"serve\"", "class = \"low\"")).is_empty());
    let asked = rule("exe = \"serve\"", "may_ask = { class = \"high\" }");
    assert!(
        warnings(&asked)[0].starts_with("any user"),
        "by a pod's annotation"
    );
    let labelled = "label = { app = \"api\" }";
    let pods = warnings(&rule(labelled, "class = \"high\""));
    assert!(pods[0].starts_with("whoever may create pods"), "{pods:?}");
    let placed = format!("namespace = \"web\", {labelled}");
    assert!(warnings(&rule(&placed, "class = \"high\"")).is_empty());
    assert!(warnings(&rule("exe = \"serve\", user = 0", "class = \"high\"")).is_empty());
    let own = warnings(&rule("user_unit = \"serve.service\"", "class = \"high\""));
    assert!(
        own[0].starts_with("any user can start a process"),
        "{own:?}"
    );
    let session = warnings(&rule("unit = \"user.slice\"", "class = \"high\""));
    assert!(
        session[0].starts_with("any user can start a process"),
        "{session:?}"
    );
    assert!(warnings(&rule("unit = \"serve.service\"", "class = \"high\"")).is_empty());
    assert!(
        warnings(&rule(
            "user = 0, user_unit = \"a.service\"",
            "class = \"high\""
        ))
        .is_empty()
    );
    for (more, what) in [
        ("weight = 101", "a larger share"),
        ("p99_ms = 5", "a target that holds back others"),
        (
            "passthrough = { libraries = [\"a\"] }",
            "work that no gate holds back",
        ),
    ] {
        let found = warnings(&rule("exe = \"serve\"", more));
        assert!(found[0].contains(what), "{more}: {found:?}");
    }
    for same in [
        "weight = 100",
        "passthrough = {}",
        "class = \"low\"\nweight = 300",
    ] {
        assert!(
            warnings(&rule("exe = \"serve\"", same)).is_empty(),
            "{same}"
        );
    }
    let nobody = warnings(&rule("user = \"no-such-user\"", "class = \"high\""));
    assert_eq!(
        nobody,
        ["no user \"no-such-user\" on this machine: it matches nobody"]
    );
    let group = warnings("[authorise]\ngroup = \"no-such-group\"\n");
    assert!(group[0].contains("only root"), "{group:?}");
    let idle = format!(
        "[sharing]\nmode = \"share\"\n{}",
        rule("user = 0", "p99_ms = 5")
    );
    assert!(warnings(&idle)[0].starts_with("no device adapts to this target"));
}

/// Checked in beside the example; `xsched-agent config schema` prints it.
#[test]
fn the_shipped_schema_is_the_code_s() {
    let shipped = include_str!("../../../../config/xsched.schema.json");
    let now = format!("{:#}\n", schema());
    assert_eq!(
        shipped, now,
        "run: xsched-agent config schema > config/xsched.schema.json"
    );
}

/// Mutations of a real file, which reach further than noise.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..20usize, "[\\PC\n]{0,6}");
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, len, new) in edits {
            let at = at.index(text.len());
            let end = (at + len).min(text.len());
            text.splice(at..end, new.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_problems(text in "[\\PC\n]{0,200}") {
        if let Err(problems) = check(&text) {
            prop_assert!(problems.iter().any(|p| p.severity == Severity::Error));
        }
    }

    #[test]
    fn any_change_of_the_example_is_read(text in mutated()) {
        if let Err(problems) = check(&text) {
            let lines = text.split('\n').count();
            prop_assert!(problems.iter().all(|p| (1..=lines).contains(&p.line) && p.column > 0));
        }
    }
}

#[test]
fn clusters_have_conditions_and_ceilings() {
    let config = good(
        "[[rule]]\nname = \"web\"\nmatch = { namespace = \"web\", label = { tier = [\"a\", \"b\"] } }\n\
         class = \"normal\"\nmay_ask = { class = \"high\", weight = 300, p99 = \"10ms\" }\n\
         [[rule]]\nname = \"jobs\"\nmatch = { slurm_qos = \"high\", slurm_account = \"ml\" }\nclass = \"high\"\n\
         [[rule]]\nname = \"ceiling\"\nmatch = { namespace = \"dev-*\" }\nmay_ask = { class = \"normal\" }\n",
    );
    let [web, jobs, ceiling] = &*config.rules else {
        panic!("three rules");
    };
    assert_eq!(web.may_ask.class, Some(Class::High));
    assert_eq!(web.may_ask.slo_p99, Some(Nanos::from_millis(10)));
    assert!(jobs.may_ask.is_empty() && jobs.conditions.cluster.is_of_jobs());
    assert!(ceiling.attr.is_empty());
    let both =
        "[[rule]]\nname = \"a\"\nmatch = { pod = \"a\", slurm_qos = \"b\" }\nclass = \"low\"\n";
    assert!(errors(both)[0].contains("matches nobody"));
    let raised = "[[rule]]\nname = \"a\"\nmatch = { namespace = \"a\" }\nclass = \"high\"\n";
    assert!(warnings(raised).is_empty(), "a namespace is root's word");
}
