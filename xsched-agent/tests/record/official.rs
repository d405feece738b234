//! A recording by Perfetto's own definitions, which are not ours.

use std::collections::BTreeMap;

use super::*;

/// What `official.py` prints.
#[derive(serde::Deserialize)]
struct Read {
    /// By the names of their types.
    events: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    tracks: usize,
    /// Their command lines.
    processes: BTreeMap<String, Vec<String>>,
}

#[test]
fn perfettos_own_definitions_read_what_ours_do() {
    let Some(python) = std::env::var_os("XSCHED_PERFETTO_PYTHON") else {
        eprintln!(
            "LEFT OUT: Perfetto's own definitions are not here: `cargo xtask test --fleet --parts traces`"
        );
        return;
    };
    if no_bpf() {
        return;
    }
    let _alone = alone();
    let machine = Machine::new();
    let company = Company::start(&machine);
    let out = machine.record(&["--duration", "1"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let picture = Picture::read(&machine.file());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/record/official.py");
    let mut read = Command::new(python);
    let said = read.arg(script).arg(machine.file()).output();
    let said = said.expect("python starts");
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{error}");
    let read: Read = serde_json::from_slice(&said.stdout).expect("JSON");

    let counts: usize = picture.counts.values().map(Vec::len).sum();
    let expected = [
        ("TYPE_INSTANT", picture.moments.len()),
        ("TYPE_SLICE_BEGIN", picture.slices.len()),
        ("TYPE_SLICE_END", picture.slices.len()),
        ("TYPE_COUNTER", counts),
    ];
    let expected: BTreeMap<String, usize> = expected.map(|(name, n)| (name.to_owned(), n)).into();
    assert_eq!(read.events, expected);
    assert_eq!(read.tracks, picture.tracks.len());
    let launches = summary(&out)["launches"].as_u64().expect("a number") as usize;
    assert!(read.names["hipModuleLaunchKernel"] >= launches && launches > 200);
    let command = &read.processes[&company.native.pid().to_string()];
    assert!(command[0].ends_with("hipsim-nullstream"), "{command:?}");
    eprintln!(
        "figure: trace_events {}",
        read.events.values().sum::<usize>()
    );
}
