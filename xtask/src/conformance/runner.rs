//! Running every case three times, and judging the runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Abi;
use super::agent::{Agent, Manner, Pace, Random, Seen};
use super::cases::{Case, clean};
use super::exec::{self, End, Ran};
use super::report::{CaseResult, Difference, Outcome};
use super::unfit;

/// Cases that run at the same time, each on a device of its own.
const PARALLEL: usize = 2;

/// Lines of standard error shown of a run that went wrong.
const MAX_ERRORS: usize = 100;

/// Where the shim is to catch calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Where the dynamic linker leads them.
    Interpose,
    /// In the runtime's dispatch table.
    Table,
}

/// What the shim says when it cannot.
const REFUSAL: &str = "strict mode is not in force";

/// Where the programs find their runtime.
pub enum Place {
    /// hipsim, in this folder.
    Simulated(PathBuf),
    /// AMD's, where this process has gone; hipsim in a folder beside, for comparison.
    Real {
        /// The folder.
        beside: PathBuf,
    },
}

/// What all runs share.
pub struct Stage {
    /// Where the runtime is.
    pub place: Place,
    /// Cases that this runtime does not survive natively, and why.
    pub unfit: HashMap<String, String>,
    /// Settings that this runtime needs.
    pub settings: Vec<unfit::Setting>,
    /// The shim.
    pub shim: PathBuf,
    /// Where it is to catch calls.
    pub strictness: Strictness,
    /// A folder for what the runs need.
    pub work: PathBuf,
    /// Longest time of one run.
    pub watchdog: Duration,
    /// Of the random gates.
    pub seed: u64,
    /// Runs of each case under a random gate.
    pub rounds: u32,
}

/// Runs the cases and hands each result to `progress` as it comes. The results are in the order of the cases.
///
/// # Errors
/// A run cannot be set up. What goes wrong inside a run is its result.
pub fn run(
    stage: &Stage,
    cases: &[Case],
    mut progress: impl FnMut(&CaseResult),
) -> anyhow::Result<Vec<CaseResult>> {
    let next = AtomicUsize::new(0);
    let (results, received) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    let sent = results.send((index, judge(stage, case, index)));
                    // Nobody listens any more after a failure to set up.
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut all = Vec::new();
        for (index, result) in received {
            let result = result?;
            progress(&result);
            all.push((index, result));
        }
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, result)| result).collect())
    })
}

fn judge(stage: &Stage, case: &Case, index: usize) -> anyhow::Result<CaseResult> {
    let begun = Instant::now();
    let mut random = Random(stage.seed.wrapping_add(index as u64));
    let native = exec::run(&mut command(stage, case, index), stage.watchdog)?;
    let simulated = match &stage.place {
        Place::Simulated(_) => None,
        Place::Real { beside } => {
            let mut command = command(stage, case, index);
            command.env("LD_LIBRARY_PATH", beside);
            Some(exec::run(&mut command, stage.watchdog)?)
        }
    };
    let difference = simulated.and_then(|simulated| difference(&native, &simulated));
    if let Some(why) = stage.unfit.get(&case.name) {
        return Ok(left_out(case, why, &native, difference, begun.elapsed()));
    }
    let (open, open_seen) = shimmed(stage, case, index, Manner::Open)?;
    let mut details = Vec::new();
    let mut note = |run: &str, outcome: Outcome, ran: &Ran| {
        if outcome != Outcome::Ok {
            details.push(explain(run, outcome, &native, ran));
        }
        outcome
    };
    let native_outcome = note("native", reference(&native), &native);
    let open_outcome = note("open", compared(&native, &open), &open);
    // The first round that goes wrong is the result.
    let (mut stressed_outcome, mut stressed_seen) = (Outcome::Ok, Seen::default());
    for round in 0..stage.rounds {
        let manner = Manner::Stressed {
            seed: random.next(),
            pace: [Pace::Usual, Pace::Hurried][round as usize % 2],
        };
        let (stressed, seen) = shimmed(stage, case, index, manner)?;
        stressed_seen = stressed_seen.plus(seen);
        stressed_outcome = note("stressed", compared(&native, &stressed), &stressed);
        if stressed_outcome != Outcome::Ok {
            break;
        }
    }
    Ok(CaseResult {
        name: case.name.clone(),
        native: native_outcome,
        open: open_outcome,
        stressed: stressed_outcome,
        ok: [native_outcome, open_outcome, stressed_outcome] == [Outcome::Ok; 3],
        refused_strict: (case.abi != Abi::Five || matches!(stage.place, Place::Real { .. }))
            && open.errors.contains(REFUSAL),
        open_seen,
        stressed_seen,
        took: begun.elapsed(),
        left_out: None,
        difference,
        details,
    })
}

/// A case that the runtime does not survive: it must not.
fn left_out(
    case: &Case,
    why: &str,
    native: &Ran,
    difference: Option<Difference>,
    took: Duration,
) -> CaseResult {
    let outcome = reference(native);
    let fits = outcome == Outcome::Ok && !why.starts_with(unfit::SOMETIMES);
    let found = fits.then(|| "it runs natively: take it out of conformance/unfit.tsv".to_owned());
    CaseResult {
        name: case.name.clone(),
        native: outcome,
        open: outcome,
        stressed: outcome,
        ok: !fits,
        left_out: Some(why.to_owned()),
        difference,
        refused_strict: false,
        open_seen: Seen::default(),
        stressed_seen: Seen::default(),
        took,
        details: found.into_iter().collect(),
    }
}

fn command(stage: &Stage, case: &Case, index: usize) -> Command {
    let mut command = Command::new(&case.program);
    clean(&mut command)
        .arg(&case.name)
        // The one that hipcc compiled for.
        .env("HIPSIM_ARCHITECTURE", "gfx906")
        .env("HIPSIM_DEVICE", stage.work.join(format!("device-{index}")));
    if let Place::Simulated(runtime) = &stage.place {
        command.env("LD_LIBRARY_PATH", runtime);
    }
    let settings = stage.settings.iter();
    command.envs(
        settings
            .filter(|setting| setting.is_for(&case.name))
            .map(|setting| (&setting.variable.0, &setting.variable.1)),
    );
    if let Some(folder) = case.program.parent() {
        command.current_dir(folder);
    }
    command
}

/// The first line in which hipsim's transcript departs from the real runtime's.
fn difference(real: &Ran, simulated: &Ran) -> Option<Difference> {
    let mut theirs = real.transcript.lines();
    let mut ours = simulated.transcript.lines();
    loop {
        let (real_line, simulated_line) = (theirs.next(), ours.next());
        if real_line != simulated_line {
            let shown = |line: Option<&str>, end| line.map_or(format!("{end:?}"), str::to_owned);
            return Some(Difference {
                real: shown(real_line, real.end),
                simulated: shown(simulated_line, simulated.end),
            });
        }
        if real_line.is_none() {
            return (real.end != simulated.end).then(|| Difference {
                real: format!("{:?}", real.end),
                simulated: format!("{:?}", simulated.end),
            });
        }
    }
}

fn shimmed(
    stage: &Stage,
    case: &Case,
    index: usize,
    manner: Manner,
) -> anyhow::Result<(Ran, Seen)> {
    let dir = tempfile::tempdir_in(&stage.work)?;
    let agent = Agent::start(dir.path(), manner)?;
    let mut command = command(stage, case, index);
    if stage.strictness == Strictness::Table {
        command.env("XSCHED_STRICT", "1");
    }
    command
        .env("LD_PRELOAD", &stage.shim)
        .env("XSCHED_RUN_DIR", dir.path());
    let ran = exec::run(&mut command, stage.watchdog)?;
    Ok((ran, agent.stop()?))
}

/// A native run is right when the program says so; one that says nothing proves nothing.
fn reference(native: &Ran) -> Outcome {
    match native.end {
        End::Hung => Outcome::Hang,
        End::Exited(0) if !native.transcript.is_empty() => Outcome::Ok,
        End::Exited(_) | End::Killed(_) => Outcome::Crash,
    }
}

fn compared(native: &Ran, ran: &Ran) -> Outcome {
    match ran.end {
        End::Hung => Outcome::Hang,
        End::Killed(_) => Outcome::Crash,
        End::Exited(_) if ran.end == native.end && ran.transcript == native.transcript => {
            Outcome::Ok
        }
        End::Exited(_) => Outcome::Differs,
    }
}

/// For people: how the run ended and where its transcript departs from the native one.
fn explain(run: &str, outcome: Outcome, native: &Ran, ran: &Ran) -> String {
    let mut text = format!("{run}: {outcome} ({:?})", ran.end);
    let mut theirs = native.transcript.lines();
    let mut ours = ran.transcript.lines();
    for number in 1.. {
        let (wanted, found) = (theirs.next(), ours.next());
        if wanted != found {
            let show = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
            text += &format!("\n  line {number}: native {}", show(wanted));
            text += &format!("\n  line {number}: {run} {}", show(found));
            break;
        }
        if wanted.is_none() {
            break;
        }
    }
    if run == "native" {
        let last = ran.transcript.lines().last().unwrap_or("(nothing printed)");
        text += &format!("\n  last line: {last}");
    }
    for line in ran.errors.lines().take(MAX_ERRORS) {
        text += &format!("\n  stderr: {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(transcript: &str, end: End) -> Ran {
        Ran {
            pid: 0,
            transcript: transcript.to_owned(),
            errors: String::new(),
            end,
        }
    }

    #[test]
    fn only_equal_runs_pass() {
        let native = ran("a\nb\n", End::Exited(0));
        assert_eq!(compared(&native, &native), Outcome::Ok);
        assert_eq!(
            compared(&native, &ran("a\n", End::Exited(0))),
            Outcome::Differs
        );
        assert_eq!(
            compared(&native, &ran("a\nb\n", End::Exited(1))),
            Outcome::Differs
        );
        assert_eq!(
            compared(&native, &ran("a\nb\n", End::Killed(6))),
            Outcome::Crash
        );
        assert_eq!(compared(&native, &ran("a\nb\n", End::Hung)), Outcome::Hang);
    }

    #[test]
    fn a_native_run_must_succeed_and_say_something() {
        assert_eq!(reference(&ran("a\n", End::Exited(0))), Outcome::Ok);
        assert_eq!(reference(&ran("", End::Exited(0))), Outcome::Crash);
        assert_eq!(reference(&ran("a\n", End::Exited(1))), Outcome::Crash);
        assert_eq!(reference(&ran("a\n", End::Killed(11))), Outcome::Crash);
        assert_eq!(reference(&ran("a\n", End::Hung)), Outcome::Hang);
    }

    #[test]
    fn explanations_name_the_first_difference() {
        let text = explain(
            "open",
            Outcome::Differs,
            &ran("a\nb\nc\n", End::Exited(0)),
            &ran("a\nx\nc\n", End::Exited(0)),
        );
        assert!(
            text.contains("line 2: native b\n  line 2: open x"),
            "{text}"
        );
    }
}
