//! `cargo xtask conformance`: programs behave under the shim exactly as without it.
//!
//! Each case runs three times: natively, with the gate held open, and with an agent that opens, caps and closes the gate
//! at random. The native run is the reference for the other two. The programs are in conformance/.

pub mod agent;
mod cases;
mod exec;
mod report;
mod runner;
mod stack;
mod unfit;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};

use crate::build::{self, Profile};
use crate::platform::Platform;
use crate::real_runtime::{self, Above, Version};

/// Options of `conformance`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// Whose programs: the cases of HIP, or those of CUDA
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// Only the cases whose name contains this; may be given several times
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Seed of the random gate; by default another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Runs of each case under the random gate
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Also run this many programs of random work, whose seeds follow --seed; with --case random_ nothing else
    #[arg(long, value_name = "N", default_value_t = 0)]
    random: u64,
    /// What to run: `full` adds the cases that need librocsparse (a package of 1.3 GB); `stack` runs real libraries on
    /// AMD's own runtime instead
    #[arg(long, value_enum, default_value_t = Tier::Standard)]
    tier: Tier,
    /// Major version of the runtime that the cases in C are linked with
    #[arg(long, value_enum, default_value_t = Abi::Five)]
    abi: Abi,
    /// Run the shim in strict mode, in the runtime's dispatch table (with --abi 6 or 7; what hipcc compiled stays on 5)
    #[arg(long)]
    strict: bool,
    /// Run on AMD's own runtime, on the simulated HSA library, instead of hipsim
    #[arg(long, value_enum, conflicts_with = "abi")]
    runtime: Option<Version>,
    /// With --tier stack: write what was found into this file, as a table
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// With --runtime: write where hipsim's transcripts differ from the real runtime's into this file, as a table
    #[arg(long, value_name = "FILE", requires = "runtime")]
    differences: Option<PathBuf>,
    /// Longest time of one run of a case, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    watchdog: f64,
    /// Another shim: the agent may never hear of it
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// A folder with another library than the simulated one: that of a real driver
    #[arg(long, value_name = "DIR", conflicts_with = "runtime")]
    driver: Option<PathBuf>,
    /// Another folder of case programs
    #[arg(long, value_name = "DIR")]
    sources: Option<PathBuf>,
}

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// All but what needs very large packages.
    Standard,
    /// Everything.
    Full,
    /// Real libraries on AMD's own runtime instead of the cases: some GB of packages and wheels, fetched once.
    Stack,
}

/// A major version of the runtime's ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Abi {
    /// ROCm 5.
    #[value(name = "5")]
    Five,
    /// ROCm 6: exports jump through a dispatch table.
    #[value(name = "6")]
    Six,
    /// ROCm 7, as ROCm 6.
    #[value(name = "7")]
    Seven,
}

impl Abi {
    /// That of a real runtime.
    fn of(version: Version) -> Self {
        match version {
            Version::Six => Abi::Six,
            Version::Seven => Abi::Seven,
        }
    }

    /// The runtime's name for the linker.
    pub fn soname(self) -> &'static str {
        match self {
            Abi::Five => "libamdhip64.so.5",
            Abi::Six => "libamdhip64.so.6",
            Abi::Seven => "libamdhip64.so.7",
        }
    }
}

/// Builds the parts and the cases, runs them, prints the report; fails when a case does.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
    });
    if args.tier == Tier::Stack {
        ensure!(
            args.platform == Platform::Hip && !args.strict && args.driver.is_none(),
            "--tier stack is of HIP, without --strict and --driver"
        );
        return stack::run(&stack::Asked {
            version: args.runtime.unwrap_or(Version::Seven),
            only: &args.case,
            seed,
            rounds: args.rounds,
            table: args.table.as_deref(),
            shim: args.shim.as_deref(),
            json: args.json,
        });
    }
    ensure!(args.table.is_none(), "--table is of --tier stack");
    let watchdog = Duration::try_from_secs_f64(args.watchdog)?;
    let abi = args.runtime.map_or(args.abi, Abi::of);
    ensure!(
        !args.strict || abi != Abi::Five,
        "the runtime of ROCm 5 has no dispatch table: --strict needs --abi 6 or --abi 7"
    );
    ensure!(
        args.platform == Platform::Hip || (!args.strict && abi == Abi::Five),
        "--abi, --runtime and --strict are of HIP's runtimes"
    );
    let mut parts = args.platform.packages().to_vec();
    if args.runtime.is_some() {
        parts.push("hsasim");
    }
    let built = build::packages(Profile::Dev, &parts)?;
    let work = tempfile::tempdir()?;
    let runtime = match &args.driver {
        Some(other) => other.clone(),
        None => {
            let simulated = work.path().join("runtime");
            args.platform.install(&built, &simulated)?;
            simulated
        }
    };

    let sources = args
        .sources
        .clone()
        .unwrap_or_else(|| build::root().join("conformance/cases"));
    let recipe = cases::Recipe {
        sources: &sources,
        runtime: &runtime,
        platform: args.platform,
        abi,
        tier: args.tier,
        code: args
            .runtime
            .map(|_| build::root().join("conformance/code/kernels.hip")),
    };
    let mut all = cases::build(&recipe, &work.path().join("bin"))?;
    if args.platform == Platform::Hip
        && args.tier == Tier::Standard
        && sources.join("full").is_dir()
    {
        eprintln!("LEFT OUT: the cases that need librocsparse (--tier full runs them)");
    }
    cases::add_random(&mut all, args.random, seed)?;
    if !args.case.is_empty() {
        all.retain(|case| args.case.iter().any(|part| case.name.contains(part)));
        ensure!(
            !all.is_empty(),
            "no case has a name with {:?} in it",
            args.case
        );
    }

    if let Some(version) = args.runtime {
        let hsa = built.file("libhsasim.so");
        real_runtime::enter(version, &hsa, &work.path().join("real"), Above::default())?;
    }
    let real = match (args.runtime, &args.driver) {
        (Some(version), _) => Some(unfit::Real::Version(version)),
        (None, Some(_)) => Some(unfit::Real::Driver),
        (None, None) => None,
    };
    let list = |name: &str| build::root().join("conformance").join(name);
    let (unfit, settings) = match real {
        None => (HashMap::new(), Vec::new()),
        Some(real) => (
            unfit::read(&list("unfit.tsv"), real)?,
            unfit::read_settings(&list("settings.tsv"), real)?,
        ),
    };
    let stage = runner::Stage {
        unfit,
        settings,
        place: match args.runtime {
            None => runner::Place::Simulated(runtime),
            Some(_) => runner::Place::Real { beside: runtime },
        },
        shim: match &args.shim {
            Some(other) => other
                .canonicalize()
                .with_context(|| format!("no shim at {}", other.display()))?,
            None => args.platform.shim(&built),
        },
        strictness: if args.strict {
            runner::Strictness::Table
        } else {
            runner::Strictness::Interpose
        },
        work: work.path().to_owned(),
        watchdog,
        seed,
        rounds: args.rounds,
    };
    let results = runner::run(&stage, &all, |result| {
        let line = report::line(result);
        if args.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    })?;
    let scope = if args.case.is_empty() {
        report::Scope::Suite
    } else {
        report::Scope::Selected
    };
    if let (Some(file), Some(version)) = (&args.differences, args.runtime) {
        let table = report::differences(&results, version);
        std::fs::write(file, table).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let report = report::Report::new(results, seed, scope);
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.summary());
    }
    Ok(if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
