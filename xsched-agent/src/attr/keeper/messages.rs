//! What the keeper is told and asked.

use std::collections::HashSet;
use std::sync::Arc;

use xsched_common::api::{Attr, ChangeWay, Settled};
use xsched_host::process::ProcessId;
use xsched_policy::Override;

use super::evaluating::Answer;
use crate::attr::explain::Explained;
use crate::attr::given::Right;
use crate::attr::{Ordered, Refused};
use crate::config::Config;
use crate::control::RosterEvent;
use crate::rules::SchedAttrPatch;

/// To the keeper.
pub(in crate::attr) enum Message {
    /// From control.
    Roster(RosterEvent),
    /// The model shows these.
    Seen(Vec<ProcessId>),
    /// From a reader.
    Evaluated(Answer),
    /// Pods with these uids are others now.
    Pods(HashSet<String>),
    /// From the API.
    Order(Order),
    /// The agent stops.
    Stop,
}

/// From somebody; replies to changes and holds come once they are kept and
/// control has taken them in.
pub(in crate::attr) enum Order {
    Change {
        ordered: Ordered,
        patch: SchedAttrPatch,
        way: ChangeWay,
        reply: Reply<Result<Settled, Refused>>,
    },
    Unset {
        ordered: Ordered,
        attr: Vec<Attr>,
        reply: Reply<Result<Settled, Refused>>,
    },
    Override {
        ordered: Ordered,
        /// `None` ends the one in force.
        hold: Option<Override>,
        reply: Reply<Result<Settled, Refused>>,
    },
    Explain {
        process: ProcessId,
        right: Right,
        reply: Reply<Explained>,
    },
    Configure {
        config: Arc<Config>,
        /// Told how many joined processes have other attributes now.
        reply: Reply<u32>,
    },
}

pub(in crate::attr) type Reply<T> = Box<dyn FnOnce(T) + Send>;
