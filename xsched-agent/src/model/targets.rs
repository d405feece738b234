//! Latency targets, for people.

use xsched_common::api::{SharingMode, SloRow, SloState};
use xsched_common::units::Nanos;
use xsched_policy::{Blame, ClientId, Sharing, SloVerdict};

use super::Clients;

/// A client's target and how it goes on a device that is shared so.
pub(super) fn row(
    target: Nanos,
    sharing: Option<&Sharing>,
    verdict: Option<&SloVerdict>,
    clients: &Clients,
) -> SloRow {
    let mode = sharing.map(|sharing| sharing.settings.mode);
    let (state, reason) = match (mode, verdict) {
        (Some(SharingMode::Slo), Some(verdict)) => (verdict.state, reason(verdict, clients)),
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

/// Why a target is met or not.
pub(super) fn reason(verdict: &SloVerdict, clients: &Clients) -> String {
    let who = |id: &ClientId| match clients.get(id) {
        Some(client) => format!("pid {}", client.process.pid),
        None => "a process that has left".to_owned(),
    };
    let Some(p99) = verdict.p99 else {
        return "too few bursts to tell".to_owned();
    };
    let because = match &verdict.blame {
        None => return format!("P99 {p99}"),
        Some(Blame::Kernels(id, kernel)) => {
            format!(
                "{} runs kernels of {kernel}, which nothing can interrupt",
                who(id)
            )
        }
        Some(Blame::Peers(id)) => {
            format!(
                "{} is not of a lower class: give one of them another",
                who(id)
            )
        }
        Some(Blame::Itself(p50)) => format!("half of its own bursts take {p50} or longer"),
    };
    format!("P99 {p99}: {because}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_why_it_is_missed() {
        let verdict = SloVerdict {
            state: SloState::Impossible,
            p99: Some(Nanos::from_millis(40)),
            blame: Some(Blame::Itself(Nanos::from_millis(31))),
        };
        let row = row(
            Nanos::from_millis(30),
            None,
            Some(&verdict),
            &Clients::new(),
        );
        assert_eq!(row.state, SloState::Unknown, "nobody follows it");
        let text = reason(&verdict, &Clients::new());
        assert_eq!(
            text,
            "P99 40.0 ms: half of its own bursts take 31.0 ms or longer"
        );
    }
}
