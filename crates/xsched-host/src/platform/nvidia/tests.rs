//! Against a resource manager that is a table. What the real one answered on
//! an H200, it answers.

mod calls;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::rm::{Command, OK};
use super::*;
use xsched_common::units::PciAddress;

const INVALID_CLIENT: u32 = 0x23;
const INVALID_OBJECT: u32 = 0x33;
const NOT_FOUND: u32 = 0x57;

#[derive(Clone, Copy)]
struct Object {
    class: u32,
    parent: u32,
    slice: u64,
    gpu: u32,
}

/// One session and its objects.
struct Table {
    client: u32,
    objects: RefCell<BTreeMap<u32, Object>>,
    asked: Cell<u64>,
}

impl Table {
    fn of(client: u32) -> Table {
        let session = Object {
            class: 0x41,
            parent: 0,
            slice: 0,
            gpu: 0,
        };
        Table {
            client,
            objects: RefCell::new(BTreeMap::from([(client, session)])),
            asked: Cell::new(0),
        }
    }

    /// A process's, as PyTorch's on the second of two GPUs was.
    fn of_process(client: u32) -> Table {
        let table = Table::of(client);
        table.device(0x5c00_0002, 6);
        table.device(0x5c00_000b, 7);
        table.context(0x5c00_000b, [0x1b, 0x44, 0x52, 0x60]);
        table
    }

    fn add(&self, handle: u32, class: u32, parent: u32, slice: u64, gpu: u32) {
        let object = Object {
            class,
            parent,
            slice,
            gpu,
        };
        self.objects.borrow_mut().insert(handle, object);
    }

    fn device(&self, handle: u32, gpu: u32) {
        self.add(handle, 0x80, self.client, 0, 0);
        self.add(handle + 1, 0x2080, handle, 0, gpu);
    }

    fn context(&self, device: u32, groups: [u32; 4]) {
        for (at, group) in groups.into_iter().enumerate() {
            let slice = if at == 0 { 2048 } else { 1024 };
            self.add(0x5c00_0000 + group, 0xa06c, device, slice, 0);
        }
    }

    fn slice(&self, group: u32) -> u64 {
        self.objects.borrow()[&(0x5c00_0000 + group)].slice
    }
}

impl Control for Table {
    fn control(&self, client: u32, object: u32, command: Command, parameters: &mut [u32]) -> u32 {
        self.asked.set(self.asked.get() + 1);
        if client != self.client {
            return INVALID_CLIENT;
        }
        let mut objects = self.objects.borrow_mut();
        let Some(asked) = objects.get_mut(&object) else {
            return INVALID_OBJECT;
        };
        match (command, &mut *parameters) {
            (Command::HandleInfo, [about, index, answer, _]) => {
                let Some(about) = objects.get(about) else {
                    return NOT_FOUND;
                };
                *answer = if *index == 1 {
                    about.parent
                } else {
                    about.class
                };
            }
            (Command::GpuId, [id]) => *id = asked.gpu,
            (Command::PciInfo, [id, domain, place]) => (*domain, *place) = (0, *id << 16),
            (Command::GetTimeSlice, [low, high]) => {
                (*low, *high) = (asked.slice as u32, (asked.slice >> 32) as u32);
            }
            (Command::SetTimeSlice, [low, high]) => {
                asked.slice = u64::from(*low) | u64::from(*high) << 32;
            }
            other => panic!("no such call: {other:?}"),
        }
        OK
    }
}

const PID: u32 = 7;
fn newest() -> Result<u32, SliceError> {
    Ok(0xc1d0_0047)
}

fn no_more() -> Result<u32, SliceError> {
    panic!("it is not searched again")
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

#[test]
fn groups_are_found_by_what_they_are_and_where() {
    let (cuda, management) = (Table::of_process(0xc1d0_003f), Table::of(0xc1d0_0043));
    let mut scan = Scan::default();
    let groups = groups::look(PID, &[&cuda, &management], newest, &mut scan).expect("found");
    let found: Vec<_> = groups
        .iter()
        .map(|g| (g.id.object, g.device, g.slice))
        .collect();
    let copying = Nanos::from_micros(1024);
    assert_eq!(
        found,
        [
            (0x5c00_001b, on(7), DEFAULT_SLICE),
            (0x5c00_0044, on(7), copying),
            (0x5c00_0052, on(7), copying),
            (0x5c00_0060, on(7), copying),
        ]
    );
    assert!(scan.is_complete);
    assert_eq!(scan.clients, [0xc1d0_0043, 0xc1d0_003f]);
    let first = cuda.asked.get();
    assert!(first < 2000, "{first} calls");
    // A context on another device comes later.
    cuda.context(0x5c00_0002, [0x121, 0x14a, 0x158, 0x166]);
    let again = groups::look(PID, &[&cuda, &management], no_more, &mut scan).expect("found");
    assert_eq!(again.len(), 8);
    assert_eq!(again[4].device, on(6));
}

#[test]
fn a_session_from_long_ago_is_found_by_several_looks_of_bounded_length() {
    let old = Table::of_process(0xc1d0_0010);
    let mut scan = Scan::default();
    for look in 1.. {
        let before = old.asked.get();
        let groups =
            groups::look(PID, &[&old], || Ok(0xc1d0_0000 + 9000), &mut scan).expect("answers");
        let asked = old.asked.get() - before;
        assert!(asked < 4096, "{asked} calls in one look");
        if !groups.is_empty() {
            assert_eq!((look, scan.is_complete), (5, true));
            return;
        }
        assert!(look < 6, "never found");
    }
}

/// Each device costs three questions more, each group two.
#[test]
fn no_process_makes_a_look_long() {
    let filled = |client: u32, class: u32| {
        let table = Table::of_process(client);
        for handle in 0x200..0x3000 {
            table.add(0x5c00_0000 + handle, class, 0x5c00_000b, 2048, 7);
        }
        table
    };
    for class in [0x2080, 0xa06c, 0x80] {
        let tables = [0x30, 0x31, 0x32, 0x33].map(|n| filled(0xc1d0_0000 + n, class));
        let sessions = tables.each_ref().map(|table| table as &dyn Control);
        let mut scan = Scan::default();
        for _ in 0..3 {
            let asked = || tables.iter().map(|table| table.asked.get()).sum::<u64>();
            let before = asked();
            let groups = groups::look(PID, &sessions, newest, &mut scan).expect("answers");
            let asked = asked() - before;
            assert!(asked <= 8192, "{asked} questions about {class:#x}");
            let own = groups.iter().filter(|group| group.id.object == 0x5c00_001b);
            assert!(own.count() >= 1, "what comes first is found");
        }
    }
}

#[test]
fn a_search_without_a_result_ends() {
    let (stranger, mut scan) = (Table::of(1), Scan::default());
    let mut looks = 0;
    while !scan.is_complete {
        let groups = groups::look(PID, &[&stranger], newest, &mut scan).expect("answers");
        assert_eq!(groups, []);
        looks += 1;
    }
    assert_eq!(looks, 0x10_0000 / 2048);
    let asked = stranger.asked.get();
    assert_eq!(asked, 0x10_0000, "each number once");
    groups::look(PID, &[&stranger], newest, &mut scan).expect("answers");
    assert_eq!(stranger.asked.get(), asked, "nothing new came");
    // The program opens the driver once more, for computing.
    let cuda = Table::of_process(0xc1d0_003f);
    let groups = groups::look(PID, &[&stranger, &cuda], newest, &mut scan).expect("answers");
    assert_eq!(groups.len(), 4);
}

#[test]
fn a_session_that_takes_another_s_place_is_found() {
    let (first, second) = (Table::of(0xc1d0_0030), Table::of_process(0xc1d0_0050));
    let mut scan = Scan::default();
    let groups = groups::look(PID, &[&first], newest, &mut scan).expect("answers");
    assert_eq!((groups.len(), scan.is_complete), (0, true));
    // Management ends, computing begins, by as many descriptors.
    let groups = groups::look(PID, &[&second], || Ok(0xc1d0_0060), &mut scan).expect("answers");
    assert_eq!((groups.len(), scan.is_complete), (4, true));
}

#[test]
fn the_driver_s_numbers_begin_again_and_older_sessions_are_above() {
    let old = Table::of_process(0xc1df_ff00);
    let mut scan = Scan::default();
    let groups = groups::look(PID, &[&old], newest, &mut scan).expect("answers");
    assert_eq!(groups.len(), 4);
}

#[test]
fn a_slice_is_set_on_a_group_and_on_nothing_else() {
    let table = Table::of_process(0xc1d0_003f);
    let id = |object: u32| GroupId {
        client: table.client,
        object: 0x5c00_0000 + object,
    };
    let slice = Nanos::from_micros(100);
    let set = groups::set(PID, &[&table], id(0x1b), slice).expect("set");
    assert_eq!((set, table.slice(0x1b)), (slice, 100));
    let long = groups::set(PID, &[&table], id(0x1b), Nanos::from_secs(5000)).expect("set");
    assert_eq!(long, Nanos::from_secs(5000), "64 bits");
    for object in [0x02, 0x77] {
        let refused = groups::set(PID, &[&table], id(object), slice);
        assert!(
            matches!(refused, Err(SliceError::NoSession(PID))),
            "{object:#x}"
        );
    }
}

#[test]
fn only_drivers_whose_structures_were_checked_are_used() {
    let line = |version| {
        format!(
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (x)\nGCC version:  gcc version 15.3.0\n"
        )
    };
    let open = of_version(&line("580.159.04")).expect("checked");
    assert_eq!(open.version(), "580.159.04");
    let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\n";
    assert_eq!(of_version(closed).expect("checked").version(), "550.54.14");
    for unchecked in ["470.256.02", "600.1", "58.0"] {
        let refused = of_version(&line(unchecked)).err().expect("unchecked");
        let said = refused.to_string();
        assert!(said.contains(unchecked) && said.contains("580"), "{said}");
    }
    for other in ["", "NVRM version: none", "no version 580.1"] {
        assert_eq!(of_version(other).err(), Some(NoSlices::Unreadable(VERSION)));
    }
}

#[test]
fn a_process_that_has_not_opened_the_driver_says_so_and_one_that_is_gone_too() {
    let me = ProcessId::of(std::process::id()).expect("I exist");
    // A file of that name is not the device.
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let path = directory.path().join("nvidiactl");
    let _open = fs::File::create(path).expect("a file");
    assert!(matches!(descriptors(me), Err(SliceError::NoSession(_))));
    let earlier = ProcessId {
        start_time: me.start_time + 1,
        ..me
    };
    assert!(matches!(descriptors(earlier), Err(SliceError::Gone(_))));
}
