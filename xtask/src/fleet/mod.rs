//! `cargo xtask test --fleet`: what takes others' own software. Slurm with its database from Debian's packages,
//! Helm's library, Kubernetes's schemas and Perfetto's definitions from Python's; nothing is installed.

mod experiment;
mod manifests;
mod python;
mod scale;
mod slurm;
mod suites;
mod traces;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;

use crate::build;
use crate::progress::note;
use crate::provision;

/// Options of `test --fleet`.
#[derive(clap::Args)]
// The kernels' options are called so, too.
#[group(id = "fleet_options")]
pub struct Args {
    /// Only these parts
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        requires = "fleet",
        value_name = "PART,..."
    )]
    parts: Vec<Part>,
    /// Programs of this folder instead of new ones of the dev profile: a release build's, for figures as users have
    /// them (parts slurm and scale)
    #[arg(long, requires = "fleet", value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The tests of pods, jobs and metrics, for their figures
    Suites,
    /// The chart and the manifests
    Manifests,
    /// Jobs of a real Slurm
    Slurm,
    /// 1,000 nodes and one Prometheus
    Scale,
    /// A recording, read by Perfetto's own definitions
    Traces,
}

/// Figures by name.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Notes one.
    fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes the lines `figure: NAME VALUE` of a program.
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            let Some(rest) = line.trim().strip_prefix("figure: ") else {
                continue;
            };
            if let Some((name, value)) = rest.split_once(' ')
                && let Ok(value) = value.trim().parse()
            {
                self.set(name, value);
            }
        }
    }
}

/// How far a figure may go.
#[derive(Clone, Copy, Debug)]
enum Bound {
    Most(f64),
    Least(f64),
}

/// What has to hold, of the parts that ran.
const BOUNDS: [(Part, &str, Bound); 13] = [
    (Part::Suites, "pod_class_ms", Bound::Most(500.0)),
    (Part::Suites, "watch_disconnects", Bound::Least(20.0)),
    (Part::Suites, "watch_gone", Bound::Least(1.0)),
    (Part::Suites, "watch_pods_lost", Bound::Most(0.0)),
    (
        Part::Suites,
        "scrape_bytes",
        Bound::Most(2.0 * 1024.0 * 1024.0),
    ),
    (Part::Suites, "scrape_ms", Bound::Most(100.0)),
    (Part::Manifests, "manifests_valid", Bound::Least(20.0)),
    // P99 beside a job of lower QOS, over P99 alone.
    (Part::Slurm, "slurm_high_p99", Bound::Most(1.10)),
    (Part::Slurm, "slurm_attribution_err_pct", Bound::Most(2.0)),
    (Part::Slurm, "slurm_classes_right", Bound::Least(3.0)),
    (Part::Scale, "scale_nodes_up", Bound::Least(1000.0)),
    // Of the interval of 15 s, with all of it on two cores.
    (Part::Scale, "scale_scrape_ms_max", Bound::Most(1000.0)),
    (Part::Traces, "trace_events", Bound::Least(1000.0)),
];

/// Runs the parts and prints their figures.
pub fn run(args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    let wanted = |part: Part| args.parts.is_empty() || args.parts.contains(&part);
    let mut figures = Figures::default();
    provision::ensure()?;
    let built = match &args.programs {
        Some(dir) => build::Built {
            dir: dir.canonicalize()?,
        },
        None => {
            note("building");
            build::all(build::Profile::Dev)?
        }
    };
    if wanted(Part::Suites) {
        suites::run(&mut figures)?;
    }
    if wanted(Part::Manifests) {
        manifests::run(&mut figures)?;
    }
    if wanted(Part::Slurm) {
        ensure!(
            provision::is_root()?,
            "Slurm's daemons make control groups: run this as root"
        );
        experiment::run(&built, &mut figures)?;
    }
    if wanted(Part::Scale) {
        scale::run(&built, &mut figures)?;
    }
    if wanted(Part::Traces) {
        traces::run(&mut figures)?;
    }
    let mut missed = Vec::new();
    for (part, name, bound) in BOUNDS {
        if !wanted(part) {
            continue;
        }
        let holds = figures.0.get(name).is_some_and(|&value| match bound {
            Bound::Most(most) => value <= most,
            Bound::Least(least) => value >= least,
        });
        if !holds {
            missed.push(format!("{name} ({bound:?})"));
        }
    }
    if json {
        let report = serde_json::json!({ "figures": figures.0, "missed": missed });
        println!("{report:#}");
    } else {
        for (name, value) in &figures.0 {
            println!("{name:32} {value}");
        }
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("missed: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_tests_print() {
        let mut figures = Figures::default();
        figures.read("x\nfigure: pod_class_ms 120\n  figure: a 1.5\nfigure: bad x\nfigure: none\n");
        assert_eq!(figures.0.len(), 2);
        assert_eq!(figures.0["pod_class_ms"], 120.0);
    }
}
