//! A scene whose process holds its own memory map.

use std::sync::mpsc::channel;
use std::time::Duration;

use xsched_observe::CallerObject;

use super::*;
use xsched_testkit::holder::Holder;

struct Told;

impl Places for Told {
    fn arguments(&mut self, _pid: u32) -> Vec<OsString> {
        vec!["/usr/bin/serve".into(), "--told".into()]
    }

    fn caller(&mut self, _pid: u32, _address: u64) -> Caller {
        Caller {
            address: 0,
            object: Arc::new(CallerObject {
                kind: ObjectKind::Program,
                name: "serve".into(),
                path: String::new(),
            }),
            file_offset: 0,
        }
    }

    fn symbol(&mut self, _pid: u32, _address: u64) -> Option<String> {
        None
    }
}

/// Whatever else is asked of it waits for no lock of the process's own.
#[test]
fn a_process_that_holds_its_memory_map_holds_up_no_recording() {
    let Some(holder) = Holder::start() else {
        return;
    };
    let pid = holder.pid;
    let api = ENTRY_POINTS.iter().position(EntryPoint::is_launch);
    let (done, finished) = channel();
    std::thread::spawn(move || {
        let mut trace = Vec::new();
        let mut writer = TraceWriter::begin(&mut trace, &[]).expect("a trace");
        let record = CallRecord {
            tgid: pid,
            tid: pid,
            api: api.expect("a launch") as u16,
            moment: CallMoment::Entry as u8,
            route: CallRoute::Direct as u8,
            time_ns: 1,
            caller: 1,
            stream: 0,
            kernel: 0,
            since_shim_ns: 0,
            reserved: 0,
        };
        let mut summary = Summary::default();
        let mut scene = Scene::new(Returns::Leave);
        let taken = scene.take(&record, &mut writer, &mut summary, &mut Told);
        taken.expect("written");
        writer.finish().expect("written");
        let _ = done.send((summary, trace));
    });
    let (summary, trace) = finished
        .recv_timeout(Duration::from_secs(10))
        .expect("it waits for the process");
    assert_eq!((summary.processes, summary.launches), (1, 1));
    let told = b"--told";
    assert!(trace.windows(told.len()).any(|part| part == told));
}
