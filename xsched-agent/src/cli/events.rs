//! `events`: what happened lately.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use xsched_client::blocking as client;
use xsched_common::api::{EventKind, EventRow};

use super::{endpoint, print};

/// Joins and ends of processes, changes and who made them, refusals, findings,
/// drops. The agent keeps the last 256.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xsched-agent events                  the last 256
  xsched-agent events --follow --json  for a log: one JSON object per line

Exit codes: 0 done, 2 no agent, or it went away")]
pub struct Options {
    /// Go on with what happens from now on, until stopped
    #[arg(short, long)]
    follow: bool,
    /// Print the agent's events as they are, one JSON object per line
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let agent = endpoint();
    let mut last = 0;
    if !options.follow {
        show(&client::list(&agent)?.events, &mut last, options)?;
        return Ok(ExitCode::SUCCESS);
    }
    for snapshot in client::watch(&agent, Duration::from_millis(500))? {
        show(&snapshot?.events, &mut last, options)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints those after `last`, and says which are missing.
fn show(events: &[EventRow], last: &mut u64, options: &Options) -> anyhow::Result<()> {
    let mut out = String::new();
    let before = *last;
    for event in events.iter().filter(|event| event.number > before) {
        if *last > 0 && event.number > *last + 1 && !options.json {
            out += &format!("({} events are missing here)\n", event.number - *last - 1);
        }
        *last = event.number;
        out += &if options.json {
            serde_json::to_string(event)?
        } else {
            text(event)
        };
        out.push('\n');
    }
    if out.is_empty() { Ok(()) } else { print(&out) }
}

fn text(event: &EventRow) -> String {
    let EventRow {
        number: _,
        time_unix_ns,
        pid,
        actor,
        kind,
        text,
    } = event;
    let kind = match kind {
        EventKind::Finding(severity) => severity.name(),
        kind => kind.name(),
    };
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(*time_unix_ns));
    let mut line = format!("{time}  {kind:<13}  ");
    if let Some(pid) = pid {
        line += &format!("process {pid}: ");
    }
    line += text;
    if let Some(actor) = actor {
        line += &format!(", by {actor}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = EventRow {
            number: 3,
            time_unix_ns: 1_780_000_000_000_000_000,
            pid: Some(42),
            actor: Some("uid 0 (pid 7)".into()),
            kind: EventKind::Changed,
            text: "class high".into(),
        };
        assert_eq!(
            text(&event),
            "2026-05-28T20:26:40Z  changed        process 42: class high, by uid 0 (pid 7)"
        );
    }
}
