//! What the observer hands out: counts in the user's terms.

use std::collections::HashMap;

use xsched_common::bpf::{CallKey, CallRoute};
use xsched_common::page::HistogramCounts;
use xsched_common::platform::{DefaultStream, ENTRY_POINTS, EntryPoint, entry};
use xsched_common::units::StreamClass;
use xsched_host::process::ProcessId;

use super::callers::{Caller, ObjectKind};
use super::counts::{Drops, DropsByCpu};

/// Calls that agree in everything.
#[derive(Clone, Debug)]
pub struct CallCount {
    /// Who called.
    pub process: ProcessId,
    /// Index into [`ENTRY_POINTS`].
    pub api: u16,
    /// On which kind of stream.
    pub stream: StreamClass,
    /// Whether the call came through a shim.
    pub route: CallRoute,
    /// From where.
    pub caller: Caller,
    /// How often, since the observer first saw this.
    pub count: u64,
}

impl CallCount {
    /// The function.
    pub fn entry(&self) -> &'static EntryPoint {
        &ENTRY_POINTS[usize::from(self.api)]
    }

    /// Whether the runtime called itself: part of another call, not one of
    /// the program's.
    pub fn is_nested(&self) -> bool {
        self.caller.object.kind == ObjectKind::Runtime
    }
}

/// What has been counted up to now.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Totals. A process that has exited is in one more sample, with its
    /// final counts, and then in none.
    pub calls: Vec<CallCount>,
    /// Processes of that last kind.
    pub exited: Vec<ProcessId>,
    /// Processes that run another program since the last sample: their counts
    /// begin anew after this one.
    pub restarted: Vec<ProcessId>,
    /// Whole bursts since each process was first seen, as far as probes were
    /// in place all the while.
    pub bursts: HashMap<ProcessId, HistogramCounts>,
    /// Probe hits, counted or dropped.
    pub events: u64,
    /// Hits that could not be counted, and lost notices.
    pub drops: Drops,
    /// The same by CPU.
    pub drops_by_cpu: DropsByCpu,
}

/// A kernel count in the user's terms. `None` for a key that names nothing,
/// which a program of another version could have left.
pub(super) fn call_count(
    process: ProcessId,
    key: CallKey,
    caller: Caller,
    count: u64,
) -> Option<CallCount> {
    let entry = entry(key.api)?;
    let route = match caller.object.kind {
        ObjectKind::Shim => CallRoute::Shim,
        _ => CallRoute::from_raw(key.route)?,
    };
    Some(CallCount {
        process,
        api: key.api,
        stream: effective_stream(entry, StreamClass::from_raw(key.stream)?),
        route,
        caller,
        count,
    })
}

/// The kernel side takes a function without a stream argument for one on the
/// null stream, and a null handle for the null stream. To some functions
/// either means another one.
pub fn effective_stream(entry: &EntryPoint, counted: StreamClass) -> StreamClass {
    match (entry.default_stream, counted) {
        (DefaultStream::PerThread, StreamClass::Null) => StreamClass::PerThread,
        // Nobody is told of default-stream launches that were not seen.
        (DefaultStream::Implied, _) => StreamClass::Created,
        _ => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::platform::entry_point;

    #[test]
    fn null_handles_of_per_thread_functions_are_not_the_default_stream() {
        let effective = |symbol, counted| {
            let (_, entry) = entry_point(symbol).expect("in the table");
            effective_stream(entry, counted)
        };
        use StreamClass::{Created, Null, PerThread};
        assert_eq!(effective("hipLaunchKernel", Null), Null);
        assert_eq!(effective("hipLaunchKernel_spt", Null), PerThread);
        assert_eq!(effective("hipLaunchKernel_spt", Created), Created);
        assert_eq!(effective("hipMemcpy", Null), Null);
        assert_eq!(effective("hipMemcpy_spt", Null), PerThread);
        assert_eq!(effective("hipLaunchByPtr", Null), Created);
    }
}
