//! What a connection can reach of the agent.

use std::sync::Arc;

use tokio::sync::watch;
use xsched_common::api::Snapshot;

use crate::attr::AttrHandle;
use crate::events::EventLog;
use crate::model::{BlameStore, HistoryStore};
use crate::reloader::Reloader;

/// The agent's parts behind the API, cheap to clone.
#[derive(Clone)]
pub struct Served {
    /// Takes orders about processes' attributes.
    pub attr: AttrHandle,
    /// The configuration in force.
    pub reloader: Reloader,
    /// The latest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The last minutes.
    pub history: HistoryStore,
    /// Where the time of slow bursts went.
    pub blames: BlameStore,
    /// Where changes and refusals are noted.
    pub events: EventLog,
}
