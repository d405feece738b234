//! `check`: what this machine allows, what is missing, and how to get it.

use std::process::ExitCode;

use serde::Serialize;
use xsched_client::{blocking as client, start_agent};
use xsched_common::platform::Platform;
use xsched_host::cgroup::control_groups_seen;
use xsched_host::platform::slices::NoSlices;
use xsched_host::platform::{self, Management};
use xsched_observe::host_capabilities::{Capability, HostCapabilities, host_capabilities};
use xsched_observe::{Returns, Unavailable};

use super::{endpoint, print, print_json, shim_path};

/// What this machine and these rights allow, what is missing, what that costs
/// and how to get it.
///
/// Each point is found out by doing it. Run it as the agent will run: with
/// sudo, or in its container. Exit code 1 when something is missing.
#[derive(clap::Args)]
pub struct Options {
    /// Print {"checks": [{"name", "state", "found", "costs", "fix"}]}
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    /// What its absence costs.
    costs: Option<&'static str>,
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            state: State::Ok,
            found: found.into(),
            costs: None,
            fix: None,
        }
    }

    fn missing(
        name: &'static str,
        found: impl Into<String>,
        costs: &'static str,
        fix: impl Into<String>,
    ) -> Check {
        Check {
            name,
            state: State::Missing,
            found: found.into(),
            costs: Some(costs),
            fix: Some(fix.into()),
        }
    }
}

#[derive(Serialize)]
struct Checks {
    checks: Vec<Check>,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let host = host_capabilities();
    let mut checks = vec![kernel(&host), capabilities(&host), probes(&host)];
    if host.probes.is_ok() {
        checks.extend([links(&host), returns(&host), lifecycle(&host)]);
    }
    checks.extend([
        processes(&host),
        files(&host),
        overlay(&host),
        pids(&host),
        cgroups(),
        management(),
        time_slices(),
        shim(),
        agent(),
    ]);
    let code = u8::from(checks.iter().any(|c| c.state == State::Missing));
    if options.json {
        print_json(&Checks { checks })?;
    } else {
        print(&text(&checks))?;
    }
    Ok(ExitCode::from(code))
}

fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok     ",
            State::Missing => "missing",
        };
        out += &format!("{mark}  {:<12}  {}\n", check.name, check.found);
        if let Some(costs) = check.costs {
            out += &format!("                       costs: {costs}\n");
        }
        if let Some(fix) = &check.fix {
            out += &format!("                       fix:   {fix}\n");
        }
    }
    out
}

const KERNEL: &str = "kernel";
const CAPABILITIES: &str = "capabilities";
const PROBES: &str = "probes";
const LINKS: &str = "links";
const RETURNS: &str = "returns";
const LIFECYCLE: &str = "lifecycle";
const PROCESSES: &str = "processes";
const FILES: &str = "files";
const OVERLAYFS: &str = "overlayfs";
const PIDS: &str = "pids";
const CGROUPS: &str = "cgroups";
const MANAGEMENT: &str = "management";
const TIME_SLICES: &str = "time slices";
const SHIM: &str = "shim";
const AGENT: &str = "agent";

/// A machine whose devices have none lacks nothing.
fn time_slices() -> Check {
    match platform::slice_driver() {
        Ok(driver) => Check::ok(
            TIME_SLICES,
            format!(
                "driver {}: they follow the classes, also of programs without the shim",
                driver.version()
            ),
        ),
        Err(none @ NoSlices::NoDriver) => Check::ok(TIME_SLICES, none.to_string()),
        Err(why) => Check::missing(
            TIME_SLICES,
            why.to_string(),
            "nothing bounds what one long kernel of a lower class, or of a program without the shim, \
             takes",
            "a driver whose branch was checked, or have this one checked",
        ),
    }
}

fn kernel(host: &HostCapabilities) -> Check {
    let name = rustix::system::uname();
    let found = format!("Linux {}", name.release().to_string_lossy());
    // Distributions bring what probes need to older kernels.
    match host.kernel.is_new_enough() || host.probes.is_ok() {
        true => Check::ok(KERNEL, found),
        false => Check::missing(
            KERNEL,
            found,
            "probes need 5.15: only processes under the shim are seen",
            "a kernel from 5.15 on",
        ),
    }
}

/// What suffices for all but files behind overlayfs.
const FEWEST: [Capability; 5] = [
    Capability::Bpf,
    Capability::Perfmon,
    Capability::SysPtrace,
    Capability::DacReadSearch,
    Capability::CheckpointRestore,
];

fn capabilities(host: &HostCapabilities) -> Check {
    let has = &host.capabilities;
    let found = match has.is_empty() {
        true => "none".to_owned(),
        false => names(has),
    };
    let lacking: Vec<Capability> = FEWEST
        .into_iter()
        .filter(|capability| !has.contains(capability))
        .collect();
    if lacking.is_empty() || has.contains(&Capability::SysAdmin) {
        return Check::ok(CAPABILITIES, found);
    }
    Check::missing(
        CAPABILITIES,
        found,
        "see the points below",
        format!(
            "{} (systemd: AmbientCapabilities=, containers: --cap-add)",
            granted(&lacking)
        ),
    )
}

fn names(which: &[Capability]) -> String {
    let names: Vec<&str> = which.iter().map(|capability| capability.name()).collect();
    names.join(" ")
}

/// Who has these capabilities: root has, unless it is that of a container or
/// of a unit that leaves them out.
fn granted(which: &[Capability]) -> String {
    match super::euid() {
        0 => format!("add {} to this root", names(which)),
        _ => format!("root (sudo), or {}", names(which)),
    }
}

fn probes(host: &HostCapabilities) -> Check {
    let costs =
        "processes without the shim, and calls that go past it, are not seen; diagnose is static";
    match &host.probes {
        Ok(()) => Check::ok(PROBES, "BPF programs load, uprobes attach and fire"),
        Err(e @ Unavailable::NotPermitted(_)) => Check::missing(
            PROBES,
            e.to_string(),
            costs,
            format!(
                "{}; Linux before 6.10, or without multi-uprobe links, wants {} for uprobes",
                granted(&[Capability::Bpf, Capability::Perfmon]),
                Capability::SysAdmin.name()
            ),
        ),
        Err(e @ Unavailable::OldKernel(_)) => {
            Check::missing(PROBES, e.to_string(), costs, "Linux 5.15 or later")
        }
        Err(e) => Check {
            fix: None,
            ..Check::missing(PROBES, e.to_string(), costs, "")
        },
    }
}

fn links(host: &HostCapabilities) -> Check {
    match host.quick_links {
        true => Check::ok(LINKS, "probes come and go in one piece"),
        false => Check::missing(
            LINKS,
            "a perf event for each probe, 0.1 s each to detach",
            "no sampling within the overhead budget; joined processes pay for probes where others use \
             the same runtime file; no checks for calls past their shim",
            "Linux 6.10 or later",
        ),
    }
}

fn returns(host: &HostCapabilities) -> Check {
    match host.returns {
        Returns::OfWaits => Check::ok(
            RETURNS,
            "the ends of waits can be probed (record, --probe-returns)",
        ),
        Returns::Leave => Check::missing(
            RETURNS,
            "on Linux 6.11 to 6.13 probes on returns kill processes under seccomp, so none is set",
            "--probe-returns measures no bursts of processes without the shim; recordings have no lengths \
             of waits",
            "Linux 6.14 or later",
        ),
    }
}

fn lifecycle(host: &HostCapabilities) -> Check {
    match &host.lifecycle {
        None => Check::ok(LIFECYCLE, "the kernel tells of programs that begin and end"),
        Some(e) => Check::missing(
            LIFECYCLE,
            e.to_string(),
            "programs that begin are found by sweeps, up to 10 s late",
            format!(
                "{} and a kernel with BPF_EVENTS",
                Capability::Perfmon.name()
            ),
        ),
    }
}

fn processes(host: &HostCapabilities) -> Check {
    match host.others_readable {
        true => Check::ok(PROCESSES, "other users' processes can be read"),
        false => Check::missing(
            PROCESSES,
            "only this user's processes can be read",
            "other users' processes are not found, diagnosed or counted",
            granted(&[Capability::SysPtrace]),
        ),
    }
}

fn files(host: &HostCapabilities) -> Check {
    match host.mapped_files {
        true => Check::ok(FILES, "mapped files open, deleted ones as well"),
        false => Check::missing(
            FILES,
            "mapped files open by their path only",
            "runtimes that were deleted or replaced, or lie in private folders, carry no probes",
            format!(
                "{}; for private folders the first does",
                granted(&[Capability::DacReadSearch, Capability::CheckpointRestore])
            ),
        ),
    }
}

fn overlay(host: &HostCapabilities) -> Check {
    match host.capabilities.contains(&Capability::SysAdmin) {
        true => Check::ok(OVERLAYFS, "files that containers share are told to be one"),
        false => Check::missing(
            OVERLAYFS,
            "files behind overlayfs cannot be compared",
            "calls into a runtime that several containers share are counted once for each",
            format!("{} (page frames)", granted(&[Capability::SysAdmin])),
        ),
    }
}

fn pids(host: &HostCapabilities) -> Check {
    match host.machine_pids {
        true => Check::ok(PIDS, "the machine's process numbers"),
        false => Check::missing(
            PIDS,
            "this is a container's pid namespace, the kernel counts by the machine's numbers",
            "counts cannot be assigned to processes",
            "start the container with --pid=host (Kubernetes: hostPID: true)",
        ),
    }
}

fn cgroups() -> Check {
    match control_groups_seen() {
        Ok(()) => Check::ok(CGROUPS, "who made a control group can be seen"),
        Err(why) => Check::missing(
            CGROUPS,
            why,
            "rules with unit, user_unit, cgroup or container match nobody",
            "mount /sys/fs/cgroup; start the container with --cgroupns=host and \
             -v /sys/fs/cgroup:/sys/fs/cgroup:ro",
        ),
    }
}

/// Never missing: it only tells more about devices.
fn management() -> Check {
    let told = platform::management().into_iter().map(|read| match read {
        Ok(library) => described(&library),
        Err(silent) => silent.to_string(),
    });
    Check::ok(MANAGEMENT, told.collect::<Vec<_>>().join("; "))
}

fn described(library: &Management) -> String {
    let driver = library.driver.as_deref().unwrap_or("of unknown version");
    let devices = library.devices.iter().map(|device| {
        let name = device
            .name
            .as_deref()
            .unwrap_or("a device that tells nothing");
        let at = device.address.map(|at| format!(" at {at}"));
        let memory = device.memory.map(|bytes| format!(", {} GiB", bytes >> 30));
        format!(
            "{name}{}{}",
            at.unwrap_or_default(),
            memory.unwrap_or_default()
        )
    });
    let devices = match library.devices.len() {
        0 => "no device".to_owned(),
        _ => devices.collect::<Vec<_>>().join(", "),
    };
    format!("{} (driver {driver}): {devices}", library.name)
}

/// The shim that is named, or else those of the platforms.
fn shim() -> Check {
    let found: Vec<_> = match shim_path::named(None) {
        Some(_) => vec![shim_path::find(None).map_err(|e| e.to_string())],
        None => Platform::ALL
            .into_iter()
            .map(|platform| {
                let title = platform.names().title;
                shim_path::of(platform).map_err(|e| format!("none for {title}: {e}"))
            })
            .collect(),
    };
    let is_any = found.iter().any(Result::is_ok);
    let texts: Vec<String> = found
        .into_iter()
        .map(|one| one.map_or_else(|e| e, |path| path.display().to_string()))
        .collect();
    match is_any {
        true => Check::ok(SHIM, texts.join("; ")),
        false => Check::missing(
            SHIM,
            texts.join("; "),
            "programs can be observed, but not scheduled",
            "cargo build --release, or set XSCHED_SHIM",
        ),
    }
}

fn agent() -> Check {
    match client::list(&endpoint()) {
        Ok(snapshot) => Check::ok(
            AGENT,
            format!(
                "version {} (pid {})",
                snapshot.agent.version, snapshot.agent.pid
            ),
        ),
        Err(e) => Check::missing(AGENT, e.to_string(), "nothing is scheduled", start_agent()),
    }
}
