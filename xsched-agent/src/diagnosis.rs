//! Calls from the observer, for a diagnosis: the one place where these two
//! meet.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;
use xsched_diagnose::{CallSource, Observed, ObservedCall, Options};
use xsched_host::process::ProcessId;
use xsched_host::text::counted;
use xsched_observe::{CallCount, Observer, Plan, Sample};

/// Libraries that are opened meanwhile are looked for this often.
const REFRESH: Duration = Duration::from_millis(250);

/// Calls that had passed the shim's entry before it was probed, and the
/// runtime's after: they look direct. A gate lets one waiting launch pass
/// every 100 ms, so most are over by then.
const SETTLING: Duration = Duration::from_millis(150);

/// The rest of them: one for each thread that waited longer.
const STRAGGLERS: u64 = 16;

/// Observes with uprobes; needs the rights for BPF.
#[derive(Clone, Debug)]
pub struct Probes {
    shim_names: Vec<String>,
}

impl Probes {
    /// As a diagnosis with these options needs them.
    pub fn with(options: &Options) -> Probes {
        Probes {
            shim_names: options.shim_names.clone(),
        }
    }
}

impl CallSource for Probes {
    fn observe(&mut self, pid: u32, duration: Duration) -> Result<Observed, String> {
        let id = ProcessId::of(pid).map_err(|e| e.to_string())?;
        let mut observer = Observer::start(Plan::process(pid, self.shim_names.clone()))
            .map_err(|e| e.to_string())?;
        if let Some(why) = observer.held_up() {
            return Err(why.to_owned());
        }
        observer.wait(SETTLING);
        let before = observer.sample().map_err(|e| e.to_string())?;
        let started = Instant::now();
        while let Some(left) = duration.checked_sub(started.elapsed())
            && !left.is_zero()
            && id.is_alive()
        {
            observer.wait(left.min(REFRESH));
            observer.refresh();
        }
        let duration = started.elapsed();
        let after = observer.sample().map_err(|e| e.to_string())?;
        let mut limits: Vec<String> = observer.limits().map(str::to_owned).collect();
        let lost = after.drops.calls() - before.drops.calls().min(after.drops.calls());
        if lost > 0 {
            limits.push(format!("{} could not be counted", counted(lost, "call")));
        }
        Ok(Observed {
            duration,
            calls: calls(pid, &before, &after),
            limits,
        })
    }
}

/// One place in the program that calls one function.
type Site = (u16, StreamClass, u64);

fn calls(pid: u32, before: &Sample, after: &Sample) -> Vec<ObservedCall> {
    let of_process = |sample: &Sample| -> Vec<CallCount> {
        let calls = sample.calls.iter().filter(|c| c.process.pid == pid);
        calls.cloned().collect()
    };
    let key = |c: &CallCount| ((c.api, c.stream, c.caller.address), c.route);
    let old: HashMap<(Site, CallRoute), u64> = of_process(before)
        .iter()
        .map(|c| (key(c), c.count))
        .collect();
    let mut sites: HashMap<Site, Vec<CallCount>> = HashMap::new();
    for mut call in of_process(after) {
        let (site, route) = key(&call);
        call.count -= old.get(&(site, route)).map_or(0, |n| *n.min(&call.count));
        if call.count > 0 {
            sites.entry(site).or_default().push(call);
        }
    }
    let mut merged: BTreeMap<(String, &'static str, StreamClass, bool), u64> = BTreeMap::new();
    for calls in sites.into_values() {
        let shim: u64 = of_route(&calls, CallRoute::Shim);
        let direct = of_route(&calls, CallRoute::Direct);
        let stragglers = direct <= STRAGGLERS && direct < shim;
        for call in calls {
            let object = match call.caller.object.path.is_empty() {
                true => call.caller.object.name.clone(),
                false => call.caller.object.path.clone(),
            };
            let through_shim = call.route == CallRoute::Shim || stragglers;
            let key = (object, call.entry().symbol, call.stream, through_shim);
            *merged.entry(key).or_default() += call.count;
        }
    }
    let mut out: Vec<ObservedCall> = merged
        .into_iter()
        .map(
            |((object, api, stream, through_shim), count)| ObservedCall {
                object,
                api: api.to_owned(),
                stream,
                route: match through_shim {
                    true => CallRoute::Shim,
                    false => CallRoute::Direct,
                },
                count,
            },
        )
        .collect();
    out.sort_by_key(|c| std::cmp::Reverse(c.count));
    out
}

fn of_route(calls: &[CallCount], route: CallRoute) -> u64 {
    let calls = calls.iter().filter(|c| c.route == route);
    calls.map(|c| c.count).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xsched_common::platform::entry_point;

    use super::*;
    use xsched_observe::{Caller, CallerObject, ObjectKind};

    fn sample(calls: &[(u64, CallRoute, u64)]) -> Sample {
        let (api, _) = entry_point("hipLaunchKernel").expect("in the table");
        let object = Arc::new(CallerObject {
            kind: ObjectKind::Program,
            name: "program".into(),
            path: "/bin/program".into(),
        });
        let calls = calls.iter().map(|&(address, route, count)| CallCount {
            process: ProcessId {
                pid: 7,
                start_time: 1,
            },
            api,
            stream: StreamClass::Created,
            route,
            caller: Caller {
                address,
                object: Arc::clone(&object),
                file_offset: 0,
            },
            count,
        });
        Sample {
            calls: calls.collect(),
            ..Sample::default()
        }
    }

    fn counts(
        before: &[(u64, CallRoute, u64)],
        after: &[(u64, CallRoute, u64)],
    ) -> Vec<(CallRoute, u64)> {
        let calls = calls(7, &sample(before), &sample(after));
        calls.iter().map(|c| (c.route, c.count)).collect()
    }

    const DIRECT: CallRoute = CallRoute::Direct;
    const SHIM: CallRoute = CallRoute::Shim;

    #[test]
    fn what_was_counted_before_does_not_count() {
        assert_eq!(
            counts(&[(1, DIRECT, 5)], &[(1, DIRECT, 5), (1, SHIM, 90)]),
            [(SHIM, 90)]
        );
        assert_eq!(counts(&[], &[(1, SHIM, 90), (2, SHIM, 10)]), [(SHIM, 100)]);
    }

    #[test]
    fn a_few_direct_calls_of_a_site_that_uses_the_shim_are_stragglers() {
        assert_eq!(counts(&[], &[(1, DIRECT, 2), (1, SHIM, 30)]), [(SHIM, 32)]);
        assert_eq!(
            counts(&[], &[(1, DIRECT, 300), (1, SHIM, 700)]),
            [(SHIM, 700), (DIRECT, 300)]
        );
        // Another place in the program is another matter.
        assert_eq!(
            counts(&[], &[(2, DIRECT, 2), (1, SHIM, 30)]),
            [(SHIM, 30), (DIRECT, 2)]
        );
    }
}
