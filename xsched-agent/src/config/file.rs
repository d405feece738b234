//! The file as it is written. Field comments here become the JSON schema's
//! descriptions, which editors show.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use xsched_common::api::SharingMode;
use xsched_common::page::HintPolicy;
use xsched_common::units::{Class, Weight};

use super::platform::{Platforms, Switch};
use super::values::{self, Account, Address, OneOrMany, Pattern, Time};

/// Configuration of xsched-agent. All of it is optional.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "xsched.toml")]
pub struct File {
    /// The agent itself. Takes effect at its next start.
    pub agent: Agent,
    /// Who may change classes besides root.
    pub authorise: Authorise,
    /// The attributes of processes that no rule matches and nobody has set.
    pub defaults: Defaults,
    /// How all devices are shared, unless a [device] table says otherwise.
    pub sharing: Sharing,
    /// How single devices are shared, by PCI address. What a table leaves out is as in [sharing].
    #[schemars(with = "BTreeMap<Address, Sharing>")]
    pub device: BTreeMap<Address, Sharing>,
    /// Work that no gate holds back.
    #[schemars(with = "Passthrough")]
    pub passthrough: Option<Spanned<Passthrough>>,
    /// Levers that only one vendor's driver has.
    pub platform: Platforms,
    /// Which processes get which attributes: the first rule that matches applies.
    #[schemars(with = "Vec<Rule>")]
    pub rule: Vec<Spanned<Rule>>,
}

/// The agent itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// Whether to set eBPF probes: without them only processes under the shim are seen. Default: true.
    pub observe: Option<bool>,
    /// What probes may cost a program, in percent of its time: 0.1 to 100. Default: 1.
    #[schemars(with = "f64", range(min = 0.1, max = 100.0))]
    pub overhead_budget_percent: Option<Spanned<f64>>,
    /// Whether to measure bursts of processes without the shim too, by probes on the returns of waits. A C++ exception or pthread_cancel that passes a probed wait cannot unwind: the program ends, or keeps its locks. Default: false.
    #[schemars(with = "bool")]
    pub probe_returns: Option<Spanned<bool>>,
    /// Serve metrics for Prometheus at http://ADDRESS:PORT/metrics, as "127.0.0.1:9464"; beyond loopback whoever can reach it can read them. Default: "off".
    pub metrics: Option<values::Metrics>,
    /// So many processes, the busiest, have metrics of their own; the rest is summed up: 0 to 1000. Default: 20.
    #[schemars(with = "u16", range(min = 0, max = 1000))]
    pub metrics_processes: Option<Spanned<u16>>,
    /// So many pods and jobs, those that have used most device time, have metrics of their own; of the rest only the number is told: 0 to 5000. Default: 1000.
    #[schemars(with = "u16", range(min = 0, max = 5000))]
    pub metrics_workloads: Option<Spanned<u16>>,
    /// The list of this machine's pods that xsched-pods writes. Whoever may write there names pods. Default: "/run/xsched-pods/pods.json".
    #[schemars(with = "String")]
    pub pods: Option<PathBuf>,
}

/// Who may change classes besides root.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authorise {
    /// Members of this group may change any process's attributes, boost and suspend. Default: the group xsched, if there is one. "" is nobody.
    #[schemars(with = "String")]
    pub group: Option<Spanned<String>>,
}

/// Attributes for everybody else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Default: normal.
    #[schemars(schema_with = "values::class")]
    pub class: Option<Class>,
    /// The share within the class. Default: 100.
    #[schemars(schema_with = "values::weight")]
    pub weight: Option<Weight>,
    /// What hints of programs may do with classes of threads and streams: lower, within (the rules say how far) or off. Default: lower.
    #[schemars(schema_with = "values::hints")]
    pub hints: Option<HintPolicy>,
}

/// How a device is shared.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sharing {
    /// priority: strict classes. share: also by weight within a class. slo: as share, and adapts to the p99 of rules. fixed: cap and fence_batch by hand. off: observe only. Default: priority, or slo if a rule has a p99.
    #[schemars(schema_with = "values::mode")]
    pub mode: Option<SharingMode>,
    /// Device time that lower classes may have in flight when a higher one arrives. Default: "300us".
    #[schemars(with = "Time")]
    pub budget: Option<Spanned<Time>>,
    /// How long a drained process keeps lower classes out, always; in place of linger_min and linger_max.
    #[schemars(with = "Time")]
    pub linger: Option<Spanned<Time>>,
    /// The shortest time that a drained process keeps lower classes out. Default: "100us".
    #[schemars(with = "Time")]
    pub linger_min: Option<Spanned<Time>>,
    /// The longest time that a drained process keeps lower classes out. Default: "5ms".
    #[schemars(with = "Time")]
    pub linger_max: Option<Spanned<Time>>,
    /// Mode fixed: commands that a lower class may have in flight, 1 to 256. Default: 4.
    #[schemars(with = "u16", range(min = 1, max = 256))]
    pub cap: Option<Spanned<u16>>,
    /// Commands between two fences of a capped process. Default: the shim chooses.
    #[schemars(with = "u32", range(min = 1, max = 256))]
    pub fence_batch: Option<Spanned<u32>>,
    /// Device time that a class gets although a higher one wants all of it, 0 to 50 percent. Default: 1.
    #[schemars(with = "f64", range(min = 0.0, max = 50.0))]
    pub min_share_percent: Option<Spanned<f64>>,
    /// Device time of one turn among equals. Default: "20ms" where the driver turns from process to process, else "5ms".
    #[schemars(with = "Time")]
    pub slice: Option<Spanned<Time>>,
    /// How long a process that shows no progress may hold back others. Default: "1s".
    #[schemars(with = "Time")]
    pub active_limit: Option<Spanned<Time>>,
}

/// Work that no gate holds back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Passthrough {
    /// Libraries whose launches are not gated: beginnings of file names, as "librocfft".
    pub libraries: Vec<String>,
    /// The reverse: only launches of these libraries are gated.
    pub gate_only_libraries: Vec<String>,
    /// Functions that are not gated, by name.
    #[schemars(with = "Vec<String>")]
    pub apis: Vec<Spanned<String>>,
    /// The reverse: only calls of these functions are gated.
    #[schemars(with = "Vec<String>")]
    pub gate_only_apis: Vec<Spanned<String>>,
}

/// A rule: which processes get which attributes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Shown wherever the rule applied; unique.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// When it applies: all keys must match; in a list, one entry.
    #[serde(rename = "match")]
    #[schemars(with = "Match")]
    pub conditions: Spanned<Match>,
    /// The class: realtime, high, normal or low.
    #[serde(default)]
    #[schemars(schema_with = "values::class")]
    pub class: Option<Class>,
    /// The share within the class, relative to others of it: 1 to 10000.
    #[serde(default)]
    #[schemars(schema_with = "values::weight")]
    pub weight: Option<Weight>,
    /// The P99 of its bursts (first launch to drained) to reach, in milliseconds.
    #[serde(default)]
    #[schemars(with = "f64", range(min = 0.001, max = 3600000.0))]
    pub p99_ms: Option<Spanned<f64>>,
    /// The same with a unit: "30ms".
    #[serde(default)]
    #[schemars(with = "Time")]
    pub p99: Option<Spanned<Time>>,
    /// How far a pod or job that matches may raise itself by what it asks for (annotations xsched.io/class, xsched.io/weight, xsched.io/slo-p99; a job's comment). Without it that only lowers.
    #[serde(default)]
    pub may_ask: MayAsk,
    /// Work of these processes that no gate holds back, in place of [passthrough]; {} gates everything.
    #[serde(default)]
    #[schemars(with = "Passthrough")]
    pub passthrough: Option<Spanned<Passthrough>>,
    /// Whether the time slices of these processes follow their class, in place of [platform]: "on" or "off".
    #[serde(default)]
    #[schemars(with = "Switch")]
    pub time_slices: Option<Switch>,
    /// Threads of these processes that have classes of their own, by name; the first that matches counts.
    #[serde(default)]
    pub thread: Vec<ThreadRule>,
    /// What hints of these programs may do, in place of [defaults]: lower, within (raise up to hints_up_to or the highest class in [[rule.thread]]) or off.
    #[serde(default)]
    #[schemars(schema_with = "values::hints")]
    pub hints: Option<HintPolicy>,
    /// With hints = "within": the highest class that a hint gives a thread or stream.
    #[serde(default)]
    #[schemars(with = "String")]
    pub hints_up_to: Option<Spanned<Class>>,
}

/// How far a workload may raise itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MayAsk {
    /// The highest class.
    #[schemars(schema_with = "values::class")]
    pub class: Option<Class>,
    /// The largest weight.
    #[schemars(schema_with = "values::weight")]
    pub weight: Option<Weight>,
    /// The shortest P99 of bursts: a target holds back others.
    #[schemars(with = "Time")]
    pub p99: Option<Spanned<Time>>,
}

/// A class for threads of a process.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreadRule {
    /// Which threads.
    #[serde(rename = "match")]
    pub conditions: ThreadMatch,
    /// Their class: realtime, high, normal or low.
    #[schemars(schema_with = "values::class")]
    pub class: Class,
}

/// Which threads a rule is for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreadMatch {
    /// The thread's name (comm), at most 15 bytes: * stands for anything, ? for one byte.
    #[schemars(with = "OneOrMany<String>")]
    pub thread: Spanned<OneOrMany<String>>,
}

/// When a rule applies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The executable's path, or its file name where the pattern has no slash.
    pub exe: Option<OneOrMany<Pattern>>,
    /// Some single argument.
    pub arg: Option<OneOrMany<Pattern>>,
    /// All arguments, joined by blanks.
    pub command_line: Option<OneOrMany<Pattern>>,
    /// The user it runs as.
    pub user: Option<OneOrMany<Account>>,
    /// A group that it is in.
    pub group: Option<OneOrMany<Account>>,
    /// The control group's path, as /proc/PID/cgroup has it, as far as root made it.
    pub cgroup: Option<OneOrMany<Pattern>>,
    /// A systemd unit that root put it into, at any level: "serve.service", "batch.slice".
    pub unit: Option<OneOrMany<Pattern>>,
    /// A unit of its own user's service manager (systemctl --user), which any user can name so.
    pub user_unit: Option<OneOrMany<Pattern>>,
    /// The id of a container that root made, its first 12 digits or more, or (LXC, nspawn) its name.
    pub container: Option<OneOrMany<Pattern>>,
    /// Variables of the environment it was started with.
    pub env: Option<BTreeMap<String, OneOrMany<Pattern>>>,
    /// The name of its Kubernetes pod.
    pub pod: Option<OneOrMany<Pattern>>,
    /// The namespace of its pod.
    pub namespace: Option<OneOrMany<Pattern>>,
    /// Labels of its pod, which whoever creates it writes.
    pub label: Option<BTreeMap<String, OneOrMany<Pattern>>>,
    /// The partition of its Slurm job, by the prolog's record.
    pub slurm_partition: Option<OneOrMany<Pattern>>,
    /// The quality of service of its Slurm job, by the prolog's record.
    pub slurm_qos: Option<OneOrMany<Pattern>>,
    /// The account of its Slurm job, by the prolog's record.
    pub slurm_account: Option<OneOrMany<Pattern>>,
}
