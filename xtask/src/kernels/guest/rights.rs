//! What `xsched-agent check` says on this kernel, with all rights and with
//! few.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::observing::json;
use super::{Expected, Outcome};
use crate::demo::stage::Stage;
use crate::kernels::root::SETPRIV;

/// What suffices for probes on kernels with multi-uprobe links.
const FEWEST: &str = "+bpf,+perfmon,+sys_ptrace,+dac_read_search,+checkpoint_restore";

/// By name, with what it says.
type Checks = BTreeMap<String, Value>;

/// Every point is as the kernel is, and what is missing has a next step.
pub fn check_says_what_is_missing(stage: &Stage<'_>, expected: Expected) -> Outcome {
    let checks = checks(stage.agent().args(["check", "--json"]))?;
    let mut missing: Vec<&str> = Vec::new();
    if !expected.probes {
        missing.extend(["kernel", "probes"]);
    } else {
        if !expected.quick {
            missing.push("links");
        }
        if !expected.returns {
            missing.push("returns");
        }
    }
    // None has been started.
    missing.push("agent");
    let said: Vec<&str> = checks
        .iter()
        .filter(|(_, check)| check["state"] == "missing")
        .map(|(name, _)| name.as_str())
        .collect();
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.join(", ")
    };
    let (said, missing) = (sorted(said), sorted(missing));
    ensure!(
        said == missing,
        "missing: {said}; expected: {missing}; {}",
        serde_json::to_string(&checks)?
    );
    for (name, check) in &checks {
        ensure!(
            check["state"] == "ok" || check["costs"].is_string() && check["fix"].is_string(),
            "{name} lacks what it costs or the next step: {check}"
        );
    }
    Ok(format!("missing: {said}"))
}

/// The fewest rights do, or the one that is missing is named.
pub fn fewest_rights(stage: &Stage<'_>, expected: Expected) -> Outcome {
    let probes = |rights: &str| -> anyhow::Result<Value> {
        let mut command = Command::new(SETPRIV);
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(format!("--inh-caps=-all,{rights}"))
            .arg(format!("--ambient-caps=-all,{rights}"))
            .arg(format!("--bounding-set=-all,{rights}"))
            .arg(stage.agent().get_program())
            .args(["check", "--json"]);
        let mut all = checks(&mut command)?;
        all.remove("probes").context("no word of probes")
    };
    let few = probes(FEWEST)?;
    if few["state"] == "ok" {
        return Ok("CAP_BPF and CAP_PERFMON do".to_owned());
    }
    ensure!(!expected.quick, "the fewest rights do not: {few}");
    let fix = few["fix"].as_str().unwrap_or_default();
    ensure!(
        fix.contains("CAP_SYS_ADMIN"),
        "the next step is wrong: {few}"
    );
    let more = probes(&format!("{FEWEST},+sys_admin"))?;
    ensure!(more["state"] == "ok", "not even with CAP_SYS_ADMIN: {more}");
    Ok("CAP_SYS_ADMIN is needed as well, and check says so".to_owned())
}

fn checks(command: &mut Command) -> anyhow::Result<Checks> {
    let report = json(command)?;
    let list = report["checks"].as_array().context("no checks")?;
    list.iter()
        .map(|check| {
            let name = check["name"].as_str().context("a check without a name")?;
            Ok((name.to_owned(), check.clone()))
        })
        .collect()
}
