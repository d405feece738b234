//! `ps`: one look at all processes that use a runtime.

mod columns;
mod filter;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use xsched_client::blocking as client;
use xsched_common::api::{DeviceRow, ProcessRow, Sampling, Snapshot};
use xsched_common::bpf::Drop;
use xsched_common::platform::TITLES;
use xsched_host::text::counted;

use super::attr::seconds;
use super::table::{self, Cell, Colours};
use super::{endpoint, print, print_json};
use columns::Column;
use filter::Filter;

/// For a live view use xtop.
#[derive(clap::Args)]
#[command(after_help = "\
USER        its user
WORKLOAD    its pod, NAMESPACE/NAME, or its Slurm job and step. The column is there
            where some have one
PLATFORM    whose runtime it uses; - while unknown
CLASS       with a boost or suspension in force and its remaining time. A line
            below a process, called threads, is of threads and streams of it
            that have a class of their own
WEIGHT      the share within the class
TERMS FROM  where class and weight come from; `xsched-agent explain` tells all
            (of threads: whether by rule or by the program's hint)
TARGET      the P99 of its bursts to reach: green met, yellow missed, red out of
            reach
SHIM        joined: scheduled; mapped: not joined; absent: runs unscheduled
GATE        what it allows now: open, cap N (commands in flight) or closed
SLICE       the hardware's time slice of its work, where the agent has set it by
            class; it needs no shim. The column is there where some are
BUSY        estimated share of its device's time
BURST       from the first launch after idle until drained; of programs without
            the shim only where the agent has --probe-returns
BYPASS      share of launches that never reach the shim, and so run unscheduled
WHY         why it misses its target, or why its gate is as it is

In a terminal, columns that do not fit are left out, and WHY is cut; NO_COLOR and
COLUMNS are heeded. Those of --columns all stay.

Examples:
  xsched-agent ps
  xsched-agent ps python !class:low       the words of xtop's filter
  xsched-agent ps 'p99:>14ms'
  xsched-agent ps --columns pid,workload,arguments,class,why
  xsched-agent ps --watch                 every 2 s; --watch=500ms
  xsched-agent ps --json | jq '.processes[].blame'")]
pub struct Options {
    /// Only matching processes: words are searched in pid, command, arguments,
    /// user, class, pod and job; also /REGEX/, COLUMN:TEXT, COLUMN:/REGEX/, p99:>=5ms,
    /// bypass:<1%, gate:- (unknown); ! before a term turns it round
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// Show these columns, in this order: what the headings say, as burst-p50;
    /// also arguments
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', value_parser = column)]
    columns: Vec<&'static Column>,
    /// Look again and again, every so often
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_parser = seconds)]
    watch: Option<Duration>,
    /// Print the agent's snapshot: raw numbers, times in ns
    #[arg(long, conflicts_with_all = ["filter", "columns", "watch"])]
    json: bool,
    /// Print pids alone, for completion scripts
    #[arg(long, hide = true)]
    pids: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let agent = endpoint();
    let Some(every) = options.watch else {
        let snapshot = client::list(&agent)?;
        if options.json {
            print_json(&snapshot)?;
        } else if options.pids {
            let pids = snapshot.processes.iter();
            print(&pids.map(|p| format!("{}\n", p.pid)).collect::<String>())?;
        } else {
            print(&text(&snapshot, options, &Screen::of_stdout())?)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    for snapshot in client::watch(&agent, every.max(Duration::from_millis(100)))? {
        let screen = Screen::of_stdout();
        let text = text(&snapshot?, options, &screen)?;
        // From the top, and nothing of the last picture below.
        let (before, after) = match screen.is_terminal {
            true => ("\x1b[H\x1b[2J", ""),
            false => ("", "\n"),
        };
        print(&format!("{before}{text}{after}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn column(name: &str) -> Result<&'static Column, String> {
    use xsched_client::filter::Column as _;
    <&Column>::named(name).ok_or_else(|| {
        let names: Vec<_> = <&Column>::all().map(|column| column.name()).collect();
        format!("no such column: use {}", names.join(", "))
    })
}

/// What is printed to.
struct Screen {
    is_terminal: bool,
    width: usize,
    colours: Colours,
}

impl Screen {
    fn of_stdout() -> Screen {
        let out = std::io::stdout();
        let is_terminal = out.is_terminal();
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let columns = set("COLUMNS").and_then(|columns| columns.parse().ok());
        let own = rustix::termios::tcgetwinsize(&out).map(|size| usize::from(size.ws_col));
        let own = own.ok().filter(|width| *width > 0);
        Screen {
            is_terminal,
            width: match is_terminal {
                true => columns.or(own).unwrap_or(usize::MAX),
                false => usize::MAX,
            },
            // https://no-color.org
            colours: match is_terminal && set("NO_COLOR").is_none() {
                true => Colours::Shown,
                false => Colours::Plain,
            },
        }
    }
}

fn text(snapshot: &Snapshot, options: &Options, screen: &Screen) -> anyhow::Result<String> {
    let filter: Filter = options.filter.join(" ").parse()?;
    let processes: Vec<&ProcessRow> = snapshot
        .processes
        .iter()
        .filter(|process| filter.admits(process))
        .collect();
    let table = match processes.is_empty() {
        true if snapshot.processes.is_empty() => format!("no process uses {TITLES}\n"),
        true => "no process is like that\n".to_owned(),
        false if options.columns.is_empty() => {
            let columns = as_fit(columns::of(snapshot), &processes, screen);
            drawn(&columns, &processes, screen)
        }
        false => drawn(&options.columns, &processes, screen),
    };
    Ok(table + &notes(snapshot))
}

/// The least that is left for the last column.
const LAST: usize = 12;

/// As many columns as there is room for.
fn as_fit(
    mut columns: Vec<&'static Column>,
    processes: &[&ProcessRow],
    screen: &Screen,
) -> Vec<&'static Column> {
    loop {
        let (headings, rows) = cells(&columns, processes);
        let widths = table::widths(&headings, &rows);
        let before_last = widths.iter().rev().skip(1);
        let least = before_last.map(|width| width + 2).sum::<usize>() + LAST;
        let last = columns.len().saturating_sub(1);
        let optional = columns
            .iter()
            .enumerate()
            .filter(|(at, column)| column.rank > 0 && *at < last);
        match optional.max_by_key(|(_, column)| column.rank) {
            Some((at, _)) if least > screen.width => drop(columns.remove(at)),
            _ => return columns,
        }
    }
}

fn drawn(columns: &[&Column], processes: &[&ProcessRow], screen: &Screen) -> String {
    let (headings, rows) = cells(columns, processes);
    table::render_within(&headings, &rows, screen.width, screen.colours)
}

/// The headings, and a line for each process and each of its groups.
fn cells(columns: &[&Column], processes: &[&ProcessRow]) -> (Vec<&'static str>, Vec<Vec<Cell>>) {
    let headings = columns.iter().map(|column| column.heading).collect();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for process in processes {
        rows.push(columns.iter().map(|c| (c.cell)(process)).collect());
        let group = |group| {
            let cells = columns.iter().map(|c| columns::of_group(c, group));
            cells.collect()
        };
        rows.extend(process.groups.iter().map(group));
    }
    (headings, rows)
}

/// What else users should know.
fn notes(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for warning in &snapshot.agent.warnings {
        out += &format!("warning: {}\n", warning.text);
    }
    for device in &snapshot.devices {
        out += &device_line(device);
    }
    for process in &snapshot.processes {
        out += &on_purpose(process);
    }
    for drop in &snapshot.agent.drops.by_reason {
        let costs = if drop.reason == Drop::RingFull.name() {
            "short-lived callers may be unnamed"
        } else {
            "counts are too low"
        };
        let events = counted(drop.count, "event");
        out += &format!("{events} dropped ({}): {costs}\n", drop.reason);
    }
    let sampling = snapshot.agent.sampling.factor;
    if sampling < 1.0 {
        out += &format!(
            "note: probes are in place for {:.0}% of the time{}: counts of processes without the shim \
             are scaled\n",
            sampling * 100.0,
            cost(snapshot.agent.sampling)
        );
    }
    for limit in &snapshot.agent.limits {
        out += &format!("note: {limit}\n");
    }
    out
}

/// What probes cost, beside what they may.
fn cost(sampling: Sampling) -> String {
    match (sampling.budget, sampling.cost) {
        (Some(budget), Some(cost)) => format!(
            ", which costs the busiest process {:.2}% of its time (--overhead-budget {})",
            cost * 100.0,
            (budget * 1e4).round() / 100.0
        ),
        _ => " (--overhead-budget)".to_owned(),
    }
}

/// A line for each process that has launches past the gate on purpose.
fn on_purpose(process: &ProcessRow) -> String {
    let passed = process.callers.iter();
    let mut passed = passed.filter(|caller| caller.launches.passthrough > 0);
    let Some(first) = passed.next() else {
        return String::new();
    };
    let launches = passed.clone().map(|caller| caller.launches.passthrough);
    let launches = launches.fold(first.launches.passthrough, u64::saturating_add);
    let more = match passed.count() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "note: {} of {} ({}{more}) passed the gate on purpose: `xsched-agent diagnose --pid {1}` says why\n",
        counted(launches, "launch"),
        process.pid,
        first.library
    )
}

/// A device's hardware and what escapes on it, where anything is known.
fn device_line(device: &DeviceRow) -> String {
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let mut said = Vec::new();
    if let Some(hardware) = &device.hardware {
        said.extend(hardware.name.clone());
        said.extend(
            hardware
                .utilization
                .map(|used| format!("{} used", percent(used))),
        );
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        let memory = hardware.memory_used_bytes.zip(hardware.memory_bytes);
        said.extend(memory.map(|(used, of)| format!("{:.1} of {:.0} GiB", gib(used), gib(of))));
        said.extend(
            hardware
                .clock_hz
                .map(|hz| format!("{:.0} MHz", hz as f64 / 1e6)),
        );
        said.extend(hardware.power_w.map(|watts| format!("{watts:.0} W")));
    }
    let unscheduled = device.unscheduled.as_ref().filter(|row| row.processes > 0);
    said.extend(unscheduled.map(|row| {
        format!(
            "unscheduled {} of the launches ({:.0}/s, {})",
            percent(row.launch_ratio.unwrap_or(0.0)),
            row.launches_per_s,
            counted(u64::from(row.processes), "process")
        )
    }));
    match said.is_empty() {
        true => String::new(),
        false => format!("{}: {}\n", device.address, said.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::api::DropCount;

    #[test]
    fn launches_past_the_gate_on_purpose_are_said_apart() {
        let caller = |library: &str, passthrough| {
            serde_json::json!({
                "library": library, "default_stream": 0,
                "launches": {"gated": 1, "passthrough": passthrough, "bypass": 0}
            })
        };
        let of = |callers: serde_json::Value| {
            let row = serde_json::json!({
                "pid": 7, "start_time": 1, "uid": 0, "command": "x", "arguments": "", "class": "low",
                "shim": "joined", "device": null, "gate": null, "launches": 1, "launches_per_s": 1.0,
                "bypass_ratio": 0.0, "default_stream_ratio": 0.0, "burst": null, "gate_wait": null,
                "guards": null, "in_flight": 0, "kernel_ns": null, "callers": callers
            });
            on_purpose(&serde_json::from_value(row).expect("a row"))
        };
        assert_eq!(of(serde_json::json!([caller("liba.so", 0)])), "");
        let said = of(serde_json::json!([
            caller("librccl.so.1", 40),
            caller("liba.so", 0),
            caller("libb.so", 2)
        ]));
        assert_eq!(
            said,
            "note: 42 launches of 7 (librccl.so.1 and 1 more) passed the gate on purpose: \
             `xsched-agent diagnose --pid 7` says why\n"
        );
    }

    #[test]
    fn columns_give_way_to_the_screen() {
        let row = serde_json::json!({
            "pid": 7, "start_time": 1, "uid": 0, "user": "ada", "command": "serve", "arguments": "",
            "class": "low", "shim": "absent", "device": null, "gate": null, "launches": 1,
            "launches_per_s": 1.0, "bypass_ratio": 1.0, "default_stream_ratio": 0.0, "burst": null,
            "gate_wait": null, "guards": null, "in_flight": 0, "kernel_ns": null, "callers": []
        });
        let row: ProcessRow = serde_json::from_value(row).expect("a row");
        let table = |width| {
            let screen = Screen {
                is_terminal: true,
                width,
                colours: Colours::Plain,
            };
            let columns = as_fit(columns::of(&Snapshot::default()), &[&row], &screen);
            drawn(&columns, &[&row], &screen)
        };
        let wide = table(usize::MAX);
        assert!(
            wide.contains("TERMS FROM") && wide.contains("DEFAULT"),
            "{wide}"
        );
        let narrow = table(80);
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 80),
            "{narrow}"
        );
        assert!(
            narrow.contains("BYPASS") && narrow.contains("WHY"),
            "{narrow}"
        );
        assert!(!narrow.contains("DEFAULT"), "{narrow}");
        let tiny = table(30);
        assert!(
            tiny.lines().all(|line| line.chars().count() <= 30),
            "{tiny}"
        );
        assert!(tiny.starts_with("PID  COMMAND"), "{tiny}");
    }

    /// Clusters' processes are asked for by pod and job.
    #[test]
    fn pods_and_jobs_have_a_column_where_there_are_any() {
        let row = |pid: u32, more: serde_json::Value| {
            let mut row = serde_json::json!({
                "pid": pid, "start_time": 1, "uid": 0, "user": "ada", "command": "serve", "arguments": "",
                "class": "low", "shim": "absent", "device": null, "gate": null, "launches": 1,
                "launches_per_s": 1.0, "bypass_ratio": 1.0, "default_stream_ratio": 0.0, "burst": null,
                "gate_wait": null, "guards": null, "in_flight": 0, "kernel_ns": null, "callers": []
            });
            let fields = row.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            serde_json::from_value::<ProcessRow>(row).expect("a row")
        };
        let screen = Screen {
            is_terminal: true,
            width: 100,
            colours: Colours::Plain,
        };
        let text = |processes: &[ProcessRow], options: &[&str]| {
            #[derive(clap::Parser)]
            struct Cli {
                #[command(flatten)]
                options: Options,
            }
            let arguments = ["ps"].iter().chain(options);
            let Cli { options } = clap::Parser::try_parse_from(arguments).expect("options");
            let snapshot = Snapshot {
                processes: processes.into(),
                ..Snapshot::default()
            };
            text(&snapshot, &options, &screen).expect("text")
        };
        let alone = row(7, serde_json::json!({}));
        assert!(!text(std::slice::from_ref(&alone), &[]).contains("WORKLOAD"));
        let pod =
            serde_json::json!({"pod": {"uid": "u-1", "namespace": "team-a", "name": "infer-0"}});
        let job = serde_json::json!({"job": {"id": 42, "step": "batch", "qos": "high"}});
        let unknown = serde_json::json!({"pod": {"uid": "u-2"}});
        let all = [alone, row(8, pod), row(9, job), row(10, unknown)];
        let shown = text(&all, &[]);
        for name in ["WORKLOAD", "team-a/infer-0", "job 42.batch", "pod u-2"] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
        let chosen = text(&all, &["--columns", "workload,pid", "workload:team-a/"]);
        assert_eq!(chosen, "WORKLOAD        PID\nteam-a/infer-0    8\n");
    }

    #[test]
    fn a_lost_notice_is_not_said_to_be_a_lost_call() {
        let mut snapshot = Snapshot::default();
        snapshot.agent.drops.by_reason = [Drop::CountsFull, Drop::RingFull]
            .map(|reason| DropCount {
                reason: reason.name().to_owned(),
                count: 3,
                ..DropCount::default()
            })
            .into();
        assert_eq!(
            notes(&snapshot),
            "3 events dropped (counts_full): counts are too low\n\
             3 events dropped (ring_full): short-lived callers may be unnamed\n"
        );
    }
}
