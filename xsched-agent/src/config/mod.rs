//! The configuration file: where it is, what it says, what is wrong with it.
//!
//! A text becomes a [`Config`] whole or not at all, so that a reload can
//! apply it at once and a bad file changes nothing.

mod agent;
mod check;
mod file;
mod places;
mod problems;
mod schema;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use xsched_common::api::SharingMode;
use xsched_common::page::ListMeaning;

pub use agent::{AgentOverrides, AgentSettings, MetricsAt, Observe, OverheadBudget};
pub use places::{CONFIG_ENV, SYSTEM_FILE, for_agent};
pub use problems::{Problem, Severity};
pub use schema::schema;
pub use values::Time;

use crate::control::{NameList, Passthrough};
use crate::observe::Returns;
use crate::policy::{DeviceSettings, Settings, Terms};
use crate::rules::Rule;

/// The example that is shipped; every line of it is checked by a test.
pub const EXAMPLE: &str = include_str!("../../../config/xsched.toml");

/// The largest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// A valid configuration. Cheap to hand around: nothing in it changes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file; `None` if there is none and the defaults hold.
    pub path: Option<PathBuf>,
    /// What holds from the agent's start.
    pub agent: AgentSettings,
    /// Members of this group may do what root may.
    pub authorised_group: Option<u32>,
    /// The terms of processes that nothing else applies to.
    pub defaults: Terms,
    /// How devices are shared.
    pub sharing: Settings,
    /// Libraries that no gate holds back.
    pub passthrough: Passthrough,
    /// In the order of the file.
    pub rules: Arc<[Rule]>,
}

/// No configuration could be made of a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is wrong; the first error, and how many more there are.
    #[error("{}:{first}{more}; `xsched-agent config check {0}` shows all", .path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Where and what.
        first: Problem,
        /// " and N more", or nothing.
        more: String,
        /// All of them.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    fn bad(path: &Path, problems: Vec<Problem>) -> ConfigError {
        let mut errors = problems.iter().filter(|p| p.severity == Severity::Error);
        let first = errors.next().cloned().unwrap_or(Problem {
            severity: Severity::Error,
            line: 1,
            column: 1,
            message: "refused".to_owned(),
        });
        let more = match errors.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ConfigError::Bad {
            path: path.to_owned(),
            first,
            more,
            problems,
        }
    }
}

/// A configuration and what is worth a second look in its file.
#[derive(Debug)]
pub struct Checked {
    /// What the file says.
    pub config: Config,
    /// Warnings only.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a file.
///
/// # Errors
/// It cannot be read or has errors; nothing of it counts then.
pub fn load(path: &Path) -> Result<Checked, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = read(path).map_err(unreadable)?;
    match check::check(&text) {
        Ok((config, warnings)) => Ok(Checked {
            config: Config {
                path: Some(path.to_owned()),
                ..config
            },
            warnings,
        }),
        Err(problems) => Err(ConfigError::bad(path, problems)),
    }
}

/// As [`load`]; no file at `path` means the defaults, unless it was asked for.
///
/// # Errors
/// As [`load`].
pub fn load_if_there(path: &Path) -> Result<Checked, ConfigError> {
    match load(path) {
        Err(ConfigError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            let (config, warnings) =
                check::check("").map_err(|problems| ConfigError::bad(path, problems))?;
            Ok(Checked { config, warnings })
        }
        other => other,
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

/// What is in force, with every default filled in: `config show`.
#[derive(Debug, Serialize)]
pub struct Effective {
    /// The file; `None` if there is none.
    pub path: Option<PathBuf>,
    /// Whether probes are set.
    pub observe: bool,
    /// Percent of a program's time.
    pub overhead_budget_percent: f64,
    /// Whether returns of waits carry probes.
    pub probe_returns: bool,
    /// Where metrics are served; `None` if nowhere.
    pub metrics: Option<SocketAddr>,
    /// Processes with metrics of their own.
    pub metrics_processes: u16,
    /// The group that may do what root may.
    pub authorised_gid: Option<u32>,
    /// Terms of everybody else.
    pub defaults: EffectiveTerms,
    /// How devices are shared that are not named.
    pub sharing: EffectiveSharing,
    /// By address.
    pub devices: std::collections::BTreeMap<String, EffectiveSharing>,
    /// Work that is not gated.
    pub passthrough: EffectivePassthrough,
    /// In the order of the file.
    pub rules: Vec<EffectiveRule>,
}

/// Terms, as far as they are given.
#[derive(Debug, Serialize)]
pub struct EffectiveTerms {
    /// The class.
    pub class: Option<&'static str>,
    /// The share within the class.
    pub weight: Option<u16>,
    /// The P99 of bursts to reach, ns.
    pub slo_p99_ns: Option<u64>,
}

/// A device's settings; times in ns.
#[derive(Debug, Serialize)]
pub struct EffectiveSharing {
    /// The mode.
    pub mode: SharingMode,
    /// Of lower classes in flight.
    pub budget_ns: u64,
    /// The shortest time that a drained process keeps lower classes out.
    pub linger_min_ns: u64,
    /// The longest; as the shortest where the linger is fixed.
    pub linger_max_ns: u64,
    /// Mode `fixed`: commands of a lower class in flight.
    pub cap: u16,
    /// Commands between two fences; 0 where the shim chooses.
    pub fence_batch: u32,
    /// For a class although a higher one wants everything.
    pub min_share_ratio: f64,
    /// Modes `share` and `slo`: one turn.
    pub slice_ns: u64,
    /// How long a process without progress may hold back others.
    pub active_limit_ns: u64,
}

/// As in the file: of each pair one list at most has names.
#[derive(Debug, Default, Serialize)]
pub struct EffectivePassthrough {
    /// Beginnings of names of libraries that are not gated.
    pub libraries: Vec<String>,
    /// Those that alone are.
    pub gate_only_libraries: Vec<String>,
    /// Functions that are not gated.
    pub apis: Vec<String>,
    /// Those that alone are.
    pub gate_only_apis: Vec<String>,
}

impl EffectivePassthrough {
    fn of(passthrough: &Passthrough) -> EffectivePassthrough {
        let split = |list: &NameList| match list.meaning {
            ListMeaning::Passes => (list.names.clone(), Vec::new()),
            ListMeaning::OnlyGated => (Vec::new(), list.names.clone()),
        };
        let (libraries, gate_only_libraries) = split(passthrough.libraries());
        let (apis, gate_only_apis) = split(passthrough.apis());
        EffectivePassthrough {
            libraries,
            gate_only_libraries,
            apis,
            gate_only_apis,
        }
    }
}

/// A rule in one line.
#[derive(Debug, Serialize)]
pub struct EffectiveRule {
    /// Its name.
    pub name: String,
    /// Its line in the file.
    pub line: usize,
    /// What it asks, as in the file.
    #[serde(rename = "match")]
    pub conditions: String,
    /// What it gives.
    #[serde(flatten)]
    pub terms: EffectiveTerms,
    /// In place of [`Effective::passthrough`].
    pub passthrough: Option<EffectivePassthrough>,
}

impl Config {
    /// For people and programs.
    pub fn effective(&self) -> Effective {
        let Config {
            path,
            agent,
            authorised_group,
            defaults,
            sharing,
            passthrough,
            rules,
        } = self;
        Effective {
            path: path.clone(),
            observe: agent.observe == Observe::Probes,
            overhead_budget_percent: agent.overhead_budget.share() * 100.0,
            probe_returns: agent.returns == Returns::OfWaits,
            metrics: agent.metrics,
            metrics_processes: agent.metrics_processes,
            authorised_gid: *authorised_group,
            defaults: EffectiveTerms {
                class: Some(defaults.class.name()),
                weight: Some(defaults.weight.get()),
                slo_p99_ns: defaults.slo_p99.map(|p99| p99.0),
            },
            sharing: effective_sharing(&sharing.default),
            devices: sharing
                .devices
                .iter()
                .map(|(address, settings)| (address.to_string(), effective_sharing(settings)))
                .collect(),
            passthrough: EffectivePassthrough::of(passthrough),
            rules: rules
                .iter()
                .map(|rule| EffectiveRule {
                    name: rule.name.clone(),
                    line: rule.line,
                    conditions: rule.conditions.to_string(),
                    terms: EffectiveTerms {
                        class: rule.terms.class.map(|class| class.name()),
                        weight: rule.terms.weight.map(|weight| weight.get()),
                        slo_p99_ns: rule.terms.slo_p99.map(|p99| p99.0),
                    },
                    passthrough: rule.passthrough.as_deref().map(EffectivePassthrough::of),
                })
                .collect(),
        }
    }
}

fn effective_sharing(settings: &DeviceSettings) -> EffectiveSharing {
    let DeviceSettings {
        mode,
        budget,
        linger,
        fixed_cap,
        fence_batch,
        min_share_permille,
        slice,
        active_limit,
    } = *settings;
    let (linger_min, linger_max) = linger.limits();
    EffectiveSharing {
        mode,
        budget_ns: budget.0,
        linger_min_ns: linger_min.0,
        linger_max_ns: linger_max.0,
        cap: fixed_cap,
        fence_batch,
        min_share_ratio: f64::from(min_share_permille) / 1000.0,
        slice_ns: slice.0,
        active_limit_ns: active_limit.0,
    }
}
