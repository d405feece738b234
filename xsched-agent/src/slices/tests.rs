//! Against a driver that is a table.

use std::sync::Mutex;

use xsched_common::api::{ProcessRow, SliceSetter};
use xsched_common::platform::Platform;
use xsched_common::units::{Class, Nanos};
use xsched_host::platform::slices::{GroupId, Scan, SliceError};
use xsched_policy::{LONG, OverrideKind, SHORT, SchedAttr};

use super::*;
use crate::attr::Standing;
use crate::config::QueueChoice;

mod gates;
mod looks;

const DEFAULT: Nanos = Nanos::from_micros(2048);
const COPYING: Nanos = Nanos::from_micros(1024);

/// Groups by process; sets that were asked for; who refuses.
#[derive(Default)]
struct Fake {
    groups: Mutex<HashMap<u32, Vec<Group>>>,
    sets: Mutex<Vec<(u32, Nanos)>>,
    looks: Mutex<u32>,
    refuses: Mutex<bool>,
    /// What a look at these takes, and whom was looked at.
    long: Mutex<HashMap<u32, Duration>>,
    looked_at: Mutex<Vec<u32>>,
}

impl SliceDriver for Fake {
    fn platform(&self) -> Platform {
        Platform::Cuda
    }

    fn version(&self) -> &str {
        "580.1"
    }

    fn default_slice(&self) -> Nanos {
        DEFAULT
    }

    fn look(&self, process: ProcessId, scan: &mut Scan) -> Result<Vec<Group>, SliceError> {
        *self.looks.lock().expect("whole") += 1;
        self.looked_at.lock().expect("whole").push(process.pid);
        let takes = self.long.lock().expect("whole").get(&process.pid).copied();
        std::thread::sleep(takes.unwrap_or_default());
        scan.is_complete = true;
        let groups = self.groups.lock().expect("whole");
        let gone = SliceError::Gone(process.pid);
        groups.get(&process.pid).cloned().ok_or(gone)
    }

    fn set(&self, process: ProcessId, group: GroupId, slice: Nanos) -> Result<Nanos, SliceError> {
        self.sets.lock().expect("whole").push((process.pid, slice));
        if *self.refuses.lock().expect("whole") {
            return Err(SliceError::Refused {
                pid: process.pid,
                what: "another time slice",
                status: 0x1b,
            });
        }
        let mut groups = self.groups.lock().expect("whole");
        let own = groups.get_mut(&process.pid).expect("has groups");
        let set = own.iter_mut().find(|known| known.id == group);
        set.expect("is there").slice = slice;
        Ok(slice)
    }
}

fn on(device: u8) -> PciAddress {
    PciAddress {
        domain: 0,
        bus: 0,
        device,
        function: 0,
        reserved: 0,
    }
}

struct Stage {
    fake: Arc<Fake>,
    picture: Arc<Mutex<Arc<Snapshot>>>,
    attr: Arc<AttrTable>,
    table: SliceTable,
    keeper: Keeper,
    turns: Arc<Mutex<Vec<InTurns>>>,
    now: Instant,
}

impl Stage {
    fn new() -> Stage {
        let fake = Arc::new(Fake::default());
        let picture = Arc::new(Mutex::new(Arc::new(Snapshot::default())));
        let (attr, table) = (Arc::new(AttrTable::default()), SliceTable::default());
        let (events, _kept) = EventLog::new();
        let (shown, turns) = (picture.clone(), Arc::<Mutex<Vec<_>>>::default());
        let parts = Parts {
            pictures: Box::new(move || shown.lock().expect("whole").clone()),
            attr: attr.clone(),
            table: table.clone(),
            events,
            take_turns: {
                let turns = turns.clone();
                Box::new(move |processes| turns.lock().expect("whole").push(processes))
            },
        };
        let keeper = Keeper::new(fake.clone(), parts);
        Stage {
            fake,
            picture,
            attr,
            table,
            keeper,
            turns,
            now: Instant::now(),
        }
    }

    /// A process with a group for computing and one for copying on each device.
    fn start(&self, pid: u32, class: Class, devices: &[u8], slice: Nanos) {
        let groups = devices.iter().flat_map(|device| {
            [(slice, 1), (COPYING, 2)].map(|(slice, which)| Group {
                id: GroupId {
                    client: pid,
                    object: u32::from(*device) * 16 + which,
                },
                device: on(*device),
                slice,
            })
        });
        let mut all = self.fake.groups.lock().expect("whole");
        all.insert(pid, groups.collect());
        drop(all);
        self.attr_of(pid, class, None, SliceChoice::ByClass);
        let mut picture = self.picture.lock().expect("whole");
        let picture = Arc::make_mut(&mut picture);
        picture.processes.retain(|row| row.pid != pid);
        picture.processes.push(ProcessRow {
            launches_per_s: 1.0,
            ..row(pid, Platform::Cuda)
        });
    }

    fn attr_of(&self, pid: u32, class: Class, hold: Option<OverrideKind>, choice: SliceChoice) {
        let standing = Standing {
            attr: SchedAttr::of_class(class),
            from: Arc::from(""),
            hold: hold.map(|kind| Override {
                kind,
                until: clock::monotonic() + Nanos::from_secs(100),
            }),
            passthrough: None,
            weight_rule: None,
            time_slices: choice,
            queue_priority: QueueChoice::Off,
            threads: Arc::default(),
            highest: None,
        };
        self.attr.put(id(pid), standing);
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.keeper.tick(self.now);
    }

    fn slices(&self, pid: u32) -> Vec<Nanos> {
        let groups = self.fake.groups.lock().expect("whole");
        groups[&pid].iter().map(|group| group.slice).collect()
    }

    fn sets(&self) -> usize {
        self.fake.sets.lock().expect("whole").len()
    }
}

fn id(pid: u32) -> ProcessId {
    ProcessId { pid, start_time: 1 }
}

fn row(pid: u32, platform: Platform) -> ProcessRow {
    let json = serde_json::json!({
        "pid": pid, "start_time": 1, "platform": platform, "uid": 0, "command": "", "arguments": "",
        "class": "normal", "shim": "absent", "device": null, "gate": null, "launches": 0,
        "launches_per_s": 0.0, "bypass_ratio": null, "default_stream_ratio": null, "burst": null,
        "gate_wait": null, "guards": null, "in_flight": null, "kernel_ns": null, "callers": []
    });
    serde_json::from_value(json).expect("a row")
}

#[test]
fn slices_follow_classes_and_are_given_back() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.tick();
    assert_eq!(stage.slices(10), [DEFAULT, COPYING], "it is alone");
    stage.start(20, Class::Low, &[6], DEFAULT);
    stage.tick();
    assert_eq!(stage.slices(10), [LONG, COPYING]);
    assert_eq!(stage.slices(20), [SHORT, COPYING]);
    let sets = stage.sets();
    stage.tick();
    assert_eq!(stage.sets(), sets, "once per change");
    let rows = stage.table.rows(id(20));
    assert_eq!(
        (rows[0].slice_ns, rows[0].set_by),
        (SHORT, SliceSetter::Class)
    );
    assert_eq!(rows[0].reason, "a higher class is on this device");
    // A change of class, a boost, and the rule that leaves it alone.
    stage.attr_of(20, Class::High, None, SliceChoice::ByClass);
    stage.tick();
    assert_eq!(stage.slices(20)[0], DEFAULT);
    let boost = Some(OverrideKind::Boosted);
    stage.attr_of(20, Class::Low, boost, SliceChoice::ByClass);
    stage.tick();
    assert_eq!((stage.slices(10)[0], stage.slices(20)[0]), (DEFAULT, LONG));
    stage.attr_of(20, Class::Low, None, SliceChoice::Leave);
    stage.tick();
    assert_eq!((stage.slices(10)[0], stage.slices(20)[0]), (LONG, DEFAULT));
    stage.keeper.give_back(Instant::now() + GIVING_BACK);
    assert_eq!(stage.slices(10), [DEFAULT, COPYING]);
    assert_eq!(stage.table.slicing().failures, 0);
}

#[test]
fn processes_at_work_with_groups_are_told_once() {
    let mut stage = Stage::new();
    stage.start(10, Class::Low, &[6, 7], DEFAULT);
    stage.tick();
    stage.start(20, Class::High, &[7], DEFAULT);
    // As clients of a server that shares a device (MPS).
    stage.start(30, Class::Low, &[], DEFAULT);
    stage.tick();
    stage.tick();
    let rows = |stage: &Stage, change: fn(&mut Vec<ProcessRow>)| {
        let mut picture = stage.picture.lock().expect("whole");
        change(&mut Arc::make_mut(&mut picture).processes);
    };
    rows(&stage, |rows| rows[1].launches_per_s = 0.0);
    for _ in 0..22 {
        stage.tick();
    }
    rows(&stage, |rows| rows.clear());
    stage.tick();
    let told = stage.turns.lock().expect("whole").clone();
    let own = [(id(10), on(6)), (id(10), on(7))];
    let both = own.into_iter().chain([(id(20), on(7))]);
    assert_eq!(
        told,
        [
            InTurns::from(own),
            both.collect(),
            InTurns::from(own),
            InTurns::new()
        ]
    );
}

#[test]
fn what_an_agent_left_is_taken_over_and_what_others_set_is_left() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], Nanos::from_micros(500));
    stage.start(30, Class::High, &[7], SHORT);
    stage.tick();
    assert_eq!(
        stage.slices(20)[0],
        Nanos::from_micros(500),
        "another tool's"
    );
    assert_eq!(stage.table.rows(id(20))[0].set_by, SliceSetter::Other);
    assert_eq!(
        stage.slices(30)[0],
        DEFAULT,
        "alone, and as low before a restart"
    );
    assert_eq!(
        stage.slices(10)[0],
        LONG,
        "the other one has lower work all the same"
    );
}

#[test]
fn devices_are_decided_apart() {
    let mut stage = Stage::new();
    stage.start(10, Class::Low, &[6, 7], DEFAULT);
    stage.start(20, Class::High, &[7], DEFAULT);
    stage.tick();
    assert_eq!(stage.slices(10), [DEFAULT, COPYING, SHORT, COPYING]);
    let shown: Vec<_> = stage
        .table
        .rows(id(10))
        .into_iter()
        .map(|row| row.slice_ns)
        .collect();
    assert_eq!(shown, [DEFAULT, SHORT]);
}

#[test]
fn a_refusal_is_told_once_and_not_repeated_in_a_storm() {
    let mut stage = Stage::new();
    *stage.fake.refuses.lock().expect("whole") = true;
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], DEFAULT);
    for _ in 0..40 {
        stage.tick();
    }
    assert_eq!((stage.sets(), stage.table.slicing().failures), (2, 2));
    *stage.fake.refuses.lock().expect("whole") = false;
    for _ in 0..40 {
        stage.tick();
    }
    assert_eq!(stage.slices(20)[0], SHORT, "tried again after a while");
}

#[test]
fn a_process_without_groups_is_looked_at_ever_less() {
    let mut stage = Stage::new();
    stage.start(10, Class::Low, &[], DEFAULT);
    for _ in 0..240 {
        stage.tick();
    }
    let looks = *stage.fake.looks.lock().expect("whole");
    assert!((5..=12).contains(&looks), "{looks} looks in two minutes");
    // Another platform's are none of this driver's business.
    let mut picture = stage.picture.lock().expect("whole");
    Arc::make_mut(&mut picture).processes = vec![row(50, Platform::Hip)];
    drop(picture);
    stage.tick();
    assert_eq!(*stage.fake.looks.lock().expect("whole"), looks);
    assert!(stage.keeper.watched.is_empty());
}

#[test]
fn a_process_that_begins_to_launch_is_looked_at_at_once() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[], DEFAULT);
    let launches = |stage: &Stage, per_s| {
        let mut picture = stage.picture.lock().expect("whole");
        let picture = Arc::make_mut(&mut picture);
        picture.processes[1].launches_per_s = per_s;
    };
    launches(&stage, 0.0);
    for _ in 0..60 {
        stage.tick();
    }
    // Its context comes with its first work.
    stage.start(20, Class::Low, &[6], DEFAULT);
    launches(&stage, 5.0);
    stage.tick();
    assert_eq!(stage.slices(20)[0], SHORT);
}

#[test]
fn a_child_that_shares_its_parent_s_session_decides_nothing() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(11, Class::Low, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], DEFAULT);
    {
        let mut groups = stage.fake.groups.lock().expect("whole");
        let parent_s = groups[&10].clone();
        groups.insert(11, parent_s);
    }
    for _ in 0..5 {
        stage.tick();
    }
    assert_eq!((stage.slices(10)[0], stage.slices(20)[0]), (LONG, SHORT));
    let sets: Vec<u32> = stage
        .fake
        .sets
        .lock()
        .expect("whole")
        .iter()
        .map(|(pid, _)| *pid)
        .collect();
    assert!(!sets.contains(&11), "{sets:?}");
}

#[test]
fn what_is_to_be_left_keeps_even_a_slice_of_the_agent_s_lengths() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], LONG);
    stage.attr_of(20, Class::Low, None, SliceChoice::Leave);
    stage.tick();
    assert_eq!(stage.slices(20)[0], LONG, "another tool's choice");
    stage.keeper.give_back(Instant::now() + GIVING_BACK);
    assert_eq!(stage.slices(20)[0], LONG);
}

#[test]
fn what_another_tool_makes_of_it_later_stays() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], DEFAULT);
    stage.tick();
    assert_eq!(stage.slices(20)[0], SHORT);
    let other = Nanos::from_micros(500);
    stage
        .fake
        .groups
        .lock()
        .expect("whole")
        .get_mut(&20)
        .expect("there")[0]
        .slice = other;
    for _ in 0..100 {
        stage.tick();
    }
    stage.keeper.give_back(Instant::now() + GIVING_BACK);
    assert_eq!((stage.slices(20)[0], stage.slices(10)[0]), (other, DEFAULT));
}

#[test]
fn who_has_not_been_evaluated_is_left() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], DEFAULT);
    stage.attr.retain(|process| process != id(20));
    stage.tick();
    assert_eq!(stage.slices(20)[0], DEFAULT);
}
