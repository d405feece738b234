//! The lines of gates, classes and class groups, and the names of kernels.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use xsched_testkit::{Agent, agent_command, no_bpf};

use super::picture::{Picture, Seen};
use super::{Machine, alone, summary};

/// Kernels have the names that programs look them up by; a gate, a class and
/// work in flight have lines of their own, and so has each class group.
#[test]
fn kernels_gates_and_classes_have_names_and_lines() {
    if no_bpf() {
        return;
    }
    let _alone = alone();
    let machine = Machine::new();
    let agent = Agent::start();
    // So that the runtime is probed when the others look their kernels up.
    let _first = machine.native("hipsim-nullstream", &[]);
    std::thread::sleep(Duration::from_millis(500));
    let recording = agent_command()
        .args(["record", "--json", "--duration", "6", "-o"])
        .arg(machine.file())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    std::thread::sleep(Duration::from_millis(1_500));
    let high = machine.shimmed(&agent, "high", "hipsim-batch", &["--kernel-time", "1ms"]);
    let low = machine.shimmed(&agent, "low", "hipsim-batch", &["--kernel-time", "1ms"]);
    let grouped = ["--threads", "3", "--duration", "9s", "--by", "hint"];
    let grouped = machine.shimmed(&agent, "normal", "hipsim-threads", &grouped);
    std::thread::sleep(Duration::from_millis(2_000));
    let changed = agent.cli(&["set", &low.pid().to_string(), "--class", "normal"]);
    assert!(changed.status.success(), "{changed:?}");
    let out = recording.wait_with_output().expect("ends");
    let summary = summary(&out);
    assert!(summary["kernels"].as_u64() >= Some(2), "{summary}");
    let picture = Picture::read(&machine.file());

    let kernel = "hipsim_spin";
    let named: Vec<&Seen> = picture.of(&picture.moments, high.pid(), kernel).collect();
    assert!(named.len() > 100, "{summary}");
    assert!(named.iter().all(|seen| seen.category == "launch"));
    assert!(
        named
            .iter()
            .all(|seen| seen.details["function"] == "hipModuleLaunchKernel")
    );
    assert!(picture.of(&picture.slices, high.pid(), kernel).count() > 100);

    let device = picture.tracks.values().find_map(|track| {
        let place = track.name().strip_prefix("gate ")?;
        (!place.contains(' ')).then(|| place.to_owned())
    });
    let device = device.expect("a gate's line");
    let line = |pid, what: &str| picture.line(pid, &format!("{what} {device}"));
    let gate = picture.on(line(low.pid(), "gate").expect("its gate"));
    let states: BTreeSet<&str> = gate.iter().map(|seen| seen.name.as_str()).collect();
    assert!(states.contains("closed"), "{states:?}");
    assert!(gate.iter().all(|seen| seen.category == "gate"));
    // One state at a time, each until the next.
    let mut gate = gate;
    gate.sort_by_key(|seen| seen.from);
    assert!(
        gate.windows(2)
            .all(|pair| pair[0].to == pair[1].from && pair[0].name != pair[1].name)
    );
    let classes = picture.on(picture.line(low.pid(), "class").expect("its class"));
    let classes: Vec<&str> = classes.iter().map(|seen| seen.name.as_str()).collect();
    assert_eq!(classes, ["low", "normal"]);
    let changes: Vec<&Seen> = picture
        .of(&picture.moments, low.pid(), "class change")
        .collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (&*changes[0].details["from"], &*changes[0].details["to"]),
        ("low", "normal")
    );
    let counter = line(high.pid(), "in flight").expect("a counter");
    assert!(picture.counts[&counter].iter().any(|&value| value > 0));

    let of_group = |what: &str| format!("{what} {device} (group low)");
    assert!(picture.line(grouped.pid(), &of_group("gate")).is_some());
    assert!(
        picture
            .line(grouped.pid(), &of_group("in flight"))
            .is_some()
    );
    assert!(picture.line(grouped.pid(), "class (group low)").is_some());
}
