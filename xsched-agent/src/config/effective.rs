//! The configuration in force, for people and programs: `config show`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xsched_common::api::SharingMode;
use xsched_common::page::{HintPolicy, ListMeaning, ThreadPattern};
use xsched_common::units::Class;
use xsched_observe::Returns;
use xsched_policy::DeviceSettings;

use super::platform::{QueueChoice, Switch};

use super::{Config, Observe};
use crate::control::{NameList, Passthrough};
use crate::rules::{SchedAttrPatch, ThreadClasses};

/// What is in force, with every default filled in: `config show`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Effective {
    /// The file; `None` if there is none.
    pub path: Option<PathBuf>,
    /// What the agent's command line says in place of the file: these keys.
    #[serde(default)]
    pub command_line: Vec<String>,
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
    /// Pods and jobs with metrics of their own; 0 from agents that have none.
    #[serde(default)]
    pub metrics_workloads: u16,
    /// The list of pods.
    #[serde(default)]
    pub pods: PathBuf,
    /// The group that may do what root may.
    pub authorised_gid: Option<u32>,
    /// Attributes of everybody else.
    pub defaults: EffectiveAttr,
    /// How devices are shared that are not named.
    pub sharing: EffectiveSharing,
    /// By address.
    pub devices: BTreeMap<String, EffectiveSharing>,
    /// Work that is not gated.
    pub passthrough: EffectivePassthrough,
    /// Whether time slices follow the classes; on from agents that do not say.
    #[serde(default)]
    pub time_slices: Switch,
    /// Whether hardware queues have priorities by class; off from agents that do not say.
    #[serde(default)]
    pub queue_priority: QueueChoice,
    /// What hints of programs may do where no rule says so.
    #[serde(default)]
    pub hints: HintPolicy,
    /// In the order of the file.
    pub rules: Vec<EffectiveRule>,
}

/// Attributes, as far as they are given.
#[derive(Debug, Serialize, Deserialize)]
pub struct EffectiveAttr {
    /// The class.
    pub class: Option<Class>,
    /// The share within the class.
    pub weight: Option<u16>,
    /// The P99 of bursts to reach, ns.
    pub slo_p99_ns: Option<u64>,
}

impl EffectiveAttr {
    fn of(attr: SchedAttrPatch) -> EffectiveAttr {
        EffectiveAttr {
            class: attr.class,
            weight: attr.weight.map(|weight| weight.get()),
            slo_p99_ns: attr.slo_p99.map(|p99| p99.0),
        }
    }
}

/// A device's settings; times in ns.
#[derive(Debug, Serialize, Deserialize)]
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
    /// One turn among equals; null goes by the device (POLICIES.md).
    pub slice_ns: Option<u64>,
    /// How long a process without progress may hold back others.
    pub active_limit_ns: u64,
}

/// As in the file: of each pair one list at most has names.
#[derive(Debug, Default, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
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
    pub attr: EffectiveAttr,
    /// How far a pod or job may raise itself.
    #[serde(default)]
    pub may_ask: Option<EffectiveAttr>,
    /// In place of [`Effective::passthrough`].
    pub passthrough: Option<EffectivePassthrough>,
    /// In place of [`Effective::time_slices`].
    #[serde(default)]
    pub time_slices: Option<Switch>,
    /// Classes of its threads, and what hints may do, if the rule says so.
    #[serde(default)]
    pub threads: Option<EffectiveThreads>,
}

/// Classes of threads and streams.
#[derive(Debug, Serialize, Deserialize)]
pub struct EffectiveThreads {
    /// By their names, in the order of the file.
    pub names: Vec<(String, Class)>,
    /// What hints may do.
    pub hints: HintPolicy,
    /// How far they may raise, if that is said.
    pub hints_up_to: Option<Class>,
}

impl EffectiveThreads {
    fn of(threads: &ThreadClasses) -> EffectiveThreads {
        let name = |pattern: &ThreadPattern| String::from_utf8_lossy(pattern.bytes()).into_owned();
        let names = threads.rules.iter();
        EffectiveThreads {
            names: names
                .map(|(pattern, class)| (name(pattern), *class))
                .collect(),
            hints: threads.hints,
            hints_up_to: threads.hints_up_to,
        }
    }
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
            time_slices,
            queue_priority,
            threads,
            rules,
        } = self;
        Effective {
            path: path.clone(),
            command_line: Vec::new(),
            observe: agent.observe == Observe::Probes,
            overhead_budget_percent: agent.overhead_budget.share() * 100.0,
            probe_returns: agent.returns == Returns::OfWaits,
            metrics: agent.metrics,
            metrics_processes: agent.metrics_processes,
            metrics_workloads: agent.metrics_workloads,
            pods: agent.pods.clone(),
            authorised_gid: *authorised_group,
            defaults: EffectiveAttr {
                class: Some(defaults.class),
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
            time_slices: (*time_slices).into(),
            queue_priority: *queue_priority,
            hints: threads.hints,
            rules: rules
                .iter()
                .map(|rule| EffectiveRule {
                    name: rule.name.clone(),
                    line: rule.line,
                    conditions: rule.conditions.to_string(),
                    attr: EffectiveAttr::of(rule.attr),
                    may_ask: (!rule.may_ask.is_empty()).then(|| EffectiveAttr::of(rule.may_ask)),
                    passthrough: rule.passthrough.as_deref().map(EffectivePassthrough::of),
                    time_slices: rule.time_slices.map(Into::into),
                    threads: rule.threads.as_deref().map(EffectiveThreads::of),
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
        slice_ns: slice.map(|slice| slice.0),
        active_limit_ns: active_limit.0,
    }
}
