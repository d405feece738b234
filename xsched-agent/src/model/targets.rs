//! Latency targets, for people.

use xsched_common::api::{BlameRow, SharingMode, SloRow, SloState};
use xsched_common::units::Nanos;
use xsched_policy::{Sharing, SloVerdict};

/// A client's target and how it goes on a device that is shared so.
pub(super) fn row(
    target: Nanos,
    sharing: Option<&Sharing>,
    verdict: Option<&SloVerdict>,
    blame: Option<&BlameRow>,
) -> SloRow {
    let mode = sharing.map(|sharing| sharing.settings.mode);
    let (state, reason) = match (mode, verdict) {
        (Some(SharingMode::Slo), Some(verdict)) => (verdict.state, reason(verdict, blame)),
        (Some(SharingMode::Slo) | None, _) => (SloState::Unknown, "no burst was seen yet".into()),
        (Some(mode), _) => (
            SloState::Unknown,
            format!("its device is shared in mode {mode}: only mode slo follows targets"),
        ),
    };
    SloRow {
        target_p99_ns: target,
        state,
        reason,
    }
}

/// A target that nobody can tell of, and why.
pub(super) fn unfollowed(target: Nanos, because: &str) -> SloRow {
    SloRow {
        target_p99_ns: target,
        state: SloState::Unknown,
        reason: because.to_owned(),
    }
}

/// Why a target is met or not; what slow bursts lost their time to is in their
/// account.
pub(super) fn reason(verdict: &SloVerdict, blame: Option<&BlameRow>) -> String {
    let Some(p99) = verdict.p99 else {
        return "too few bursts to tell".to_owned();
    };
    let missed = verdict.state != SloState::Met;
    match blame.filter(|blame| missed && blame.slow > 0) {
        Some(blame) => format!("P99 {p99}: {}", blame.summary),
        None => format!("P99 {p99}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_why_it_is_missed() {
        let verdict = SloVerdict {
            state: SloState::Impossible,
            p99: Some(Nanos::from_millis(40)),
        };
        let target = row(Nanos::from_millis(30), None, Some(&verdict), None);
        assert_eq!(target.state, SloState::Unknown, "nobody follows it");
        let blame = BlameRow {
            slow: 3,
            summary: "its own work 98%".into(),
            ..BlameRow::default()
        };
        let text = reason(&verdict, Some(&blame));
        assert_eq!(text, "P99 40.0 ms: its own work 98%");
        let met = SloVerdict {
            state: SloState::Met,
            ..verdict
        };
        assert_eq!(reason(&met, Some(&blame)), "P99 40.0 ms");
        assert_eq!(reason(&verdict, None), "P99 40.0 ms");
    }
}
