//! What the keeper is told and asked.

use std::sync::Arc;

use xsched_common::api::{ChangeWay, Settled, Term};
use xsched_host::process::ProcessId;
use xsched_policy::Hold;

use super::judging::Answer;
use crate::config::Config;
use crate::control::RosterEvent;
use crate::rules::TermsPatch;
use crate::terms::explain::Explained;
use crate::terms::given::Right;
use crate::terms::{Ordered, Refused};

/// To the keeper.
pub(in crate::terms) enum Message {
    /// From control.
    Roster(RosterEvent),
    /// The model shows these.
    Seen(Vec<ProcessId>),
    /// From a reader.
    Judged(Answer),
    /// From the API.
    Order(Order),
    /// The agent stops.
    Stop,
}

/// From somebody; replies to changes and holds come once they are kept and
/// control has taken them in.
pub(in crate::terms) enum Order {
    Change {
        ordered: Ordered,
        patch: TermsPatch,
        way: ChangeWay,
        reply: Reply<Result<Settled, Refused>>,
    },
    Unset {
        ordered: Ordered,
        terms: Vec<Term>,
        reply: Reply<Result<Settled, Refused>>,
    },
    Hold {
        ordered: Ordered,
        /// `None` ends the one in force.
        hold: Option<Hold>,
        reply: Reply<Result<Settled, Refused>>,
    },
    Explain {
        process: ProcessId,
        right: Right,
        reply: Reply<Explained>,
    },
    Configure {
        config: Arc<Config>,
        /// Told how many joined processes have other terms now.
        reply: Reply<u32>,
    },
}

pub(in crate::terms) type Reply<T> = Box<dyn FnOnce(T) + Send>;
