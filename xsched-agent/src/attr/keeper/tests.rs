//! The keeper on its own: a control thread without clients, a directory of
//! its own.

use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;
use xsched_common::api::{ChangeWay, Settled};
use xsched_common::handshake::{Origin, Wish};
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;
use xsched_policy::Settings;

use super::places::{MAX_KNOWN, MAX_OF_TENANT};
use super::*;
use crate::attr::given::Right;
use crate::attr::{AttrHandle, AttrKeeper, Inbox, Ordered, Refused};
use crate::control::{Control, Passthrough, Scheduling, Setup};
use crate::rules::{Account, Conditions, Rule, SchedAttrPatch};

/// A child that does nothing; killed at the end.
struct Idle(std::process::Child);

impl Idle {
    fn start() -> Idle {
        let child = std::process::Command::new("sleep").arg("600").spawn();
        Idle(child.expect("sleep"))
    }

    fn id(&self) -> ProcessId {
        ProcessId::of(self.0.id()).expect("it runs")
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn me() -> ProcessId {
    ProcessId::of(std::process::id()).expect("I exist")
}

fn control(dir: &TempDir) -> Control {
    let setup = Setup {
        settings: Settings::default(),
        passthrough: Passthrough::default(),
        listener: None,
        scheduling: Scheduling::Normal,
        charge: crate::control::Charge::default(),
        roster: Box::new(|_| {}),
    };
    let run_dir = RunDir(dir.path().join("run"));
    std::fs::create_dir_all(&run_dir.0).expect("creates");
    Control::start(&run_dir, setup).expect("starts")
}

/// A keeper that handles what is in `inbox` already, too.
fn keep(dir: &TempDir, control: &Control, inbox: Inbox) -> AttrKeeper {
    let (events, _) = EventLog::new();
    let directory = dir.path().join("run");
    AttrKeeper::start(inbox, control.handle(), Arc::default(), &directory, events).expect("starts")
}

fn order(
    attr: &AttrHandle,
    process: ProcessId,
    class: Class,
) -> Receiver<Result<Settled, Refused>> {
    let (tell, told) = channel();
    let ordered = Ordered {
        process,
        right: Right::Full,
        by: "a test".to_owned(),
    };
    let patch = SchedAttrPatch {
        class: Some(class),
        ..SchedAttrPatch::default()
    };
    attr.change(ordered, patch, ChangeWay::Set, move |outcome| {
        let _ = tell.send(outcome);
    });
    told
}

#[test]
fn attributes_from_before_are_in_the_table_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let (child, inbox) = (Idle::start(), Inbox::default());
    let attr = inbox.handle();
    let keeper = keep(&dir, &control, inbox);
    order(&attr, me(), Class::Low)
        .recv()
        .expect("an answer")
        .expect("done");
    // So that its ancestry is kept.
    let (tell, told) = channel();
    attr.explain(child.id(), Right::Full, move |explained| {
        let _ = tell.send(explained.settled.class);
    });
    assert_eq!(told.recv(), Ok(Class::Low));
    drop(keeper);

    let inbox = Inbox::default();
    let attr = inbox.handle();
    let _keeper = keep(&dir, &control, inbox);
    // An answer: by then the keeper has read what was kept.
    order(&attr, me(), Class::Low)
        .recv()
        .expect("an answer")
        .expect("done");
    let standing = attr.table().standing(child.id()).expect("on the board");
    assert_eq!(standing.attr.class, Class::Low);
    assert!(
        standing.from.starts_with("inherited from"),
        "{}",
        standing.from
    );
}

#[test]
fn orders_that_wait_together_are_kept_before_anybody_hears_of_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let inbox = Inbox::default();
    let attr = inbox.handle();
    let store = Store::in_directory(&dir.path().join("run"));
    let children: Vec<Idle> = (0..4).map(|_| Idle::start()).collect();
    // More than one batch; the last class of each process counts.
    let told: Vec<_> = (0..=BATCH as usize / 2)
        .flat_map(|n| {
            let class = Class::ALL[n % Class::ALL.len()];
            let attr = &attr;
            children
                .iter()
                .map(move |child| (child.id(), class, order(attr, child.id(), class)))
        })
        .collect();
    let _keeper = keep(&dir, &control, inbox);
    for (process, class, told) in told {
        let settled = told.recv().expect("an answer").expect("done");
        assert_eq!(
            settled.class, class,
            "as it was when it was this one's turn"
        );
        let kept = store.load().expect("kept");
        assert!(kept.given.contains_key(&process), "{process}");
    }
    let kept = store.load().expect("kept");
    let last = Class::ALL[(BATCH as usize / 2) % Class::ALL.len()];
    for child in &children {
        assert_eq!(kept.given[&child.id()].set.class, Some(last));
    }
}

/// A keeper that is not running.
fn still(dir: &TempDir, control: &Control, rules: Vec<Rule>) -> Keeper {
    let (inbox, messages) = channel();
    let (events, _) = EventLog::new();
    Keeper::new(Parts {
        messages,
        control: control.handle(),
        table: Arc::default(),
        workloads: Workloads::default(),
        config: Arc::new(Config {
            rules: rules.into(),
            ..Config::default()
        }),
        store: Store::in_directory(dir.path()),
        events,
        inbox,
    })
}

#[test]
fn a_pending_ancestor_is_asked_about_once_for_all_its_children() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let by_argument = Rule {
        name: "by argument".into(),
        line: 1,
        conditions: Conditions {
            arg: vec!["nothing has this".parse().expect("a pattern")],
            ..Conditions::default()
        },
        attr: SchedAttrPatch::default(),
        may_ask: SchedAttrPatch::default(),
        passthrough: None,
        time_slices: None,
        threads: None,
    };
    let mut keeper = still(&dir, &control, vec![by_argument]);
    let children: Vec<Idle> = (0..20).map(|_| Idle::start()).collect();
    let mut answers = Vec::new();
    for child in &children {
        keeper.know(child.id(), Vec::new(), Because::Counts);
    }
    // Every child and every ancestor has one answer; more would come at once.
    while let Ok(message) = keeper.messages.recv_timeout(Duration::from_millis(500)) {
        if let Message::Evaluated(answer) = message {
            answers.push(answer.process);
        }
    }
    let of_me = answers.iter().filter(|process| **process == me()).count();
    assert_eq!(of_me, 1, "{answers:?}");
    let of_children = children
        .iter()
        .filter(|child| answers.contains(&child.id()));
    assert_eq!(of_children.count(), children.len());
}

#[test]
fn only_an_ancestry_that_is_news_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let mut keeper = still(&dir, &control, Vec::new());
    let child = Idle::start();
    keeper.given.insert(me(), given_low(Right::Full));
    keeper.know(child.id(), Vec::new(), Because::Counts);
    assert!(keeper.unsaved, "it inherits");
    keeper.save();
    keeper.joined(child.id(), 0, Part::Process);
    assert!(!keeper.unsaved, "known already");
    let remembered = keeper.known[&child.id()].ancestry.clone();
    keeper.known.clear();
    keeper.know(child.id(), remembered, Because::Counts);
    assert!(!keeper.unsaved, "remembered from the file");
}

fn of_root() -> Rule {
    Rule {
        name: "root's".into(),
        line: 1,
        conditions: Conditions {
            user: vec![Account {
                name: "root".into(),
                id: Some(0),
            }],
            ..Conditions::default()
        },
        attr: SchedAttrPatch {
            class: Some(Class::High),
            ..SchedAttrPatch::default()
        },
        may_ask: SchedAttrPatch::default(),
        passthrough: None,
        time_slices: None,
        threads: None,
    }
}

/// As one whose process has executed a program with the set-user-ID bit since.
#[test]
fn threads_are_of_the_user_who_joined_with_them() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: the rule is about root's");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let class = |keeper: &Keeper| keeper.known[&me()].standing.attr.class;
    let threads = Part::Group(Wish {
        class: Class::Realtime,
        origin: Origin::Hint,
    });
    for first in [Part::Process, threads] {
        let mut keeper = still(&dir, &control, vec![of_root()]);
        keeper.know(me(), Vec::new(), Because::Seen);
        keeper.update_one(me());
        assert_eq!(class(&keeper), Class::High, "only seen: it is root's");
        keeper.joined(me(), 4242, first);
        assert_eq!(class(&keeper), Class::Normal, "{first:?}");
        keeper.joined(me(), 4242, threads);
        assert_eq!(class(&keeper), Class::Normal, "{first:?}");
    }
    let mut keeper = still(&dir, &control, vec![of_root()]);
    keeper.joined(me(), 0, Part::Process);
    keeper.joined(me(), 0, threads);
    assert_eq!(class(&keeper), Class::High);
    keeper.joined(me(), 4242, threads);
    assert_eq!(class(&keeper), Class::Normal, "of two users: nobody's");
}

fn given_low(right: Right) -> Given {
    let mut given = Given::default();
    let low = SchedAttrPatch {
        class: Some(Class::Low),
        ..SchedAttrPatch::default()
    };
    given.change(low, ChangeWay::Set, right, "a test".into());
    given
}

/// What many processes that only exist would make of the file.
#[test]
fn ancestries_of_processes_that_were_only_seen_or_lowered_are_not_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let mut keeper = still(&dir, &control, Vec::new());
    let kept = |keeper: &mut Keeper| {
        keeper.unsaved = true;
        keeper.save();
        keeper.store.load().expect("kept").ancestries.len()
    };
    let child = Idle::start();
    keeper.given.insert(me(), given_low(Right::Full));
    keeper.handle(Message::Seen(vec![child.id()]));
    assert!(keeper.known.contains_key(&child.id()));
    assert_eq!(kept(&mut keeper), 0, "only seen");
    keeper.joined(child.id(), 0, Part::Process);
    assert_eq!(kept(&mut keeper), 1);
    keeper
        .given
        .insert(me(), given_low(Right::Lower { uid: 0 }));
    assert_eq!(kept(&mut keeper), 0, "only lowered");
}

#[test]
fn a_user_s_processes_take_no_places_of_others_or_of_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let control = control(&dir);
    let mut keeper = still(&dir, &control, Vec::new());
    let known = |tenant: &Tenant, keeper: &Keeper| Known {
        ancestry: Vec::new(),
        uid: Some(tenant.uid),
        connected: None,
        clients: 0,
        tenant: tenant.clone(),
        because: Because::Seen,
        standing: keeper.nothing_known(),
    };
    let user = Tenant::known_by(1000);
    for n in 0..MAX_KNOWN as u32 {
        let process = ProcessId {
            pid: u32::MAX - n,
            start_time: 1,
        };
        let known = known(&user, &keeper);
        keeper.known.insert(process, known);
        if keeper.known.len() == MAX_OF_TENANT {
            assert!(!keeper.has_place(&user, MAX_OF_TENANT));
            assert!(keeper.has_place(&Tenant::known_by(1001), 0));
        }
    }
    assert!(
        !keeper.has_place(&Tenant::known_by(1001), 0),
        "all are taken"
    );
    assert!(keeper.has_place(&Tenant::known_by(0), 0), "root's are not");
    let child = Idle::start();
    assert_eq!(keeper.make_known(child.id(), Right::Full), Ok(()));
    // One that was refused is not looked up again and again.
    let child = Idle::start();
    let tenant = Tenant::of(child.id().pid);
    keeper
        .known
        .values_mut()
        .for_each(|known| known.tenant = tenant.clone());
    keeper.handle(Message::Seen(vec![child.id()]));
    let ours = tenant.is_ours();
    assert_eq!(keeper.known.contains_key(&child.id()), ours);
    assert_eq!(keeper.refused.contains(&child.id()), !ours);
    keeper.prune();
    assert!(keeper.refused.is_empty());
}
