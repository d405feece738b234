//! Each condition, and whose word it takes.

use xsched_host::cgroup::{Delegate, Workload};
use xsched_host::process::Credentials;

use super::*;
use crate::rules::facts::Reach;
use crate::workloads::{Job, Pod, Workloads};

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|t| t.parse().expect("a pattern"))
        .collect()
}

fn account(name: &str, id: Option<u32>) -> Account {
    Account {
        name: name.to_owned(),
        id,
    }
}

fn facts() -> Facts {
    let id = "4f1a2b3c4d5e".to_owned() + &"0".repeat(52);
    let path = format!("/system.slice/serve.service/docker-{id}.scope");
    // The inside of a container is its own.
    at(Placement::known(
        &path,
        "/evil.service",
        Some(Delegate::Container),
    ))
}

fn at(placement: Placement) -> Facts {
    let credentials = Credentials {
        uid: 1000,
        gid: 100,
        groups: vec![44],
        is_mixed: false,
    };
    Facts::known(
        "/usr/bin/python3.11",
        credentials,
        placement,
        &["python3", "-m", "vllm.entrypoints", "--port=80"],
        &["TIER=gold", "TIERS=lead", "EMPTY="],
    )
}

fn holds(conditions: Conditions) -> bool {
    holds_of(conditions, &facts())
}

fn holds_of(conditions: Conditions, facts: &Facts) -> bool {
    match conditions.evaluate(facts) {
        MatchOutcome::Holds(_) => true,
        MatchOutcome::Fails(because) => {
            assert!(!because.is_empty());
            false
        }
        MatchOutcome::Undecided => panic!("everything is known"),
    }
}

macro_rules! conditions {
    ($($field:ident: $value:expr),*) => {
        Conditions { $($field: $value,)* ..Conditions::default() }
    };
}

#[test]
fn each_condition_can_hold_and_fail() {
    assert!(holds(conditions!(exe: patterns(&["python3*"]))));
    assert!(holds(conditions!(exe: patterns(&["/usr/*/python3*"]))));
    assert!(!holds(conditions!(exe: patterns(&["python"]))));
    assert!(holds(conditions!(arg: patterns(&["nope", "vllm.*"]))));
    assert!(!holds(conditions!(arg: patterns(&["vllm"]))));
    assert!(holds(conditions!(command_line: patterns(&["re:-m vllm"]))));
    assert!(!holds(conditions!(command_line: patterns(&["-m vllm"]))));
    assert!(holds(conditions!(user: vec![account("ann", Some(1000))])));
    assert!(!holds(
        conditions!(user: vec![account("bob", Some(0)), account("eve", None)])
    ));
    assert!(holds(conditions!(group: vec![account("users", Some(100))])));
    assert!(holds(conditions!(group: vec![account("video", Some(44))])));
    assert!(!holds(conditions!(group: vec![account("root", Some(0))])));
    assert!(holds(conditions!(cgroup: patterns(&["/system.slice/*"]))));
    assert!(!holds(conditions!(cgroup: patterns(&["/user.slice/*"]))));
    assert!(holds(conditions!(unit: patterns(&["serve.service"]))));
    assert!(!holds(conditions!(unit: patterns(&["serve"]))));
    assert!(holds(conditions!(container: patterns(&["4f1a2b3c4d5e"]))));
    assert!(holds(conditions!(container: patterns(&["4f1a*"]))));
    assert!(!holds(conditions!(container: patterns(&["4f1a"]))));
    let env = |name: &str, value: &str| conditions!(env: BTreeMap::from([(name.to_owned(), patterns(&[value]))]));
    assert!(holds(env("TIER", "gold")) && holds(env("EMPTY", "*")));
    assert!(!holds(env("TIER", "lead")) && !holds(env("TIE", "*")));
}

#[test]
fn what_was_handed_over_is_nobody_else_s_word() {
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    let id = "4f1a2b3c4d5e".to_owned() + &"0".repeat(52);
    let place = |rest: &str| at(Placement::known(manager, rest, Some(Delegate::User(1000))));
    let serve = place("/app.slice/serve.service");
    let unit = |name| conditions!(unit: patterns(&[name]));
    let user_unit = |name| conditions!(user_unit: patterns(&[name]));
    assert!(!holds_of(unit("serve.service"), &serve));
    assert!(holds_of(unit("user-1000.slice"), &serve));
    assert!(holds_of(user_unit("serve.service"), &serve));
    assert!(holds_of(user_unit("app.slice"), &serve));
    assert!(!holds_of(user_unit("user.slice"), &serve), "the system's");
    let cgroup = |pattern| conditions!(cgroup: patterns(&[pattern]));
    assert!(!holds_of(cgroup("*serve.service"), &serve));
    assert!(holds_of(cgroup("/user.slice/user-1000.slice/*"), &serve));
    let container = conditions!(container: patterns(&["*"]));
    let rootless = place(&format!("/docker-{id}.scope"));
    assert!(!holds_of(container, &rootless));
    let inner = conditions!(unit: patterns(&["evil.service"]));
    let MatchOutcome::Fails(why) = inner.evaluate(&facts()) else {
        panic!("it is the container's word");
    };
    assert!(
        why.contains("the container makes its own control groups"),
        "{why}"
    );
    let MatchOutcome::Fails(why) = unit("serve.service").evaluate(&serve) else {
        panic!("it is the user's word");
    };
    assert_eq!(
        why,
        format!(
            "unit serve.service is not root's: it lies below {manager}, and user 1000 makes the \
             control groups there; user_unit matches a user's own units"
        )
    );
}

/// Of another user, it was started there by somebody else's doing.
#[test]
fn a_user_s_unit_is_that_of_the_process_s_own_user() {
    let manager = "/user.slice/user-1001.slice/user@1001.service";
    let theirs = at(Placement::known(
        manager,
        "/a.service",
        Some(Delegate::User(1001)),
    ));
    assert!(!holds_of(
        conditions!(user_unit: patterns(&["a.service"])),
        &theirs
    ));
    let forged = at(Placement::known(
        "/user.slice/user-1001.slice/user@1001.service",
        "/user@1000.service/a.service",
        Some(Delegate::User(1001)),
    ));
    assert!(!holds_of(
        conditions!(user_unit: patterns(&["a.service"])),
        &forged
    ));
}

#[test]
fn only_what_root_decides_cannot_be_feigned() {
    let unit = |name| conditions!(unit: patterns(&[name]));
    let cgroup = |name| conditions!(cgroup: patterns(&[name]));
    for safe in [
        unit("serve@*.service"),
        unit("user-1000.slice"),
        cgroup("/system.slice/serve.service"),
        conditions!(container: patterns(&["*"])),
        conditions!(user: vec![account("ann", Some(1000))], arg: patterns(&["x"])),
        conditions!(user_unit: patterns(&["x"]), group: vec![account("users", Some(100))]),
    ] {
        assert!(safe.feigned_by().is_none(), "{safe}");
    }
    for anybodys in [
        conditions!(exe: patterns(&["x"]), arg: patterns(&["x"])),
        conditions!(user_unit: patterns(&["serve.service"])),
        unit("user.slice"),
        unit("user-*.slice"),
        unit("re:."),
        unit("system.slice"),
        cgroup("/user.slice/*"),
        cgroup("*"),
    ] {
        assert_eq!(anybodys.feigned_by(), Some(Feigner::User), "{anybodys}");
    }
}

#[test]
fn all_must_hold() {
    let both = conditions!(
        exe: patterns(&["python3*"]),
        user: vec![account("bob", Some(7))]
    );
    assert_eq!(
        both.evaluate(&facts()),
        MatchOutcome::Fails("its user is 1000, not bob".to_owned())
    );
    assert!(holds(Conditions::default()), "nothing is asked");
}

#[test]
fn environments_are_not_told() {
    let env = BTreeMap::from([("TIER".to_owned(), patterns(&["silver"]))]);
    let MatchOutcome::Fails(because) = conditions!(env: env).evaluate(&facts()) else {
        panic!("it is gold");
    };
    assert!(!because.contains("gold"), "{because}");
}

#[test]
fn the_process_is_not_waited_for_where_the_kernel_knows_enough() {
    let me = Facts::of(std::process::id(), Reach::Kernel, &Workloads::default());
    let arg = conditions!(arg: patterns(&["*"]));
    assert_eq!(arg.evaluate(&me), MatchOutcome::Undecided);
    let other = conditions!(arg: patterns(&["*"]), unit: patterns(&["no-such.service"]));
    assert!(matches!(other.evaluate(&me), MatchOutcome::Fails(_)));
    let me = Facts::of(std::process::id(), Reach::Memory, &Workloads::default());
    assert!(matches!(arg.evaluate(&me), MatchOutcome::Holds(_)));
}

fn in_pod(known: bool) -> Facts {
    let uid = "7d1b53a2-9d8f-4a0c-8c5e-6a5f0b7e2c11";
    let pod = Pod {
        namespace: "web".to_owned(),
        name: "api-0".to_owned(),
        labels: Some(BTreeMap::from([("app".to_owned(), "api".to_owned())])),
        ..Pod::default()
    };
    let pods = known.then_some((uid.to_owned(), pod));
    let place = xsched_host::cgroup::PodPlace {
        uid: uid.to_owned(),
        container: None,
    };
    facts().in_workload(Workload::Pod(place), Workloads::known_to_test(pods), None)
}

fn in_job(job: Option<Job>) -> Facts {
    let place = xsched_host::cgroup::JobPlace {
        id: 7,
        step: None,
        user: None,
    };
    facts().in_workload(Workload::Job(place), Workloads::default(), job)
}

macro_rules! cluster {
    ($($field:ident: $value:expr),*) => {
        Conditions {
            cluster: ClusterConditions { $($field: $value,)* ..ClusterConditions::default() },
            ..Conditions::default()
        }
    };
}

#[test]
fn pods_match_by_what_the_cluster_says() {
    let label = |key: &str, value: &str| cluster!(label: BTreeMap::from([(key.to_owned(), patterns(&[value]))]));
    let (pod, none) = (in_pod(true), in_pod(false));
    let namespace = |pattern| cluster!(namespace: patterns(&[pattern]));
    assert!(holds_of(namespace("web"), &pod) && holds_of(namespace("w*"), &pod));
    assert!(!holds_of(namespace("we"), &pod));
    assert!(holds_of(cluster!(pod: patterns(&["api-*"])), &pod));
    assert!(!holds_of(cluster!(pod: patterns(&["web/api-0"])), &pod));
    assert!(holds_of(label("app", "api"), &pod));
    assert!(!holds_of(label("app", "x"), &pod) && !holds_of(label("ap", "*"), &pod));
    let both = cluster!(namespace: patterns(&["web"]), pod: patterns(&["db-*"]));
    assert!(!holds_of(both, &pod), "all that are given");
    for nobody in [&none, &facts(), &in_job(None)] {
        assert!(!holds_of(namespace("*"), nobody));
    }
    assert!(namespace("web").feigned_by().is_none() && !namespace("web").is_chosen_by_users());
    assert!(label("app", "api").is_chosen_by_users());
    // A creator's choice beside the namespace gives no share for each choice.
    let one_of = cluster!(
        namespace: patterns(&["web"]),
        label: BTreeMap::from([("app".to_owned(), patterns(&["api"]))])
    );
    assert!(one_of.is_chosen_by_users() && one_of.feigned_by().is_none());
    let shown = label("app", "api").to_string();
    assert_eq!(shown, "label = { \"app\" = \"api\" }");
}

#[test]
fn whoever_creates_a_pod_chooses_all_but_its_namespace() {
    let pod = || cluster!(pod: patterns(&["api-*"]));
    let by_creator = Some(Feigner::PodCreator);
    assert_eq!(pod().feigned_by(), by_creator);
    // So are the user of its processes and the class of service.
    for unit in ["kubepods.slice", "kubepods-burstable.slice"] {
        let conditions = Conditions {
            user: vec![account("serve", Some(1000))],
            unit: patterns(&[unit]),
            ..pod()
        };
        assert_eq!(conditions.feigned_by(), by_creator, "{unit}");
    }
    let elsewhere = Conditions {
        unit: patterns(&["serve.service"]),
        ..pod()
    };
    assert_eq!(elsewhere.feigned_by(), None, "no pod is there");
    let qos = cluster!(slurm_qos: patterns(&["high"]));
    assert!(qos.feigned_by().is_none() && !qos.is_chosen_by_users());
}

#[test]
fn jobs_match_by_root_s_record_alone() {
    let job = Job {
        qos: Some("high".to_owned()),
        ..Job::default()
    };
    let qos = |pattern| cluster!(slurm_qos: patterns(&[pattern]));
    let (recorded, silent) = (in_job(Some(job)), in_job(None));
    assert!(holds_of(qos("high"), &recorded) && !holds_of(qos("low"), &recorded));
    assert!(!holds_of(
        cluster!(slurm_account: patterns(&["*"])),
        &recorded
    ));
    let MatchOutcome::Fails(why) = qos("high").evaluate(&silent) else {
        panic!("its environment is its user's word");
    };
    assert!(why.contains("only lowers"), "{why}");
    assert!(!holds_of(qos("*"), &in_pod(true)));
}
