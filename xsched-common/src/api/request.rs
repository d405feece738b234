//! Requests and responses.

use serde::{Deserialize, Serialize};

use super::{BlameRow, Finding, History, OverrideRow, SharingMode, Snapshot};
use crate::units::{Class, Nanos, Weight};

/// A line to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Who answers, and what it can do: a good first request.
    Hello,
    /// One [`Snapshot`].
    List,
    /// A [`Snapshot`] at once and then every `interval_ms`, until the client
    /// closes.
    Watch {
        /// 100 to 60,000; other values are clamped.
        interval_ms: u64,
    },
    /// The last minutes of one process, or of the agent's devices.
    History {
        /// The process, in the agent's pid namespace; `None` for the devices.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// Changes a process's attributes, now and for its children to come.
    Set(Change),
    /// Takes back what was set by hand: what rules, `run` and ancestors say
    /// holds again.
    Unset {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// Which of its attributes; none for all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        terms: Vec<Attr>,
    },
    /// Puts a process above all classes for a while.
    Boost {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// How long, from [`MIN_OVERRIDE_MS`] to [`MAX_OVERRIDE_MS`].
        duration_ms: u64,
    },
    /// Closes a process's gates for a while; what is at a closed gate still
    /// trickles (see [`crate::gate`]).
    Suspend {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// When it ends by itself, from [`MIN_OVERRIDE_MS`] to
        /// [`MAX_OVERRIDE_MS`].
        timeout_ms: u64,
    },
    /// Ends a boost or a suspension.
    Resume {
        /// The process, in the agent's pid namespace.
        pid: u32,
    },
    /// Says where a process's attributes come from.
    Explain {
        /// The process, in the agent's pid namespace.
        pid: u32,
    },
    /// Says where the time of a process's slow bursts went.
    Slow {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// Of the last so many milliseconds; the agent keeps a minute.
        #[serde(default = "a_minute")]
        over_ms: u64,
    },
    /// Reads the configuration again; a bad file changes nothing.
    Reload,
    /// Every setting in force, whatever it comes from; for root and the
    /// authorised group, since a file may be closed to others.
    Settings,
    /// Changes how a device is shared, until the next reload or restart.
    SetMode {
        /// Its address; `None` for all devices.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// How it is shared from now on.
        mode: SharingMode,
    },
    /// Examines why work of a process escapes scheduling; root may ask about
    /// any process, others about their own.
    Diagnose {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// How long to observe its calls, at most [`MAX_OBSERVATION_MS`]; 0
        /// reads its bindings alone.
        #[serde(default)]
        duration_ms: u64,
    },
}

/// What to change of a process's attributes; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// The process, in the agent's pid namespace.
    pub pid: u32,
    /// The class it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Its share within the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The P99 of its bursts to reach; zero removes the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo_p99_ns: Option<Nanos>,
    /// How the change came about; `run` is outranked by `set`.
    #[serde(default, skip_serializing_if = "ChangeWay::is_set")]
    pub way: ChangeWay,
}

/// One of a process's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Attr {
    /// The class.
    Class,
    /// The share within the class.
    Weight,
    /// The P99 of its bursts to reach.
    Slo,
}

impl Attr {
    /// Every one.
    pub const ALL: [Attr; 3] = [Attr::Class, Attr::Weight, Attr::Slo];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Attr::Class => "class",
            Attr::Weight => "weight",
            Attr::Slo => "slo",
        }
    }
}

/// How a change of attributes came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChangeWay {
    /// Somebody changed a process, by `set` or in xtop: meant to replace what
    /// was.
    #[default]
    Set,
    /// The process is being started with these attributes.
    Run,
}

impl ChangeWay {
    fn is_set(&self) -> bool {
        *self == ChangeWay::Set
    }
}

/// The shortest boost or suspension, ms: a shorter one is a slip of units.
pub const MIN_OVERRIDE_MS: u64 = 10;

/// The longest boost or suspension, ms: an hour.
pub const MAX_OVERRIDE_MS: u64 = 3_600_000;

/// The longest observation that a diagnosis makes; longer ones are cut.
pub const MAX_OBSERVATION_MS: u64 = 10_000;

/// A line from the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Hello`].
    Hello(Hello),
    /// To [`Request::List`] and [`Request::Watch`].
    Snapshot(Box<Snapshot>),
    /// To [`Request::History`].
    History(History),
    /// To [`Request::Set`], [`Request::Unset`], [`Request::Boost`],
    /// [`Request::Suspend`] and [`Request::Resume`].
    Settled(Settled),
    /// To [`Request::Explain`].
    Explanation(Explanation),
    /// To [`Request::Slow`].
    Slow(Slowness),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Settings`].
    Settings(InForce),
    /// To [`Request::SetMode`].
    ModeSet(ModeSet),
    /// To [`Request::Diagnose`].
    Diagnosis(Diagnosis),
    /// The request was not carried out.
    Error(Failure),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hello {
    /// [`super::API_VERSION`] of the agent.
    pub api_version: u32,
    /// Its version.
    pub agent_version: String,
    /// The requests (`op`) that it understands; more may be added.
    pub capabilities: Vec<String>,
}

impl Hello {
    /// What an agent of this source, of version `agent_version`, says.
    pub fn of_version(agent_version: &str) -> Hello {
        Hello {
            api_version: super::API_VERSION,
            agent_version: agent_version.to_owned(),
            capabilities: Request::OPS.map(str::to_owned).into(),
        }
    }
}

impl Request {
    /// Every `op`.
    pub const OPS: [&str; 15] = [
        "hello", "list", "watch", "history", "set", "unset", "boost", "suspend", "resume",
        "explain", "slow", "reload", "settings", "set_mode", "diagnose",
    ];
}

/// A change that took effect: the attributes as they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Settled {
    /// The process.
    pub pid: u32,
    /// Its class.
    pub class: Class,
    /// Its share within the class.
    #[serde(default)]
    pub weight: Weight,
    /// The P99 of its bursts to reach, if it has a target.
    #[serde(default)]
    pub slo_p99_ns: Option<Nanos>,
    /// A boost or suspension in force.
    #[serde(default)]
    pub hold: Option<OverrideRow>,
    /// Whether it has joined; if not, the attributes hold from when it does.
    pub joined: bool,
    /// Whether it uses a runtime, as far as the agent sees; `None` where it cannot
    /// see that. Said where something was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_runtime: Option<bool>,
    /// Its descendants that run now: a change holds for them as well, where
    /// they have no attributes of their own. At most [`MAX_DESCENDANTS`] are
    /// counted. Said where something was changed and the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descendants: Option<u32>,
}

/// The most descendants that are counted.
pub const MAX_DESCENDANTS: u32 = 1000;

/// Where a process's attributes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The attributes in force.
    pub settled: Settled,
    /// What was considered, strongest first: of each of class, weight and
    /// target the first that gives one is in force, so several can be
    /// `applied`.
    pub steps: Vec<ExplainStep>,
}

/// One source of attributes that was considered for a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExplainStep {
    /// What it is, for people: "rule \"serving\" (/etc/xsched/xsched.toml:12)".
    pub source: String,
    /// Whether anything of it is in force.
    pub applied: bool,
    /// Why it applies or not, for people.
    pub because: String,
}

/// Why a process was slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Slowness {
    /// The process.
    pub pid: u32,
    /// The account; null while nothing can be said.
    pub blame: Option<BlameRow>,
    /// Why nothing can be said, and what to do, where that is so.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What [`Request::Slow`] covers where it does not say.
const fn a_minute() -> u64 {
    60_000
}

/// A configuration that was read and is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reloaded {
    /// The file; `None` if there is none and the defaults are in force.
    pub path: Option<String>,
    /// Rules in it.
    pub rules: u32,
    /// Joined processes whose attributes it changed.
    pub changed: u32,
    /// Keys of `[agent]` that differ from what the agent was started with: it
    /// must be started again for them.
    #[serde(default)]
    pub needs_restart: Vec<String>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InForce {
    /// As `xsched-agent config show --json` prints it.
    pub settings: serde_json::Value,
}

/// A sharing mode that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModeSet {
    /// The device's address; `None` for all.
    pub device: Option<String>,
    /// How it is shared now.
    pub mode: SharingMode,
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// The process.
    pub pid: u32,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// What could not be seen, one line each.
    pub limits: Vec<String>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// Stable code: `malformed`, `not_permitted`, `no_such_process`,
    /// `not_diagnosable`, `held_up`, `bad_value`, `bad_configuration`, `busy`,
    /// `internal`.
    pub code: String,
    /// One line: what, and what to do next.
    pub message: String,
    /// `busy` because of the pace: the same may be asked again after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// With one of the codes, and nothing to wait for.
    pub fn new(code: &str, message: impl ToString) -> Failure {
        Failure {
            code: code.to_owned(),
            message: message.to_string(),
            retry_after_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_a_capability() {
        for op in Request::OPS {
            let known = serde_json::from_str::<Request>(&format!(r#"{{"op":"{op}"}}"#));
            let unknown = known.is_err_and(|e| e.to_string().contains("unknown variant"));
            assert!(!unknown, "{op}");
        }
        // serde lists the variants it knows: the same number.
        let error = serde_json::from_str::<Request>(r#"{"op":"nonsense"}"#).expect_err("unknown");
        let names = error.to_string().matches('`').count() / 2 - 1;
        assert_eq!(names, Request::OPS.len(), "{error}");
    }

    #[test]
    fn requests_look_as_documented() {
        let set = Request::Set(Change {
            pid: 7,
            class: Some(Class::Low),
            ..Change::default()
        });
        let text = serde_json::to_string(&set).expect("serialises");
        assert_eq!(text, r#"{"op":"set","pid":7,"class":"low"}"#);
        let list: Request = serde_json::from_str(r#"{"op":"list"}"#).expect("parses");
        assert_eq!(list, Request::List);
        let diagnose: Request =
            serde_json::from_str(r#"{"op":"diagnose","pid":7}"#).expect("parses");
        let duration_ms = 0;
        assert_eq!(
            diagnose,
            Request::Diagnose {
                pid: 7,
                duration_ms
            }
        );
    }
}
