//! From an invented run to figures.

use super::raw::{Batch, Cell, Config, Load, MpsKill, Overhead, Raw, Semantics, Share};
use super::{metrics, page, plot};

fn cell(config: Config, load: Load, repetition: u32, p50: f64, batch_per_s: Option<f64>) -> Cell {
    let mut latencies_ms = vec![p50; 99];
    latencies_ms.push(p50 * 2.0);
    Cell {
        config,
        load,
        batch: batch_per_s.map(|_| Batch::Resnet50),
        repetition,
        latencies_ms,
        batch_per_s,
        clock_mhz: Some(1000.0),
    }
}

fn run() -> Raw {
    let mut raw = Raw {
        date: "2026-11-30".into(),
        device: "an invented GPU".into(),
        ..Raw::default()
    };
    for repetition in 1..=3 {
        let noise = f64::from(repetition) / 100.0;
        raw.cells.extend([
            cell(Config::Alone, Load::Decode, repetition, 10.0 + noise, None),
            cell(Config::Native, Load::Decode, repetition, 100.0, Some(80.0)),
            cell(
                Config::Both,
                Load::Decode,
                repetition,
                10.5 + noise,
                Some(88.0),
            ),
        ]);
    }
    raw.shares.push(Share {
        repetition: 1,
        weights: [10, 90],
        per_s: [12.0, 88.0],
        alone_per_s: 101.0,
        native_per_s: Some([48.0, 47.0]),
    });
    for (what, shim_ms) in [("service", 3.3), ("decode", 10.0)] {
        raw.overhead.push(Overhead {
            repetition: 1,
            what: what.into(),
            native_ms: if what == "service" { 3.0 } else { 10.0 },
            shim_ms,
        });
    }
    let digests = |of: [&str; 3]| {
        let names = ["a", "b", "c"].into_iter().zip(of);
        names
            .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            .collect()
    };
    raw.semantics = Some(Semantics {
        native: [digests(["1", "2", "3"]), digests(["1", "2", "9"])],
        stressed: digests(["1", "7", "4"]),
        stressed_mps: Some(digests(["5", "2", "3"])),
        waits: 5,
    });
    let kills = [
        ("a", Some(true), true),
        ("b", Some(false), false),
        ("c", Some(true), false),
        ("d", None, true),
    ];
    raw.mps_kills
        .extend(kills.map(|(what, natively, gated)| MpsKill {
            what: what.to_owned(),
            natively,
            gated,
        }));
    raw
}

#[test]
fn figures_are_medians_of_ratios_and_missed_ones_come_first() {
    let metrics = metrics::of(&run());
    let of = |name: &str| {
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .expect(name)
    };
    let decode = of("decode_p50_ratio");
    assert!((decode.value - 1.05).abs() < 0.001, "{}", decode.value);
    assert!((of("decode_batch_pct").value - 110.0).abs() < 1e-9);
    assert!((of("native_decode_p50_ratio").value - 9.98).abs() < 0.01);
    assert!((of("share_10_90_err").value - 2.0).abs() < 1e-9);
    // The worst load counts.
    assert!((of("alone_ratio").value - 1.1).abs() < 1e-9);
    // What differs from itself natively is not held against the shim; MPS counts, too.
    assert_eq!(of("semantics_failed").value, 2.0);
    // What ends without the shim, too, is not the shim's.
    assert_eq!(of("mps_kills_failed").value, 1.0);
    assert!(
        metrics
            .iter()
            .all(|metric| metric.name != "mps_decode_p50_ratio")
    );
    let first_ok = metrics
        .iter()
        .position(|metric| metric.ok)
        .expect("some hold");
    assert!(metrics[first_ok..].iter().all(|metric| metric.ok));
}

#[test]
fn the_page_and_the_picture_show_what_there_is() {
    let raw = run();
    let text = page::text(&raw, "x.json").expect("a page");
    assert!(
        text.contains("| **gate and time slices** | - | - | 10.52 / 10.63 | 88.0 |"),
        "{text}"
    );
    assert!(
        text.contains("`alone_ratio` | 1.100 x | 1.01 x | **missed**"),
        "{text}"
    );
    assert!(text.contains("| c | yes | **no** |"), "{text}");
    let svg = plot::svg(&raw).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.contains("native"));
}
