//! Terms on the command line and on the screen.

use std::process::ExitCode;

use xsched_agent::config::Time;
use xsched_common::api::{Hold, Request, Settled};
use xsched_common::units::{Nanos, Weight};

use super::{client, print, print_json, run_dir};

/// A latency target; zero for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(pub Nanos);

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if text == "none" {
            return Ok(Target(Nanos::ZERO));
        }
        let Time(target) = text.parse().map_err(|e| format!("{e}, or none"))?;
        let longest = Nanos::from_secs(3600);
        if target < Nanos::from_micros(1) || target > longest {
            return Err("a target from 1us to 1h, or none".to_owned());
        }
        Ok(Target(target))
    }
}

/// How long a boost or suspension lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(Nanos);

impl Duration {
    /// In milliseconds.
    pub fn as_millis(self) -> u64 {
        self.0.0 / 1_000_000
    }
}

impl std::str::FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Duration, String> {
        let Time(time) = text.parse()?;
        if time < Nanos::from_millis(10) || time > Nanos::from_secs(3600) {
            return Err("a time from 10ms to 1h".to_owned());
        }
        Ok(Duration(time))
    }
}

/// Has a process's terms changed and prints those now in force.
pub fn settle(request: &Request, json: bool) -> anyhow::Result<ExitCode> {
    let settled = client::settle(&run_dir(), request)?;
    if json {
        print_json(&settled)?;
    } else {
        print(&text(&settled))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One or two lines about terms in force.
pub fn text(settled: &Settled) -> String {
    let mut text = format!("process {}: class {}", settled.pid, settled.class);
    if settled.weight != Weight::default() {
        text += &format!(", weight {}", settled.weight);
    }
    if let Some(target) = settled.slo_p99_ns {
        text += &format!(", P99 target {target}");
    }
    if let Some(row) = settled.hold {
        let what = match row.hold {
            Hold::Boosted => "boosted above all classes",
            Hold::Suspended => "suspended",
        };
        text += &format!(", {what} for {}", row.remaining_ns);
    }
    text.push('\n');
    if !settled.joined {
        text += &format!(
            "it has not joined: it is scheduled only under the shim (`xsched-agent diagnose --pid {}` \
             tells why it is not)\n",
            settled.pid
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_durations_have_bounds() {
        assert_eq!("30ms".parse(), Ok(Target(Nanos::from_millis(30))));
        assert_eq!("none".parse(), Ok(Target(Nanos::ZERO)));
        for bad in ["30", "0s", "2h", "never"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert_eq!(
            "30s".parse::<Duration>().map(Duration::as_millis),
            Ok(30_000)
        );
        for bad in ["30", "1ms", "2h"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }
}
