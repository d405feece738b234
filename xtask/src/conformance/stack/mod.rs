//! `cargo xtask conformance --tier stack`: real libraries on a real runtime behave under the shim as without it.
//!
//! Each has a program in conformance/stack/, which runs natively once to fill caches of compiled kernels, and then natively,
//! under the open gate and under the random one. The end, the output, the calls by caller that eBPF counts and the kernels
//! that the simulated packet processor takes must be the same, but for what varies natively, and the shim must count the
//! launches that eBPF does.

mod list;
mod report;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use self::list::Library;
use self::report::{Judged, Measured};
use self::watch::{Observed, Packets, Watch};
use super::agent::{Agent, Manner, Pace, Random, Seen};
use super::cases::clean;
use super::exec::{self, End};
use super::report::Outcome;
use crate::build::{self, Profile};
use crate::progress::note;
use crate::real_runtime::libraries::Libraries;
use crate::real_runtime::{self, Above, Version};

/// What the packaged libraries have kernels for; hipBLASLt has none for gfx942.
const ARCHITECTURE: &str = "gfx90a";
/// Least time for one run: libraries compile kernels.
const LONGEST: Duration = Duration::from_secs(300);

/// What the tier is asked for.
pub struct Asked<'a> {
    /// The runtime.
    pub version: Version,
    /// Only libraries with one of these in their names; all if empty.
    pub only: &'a [String],
    /// Of the random gates.
    pub seed: u64,
    /// Runs under a random gate.
    pub rounds: u32,
    /// Where the table goes.
    pub table: Option<&'a Path>,
    /// Another shim than the one built here.
    pub shim: Option<&'a Path>,
    /// Whether the report is JSON.
    pub json: bool,
}

/// Fetches, runs and judges all libraries.
///
/// # Errors
/// The runtime or this repository's parts are not to be had. A library that is not is in the report.
pub fn run(asked: &Asked<'_>) -> anyhow::Result<ExitCode> {
    let built = build::packages(Profile::Dev, &["xsched-shim", "hsasim"])?;
    let sources = build::root().join("conformance/stack");
    let mut libraries = list::read(&sources.join("libraries.tsv"), asked.version)?;
    ensure!(
        !libraries.is_empty(),
        "conformance/stack/libraries.tsv lists none for {}: its libraries are not tried yet",
        asked.version
    );
    let wanted = |library: &Library| {
        let name = library.name.to_lowercase();
        let mut only = asked.only.iter();
        asked.only.is_empty() || only.any(|part| name.contains(&part.to_lowercase()))
    };
    libraries.retain(wanted);
    ensure!(
        !libraries.is_empty(),
        "no library of {} has a name with {:?} in it",
        asked.version,
        asked.only
    );
    let runtime = real_runtime::provide(asked.version)?;
    let (work, fetched) = (tempfile::tempdir()?, Libraries::of(asked.version)?);
    let prepared: Vec<_> = libraries
        .into_iter()
        .map(|library| {
            note(&library.name);
            let program = prepare(&library, &fetched, &sources, &runtime, work.path());
            (library, program)
        })
        .collect();
    let stand_ins = work.path().join("stand-ins");
    fetched.stand_in(&sources.join("absent"), &stand_ins)?;
    let above = Above {
        libraries: &[stand_ins, fetched.shared()],
        with_kfd: true,
    };
    real_runtime::enter(
        asked.version,
        &built.file("libhsasim.so"),
        &work.path().join("real"),
        above,
    )?;
    let shim = match asked.shim {
        Some(other) => other.canonicalize()?,
        None => built.file("libxsched_shim.so"),
    };
    let runtime = real_runtime::machines(asked.version);
    let watch = Watch::start(&[runtime, shim.clone()]);
    if let Err(error) = &watch {
        eprintln!("LEFT OUT: what eBPF counts: {error:#}");
    }
    let stage = Stage {
        shim,
        work: work.path(),
        libraries: &fetched,
        home: fetched.home()?,
        watch: watch.ok(),
        seed: asked.seed,
        rounds: asked.rounds,
    };
    let mut all = Vec::new();
    for (index, (library, program)) in prepared.into_iter().enumerate() {
        let judged = match program {
            Ok(program) => stage.judge(&library, &program, index)?,
            Err(error) => Judged::absent(&library, format!("{error:#}")),
        };
        let line = judged.line();
        if asked.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
        all.push(judged);
    }
    let report = report::Report::new(all);
    if let Some(file) = asked.table {
        std::fs::write(file, report.table(asked.version))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if asked.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.summary());
    }
    Ok(match report.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// A program that can be started, with its argument.
struct Program {
    command: PathBuf,
    argument: Option<PathBuf>,
    /// The library's, as its source says.
    version: String,
}

fn prepare(
    library: &Library,
    fetched: &Libraries,
    sources: &Path,
    runtime: &Path,
    work: &Path,
) -> anyhow::Result<Program> {
    if let Some(why) = &library.left_out {
        anyhow::bail!("{why}");
    }
    let packages: Vec<&str> = library.packages.iter().map(String::as_str).collect();
    let wheels: Vec<&str> = library.wheels.iter().map(String::as_str).collect();
    let mut version = String::new();
    if !packages.is_empty() {
        version = fetched.add_packages(&packages)?;
    }
    let source = sources.join(library.program());
    if let Some(first) = wheels.first() {
        fetched.add_wheels(&wheels)?;
        return Ok(Program {
            command: fetched.python(),
            argument: Some(source),
            version: first
                .split_once("==")
                .map_or(String::new(), |(_, version)| version.to_owned()),
        });
    }
    let program = work.join(library.name.to_lowercase());
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-w", "-I"])
        .arg(build::root().join("hipsim/include"));
    cc.arg(&source).arg("-o").arg(&program);
    for folder in [fetched.shared(), runtime.to_owned()] {
        cc.arg("-L").arg(folder);
    }
    cc.args(library.link.iter().map(|option| fetched.placed(option)));
    // What libraries need of the newer C library is there when the program runs.
    cc.arg(format!("-l:{}", fetched.soname()));
    cc.arg("-Wl,--unresolved-symbols=ignore-in-shared-libs");
    build::run(&mut cc)?;
    Ok(Program {
        command: program,
        argument: None,
        version,
    })
}

/// What all runs share.
struct Stage<'a> {
    shim: PathBuf,
    work: &'a Path,
    libraries: &'a Libraries,
    home: PathBuf,
    watch: Option<Watch>,
    seed: u64,
    rounds: u32,
}

impl Stage<'_> {
    fn judge(&self, library: &Library, program: &Program, index: usize) -> anyhow::Result<Judged> {
        let mut random = Random(self.seed.wrapping_add(index as u64));
        let run = |manner: Option<Manner>| self.run(library, program, manner);
        // Fills the caches of compiled kernels.
        run(None)?;
        let native = run(None)?;
        let open = run(Some(Manner::Open))?;
        let mut judged = Judged::new(library, &program.version, native, &open);
        for round in 0..self.rounds {
            if judged.stressed != Outcome::Ok {
                break;
            }
            let pace = [Pace::Usual, Pace::Hurried][round as usize % 2];
            let seed = random.next();
            judged.stress(&run(Some(Manner::Stressed { seed, pace }))?);
        }
        Ok(judged)
    }

    fn run(
        &self,
        library: &Library,
        program: &Program,
        manner: Option<Manner>,
    ) -> anyhow::Result<Measured> {
        let dir = tempfile::tempdir_in(self.work)?;
        let counts = dir.path().join("counts");
        let agent = manner
            .map(|manner| Agent::start(dir.path(), manner))
            .transpose()?;
        let settings = library.settings.iter();
        let settings = settings.map(|(name, value)| (name, self.libraries.placed(value)));
        let mut command = Command::new(&program.command);
        clean(&mut command)
            .args(&program.argument)
            .env("HIPSIM_ARCHITECTURE", ARCHITECTURE)
            .env("HIPSIM_DEVICE", dir.path().join("device"))
            .env("HIPSIM_COUNTS", &counts)
            .env("ROCM_HOME", self.libraries.prefix())
            .env("HOME", &self.home)
            .envs(settings)
            .current_dir(dir.path());
        if manner.is_some() {
            command
                .env("LD_PRELOAD", &self.shim)
                .env("XSCHED_RUN_DIR", dir.path());
        }
        let ran = exec::run(&mut command, LONGEST)?;
        let seen = agent.map_or(Ok(Seen::default()), Agent::stop)?;
        let observed: Option<Observed> = self.watch.as_ref().map(|watch| watch.of(ran.pid));
        let outcome = match ran.end {
            End::Hung => Outcome::Hang,
            End::Exited(0) => Outcome::Ok,
            _ => Outcome::Crash,
        };
        Ok(Measured {
            ran,
            outcome,
            seen,
            observed,
            packets: Packets::read(&counts),
        })
    }
}
