//! Programs that follow each other in one process, and a process that holds its
//! own memory map.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use xsched_common::bpf::CallRoute;
use xsched_common::platform::entry_point;
use xsched_observe::{CallerObject, ObjectKind};
use xsched_testkit::holder::Holder;

use super::super::names::MOST_THREADS;
use super::*;

/// Nobody holds anybody up; each introduction has another name.
#[derive(Default)]
struct Known {
    introduced: u32,
}

impl Places for Known {
    fn introduce(&mut self, _: u32) -> Introduced {
        self.introduced += 1;
        Introduced::nameless(&format!("program {}", self.introduced))
    }

    fn caller(&mut self, _: u32, address: u64) -> Caller {
        let object = CallerObject {
            kind: ObjectKind::Program,
            name: format!("program {}", self.introduced),
            path: String::new(),
        };
        Caller {
            address,
            object: Arc::new(object),
            file_offset: 0,
        }
    }

    fn symbol(&mut self, _: u32, _: u64) -> Option<String> {
        None
    }
}

fn launch(at: u64) -> CallRecord {
    let (api, _) = entry_point("hipModuleLaunchKernel").expect("known");
    CallRecord {
        time_ns: at,
        caller: 1,
        stream: 0,
        kernel: 0x77,
        since_shim_ns: 0,
        tgid: 5,
        tid: 5,
        api,
        moment: CallMoment::Entry as u8,
        route: CallRoute::Direct as u8,
        reserved: 0,
    }
}

#[test]
fn a_program_does_not_inherit_the_names_of_the_one_before() {
    let mut scene = Scene::new(Returns::OfWaits);
    let (mut summary, mut places) = (Summary::default(), Known::default());
    let mut writer = TraceWriter::begin(Vec::new(), &[]).expect("to memory");
    let mut take = |scene: &mut Scene, at| {
        scene
            .take(&launch(at), &mut writer, &mut summary, &mut places)
            .expect("to memory");
    };
    scene.name_kernel(5, 0x77, "old", &mut Summary::default());
    take(&mut scene, 10);
    // Exec: what the new program looks up may come before what the old
    // one did.
    scene.ended(5, Nanos(20));
    scene.name_kernel(5, 0x88, "new", &mut Summary::default());
    take(&mut scene, 15);
    let known = |scene: &Scene, kernel| scene.processes[&5].kernels.get(kernel);
    assert!(known(&scene, 0x77).flatten().is_some() && known(&scene, 0x88).is_none());
    take(&mut scene, 25);
    assert_eq!(known(&scene, 0x77), Some(None), "looked up anew");
    assert!(known(&scene, 0x88).flatten().is_some());
    // One that does nothing more is forgotten, too.
    scene.ended(5, Nanos(30));
    scene.settle(&mut writer).expect("to memory");
    assert!(scene.processes.contains_key(&5), "records may still come");
    scene.settle(&mut writer).expect("to memory");
    assert!(scene.processes.is_empty() && scene.ended.is_empty());
    assert_eq!((summary.processes, places.introduced), (2, 2));
}

/// What they launch is shown by its stream all the same.
#[test]
fn threads_without_end_have_no_lines() {
    let most = u64::try_from(MOST_THREADS[0]).expect("small");
    let (mut scene, mut places) = (Scene::new(Returns::OfWaits), Known::default());
    let mut summary = Summary::default();
    let mut writer = TraceWriter::begin(Vec::new(), &[]).expect("to memory");
    let mut take = |scene: &mut Scene, at: u64, moment| {
        let record = CallRecord {
            tid: u32::try_from(at).expect("small"),
            moment: moment as u8,
            ..launch(at)
        };
        let taken = scene.take(&record, &mut writer, &mut summary, &mut places);
        taken.expect("to memory");
    };
    for thread in 1..=most {
        take(&mut scene, thread, CallMoment::Entry);
    }
    assert!(scene.limits().is_empty());
    for thread in most + 1..most + 10 {
        take(&mut scene, thread, CallMoment::Entry);
        take(&mut scene, thread, CallMoment::Return);
    }
    take(&mut scene, 1, CallMoment::Return);
    let said = |limit: &String| limit.contains("threads beyond 4096 of a process");
    assert!(scene.limits().iter().any(said), "{:?}", scene.limits());
    assert_eq!((summary.threads, summary.launches), (most, most + 9));
    // Its places are others' once it has gone.
    scene.ended(5, Nanos(most + 20));
    let mut summary = Summary::default();
    let next = launch(most + 30);
    let taken = scene.take(&next, &mut writer, &mut summary, &mut places);
    taken.expect("to memory");
    assert_eq!(summary.threads, 1);
}

/// Whatever else is asked of it waits for no lock of the process's own.
#[test]
fn a_process_that_holds_its_memory_map_holds_up_no_recording() {
    let Some(holder) = Holder::start() else {
        return;
    };
    let pid = holder.pid;
    let (done, finished) = channel();
    std::thread::spawn(move || {
        let mut trace = Vec::new();
        let mut writer = TraceWriter::begin(&mut trace, &[]).expect("a trace");
        let record = CallRecord {
            tgid: pid,
            tid: pid,
            ..launch(1)
        };
        let mut summary = Summary::default();
        let mut scene = Scene::new(Returns::Leave);
        let taken = scene.take(&record, &mut writer, &mut summary, &mut Known::default());
        taken.expect("written");
        writer.finish().expect("written");
        let _ = done.send((summary, trace));
    });
    let (summary, trace) = finished
        .recv_timeout(Duration::from_secs(10))
        .expect("it waits for the process");
    assert_eq!((summary.processes, summary.launches), (1, 1));
    let told = b"program 1";
    assert!(trace.windows(told.len()).any(|part| part == told));
}
