//! The file's format.

use serde::{Deserialize, Serialize};

/// Of files that are written now.
pub const FORMAT: u32 = 1;

/// Names of libraries that launch; steps name them by their place.
pub type Callers = Vec<String>;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// [`FORMAT`].
    pub format: u32,
    /// What it is, for people.
    pub name: String,
    /// Where its figures come from: the machine, the program, the tool, the date.
    pub origin: String,
    /// What of it is estimated, or left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Libraries that launch; [`Launch::caller`] counts into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callers: Callers,
    /// Processes.
    pub programs: Vec<Program>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name, unique in the file.
    pub name: String,
    /// Its arguments, `argv[0]` first, where it was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Threads that launch.
    pub threads: Vec<Thread>,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thread {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// How often it does its steps.
    #[serde(default)]
    pub repeat: Repeat,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// How often a thread does its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Once, as recorded; [`Step::Arrive`] says when requests come.
    #[default]
    Once,
    /// Each time is a request, which comes with the end of the one before.
    BackToBack,
    /// Each time is a request. One that has to queue counts from when it came.
    Every {
        /// Mean time between requests.
        period_ns: u64,
        /// How it varies.
        gaps: Gaps,
    },
}

/// How the time between requests varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// Not at all.
    Fixed,
    /// Half to one and a half periods, evenly distributed.
    Jittered,
    /// Exponentially distributed.
    Exponential,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Launches.
    Launch(Launch),
    /// Waits for the device.
    Wait(Wait),
    /// In a thread that does its steps once: a request comes, so many ns after
    /// the start.
    Arrive(u64),
}

/// One or several launches that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Device time of the kernel when it is alone.
    pub ns: u64,
    /// So many.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
    /// The host's time before each, since the call before has returned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_ns: u64,
    /// The default stream (0) or one of the process's own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stream: u64,
    /// The place of the launching library in [`Workload::callers`]; none is the
    /// program itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<u32>,
}

/// A wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// For this stream; none is for all that the thread has launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Until at most so many of the thread's launches are incomplete.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: u64,
    /// The host's time before it, since the call before has returned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_ns: u64,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What one pass over the steps comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Launches.
    pub launches: u64,
    /// Their device time.
    pub device_ns: u64,
    /// Waits.
    pub waits: u64,
    /// Requests that come at a time of their own.
    pub arrivals: u64,
}

impl Thread {
    /// Of one pass.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for step in &self.steps {
            match step {
                Step::Launch(launch) => {
                    totals.launches += u64::from(launch.count);
                    let device_ns = launch.ns.saturating_mul(u64::from(launch.count));
                    totals.device_ns = totals.device_ns.saturating_add(device_ns);
                }
                Step::Wait(_) => totals.waits += 1,
                Step::Arrive(_) => totals.arrivals += 1,
            }
        }
        totals
    }
}

impl Program {
    /// Of one pass of each thread.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.threads.iter().map(Thread::totals) {
            sum.launches += totals.launches;
            sum.device_ns = sum.device_ns.saturating_add(totals.device_ns);
            sum.waits += totals.waits;
            sum.arrivals += totals.arrivals;
        }
        sum
    }
}
