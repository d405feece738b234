//! Aligned text, all columns.

use xsched_common::api::Snapshot;

use crate::column::Column;
use crate::format;
use crate::state::Processes;
use crate::text::{clean, width};

/// A line about the agent, the titles and the rows; the command comes last
/// because it is the longest.
pub fn print(snapshot: &Snapshot, processes: &Processes) -> String {
    let columns: Vec<Column> = Column::ALL
        .into_iter()
        .filter(|&column| column != Column::Command)
        .chain([Column::Command])
        .collect();
    let titles: Vec<String> = columns.iter().map(|c| c.title().to_owned()).collect();
    let rows = processes.shown().map(|row| {
        let text = |column: &Column| column.value(row).text().into_owned();
        columns.iter().map(text).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| lines.iter().map(|line| width(&line[i])).max().unwrap_or(0))
        .collect();

    let mut text = summary(snapshot, processes);
    for line in &lines {
        let mut cells = String::new();
        for ((cell, column), room) in line.iter().zip(&columns).zip(&widths) {
            let padding = " ".repeat(room - width(cell));
            match column.is_numeric() {
                true => cells.extend([&padding, cell.as_str(), "  "]),
                false => cells.extend([cell, padding.as_str(), "  "]),
            }
        }
        text.push_str(cells.trim_end());
        text.push('\n');
    }
    text
}

fn summary(snapshot: &Snapshot, processes: &Processes) -> String {
    let agent = &snapshot.agent;
    let bpf = match agent.bpf.available {
        true => format!("bpf {} probes", agent.bpf.probes),
        false => "bpf off".to_owned(),
    };
    format!(
        "agent {}  {}  window {}  {bpf}  sampling {}  {} dropped  {}\n",
        clean(&agent.version),
        format::plural(processes.len(), "process", "processes"),
        snapshot.window_ns,
        format::share(agent.sampling.factor),
        agent.drops.total,
        format::plural(agent.limits.len(), "limit", "limits"),
    )
}
