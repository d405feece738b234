//! Requests and responses.

use serde::{Deserialize, Serialize};

use super::{Finding, Snapshot};
use crate::units::Class;

/// A line to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// One [`Snapshot`].
    List,
    /// A [`Snapshot`] at once and then every `interval_ms`, until the client
    /// closes.
    Watch {
        /// 100 to 60,000; other values are clamped.
        interval_ms: u64,
    },
    /// Changes a process's class, now and for its children to come.
    Set {
        /// The process, in the agent's pid namespace.
        pid: u32,
        /// The class it gets.
        class: Class,
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

/// The longest observation that a diagnosis makes; longer ones are cut.
pub const MAX_OBSERVATION_MS: u64 = 10_000;

/// A line from the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::List`] and [`Request::Watch`].
    Snapshot(Box<Snapshot>),
    /// To [`Request::Set`].
    Settled(Settled),
    /// To [`Request::Diagnose`].
    Diagnosis(Diagnosis),
    /// The request was not carried out.
    Error(Failure),
}

/// A change that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The process.
    pub pid: u32,
    /// Its class now.
    pub class: Class,
    /// Whether it has joined; if not, the class holds from when it does.
    pub joined: bool,
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct Failure {
    /// Stable code: `malformed`, `not_permitted`, `no_such_process`,
    /// `not_diagnosable`, `busy`, `internal`.
    pub code: String,
    /// One line: what, and what to do next.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let set = Request::Set {
            pid: 7,
            class: Class::Low,
        };
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
