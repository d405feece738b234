//! Prints the nanoseconds that telling a known caller takes: the look-up of
//! `callers::of` on a hit, over as many call sites as a busy program has.
//!
//!     cargo run --release -q -p xsched-shim --example caller_lookup

#[path = "../../crates/xsched-shim-core/src/cache.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "the shim's own cache, compiled here because the library exports HIP's names only"
)]
mod cache;

use std::hint::black_box;
use std::time::Instant;

static CACHE: cache::SetAssociativeCache<2048> = cache::SetAssociativeCache::new();

const SITES: u64 = 64;
const ROUNDS: u64 = 20_000;
const SAMPLES: usize = 51;

/// Call sites of a few libraries, as launches come from them in turn.
fn sites() -> Vec<u64> {
    let site = |i: u64| 0x7f3a_5000_0000 + (i % 4) * 0x0120_0000 + i * 0x93b;
    (0..SITES).map(site).collect()
}

/// Nanoseconds per address of running `f` over all of them.
fn per_site(sites: &[u64], f: impl Fn(u64) -> u64) -> f64 {
    let start = Instant::now();
    let mut sum = 0;
    for _ in 0..ROUNDS {
        for &site in sites {
            sum += f(black_box(site));
        }
    }
    black_box(sum);
    start.elapsed().as_nanos() as f64 / (ROUNDS * SITES) as f64
}

fn main() {
    let sites = sites();
    for (i, &site) in sites.iter().enumerate() {
        CACHE.put(site, i as u16 % 60);
    }
    let known: Vec<_> = sites
        .into_iter()
        .filter(|&site| CACHE.get(site).is_some())
        .collect();
    let known: Vec<_> = known.iter().copied().cycle().take(SITES as usize).collect();
    let mut samples: Vec<_> = (0..SAMPLES)
        .map(|_| {
            // Slot and treatment, as `Caller` unpacks them.
            let look_up = |site| match CACHE.get(site) {
                Some(raw) => u64::from(raw & 0xff) + u64::from(raw >> 8),
                None => unreachable!("all are cached"),
            };
            per_site(&known, look_up) - per_site(&known, |site| site)
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    println!("{:.2}", samples[SAMPLES / 2].max(0.0));
}
