//! `what-if`: a recording or workload under another policy, in virtual time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{anyhow, ensure};
use schedsim::replay::{Actor, Predicted, play};
use schedsim::stats::quantile;
use schedsim::world::Under;
use serde::Serialize;
use xsched_agent::config::{self, Config};
use xsched_agent::rules::{Facts, Match, first_match};
use xsched_common::units::{Class, Nanos};
use xsched_policy::SchedAttr;
use xsched_workload::{Program, Repeat, Step, Thread, Workload, import, read_file};

use super::attr::seconds;
use super::{euid, print, print_json, say, table};

/// Predicts what each program of a recording would see under a configuration.
///
/// Plays what `xsched-agent record` wrote, or a workload (`hipsim trace
/// import` makes one), in virtual time: the real policy and gate on hipsim's
/// device arithmetic. Each program is shown alone, as the runtime treats all of
/// them together, and by the configuration. Needs no GPU, no agent, no root.
///
/// A recording knows of a process its name, arguments and threads' names: rules
/// that ask for more (user, control group, environment) do not match, which is
/// said. Within a tenth of what the simulated device does in real time; a real
/// GPU gives turns where the model shares.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent record -o both.pftrace --duration 10
  xsched-agent what-if both.pftrace --config new.toml
  xsched-agent what-if serve.json --class serve=high --class train=low

--json prints {\"file\", \"origin\", \"time_ns\", \"programs\": [{\"name\", \"class\",
\"from\", \"alone\", \"native\", \"config\"}], \"limits\"}; each of the last three is
{\"requests\", \"p50_ns\", \"p99_ns\", \"kernels_per_s\", \"device_share\"}, P50 and P99 null
where nothing was a request")]
pub struct Options {
    /// A recording or a workload
    file: PathBuf,
    /// The configuration to try [default: the agent's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Give a program a class whatever the configuration says
    #[arg(long, value_name = "PROGRAM=CLASS", value_parser = given)]
    class: Vec<(String, Class)>,
    /// Virtual time to play [default: a recording's own, at most 1h; 30s of
    /// steps that repeat]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    duration: Option<std::time::Duration>,
    /// Another run of chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON (times in ns)
    #[arg(long)]
    json: bool,
}

fn given(text: &str) -> Result<(String, Class), String> {
    let (name, class) = text
        .rsplit_once('=')
        .ok_or_else(|| "PROGRAM=CLASS, as serve=high".to_owned())?;
    let class = Class::from_str(class).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), class))
}

/// Processes that the simulated device has room for.
const MOST_THREADS: usize = 64;
/// Of steps that repeat: what is not measured at first, and what is.
const WARM_UP: Nanos = Nanos::from_secs(1);
const REPEATED: Nanos = Nanos::from_secs(30);
/// Of a recording, without --duration.
const LONGEST: Nanos = Nanos::from_secs(3600);

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    origin: String,
    time_ns: Nanos,
    programs: Vec<Row>,
    limits: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    class: Class,
    from: String,
    alone: Figures,
    native: Figures,
    config: Figures,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    requests: usize,
    p50_ns: Option<Nanos>,
    p99_ns: Option<Nanos>,
    kernels_per_s: f64,
    device_share: f64,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workload = read(&options.file)?;
    let path = options
        .config
        .clone()
        .unwrap_or_else(|| config::for_agent(euid()));
    let checked = match &options.config {
        Some(path) => config::load(path)?,
        None => config::load_if_there(&path)?,
    };
    for (name, _) in &options.class {
        ensure!(
            workload
                .programs
                .iter()
                .any(|program| program.name == *name),
            "no program {name:?} is in {}: `hipsim trace show` lists them",
            options.file.display()
        );
    }
    let report = predict(options, &workload, &checked.config)?;
    for limit in &report.limits {
        say(limit);
    }
    if options.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A workload, or what becomes of a recording as one.
fn read(path: &Path) -> anyhow::Result<Workload> {
    let bytes = read_file(path)?;
    let shown = path.display();
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with('{') => {
            Workload::parse(text).map_err(|bad| anyhow!("{shown}: {bad}"))
        }
        _ => import::import(&bytes, &shown.to_string(), "xsched-agent record")
            .map_err(|bad| anyhow!("{shown}: {bad}")),
    }
}

fn predict(options: &Options, workload: &Workload, config: &Config) -> anyhow::Result<Report> {
    let threads: usize = workload.programs.iter().map(|p| p.threads.len()).sum();
    ensure!(
        threads <= MOST_THREADS,
        "{threads} threads launch: the simulated device has room for {MOST_THREADS}"
    );
    let mut limits = workload.limits.clone();
    if threads > workload.programs.len() {
        limits.push(
            "threads of one process are processes of their own here: together they get more of the device than one"
                .to_owned(),
        );
    }
    if !config.sharing.devices.is_empty() {
        limits.push("settings of single devices ([device.\"...\"]) are not looked at".to_owned());
    }
    let repeats = |thread: &Thread| thread.repeat != Repeat::Once;
    let all = || workload.programs.iter().flat_map(|p| &p.threads);
    let (warm_up, time) = match all().all(repeats) {
        true => (WARM_UP, REPEATED),
        false => (Nanos::ZERO, Nanos(all().map(length).max().unwrap_or(0))),
    };
    let time = match options.duration {
        Some(time) => Nanos(time.as_nanos() as u64),
        None if time > LONGEST => {
            limits.push(format!(
                "it is {time} long, of which {LONGEST} are played: --duration says otherwise"
            ));
            LONGEST
        }
        None => time,
    };
    ensure!(time > Nanos::ZERO, "nothing in it takes time");
    let settings = config.sharing.default;
    let attrs: Vec<(SchedAttr, String, Vec<SchedAttr>)> = workload
        .programs
        .iter()
        .map(|program| attributes(program, options, config, &mut limits))
        .collect();
    let play = |under: Under, only: Option<usize>| {
        figures(workload, &attrs, under, only, |actors| {
            play(options.seed, actors, settings, warm_up, time)
        })
    };
    let (native, ours) = (play(Under::Native, None), play(Under::Shim, None));
    let programs = workload
        .programs
        .iter()
        .enumerate()
        .map(|(n, program)| Row {
            name: program.name.clone(),
            class: attrs[n].0.class,
            from: attrs[n].1.clone(),
            alone: play(Under::Native, Some(n))[0],
            native: native[n],
            config: ours[n],
        });
    Ok(Report {
        file: options.file.clone(),
        origin: workload.origin.clone(),
        time_ns: time,
        programs: programs.collect(),
        limits,
    })
}

/// How long a recording of a thread is, about, ns.
fn length(thread: &Thread) -> u64 {
    let mut passed: u64 = 0;
    for step in &thread.steps {
        match step {
            Step::Arrive(at) => passed = passed.max(*at),
            // The host runs ahead of the device, or behind it.
            Step::Launch(launch) => {
                let each = launch.ns.max(launch.after_ns);
                passed = passed.saturating_add(each.saturating_mul(u64::from(launch.count)));
            }
            Step::Wait(wait) => passed = passed.saturating_add(wait.after_ns),
        }
    }
    passed
}

/// What the configuration gives a program, from where, and its threads.
fn attributes(
    program: &Program,
    options: &Options,
    config: &Config,
    limits: &mut Vec<String>,
) -> (SchedAttr, String, Vec<SchedAttr>) {
    let command: Vec<OsString> = match program.command.is_empty() {
        true => vec![OsString::from(&program.name)],
        false => program.command.iter().map(OsString::from).collect(),
    };
    let facts = Facts::recorded(command);
    let mut attr = config.defaults;
    let mut from = "defaults".to_owned();
    let mut classes = config.threads.clone();
    for rule in config.rules.iter() {
        if rule.conditions.needs_more_than_a_command_line() {
            let limit = format!(
                "rule \"{}\" asks for what a recording does not know: it is taken not to match",
                rule.name
            );
            if !limits.contains(&limit) {
                limits.push(limit);
            }
        }
    }
    if let Match::Rule(rule) = first_match(&config.rules, &facts) {
        attr = SchedAttr {
            class: rule.attr.class.unwrap_or(attr.class),
            weight: rule.attr.weight.unwrap_or(attr.weight),
            slo_p99: match rule.attr.slo_p99 {
                Some(target) => Some(target).filter(|target| *target > Nanos::ZERO),
                None => attr.slo_p99,
            },
        };
        from = format!("rule \"{}\"", rule.name);
        classes = rule.threads.clone().unwrap_or(classes);
    }
    if let Some((_, class)) = options.class.iter().find(|(name, _)| *name == program.name) {
        attr.class = *class;
        from = "--class".to_owned();
    }
    let threads = program.threads.iter().map(|thread| {
        let mut rules = classes.rules.iter();
        let rule = rules.find(|(pattern, _)| pattern.matches(thread.name.as_bytes()));
        SchedAttr {
            class: rule.map_or(attr.class, |(_, class)| *class),
            ..attr
        }
    });
    (attr, from, threads.collect())
}

/// Plays all programs, or one, and sums up their threads.
fn figures(
    workload: &Workload,
    attrs: &[(SchedAttr, String, Vec<SchedAttr>)],
    under: Under,
    only: Option<usize>,
    play: impl Fn(&[Actor]) -> Vec<Predicted>,
) -> Vec<Figures> {
    let chosen: Vec<usize> = match only {
        Some(only) => vec![only],
        None => (0..workload.programs.len()).collect(),
    };
    let mut actors = Vec::new();
    for &n in &chosen {
        let threads = workload.programs[n].threads.iter().zip(&attrs[n].2);
        actors.extend(threads.map(|(thread, attr)| Actor {
            thread: Arc::new(thread.clone()),
            attr: *attr,
            under,
        }));
    }
    let mut played = play(&actors).into_iter();
    chosen
        .into_iter()
        .map(|n| {
            let threads = workload.programs[n].threads.len();
            sum(played.by_ref().take(threads))
        })
        .collect()
}

fn sum(threads: impl Iterator<Item = Predicted>) -> Figures {
    let mut took = Vec::new();
    let (mut kernels, mut device, mut time) = (0, Nanos::ZERO, Nanos(1));
    for thread in threads {
        took.extend(thread.took);
        kernels += thread.kernels;
        device = device + thread.device;
        time = thread.time;
    }
    let at = |q| (!took.is_empty()).then(|| quantile(&took, q));
    Figures {
        requests: took.len(),
        p50_ns: at(0.5),
        p99_ns: at(0.99),
        kernels_per_s: kernels as f64 / time.as_secs_f64(),
        device_share: device.0 as f64 / time.0 as f64,
    }
}

fn text(report: &Report) -> String {
    let mut rows = Vec::new();
    for row in &report.programs {
        let ways = [
            ("alone", row.alone),
            ("native", row.native),
            ("config", row.config),
        ];
        for (n, (way, figures)) in ways.into_iter().enumerate() {
            let first = |text: String| if n == 0 { text } else { String::new() };
            let ms = |time: Option<Nanos>| {
                time.map_or_else(
                    || "-".to_owned(),
                    |time| format!("{:.2}", time.as_secs_f64() * 1e3),
                )
            };
            rows.push(vec![
                first(row.name.clone()),
                first(row.class.to_string()),
                way.to_owned(),
                ms(figures.p50_ns),
                ms(figures.p99_ns),
                figures.requests.to_string(),
                format!("{:.0}", figures.kernels_per_s),
                format!("{:.1}", figures.device_share * 100.0),
                first(row.from.clone()),
            ]);
        }
    }
    let headings = [
        "PROGRAM",
        "CLASS",
        "HOW",
        ">P50 ms",
        ">P99 ms",
        ">REQUESTS",
        ">KERNELS/s",
        ">DEVICE %",
        "FROM",
    ];
    format!(
        "predicted, {:.1} s of virtual time; from {}\n{}",
        report.time_ns.as_secs_f64(),
        report.origin,
        table::render(&headings, &rows)
    )
}
