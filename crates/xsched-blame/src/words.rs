//! An account as the row and the sentence that users see.

use std::cmp::Reverse;

use xsched_common::api::{BlameCause, BlamePart, BlameRow, BlameSource};
use xsched_common::units::Nanos;

use super::{Account, Part};

/// Parts that a row names; the smallest beyond that count as not explained.
const PARTS: usize = 12;

/// Parts that the sentence names: those that matter.
const NAMED: usize = 3;

/// A part below this share of the loss is in no sentence.
const WORTH_A_WORD: f64 = 0.05;

impl Account {
    /// As users see it.
    pub fn row(&self) -> BlameRow {
        let mut parts = self.parts.clone();
        parts.sort_by_key(|part| Reverse(part.time));
        parts.truncate(PARTS);
        let explained = Nanos(parts.iter().map(|part| part.time.0).sum());
        let seconds = self.over.as_secs_f64();
        let mut row = BlameRow {
            over_ns: self.over,
            bursts: self.bursts,
            slow: self.slow,
            limit_ns: self.limit,
            slow_mean_ns: mean(self.slow_time, self.slow),
            own_ns: self.own_time.and_then(|own| mean(own, self.slow)),
            loss_ns: self.loss,
            parts: parts.iter().map(|part| shown(part, seconds)).collect(),
            unexplained_ns: self.loss.since(explained),
            summary: String::new(),
        };
        row.summary = sentence(&row, self.pid);
        row
    }
}

fn mean(sum: Nanos, count: u64) -> Option<Nanos> {
    Some(Nanos(sum.0.checked_div(count)?))
}

fn shown(part: &Part, seconds: f64) -> BlamePart {
    let of = |cause, value| (part.cause == cause).then_some(value);
    BlamePart {
        cause: part.cause,
        pid: part.pid,
        time_ns: part.time,
        at_most_ns: part.at_most,
        known: part.known,
        launches_per_s: of(
            BlameCause::PastGate,
            part.launches / seconds.max(f64::MIN_POSITIVE),
        ),
        in_flight: of(BlameCause::InFlight, part.in_flight),
        kernel_ns: (part.cause == BlameCause::InFlight).then_some(part.kernel),
    }
}

fn sentence(row: &BlameRow, own_pid: u32) -> String {
    let Some(slow) = row.slow_mean_ns else {
        return match row.limit_ns {
            Some(limit) => format!("no burst took longer than {limit}"),
            None => "neither a target nor its time alone is known".to_owned(),
        };
    };
    let takes = match row.own_ns {
        Some(own) => format!("slow bursts take {slow}, alone {own}"),
        None => format!("slow bursts take {slow}; it was never seen alone"),
    };
    let percent = |time: Nanos| 100.0 * row.share(time).unwrap_or(0.0);
    let mut causes: Vec<String> = row
        .parts
        .iter()
        .filter(|part| percent(part.time_ns) >= 100.0 * WORTH_A_WORD)
        .take(NAMED)
        .map(|part| {
            let cause = cause(part, row.own_ns, own_pid);
            format!("{cause} {:.0}%", percent(part.time_ns))
        })
        .collect();
    let rest = percent(row.unexplained_ns);
    if causes.is_empty() || rest >= 100.0 * WORTH_A_WORD {
        causes.push(format!("not explained {rest:.0}%"));
    }
    format!("{takes}: {}", causes.join(", "))
}

fn cause(part: &BlamePart, own: Option<Nanos>, own_pid: u32) -> String {
    let pid = part.pid.unwrap_or_default();
    let whose = match pid == own_pid {
        true => "other threads of its own".to_owned(),
        false => format!("pid {pid}"),
    };
    match part.cause {
        BlameCause::OwnWork => "its own work".to_owned(),
        BlameCause::GateWait => "waits at its gate".to_owned(),
        BlameCause::InFlight => format!(
            "{whose} had {:.1} kernels of {} in flight",
            part.in_flight.unwrap_or_default(),
            part.kernel_ns.unwrap_or_default()
        ),
        BlameCause::Peer => format!("{whose}, not of a lower class,"),
        BlameCause::PastGate => {
            // Without a time alone its own work may be as long.
            let may = match own.is_none() && part.known == BlameSource::Remainder {
                true => "perhaps ",
                false => "",
            };
            format!(
                "{may}pid {pid} past the gate ({:.0} launches/s)",
                part.launches_per_s.unwrap_or_default()
            )
        }
        BlameCause::HostGaps => "its own host code between launches".to_owned(),
        BlameCause::ServiceCpu => "its threads had no processor".to_owned(),
        BlameCause::AgentHeldUp => "the agent was held up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let part = |cause, pid, ms| Part {
            cause,
            pid,
            time: Nanos::from_millis(ms),
            at_most: Nanos::from_millis(ms + 1),
            known: BlameSource::Remainder,
            launches: 11_005.0,
            in_flight: 3.5,
            kernel: Nanos::from_micros(322),
        };
        Account {
            pid: 5,
            over: Nanos::from_secs(5),
            bursts: 60,
            limit: Some(Nanos::from_millis(14)),
            slow: 10,
            slow_time: Nanos::from_millis(204),
            own_time: Some(Nanos::from_millis(120)),
            loss: Nanos::from_millis(84),
            parts: vec![
                part(BlameCause::InFlight, Some(7), 12),
                part(BlameCause::PastGate, Some(9), 60),
                part(BlameCause::GateWait, None, 1),
            ],
        }
    }

    #[test]
    fn a_row_says_what_matters_largest_first() {
        let row = account().row();
        assert_eq!(
            row.summary,
            "slow bursts take 20.4 ms, alone 12.0 ms: pid 9 past the gate (2201 launches/s) 71%, pid 7 had \
             3.5 kernels of 322 us in flight 14%, not explained 13%"
        );
        assert_eq!(row.parts[0].cause, BlameCause::PastGate);
        assert_eq!(row.unexplained_ns, Nanos::from_millis(11));
        assert_eq!(row.parts[2].launches_per_s, None);
    }

    #[test]
    fn threads_of_its_own_are_called_so() {
        let own = Account {
            pid: 7,
            ..account()
        };
        let text = own.row().summary;
        assert!(
            text.contains("other threads of its own had 3.5 kernels"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let never_alone = Account {
            own_time: None,
            ..account()
        };
        let text = never_alone.row().summary;
        assert!(text.contains("never seen alone: perhaps pid 9"), "{text}");
        let nothing = Account {
            parts: Vec::new(),
            ..account()
        };
        assert!(nothing.row().summary.ends_with(": not explained 100%"));
        let fast = Account {
            limit: Some(Nanos::from_millis(14)),
            ..Account::default()
        };
        assert_eq!(fast.row().summary, "no burst took longer than 14.0 ms");
        assert_eq!(fast.row().slow_mean_ns, None);
    }
}
