use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;

const VERSIONS: &str = include_str!("../../../data/cuda-versions.tsv");

fn rows() -> impl Iterator<Item = &'static EntryPoint> {
    ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Cuda)
}

/// What other gates miss: eight of these are older, cooperative or per-thread
/// forms.
#[test]
fn all_twelve_launches_are_gated() {
    let launches: Vec<&str> = rows()
        .filter(|entry| entry.is_launch() && entry.is_gated())
        .map(|entry| entry.symbol)
        .collect();
    assert_eq!(
        launches,
        [
            "cuGraphLaunch",
            "cuGraphLaunch_ptsz",
            "cuLaunch",
            "cuLaunchCooperativeKernel",
            "cuLaunchCooperativeKernelMultiDevice",
            "cuLaunchCooperativeKernel_ptsz",
            "cuLaunchGrid",
            "cuLaunchGridAsync",
            "cuLaunchKernel",
            "cuLaunchKernelEx",
            "cuLaunchKernelEx_ptsz",
            "cuLaunchKernel_ptsz",
        ]
    );
}

/// A twin is the same function with another default stream.
#[test]
fn per_thread_twins_say_what_their_functions_say() {
    let mut twins = 0;
    for twin in rows() {
        let symbol = twin.symbol;
        let base = symbol
            .strip_suffix("_ptsz")
            .or_else(|| symbol.strip_suffix("_ptds"));
        let Some(base) = base else {
            assert_ne!(twin.default_stream, DefaultStream::PerThread, "{symbol}");
            continue;
        };
        twins += 1;
        let expected = EntryPoint {
            symbol,
            default_stream: match of(base).default_stream {
                DefaultStream::None => DefaultStream::None,
                _ => DefaultStream::PerThread,
            },
            ..*of(base)
        };
        assert_eq!(*twin, expected);
    }
    assert_eq!(twins, 107);
}

/// Every version of a function does the same, wherever its arguments have
/// moved to.
#[test]
fn versions_of_a_function_agree_on_what_it_does() {
    for entry in rows() {
        let Some((base, version)) = entry.symbol.rsplit_once("_v") else {
            continue;
        };
        if !version.bytes().all(|b| b.is_ascii_digit()) || entry_point(base).is_none() {
            continue;
        }
        let base = of(base);
        assert_eq!(
            (entry.class, entry.action, entry.effect, entry.polled),
            (base.class, base.action, base.effect, base.polled),
            "{}",
            entry.symbol
        );
    }
}

#[test]
fn streams_move_between_versions() {
    let at = |symbol| of(symbol).stream_at;
    assert_eq!(at("cuLaunchKernel"), ArgumentAt::Stack(24));
    assert_eq!(
        at("cuLaunchKernelEx_ptsz"),
        ArgumentAt::Field(Register::Rdi, 32)
    );
    assert_eq!(at("cuMemcpyBatchAsync"), ArgumentAt::Stack(24));
    assert_eq!(at("cuMemcpyBatchAsync_v2"), ArgumentAt::Stack(16));
    assert_eq!(
        at("cuMemPrefetchAsync"),
        ArgumentAt::Register(Register::Rcx)
    );
    assert_eq!(
        at("cuMemPrefetchAsync_v2"),
        ArgumentAt::Register(Register::R8)
    );
}

#[test]
fn every_function_has_a_version_and_the_runtime_asks_for_480() {
    let versions: Vec<Vec<&str>> = VERSIONS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    let named: BTreeSet<&str> = versions.iter().map(|row| row[0]).collect();
    let known: BTreeSet<&str> = rows().map(|entry| entry.symbol).collect();
    assert_eq!(named, known);
    let asked = versions
        .iter()
        .map(|row| row[2])
        .filter(|&asked| asked != "-");
    assert_eq!(asked.flat_map(|asked| asked.split(',')).count(), 480);
    for row in &versions {
        let since: u32 = row[1].parse().expect("a version");
        assert!((2000..=13050).contains(&since), "{}", row[0]);
    }
}
