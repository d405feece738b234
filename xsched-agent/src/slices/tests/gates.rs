//! Where a gate makes a short slice needless, and where none does.

use super::*;

/// A process with a gate on device 6, and how that is shared.
fn gate(stage: &Stage, mode: SharingMode, change: impl FnOnce(&mut ProcessRow)) {
    let mut picture = stage.picture.lock().expect("whole");
    let picture = Arc::make_mut(&mut picture);
    let device = serde_json::json!({
        "address": on(6).to_string(), "mode": mode, "top_active": null, "clients": 2
    });
    picture.devices = vec![serde_json::from_value(device).expect("a device")];
    let row = &mut picture.processes[1];
    row.device = Some(on(6).to_string());
    row.gate = serde_json::from_value(serde_json::json!({
        "state": "capped", "cap": 4, "reason": "", "waiting": 0
    }))
    .expect("a gate");
    change(row);
}

#[test]
fn a_gate_that_bounds_short_kernels_is_enough() {
    let mut stage = Stage::new();
    stage.start(10, Class::High, &[6], DEFAULT);
    stage.start(20, Class::Low, &[6], DEFAULT);
    for (micros, slice) in [
        (60, DEFAULT),
        (400, DEFAULT),
        (600, SHORT),
        (400, SHORT),
        (60, DEFAULT),
    ] {
        gate(&stage, SharingMode::Slo, |row| {
            row.kernel_ns = Some(Nanos::from_micros(micros));
        });
        stage.tick();
        assert_eq!(stage.slices(20)[0], slice, "{micros} us");
    }
}

/// What there is, how the device is shared, and the slice that comes of it.
type Case<'a> = (
    &'a str,
    SharingMode,
    Box<dyn Fn(&mut ProcessRow) + 'a>,
    Nanos,
);

/// Nothing is said to be bounded by a gate that does not hold it.
#[test]
fn a_gate_bounds_only_what_it_holds() {
    let short = Some(Nanos::from_micros(60));
    let group = |device: u8, micros: Option<u64>| {
        serde_json::from_value(serde_json::json!({
            "class": "low", "wish": "low", "origin": "hint", "device": on(device).to_string(),
            "gate": {"state": "capped", "cap": 4, "reason": "", "waiting": 0}, "commands": 9,
            "burst": null, "gate_wait": null,
            "guards": {"trickle": 0, "stall": 0, "lease": 0}, "in_flight": 0,
            "kernel_ns": micros.map(|micros| micros * 1000), "busy_ratio": null
        }))
        .expect("a group")
    };
    let open = || {
        serde_json::from_value(serde_json::json!({
            "state": "open", "cap": null, "reason": "", "waiting": 0
        }))
        .expect("a gate")
    };
    let cases: [Case<'_>; 9] = [
        ("it does", SharingMode::Slo, Box::new(|_| ()), DEFAULT),
        (
            "all gates are open",
            SharingMode::Off,
            Box::new(|_| ()),
            SHORT,
        ),
        (
            "nobody above has a gate",
            SharingMode::Slo,
            Box::new(|row| row.gate = open()),
            SHORT,
        ),
        (
            "a group's gate is open",
            SharingMode::Slo,
            Box::new(|row| {
                row.groups = vec![group(6, Some(60))];
                row.groups[0].gate = open();
            }),
            SHORT,
        ),
        (
            "it launches past it",
            SharingMode::Slo,
            Box::new(|row| row.bypass_ratio = Some(0.5)),
            SHORT,
        ),
        (
            "short kernels of a group",
            SharingMode::Slo,
            Box::new(|row| row.groups = vec![group(6, Some(60))]),
            DEFAULT,
        ),
        (
            "long kernels of a group",
            SharingMode::Slo,
            Box::new(|row| row.groups = vec![group(6, Some(60)), group(6, Some(50_000))]),
            SHORT,
        ),
        (
            "a group of which nothing is known",
            SharingMode::Slo,
            Box::new(|row| row.groups = vec![group(6, None)]),
            SHORT,
        ),
        (
            "a group that works elsewhere",
            SharingMode::Slo,
            Box::new(|row| row.groups = vec![group(7, Some(60))]),
            SHORT,
        ),
    ];
    for (what, mode, change, slice) in cases {
        let mut stage = Stage::new();
        stage.start(10, Class::High, &[6, 7], DEFAULT);
        stage.start(20, Class::Low, &[6, 7], DEFAULT);
        gate(&stage, mode, |row| {
            row.kernel_ns = short;
            change(row);
        });
        stage.tick();
        assert_eq!(stage.slices(20)[0], slice, "{what}");
        assert_eq!(stage.slices(20)[2], SHORT, "{what}: on its other device");
    }
}
