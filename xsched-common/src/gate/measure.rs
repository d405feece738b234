//! What a process measures of its own work at the gate, as pure arithmetic:
//! the shim and the policy's virtual-time model run the same.

use super::GateMode;
use crate::units::Nanos;

/// Gaps longer than this are pauses of the program, not gaps inside of one
/// request: the longest linger.
pub const LONGEST_GAP: Nanos = Nanos::from_millis(5);

/// Gaps that the percentile is taken from: the last so many.
pub const GAPS: usize = 64;
/// Gaps from one look at the percentile to the next.
pub const GAPS_PER_LOOK: usize = 8;

/// Outstanding fences per stream. With one behind every quarter of the cap
/// ([`fence_batch`]) they cover a cap's worth of commands.
pub const FENCES: usize = 4;

/// How a completion became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A fence behind every few commands: close to when it happened.
    Fence,
    /// A synchronisation of the program: whenever the program asked.
    Sync,
}

/// The kernel time T after `sample`, the time since the last news per
/// completed command; `old` is zero while unknown, `fences` how many samples
/// fences have told so far.
///
/// A sample is an upper bound: the device may have idled or served others
/// meanwhile, and a synchronisation tells late. So a shorter one counts more
/// than a longer one (weights 1/4 and 1/16), and once fences have told,
/// synchronisations may only lower it. The estimate leans to the shorter
/// kernels of a mixed load; the gate's stall guard covers the error.
pub fn kernel_time(old: Nanos, sample: Nanos, evidence: Evidence, fences: u32) -> Nanos {
    let (old, sample) = (old.0, sample.0);
    let new = match old {
        0 => sample,
        _ if sample < old => old - (old - sample) / 4,
        _ if evidence == Evidence::Sync && fences > 0 => old,
        _ => old + (sample - old) / 16,
    };
    Nanos(new.max(1))
}

/// Commands between two fences on a stream: what the agent chose, or a
/// quarter of the cap, so that completions are seen while three quarters
/// still run.
pub fn fence_batch(chosen: u32, mode: GateMode) -> u64 {
    match (chosen, mode) {
        (0, GateMode::Capped(cap)) => u64::from(cap / 4).max(1),
        (0, GateMode::Closed | GateMode::Open | GateMode::Watched) => 1,
        (chosen, _) => u64::from(chosen),
    }
}

/// The 95th percentile of some gaps, whose order it changes; `None` for none.
pub fn gap_p95(gaps: &mut [u32]) -> Option<Nanos> {
    let rank = (gaps.len() * 95).div_ceil(100).saturating_sub(1);
    if gaps.is_empty() {
        return None;
    }
    let (_, gap, _) = gaps.select_nth_unstable(rank);
    Some(Nanos(u64::from(*gap)))
}
