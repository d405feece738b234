//! What a row comes to: who is held back and why, whose target is missed,
//! who is not scheduled at all.

use std::time::Duration;

use xsched_common::api::{GateState, Override, ProcessRow, ShimState, SloState};

use super::row::Row;
use crate::format;
use crate::text::clean;

/// How a process fares, the worst that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its gate is open, and its target, if any, is met.
    Fine,
    /// Some of its launches never reach the gate.
    Bypassing,
    /// Nothing that it launches passes a gate.
    Unscheduled,
    /// Its gate is capped or closed.
    Held,
    /// Its latency target is missed.
    Missed,
}

/// How a process fares and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How.
    pub standing: Standing,
    /// One line.
    pub why: String,
}

impl Verdict {
    /// That of `process`.
    pub fn of(process: &ProcessRow) -> Verdict {
        let (standing, why) = judge(process);
        let why = clean(&why).into_owned();
        Verdict { standing, why }
    }
}

fn judge(process: &ProcessRow) -> (Standing, String) {
    let mut boost = None;
    if let Some(hold) = process.hold {
        let left = format::age(Duration::from_nanos(hold.remaining_ns.0));
        match hold.hold {
            Override::Suspended => return (Standing::Held, format!("suspended, {left} left")),
            Override::Boosted => boost = Some(format!("boosted, {left} left")),
        }
    }
    if let Some(slo) = &process.slo
        && matches!(slo.state, SloState::Adapting | SloState::Impossible)
    {
        let target = format::span(slo.target_p99_ns);
        let reason = match slo.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        return (Standing::Missed, format!("misses P99 of {target}{reason}"));
    }
    match (&process.gate, process.shim) {
        (_, ShimState::Absent) => (
            Standing::Unscheduled,
            "not scheduled: it runs without the shim".to_owned(),
        ),
        (_, ShimState::Mapped) => (
            Standing::Unscheduled,
            "not scheduled: its shim has not joined".to_owned(),
        ),
        (Some(gate), _) if gate.state != GateState::Open => (Standing::Held, gate.reason.clone()),
        (gate, _) => match process.bypass_ratio.filter(|ratio| *ratio > 0.0) {
            Some(ratio) => {
                let share = format::share(ratio);
                let text = format!("{share} of its launches go past the gate");
                (Standing::Bypassing, text)
            }
            None => {
                let reason = gate.as_ref().map_or("", |gate| &gate.reason);
                (Standing::Fine, boost.unwrap_or_else(|| reason.to_owned()))
            }
        },
    }
}

/// How many processes fare how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held back at their gates.
    pub held: usize,
    /// Not scheduled, or not all of what they launch.
    pub escaping: usize,
    /// With a latency target that is met.
    pub met: usize,
    /// With a latency target that is missed.
    pub missed: usize,
    /// Boosted or suspended.
    pub holds: usize,
}

impl Tally {
    /// That of `rows`.
    pub fn of(rows: &[Row]) -> Tally {
        let mut tally = Tally::default();
        for row in rows {
            match row.verdict.standing {
                Standing::Fine => {}
                Standing::Bypassing | Standing::Unscheduled => tally.escaping += 1,
                Standing::Held => tally.held += 1,
                Standing::Missed => tally.missed += 1,
            }
            let slo = row.process.slo.as_ref();
            tally.met += usize::from(slo.is_some_and(|slo| slo.state == SloState::Met));
            tally.holds += usize::from(row.process.hold.is_some());
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{batch_process, process, service_process};
    use xsched_common::api::{OverrideRow, SloRow};
    use xsched_common::units::Nanos;

    #[test]
    fn the_worst_that_holds_is_said() {
        let said = |process: &ProcessRow| {
            let verdict = Verdict::of(process);
            (verdict.standing, verdict.why)
        };
        let mut service = service_process();
        let fine = (Standing::Fine, "highest active class".to_owned());
        assert_eq!(said(&service), fine);
        service.hold = Some(OverrideRow {
            hold: Override::Boosted,
            remaining_ns: Nanos::from_millis(59_990),
        });
        assert_eq!(said(&service).1, "boosted, 60 s left");
        service.bypass_ratio = Some(0.12);
        assert_eq!(said(&service).1, "12% of its launches go past the gate");
        service.slo = Some(SloRow {
            target_p99_ns: Nanos::from_millis(5),
            state: SloState::Impossible,
            reason: "train.py (pid 17) runs kernels of 31 ms".into(),
        });
        let missed = "misses P99 of 5 ms: train.py (pid 17) runs kernels of 31 ms".to_owned();
        assert_eq!(said(&service), (Standing::Missed, missed));
        let mut batch = batch_process();
        let held = (Standing::Held, "high (pid 4242) is active".to_owned());
        assert_eq!(said(&batch), held);
        batch.hold = Some(OverrideRow {
            hold: Override::Suspended,
            remaining_ns: Nanos::from_secs(25),
        });
        assert_eq!(said(&batch).1, "suspended, 25 s left");
        assert_eq!(said(&process(1, "x")).0, Standing::Unscheduled);
    }
}
