//! `[agent]`: what holds from the agent's start to its end.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use xsched_observe::Returns;

use crate::workloads::PODS_FILE;

/// Processes with metrics of their own where nobody says how many.
const METRICS_PROCESSES: u16 = 20;

/// The same of pods and jobs.
const METRICS_WORKLOADS: u16 = 1000;

/// What the agent itself does. A file that is read again changes none of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// Whether probes are set.
    pub observe: Observe,
    /// What probes may cost a program, as a share of its time.
    pub overhead_budget: OverheadBudget,
    /// Which returns carry probes.
    pub returns: Returns,
    /// Where metrics are served, if at all.
    pub metrics: Option<SocketAddr>,
    /// So many processes, the busiest, have metrics of their own.
    pub metrics_processes: u16,
    /// So many pods and jobs have metrics of their own.
    pub metrics_workloads: u16,
    /// The list of pods.
    pub pods: PathBuf,
}

impl Default for AgentSettings {
    fn default() -> AgentSettings {
        AgentSettings {
            observe: Observe::default(),
            overhead_budget: OverheadBudget::default(),
            returns: Returns::default(),
            metrics: None,
            metrics_processes: METRICS_PROCESSES,
            metrics_workloads: METRICS_WORKLOADS,
            pods: PODS_FILE.into(),
        }
    }
}

impl AgentSettings {
    /// The most processes that can have metrics of their own.
    pub const MAX_METRICS_PROCESSES: u16 = 1000;
    /// The most pods and jobs.
    pub const MAX_METRICS_WORKLOADS: u16 = 5000;

    /// The keys in which `other` differs, as the file has them.
    pub fn differences(&self, other: &AgentSettings) -> Vec<&'static str> {
        let AgentSettings {
            observe,
            overhead_budget,
            returns,
            metrics,
            metrics_processes,
            metrics_workloads,
            pods,
        } = self;
        [
            ("observe", *observe != other.observe),
            (
                "overhead_budget_percent",
                *overhead_budget != other.overhead_budget,
            ),
            ("probe_returns", *returns != other.returns),
            ("metrics", *metrics != other.metrics),
            (
                "metrics_processes",
                *metrics_processes != other.metrics_processes,
            ),
            (
                "metrics_workloads",
                *metrics_workloads != other.metrics_workloads,
            ),
            ("pods", *pods != other.pods),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

/// What the command line says in place of the file's, if anything.
#[derive(Clone, Debug, Default)]
pub struct AgentOverrides {
    /// See [`AgentSettings::observe`].
    pub observe: Option<Observe>,
    /// See [`AgentSettings::overhead_budget`].
    pub overhead_budget: Option<OverheadBudget>,
    /// See [`AgentSettings::returns`].
    pub returns: Option<Returns>,
    /// See [`AgentSettings::metrics`].
    pub metrics: Option<MetricsAt>,
    /// See [`AgentSettings::metrics_processes`].
    pub metrics_processes: Option<u16>,
}

impl AgentOverrides {
    /// The keys that it gives, as the file has them.
    pub fn keys(&self) -> Vec<&'static str> {
        let AgentOverrides {
            observe,
            overhead_budget,
            returns,
            metrics,
            metrics_processes,
        } = self;
        [
            ("observe", observe.is_some()),
            ("overhead_budget_percent", overhead_budget.is_some()),
            ("probe_returns", returns.is_some()),
            ("metrics", metrics.is_some()),
            ("metrics_processes", metrics_processes.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }

    /// What holds, where a file says `settings`.
    pub fn over(&self, settings: &AgentSettings) -> AgentSettings {
        AgentSettings {
            observe: self.observe.unwrap_or(settings.observe),
            overhead_budget: self.overhead_budget.unwrap_or(settings.overhead_budget),
            returns: self.returns.unwrap_or(settings.returns),
            metrics: match self.metrics {
                Some(MetricsAt::Off) => None,
                Some(MetricsAt::Address(address)) => Some(address),
                None => settings.metrics,
            },
            metrics_processes: self.metrics_processes.unwrap_or(settings.metrics_processes),
            ..settings.clone()
        }
    }
}

/// Whether to observe by eBPF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    /// Set probes.
    #[default]
    Probes,
    /// Read the pages of joined processes only.
    PagesOnly,
}

/// A share of a program's time, from 0.001 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverheadBudget(f64);

impl OverheadBudget {
    /// `None` outside of 0.1 to 100.
    pub fn from_percent(percent: f64) -> Option<OverheadBudget> {
        (0.1..=100.0)
            .contains(&percent)
            .then_some(OverheadBudget(percent / 100.0))
    }

    /// From 0.001 to 1.
    pub fn share(self) -> f64 {
        self.0
    }
}

impl Default for OverheadBudget {
    fn default() -> OverheadBudget {
        OverheadBudget(0.01)
    }
}

/// Where metrics are served: `off`, or an address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAt {
    /// Nowhere.
    Off,
    /// Here.
    Address(SocketAddr),
}

/// Neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no address with a port: write it as \"127.0.0.1:9464\" or \"[::]:9464\", or \"off\""
)]
pub struct NoAddress(String);

impl std::str::FromStr for MetricsAt {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<MetricsAt, NoAddress> {
        match text {
            "off" => Ok(MetricsAt::Off),
            _ => text
                .parse()
                .map(MetricsAt::Address)
                .map_err(|_| NoAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for MetricsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAt::Off => f.write_str("off"),
            MetricsAt::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_over_the_file() {
        let file = AgentSettings {
            returns: Returns::OfWaits,
            metrics: "127.0.0.1:9464".parse().ok(),
            metrics_processes: 7,
            ..AgentSettings::default()
        };
        assert_eq!(AgentOverrides::default().over(&file), file);
        let overrides = AgentOverrides {
            returns: Some(Returns::Leave),
            metrics: Some(MetricsAt::Off),
            metrics_processes: Some(3),
            ..AgentOverrides::default()
        };
        let over = overrides.over(&file);
        let expected = AgentSettings {
            metrics_processes: 3,
            ..AgentSettings::default()
        };
        assert_eq!(over, expected);
        assert_eq!(
            file.differences(&over),
            ["probe_returns", "metrics", "metrics_processes"]
        );
        assert!(file.differences(&file.clone()).is_empty());
    }

    #[test]
    fn places_for_metrics_read_as_they_are_written() {
        for text in ["off", "127.0.0.1:9464", "[::1]:80"] {
            let at: MetricsAt = text.parse().expect("valid");
            assert_eq!(at.to_string(), text);
        }
        for bad in ["", "9464", "localhost", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(bad.parse::<MetricsAt>().is_err(), "{bad}");
        }
    }
}
