//! From a recording (`xsched-agent record`) to a workload.
//!
//! A recording says when each call was made, by which library, on which
//! stream, and how long waits took. It does not say how long kernels ran:
//! that is worked out from the ends of waits, see [`kernel_time`].

mod calls;
mod estimate;
#[cfg(test)]
mod fixture;
mod packets;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xsched_common::units::Nanos;

use crate::format::{FORMAT, Launch, Program, Repeat, Step, Thread, Wait, Workload};
use calls::{Call, Calls, Doing};
pub use estimate::kernel_time;

/// A thread that did nothing for so long after a wait was idle: what comes
/// then is a request, at a time of its own.
pub const IDLE: Nanos = Nanos::from_millis(1);

/// What a call takes on the processor, with the probe that recorded it: no
/// part of the gap before the next.
pub const CALL: Nanos = Nanos::from_micros(2);

/// What the probe at a call's return takes.
const PROBE: Nanos = Nanos::from_micros(1);

/// A wait that returned sooner did not wait.
const AT_ONCE: Nanos = Nanos::from_micros(20);

/// Libraries that keep their names; calls of further ones are the program's.
const MOST_CALLERS: usize = 64;

/// Bytes of such a name that are kept.
const LONGEST_CALLER: usize = 100;

/// No recording, or none that anything can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It does not decode.
    #[error("no trace of Perfetto's: {0}")]
    Form(#[from] prost::DecodeError),
    /// Its last packet is not whole.
    #[error("the file ends in the middle of a packet: was it copied whole?")]
    Cut,
    /// It has more of something than any recording.
    #[error("more than {0}: record one process, or for a shorter time")]
    TooMuch(String),
    /// What it says makes no workload.
    #[error("no workload can be made of it: {0}")]
    Content(String),
    /// Nothing in it launches.
    #[error(
        "no launch is in it: record a program while it works, with `xsched-agent record -o FILE PID`"
    )]
    Empty,
}

/// Makes a workload of a recording; `origin` says whose it is.
///
/// # Errors
/// [`ImportError`].
pub fn import(recording: &[u8], name: &str, origin: &str) -> Result<Workload, ImportError> {
    let calls = Calls::read(recording)?;
    let start = calls
        .threads
        .values()
        .filter_map(|of| of.first())
        .map(|call| call.from)
        .min()
        .ok_or(ImportError::Empty)?;
    let mut callers = Vec::new();
    let mut programs: BTreeMap<u32, Program> = BTreeMap::new();
    let mut unknown = 0;
    for ((pid, tid), of) in &calls.threads {
        let process = calls.processes.get(pid);
        let mut builder = Builder::new(start, &mut callers, process.map(|p| p.name.as_str()));
        of.iter().for_each(|call| builder.take(call));
        let (steps, untimed) = builder.finish();
        unknown += untimed;
        if !steps.iter().any(|step| matches!(step, Step::Launch(_))) {
            continue;
        }
        let program = programs.entry(*pid).or_insert_with(|| Program {
            name: process.map_or_else(|| "unknown".to_owned(), |p| p.name.clone()),
            command: process.map(|p| p.command.clone()).unwrap_or_default(),
            threads: Vec::new(),
        });
        program.threads.push(Thread {
            name: calls.names.get(&(*pid, *tid)).cloned().unwrap_or_default(),
            repeat: Repeat::Once,
            steps,
        });
    }
    let mut programs: Vec<(u32, Program)> = programs.into_iter().collect();
    distinguish(&mut programs);
    if programs.is_empty() {
        return Err(ImportError::Empty);
    }
    let workload = Workload {
        format: FORMAT,
        name: name.to_owned(),
        origin: origin.to_owned(),
        limits: limits(&programs, unknown),
        callers,
        programs: programs.into_iter().map(|(_, program)| program).collect(),
    };
    workload.check().map_err(ImportError::Content)?;
    Ok(workload)
}

/// Processes of one name get their pids behind it.
fn distinguish(programs: &mut [(u32, Program)]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (_, program) in programs.iter() {
        *seen.entry(program.name.clone()).or_default() += 1;
    }
    for (pid, program) in programs {
        if seen[&program.name] > 1 || program.name.is_empty() {
            program.name = format!("{}-{pid}", program.name);
        }
    }
}

fn limits(programs: &[(u32, Program)], unknown: u64) -> Vec<String> {
    let mut limits = vec![
        "kernels of one busy period are taken to be equally long: so long that the period ends when its last wait \
         returned"
            .to_owned(),
        "what a wait for an event waited for is not recorded: it is taken to be all that was launched before the wait \
         before it"
            .to_owned(),
        format!(
            "a pause of {IDLE} and more after a wait is idle time: requests come when they came, however fast the device \
             is"
        ),
    ];
    if programs.len() > 1 {
        limits.push(
            "several processes were recorded: where they shared the device, kernels took longer than alone; record each \
             by itself for its own times"
                .to_owned(),
        );
    }
    if unknown > 0 {
        limits.push(format!(
            "{unknown} launches were followed by no wait: their time is that of the others, or the time between two \
             launches"
        ));
    }
    limits
}

/// Makes the steps of one thread.
struct Builder<'c> {
    start: Nanos,
    callers: &'c mut Vec<String>,
    own: Option<&'c str>,
    streams: HashMap<Arc<str>, u64>,
    steps: Vec<Step>,
    /// When the call before returned, or was entered; none before the first.
    mark: Option<Nanos>,
    /// What of the time since then is no gap.
    call: Nanos,
    /// Whether everything that was launched is complete.
    drained: bool,
    launched: u64,
    /// Launched before the last wait that waited.
    at_last_wait: u64,
    /// Of this busy period: places in `steps`, and when each was launched.
    period: Vec<(usize, Nanos)>,
    /// The last wait of the period that told anything: which launches, when.
    told: Option<(usize, Nanos)>,
    known: Vec<u64>,
    untimed: Vec<usize>,
}

impl<'c> Builder<'c> {
    fn new(start: Nanos, callers: &'c mut Vec<String>, own: Option<&'c str>) -> Builder<'c> {
        Builder {
            start,
            callers,
            own,
            streams: HashMap::new(),
            steps: Vec::new(),
            mark: None,
            call: CALL,
            drained: true,
            launched: 0,
            at_last_wait: 0,
            period: Vec::new(),
            told: None,
            known: Vec::new(),
            untimed: Vec::new(),
        }
    }

    fn take(&mut self, call: &Call) {
        let gap = self
            .mark
            .map(|mark| call.from.since(mark).since(call.at_gate));
        let idle = gap.is_none_or(|gap| self.drained && gap >= IDLE);
        if idle {
            self.steps.push(Step::Arrive(call.from.since(self.start).0));
        }
        let after_ns = match (idle, gap) {
            (false, Some(gap)) => gap.since(self.call).0,
            _ => 0,
        };
        self.call = CALL;
        match &call.doing {
            Doing::Launch { stream, caller, to } => {
                let stream = self.stream(stream);
                let caller = self.caller(caller);
                self.period.push((self.steps.len(), call.from));
                self.steps.push(Step::Launch(Launch {
                    ns: 0,
                    count: 1,
                    after_ns,
                    stream,
                    caller,
                }));
                self.launched += 1;
                self.drained = false;
                self.mark = Some(to.unwrap_or(call.from));
                self.call = to.map_or(CALL, |_| PROBE);
            }
            Doing::Wait { stream, to } => {
                let stream = stream.as_ref().map(|stream| self.stream(stream));
                self.steps.push(Step::Wait(Wait {
                    stream,
                    ahead: 0,
                    after_ns,
                }));
                self.told = Some((self.period.len(), *to));
                self.period_ends();
                (self.drained, self.mark) = (true, Some(*to));
                self.at_last_wait = self.launched;
            }
            Doing::WaitForEvent { to } => {
                if to.since(call.from) >= AT_ONCE {
                    let ahead = self.launched - self.at_last_wait;
                    if self.at_last_wait > 0 && ahead < self.period.len() as u64 {
                        self.told = Some((self.period.len() - ahead as usize, *to));
                    }
                    self.steps.push(Step::Wait(Wait {
                        stream: None,
                        ahead,
                        after_ns,
                    }));
                    self.at_last_wait = self.launched;
                }
                self.mark = Some(*to);
            }
        }
    }

    /// Gives the period's launches their time.
    fn period_ends(&mut self) {
        let period = std::mem::take(&mut self.period);
        let Some((complete, end)) = self.told.take().filter(|(complete, _)| *complete > 0) else {
            self.untimed.extend(period.iter().map(|(at, _)| *at));
            return;
        };
        let launched: Vec<Nanos> = period[..complete].iter().map(|(_, at)| *at).collect();
        let ns = kernel_time(&launched, end).0;
        self.known.push(ns);
        for (at, _) in period {
            self.time(at, ns);
        }
    }

    fn time(&mut self, at: usize, ns: u64) {
        if let Some(Step::Launch(launch)) = self.steps.get_mut(at) {
            launch.ns = ns;
        }
    }

    fn finish(mut self) -> (Vec<Step>, u64) {
        self.period_ends();
        let untimed = std::mem::take(&mut self.untimed);
        self.known.sort_unstable();
        let typical = self.known.get(self.known.len() / 2).copied();
        for at in &untimed {
            let Some(Step::Launch(launch)) = self.steps.get(*at) else {
                continue;
            };
            let ns = typical.unwrap_or(launch.after_ns + CALL.0);
            self.time(*at, ns);
        }
        (self.steps, untimed.len() as u64)
    }

    fn stream(&mut self, name: &Arc<str>) -> u64 {
        if matches!(&**name, "null stream" | "legacy stream") {
            return 0;
        }
        if let Some(number) = self.streams.get(name) {
            return *number;
        }
        // Further ones share one: replays have a bound, too.
        let number = (self.streams.len() as u64 + 1).min(8);
        self.streams.insert(Arc::clone(name), number);
        number
    }

    fn caller(&mut self, name: &str) -> Option<u32> {
        if Some(name) == self.own || name.is_empty() || name.contains('/') || name.starts_with('.')
        {
            return None;
        }
        let name = &name[..name.floor_char_boundary(LONGEST_CALLER)];
        let at = self.callers.iter().position(|known| known == name);
        match at {
            Some(at) => Some(at as u32),
            None if self.callers.len() < MOST_CALLERS => {
                self.callers.push(name.to_owned());
                Some(self.callers.len() as u32 - 1)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Nanos {
        Nanos::from_micros(us)
    }

    fn launch(at: u64, at_gate: u64) -> Call {
        Call {
            from: us(at),
            at_gate: us(at_gate),
            doing: Doing::Launch {
                stream: "stream 0x7f00".into(),
                caller: "libtorch_hip.so".into(),
                to: None,
            },
        }
    }

    fn wait(from: u64, to: u64) -> Call {
        Call {
            from: us(from),
            at_gate: Nanos::ZERO,
            doing: Doing::Wait {
                stream: Some("stream 0x7f00".into()),
                to: us(to),
            },
        }
    }

    fn wait_for_event(from: u64, to: u64) -> Call {
        Call {
            doing: Doing::WaitForEvent { to: us(to) },
            ..wait(from, to)
        }
    }

    fn steps(calls: &[Call]) -> (Vec<Step>, u64, Vec<String>) {
        let mut callers = Vec::new();
        let mut builder = Builder::new(Nanos::ZERO, &mut callers, Some("serve"));
        calls.iter().for_each(|call| builder.take(call));
        let (steps, untimed) = builder.finish();
        (steps, untimed, callers)
    }

    #[test]
    fn requests_gaps_streams_and_callers_are_kept_and_gates_are_not() {
        let (steps, untimed, callers) = steps(&[
            launch(100, 0),
            // It stood at the gate for 5 ms, and the host worked for 8 us.
            launch(5_110, 5_000),
            wait(5_115, 5_325),
            launch(9_000, 0),
        ]);
        assert_eq!(
            (untimed, callers.as_slice()),
            (1, &["libtorch_hip.so".to_owned()][..])
        );
        let launches: Vec<Launch> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Launch(launch) => Some(*launch),
                _ => None,
            })
            .collect();
        assert_eq!(steps[0], Step::Arrive(100_000));
        assert_eq!(launches[1].after_ns, 8_000, "less what the call takes");
        assert_eq!((launches[0].stream, launches[0].caller), (1, Some(0)));
        // The second was launched late: what is left for it is 210 us.
        assert_eq!(launches[0].ns, 210_000);
        assert_eq!(
            steps[3],
            Step::Wait(Wait {
                stream: Some(1),
                ahead: 0,
                after_ns: 3_000
            })
        );
        assert_eq!(steps[4], Step::Arrive(9_000_000), "it was idle");
        assert_eq!(launches[2].ns, 210_000, "as the others");
    }

    #[test]
    fn batches_that_wait_for_events_keep_their_rate() {
        // Four at a time, 100 us each, the device always behind.
        let mut calls = vec![launch(0, 0), launch(1, 0), launch(2, 0), launch(3, 0)];
        for group in 1..100 {
            let at = group * 400;
            calls.push(wait_for_event(at - 390, at));
            calls.extend((0..4).map(|n| launch(at + n, 0)));
        }
        let (steps, _, _) = steps(&calls);
        let total: u64 = steps
            .iter()
            .map(|step| match step {
                Step::Launch(launch) => launch.ns,
                _ => 0,
            })
            .sum();
        let mean = total as f64 / 400.0 / 1e3;
        assert!((95.0..106.0).contains(&mean), "{mean}");
        let ahead = steps
            .iter()
            .filter(|step| matches!(step, Step::Wait(wait) if wait.ahead == 4));
        assert!(ahead.count() > 90);
    }
}
