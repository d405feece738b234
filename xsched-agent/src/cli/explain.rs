//! `explain`: why a process has the attributes it has, or why it was slow.

use std::process::ExitCode;

use xsched_client::blocking as client;
use xsched_common::api::{BlamePart, BlameRow, BlameSource, Explanation, Request, Slowness};
use xsched_common::units::Nanos;

use super::attr::{self, Subject};
use super::{endpoint, print, print_json, table};

/// What `--slow` covers: what the agent remembers.
const A_MINUTE_MS: u64 = 60_000;

/// Options of `explain`.
#[derive(clap::Args)]
#[command(after_help = "\
  +  something of it is in force
  -  nothing of it is, and why

With --slow: what the bursts that took longer than the target lost, and to what;
without a target those that took half as much again as alone. \"At most\" is what a
cause can have cost by what was measured of it; nothing is blamed for more.

Examples:
  xsched-agent explain 4242
  xsched-agent explain --slow 4242        why was it slow, over the last 60 s

--json prints {\"settled\", \"steps\": [{\"source\", \"applied\", \"because\"}]}; settled
is what `set --json` prints; with --slow {\"pid\", \"blame\", \"reason\"}, blame as in
`ps --json`. Exit codes: 0 done, 2 not done")]
pub struct Options {
    #[command(flatten)]
    subject: Subject,
    /// Say where the time of its slow bursts went, over the last 60 s
    #[arg(long)]
    slow: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let pid = options.subject.pid();
    if options.slow {
        let over_ms = A_MINUTE_MS;
        let slowness = client::slow(&endpoint(), &Request::Slow { pid, over_ms })?;
        match options.json {
            true => print_json(&slowness)?,
            false => print(&why_slow(&slowness))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let explanation = client::explain(&endpoint(), &Request::Explain { pid })?;
    if options.json {
        print_json(&explanation)?;
    } else {
        print(&text(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(explanation: &Explanation) -> String {
    let mut text = attr::text(&explanation.settled);
    for step in &explanation.steps {
        let mark = if step.applied { '+' } else { '-' };
        text += &format!("  {mark} {}: {}\n", step.source, step.because);
    }
    text
}

fn why_slow(slowness: &Slowness) -> String {
    let Some(blame) = &slowness.blame else {
        let reason = slowness.reason.as_deref().unwrap_or("nothing is known");
        return format!("process {}: {reason}\n", slowness.pid);
    };
    let seconds = blame.over_ns.as_secs_f64();
    let head = format!(
        "process {}: {} of {} bursts in {seconds:.0} s were slow\n{}\n",
        slowness.pid, blame.slow, blame.bursts, blame.summary
    );
    match blame.slow {
        0 => head,
        _ => head + &parts(blame),
    }
}

fn parts(blame: &BlameRow) -> String {
    let share = |time: Nanos| format!("{:.0}%", 100.0 * blame.share(time).unwrap_or(0.0));
    let each = |time: Nanos| Nanos(time.0 / blame.slow.max(1)).to_string();
    let row = |part: &BlamePart| {
        vec![
            share(part.time_ns),
            each(part.time_ns),
            each(part.at_most_ns),
            part.cause.label().to_owned(),
            part.pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            match part.known {
                BlameSource::Measured => "measured",
                BlameSource::Remainder => "what others leave",
            }
            .to_owned(),
        ]
    };
    let mut rows: Vec<Vec<String>> = blame.parts.iter().map(row).collect();
    let unexplained = blame.unexplained_ns;
    let none = || "-".to_owned();
    rows.push(vec![
        share(unexplained),
        each(unexplained),
        none(),
        "not explained".to_owned(),
        none(),
        none(),
    ]);
    let headings = [">SHARE", ">A BURST", ">AT MOST", "CAUSE", ">PID", "KNOWN"];
    table::render(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::api::BlameCause;

    #[test]
    fn parts_and_the_rest_are_said() {
        let blame = BlameRow {
            over_ns: Nanos::from_secs(60),
            bursts: 100,
            slow: 10,
            loss_ns: Nanos::from_millis(80),
            parts: vec![BlamePart {
                cause: BlameCause::PastGate,
                pid: Some(7),
                time_ns: Nanos::from_millis(60),
                at_most_ns: Nanos::from_millis(80),
                known: BlameSource::Remainder,
                launches_per_s: Some(2_201.0),
                in_flight: None,
                kernel_ns: None,
            }],
            unexplained_ns: Nanos::from_millis(20),
            summary: "slow".into(),
            ..BlameRow::default()
        };
        let slowness = Slowness {
            pid: 4,
            blame: Some(blame),
            reason: None,
        };
        assert_eq!(
            why_slow(&slowness),
            "process 4: 10 of 100 bursts in 60 s were slow\nslow\n\
             SHARE  A BURST  AT MOST  CAUSE          PID  KNOWN\n  \
             75%  6.00 ms  8.00 ms  past the gate    7  what others leave\n  \
             25%  2.00 ms        -  not explained    -  -\n"
        );
    }

    #[test]
    fn what_cannot_be_said_says_what_to_do() {
        let slowness = Slowness {
            pid: 4,
            blame: None,
            reason: Some("it has not joined".into()),
        };
        assert_eq!(why_slow(&slowness), "process 4: it has not joined\n");
    }
}
