//! What a connection can reach of the agent.

use std::sync::Arc;

use tokio::sync::watch;
use xsched_common::api::Snapshot;

use crate::events::EventLog;
use crate::live::Live;
use crate::model::Past;
use crate::terms::TermsHandle;

/// The agent's parts behind the API, cheap to clone.
#[derive(Clone)]
pub struct Served {
    /// Takes orders about processes' terms.
    pub terms: TermsHandle,
    /// The configuration in force.
    pub live: Live,
    /// The latest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The last minutes.
    pub past: Past,
    /// Where changes and refusals are noted.
    pub events: EventLog,
}
