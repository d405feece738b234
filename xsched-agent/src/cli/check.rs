//! `check`: what this machine allows, what is missing, and how to get it.

use std::process::ExitCode;

use serde::Serialize;
use xsched_agent::observe;

use super::{client, print, run_dir, shim_path};

/// Exit code 1 when something is missing.
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

#[derive(Serialize)]
struct Checks {
    checks: Vec<Check>,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let checks = vec![kernel(), probes(), shim(), agent()];
    let code = u8::from(checks.iter().any(|c| c.state == State::Missing));
    if options.json {
        print(&format!("{}\n", serde_json::to_string(&Checks { checks })?))?;
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
        out += &format!("{mark}  {:<8}  {}\n", check.name, check.found);
        if let Some(costs) = check.costs {
            out += &format!("                   costs: {costs}\n");
        }
        if let Some(fix) = &check.fix {
            out += &format!("                   fix:   {fix}\n");
        }
    }
    out
}

fn kernel() -> Check {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let enough = version >= (5, 15);
    Check {
        name: "kernel",
        state: if enough { State::Ok } else { State::Missing },
        found: format!("Linux {release}"),
        costs: (!enough).then_some("probes need 5.15: only processes under the shim are seen"),
        fix: (!enough).then(|| "a kernel from 5.15 on".to_owned()),
    }
}

fn probes() -> Check {
    match observe::probe_support() {
        Ok(()) => Check {
            name: "probes",
            state: State::Ok,
            found: "BPF programs load and uprobes attach".to_owned(),
            costs: None,
            fix: None,
        },
        Err(e) => Check {
            name: "probes",
            state: State::Missing,
            found: e.to_string(),
            costs: Some(
                "processes without the shim, and calls that go past it, are not seen; diagnose is static",
            ),
            fix: None,
        },
    }
}

fn shim() -> Check {
    match shim_path::find(None) {
        Ok(path) => Check {
            name: "shim",
            state: State::Ok,
            found: path.display().to_string(),
            costs: None,
            fix: None,
        },
        Err(e) => Check {
            name: "shim",
            state: State::Missing,
            found: e.to_string(),
            costs: Some("programs can be observed, but not scheduled"),
            fix: Some("cargo build --release -p xsched-shim, or set XSCHED_SHIM".to_owned()),
        },
    }
}

fn agent() -> Check {
    match client::list(&run_dir()) {
        Ok(snapshot) => Check {
            name: "agent",
            state: State::Ok,
            found: format!(
                "version {} (pid {})",
                snapshot.agent.version, snapshot.agent.pid
            ),
            costs: None,
            fix: None,
        },
        Err(e) => Check {
            name: "agent",
            state: State::Missing,
            found: e.to_string(),
            costs: Some("nothing is scheduled"),
            fix: Some("sudo xsched-agent".to_owned()),
        },
    }
}
