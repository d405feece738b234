//! Calls that were observed while they happened. Where they come from is
//! somebody else's matter: diagnosis names no BPF.

use std::time::Duration;

use serde::{Serialize, Serializer};
use xsched_common::bpf::CallRoute;
use xsched_common::platform::entry_point;
use xsched_common::units::StreamClass;
use xsched_host::readers::apart::Stage;

/// Calls of one function, from one library, on one class of stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObservedCall {
    /// Path of the calling object in the process's mount namespace; `?` for
    /// code outside every object.
    pub object: String,
    /// The function's exported name.
    pub api: String,
    /// The stream it named.
    pub stream: StreamClass,
    /// Whether it came through a shim.
    #[serde(serialize_with = "route_name")]
    pub route: CallRoute,
    /// How many calls.
    pub count: u64,
}

impl ObservedCall {
    /// Whether it enqueued kernels.
    pub fn is_launch(&self) -> bool {
        is_launch(&self.api)
    }
}

/// Whether a function enqueues kernels.
pub fn is_launch(symbol: &str) -> bool {
    entry_point(symbol).is_some_and(|(_, entry)| entry.is_launch())
}

fn route_name<S: Serializer>(route: &CallRoute, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match route {
        CallRoute::Direct => "direct",
        CallRoute::Shim => "shim",
    })
}

/// What was observed of one process.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// For how long.
    pub duration: Duration,
    /// The calls.
    pub calls: Vec<ObservedCall>,
    /// What was missed, as lines for people.
    pub limits: Vec<String>,
}

impl Observed {
    /// `count` as a rate, calls per second.
    pub fn per_second(&self, count: u64) -> f64 {
        match self.duration.as_secs_f64() {
            s if s > 0.0 => count as f64 / s,
            _ => 0.0,
        }
    }
}

/// Whoever can watch a process's calls.
pub trait CallSource {
    /// Watches `pid` for `duration`. The error is a line for people with a
    /// next step; diagnosis then goes on without calls.
    fn observe(&mut self, pid: u32, duration: Duration) -> Result<Observed, String>;
}

/// A source of calls that says when it is at work.
pub(crate) struct Staged<S> {
    pub source: S,
    pub stage: Stage,
}

impl<S: CallSource> CallSource for Staged<S> {
    fn observe(&mut self, pid: u32, duration: Duration) -> Result<Observed, String> {
        let source = &mut self.source;
        self.stage.observe(|| source.observe(pid, duration))
    }
}
