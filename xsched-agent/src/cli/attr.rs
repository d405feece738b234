//! Terms on the command line and on the screen.

use std::process::ExitCode;

use xsched_agent::config::Time;
use xsched_client::blocking as client;
use xsched_common::api::{MAX_DESCENDANTS, Override, Request, Settled};
use xsched_common::platform::TITLES;
use xsched_common::units::{Nanos, Weight};

use super::{endpoint, print, print_json};

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

/// A process's number on the command line.
pub fn pid(text: &str) -> Result<u32, String> {
    let pid = text.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| {
        format!("a process has a number, as 4242 (`xsched-agent ps` lists those that use {TITLES})")
    })
}

/// The process that a command is about: `set 4242`, or `set --pid 4242`.
#[derive(clap::Args)]
pub struct Subject {
    /// The process
    #[arg(value_name = "PID", value_parser = pid, required_unless_present = "pid")]
    process: Option<u32>,
    /// The process, as well
    #[arg(long, value_parser = pid, conflicts_with = "process")]
    pid: Option<u32>,
}

impl Subject {
    /// Its number.
    pub fn pid(&self) -> u32 {
        // clap asks for one of them.
        self.process.or(self.pid).unwrap_or_default()
    }
}

/// How long something is to last: `2s`, `500ms`, `1m 30s`, or plain seconds.
fn lasting(text: &str) -> Result<Nanos, String> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        let time = std::time::Duration::try_from_secs_f64(seconds).ok();
        let ns = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        return ns.map(Nanos).ok_or_else(|| format!("no time: \"{text}\""));
    }
    let time = text.parse::<Time>().map(|time| time.0);
    time.map_err(|_| format!("not a time: \"{text}\"; write it as 2s, 500ms or plain seconds"))
}

/// How long to watch or record: from nothing to a day.
pub fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let time = lasting(text)?;
    match time <= Nanos::from_secs(86_400) {
        true => Ok(std::time::Duration::from_nanos(time.0)),
        false => Err("at most a day (24h)".to_owned()),
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
        let time = lasting(text)?;
        if time < Nanos::from_millis(10) || time > Nanos::from_secs(3600) {
            return Err("a time from 10ms to 1h".to_owned());
        }
        Ok(Duration(time))
    }
}

/// Has a process's attributes changed and prints those now in force.
pub fn settle(request: &Request, json: bool) -> anyhow::Result<ExitCode> {
    let settled = client::settle(&endpoint(), request)?;
    if json {
        print_json(&settled)?;
    } else {
        print(&text(&settled))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One or two lines about attributes in force.
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
            Override::Boosted => "boosted above all classes",
            Override::Suspended => "suspended",
        };
        text += &format!(", {what} for {}", row.remaining_ns);
    }
    text.push('\n');
    if settled.uses_runtime == Some(false) {
        text += &format!(
            "it does not use {TITLES}, as far as the agent sees: nothing of it is scheduled, and \
             programs that it starts inherit this\n"
        );
    } else if !settled.joined {
        text += &format!(
            "it has not joined: it is scheduled only under the shim (`xsched-agent diagnose --pid {}` \
             tells why it is not)\n",
            settled.pid
        );
    }
    match settled.descendants {
        None | Some(0) => {}
        Some(1) => {
            text +=
                "a process that it started inherits this, where it has no attributes of its own\n";
        }
        Some(n) => {
            let least = if n == MAX_DESCENDANTS {
                "at least "
            } else {
                ""
            };
            text += &format!(
                "{least}{n} processes that descend from it inherit this, where they have no attributes of \
                 their own\n"
            );
        }
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
        assert_eq!("30".parse::<Duration>(), "30s".parse(), "plain seconds");
        assert_eq!("0.5".parse::<Duration>(), "500ms".parse());
        for bad in ["1ms", "2h", "7200", "nan", "-1", "1e300", "soon", ""] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
        let error = "soon".parse::<Duration>().expect_err("no time");
        assert!(
            error.ends_with("write it as 2s, 500ms or plain seconds"),
            "{error}"
        );
        assert_eq!(seconds("2s"), seconds("2"));
        assert_eq!(pid("4242"), Ok(4242));
        for bad in ["0", "-1", "abc", "4294967296", ""] {
            assert!(pid(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_change_does_not_reach_is_said() {
        let settled = |uses_runtime, descendants| {
            text(&Settled {
                pid: 7,
                uses_runtime,
                descendants,
                ..Settled::default()
            })
        };
        let shell = settled(Some(false), Some(2));
        assert!(shell.contains("does not use HIP"), "{shell}");
        assert!(
            shell.contains("2 processes that descend from it inherit this"),
            "{shell}"
        );
        assert!(settled(None, None).contains("it has not joined"));
        assert!(settled(None, Some(MAX_DESCENDANTS)).contains("at least 1000 processes"));
    }
}
