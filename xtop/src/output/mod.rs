//! Snapshots as text, for scripts.

mod csv;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use xsched_client::{ANSWER_TIME, Connection, Error};
use xsched_common::api::{Request, Snapshot};

use crate::cli::{Format, Tape};
use crate::replay;
use crate::state::{Filter, Processes, Row, Settings};

/// Why printing ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Agent(#[from] Error),
    #[error(transparent)]
    Recording(#[from] replay::Error),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Prints `count` snapshots, or goes on until stopped.
pub async fn run(settings: &Settings, tape: Tape, count: Option<u64>, format: Format) -> ExitCode {
    match print(settings, tape, count, format).await {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough (`xtop --batch | head`).
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("xtop: {failure}");
            match failure {
                Failure::Agent(error) if error.is_connect() => ExitCode::from(2),
                Failure::Agent(_) | Failure::Recording(_) | Failure::Write(_) => ExitCode::FAILURE,
            }
        }
    }
}

async fn print(
    settings: &Settings,
    mut tape: Tape,
    count: Option<u64>,
    format: Format,
) -> Result<(), Failure> {
    let filter = settings.filter.parse().unwrap_or_default();
    let mut printer = Printer::new(settings, filter, format);
    let mut out = io::stdout().lock();
    if let Some(mut recording) = tape.replay {
        let count = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        for index in 0..recording.len().min(count) {
            let snapshot = recording.read(index)?;
            out.write_all(printer.print(snapshot)?.as_bytes())?;
            out.flush()?;
        }
        return Ok(());
    }
    let start = Instant::now();
    let mut connection = Connection::open(&settings.endpoint).await?;
    let interval_ms = u64::try_from(settings.interval.as_millis()).unwrap_or(u64::MAX);
    connection
        .send(&match count {
            Some(1) => Request::List,
            _ => Request::Watch { interval_ms },
        })
        .await?;
    let answer_timeout = settings.interval * 3 + ANSWER_TIME;
    let mut left = count;
    while left != Some(0) {
        let snapshot = connection.snapshot(answer_timeout).await?;
        if let Some(writer) = &mut tape.record {
            writer.push(start.elapsed(), &snapshot)?;
        }
        out.write_all(printer.print(snapshot)?.as_bytes())?;
        out.flush()?;
        left = left.map(|n| n - 1);
    }
    Ok(())
}

/// Turns snapshots into text, filtered and sorted.
struct Printer {
    processes: Processes,
    format: Format,
    printed: u64,
}

impl Printer {
    fn new(settings: &Settings, filter: Filter, format: Format) -> Printer {
        Printer {
            processes: Processes::new(settings.sort, filter),
            format,
            printed: 0,
        }
    }

    fn print(&mut self, mut snapshot: Snapshot) -> io::Result<String> {
        let rows = std::mem::take(&mut snapshot.processes);
        self.processes
            .replace(rows.into_iter().map(Row::new).collect());
        let first = self.printed == 0;
        self.printed += 1;
        Ok(match self.format {
            Format::Json => {
                let shown = self.processes.shown();
                snapshot.processes = shown.map(|row| row.process.clone()).collect();
                let mut line = serde_json::to_string(&snapshot)?;
                line.push('\n');
                line
            }
            Format::Csv => {
                let header = if first { csv::header() } else { String::new() };
                let rows = self.processes.shown();
                header
                    + &rows
                        .map(|row| csv::line(snapshot.time_unix_ns, row))
                        .collect::<String>()
            }
            Format::Table => {
                let gap = if first { "" } else { "\n" };
                gap.to_owned() + &table::print(&snapshot, &self.processes)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::typical;
    use crate::state::Access;
    use xsched_client::Endpoint;

    fn print(format: Format, filter: &str, sort: &str) -> String {
        let settings = Settings {
            endpoint: Endpoint::Socket("/nowhere".into()),
            interval: std::time::Duration::from_secs(1),
            access: Access::ReadOnly,
            sort: sort.parse().expect("a sort"),
            filter: String::new(),
            uid: 0,
        };
        let filter = filter.parse().expect("a filter");
        let mut printer = Printer::new(&settings, filter, format);
        printer.print(typical()).expect("prints")
    }

    #[test]
    fn csv_has_raw_numbers_and_empty_unknowns() {
        insta::assert_snapshot!(print(Format::Csv, "", "pid"));
    }

    #[test]
    fn tables_are_aligned() {
        insta::assert_snapshot!(print(Format::Table, "", "p99"));
    }

    #[test]
    fn json_is_the_agents_snapshot_filtered_and_sorted() {
        let text = print(Format::Json, "python3", "pid");
        let snapshot: Snapshot = serde_json::from_str(&text).expect("a snapshot");
        let mut expected = typical();
        expected
            .processes
            .retain(|process| process.command == "python3");
        assert_eq!(snapshot, expected);
        assert_eq!(text.matches('\n').count(), 1);
    }
}
