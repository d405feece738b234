//! The watch: what the API server says, into the list.
//!
//! Resuming at the last version, bookmarks, a new list after 410 Gone and the
//! pauses after failures are kube's (kube-runtime, watcher). Only metadata is
//! asked for: no containers' environments cross the network.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{self, Event, ExponentialBackoff, watcher};
use kube::{Api, Client};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::list::List;

/// Events that come together are written together.
const GATHER: Duration = Duration::from_millis(50);

/// Pauses after failures: from this to that, doubled each time, with jitter,
/// and anew after a minute without failure. A client-go controller begins at
/// 0.8 s; a pod that starts meanwhile waits for its class.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];
const CALM: Duration = Duration::from_secs(60);

/// Watches for ever.
///
/// # Errors
/// The list cannot be written.
pub async fn run(client: Client, node: &str, out: &Path) -> anyhow::Result<()> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(client);
    let of_node = watcher::Config::default()
        .fields(&format!("spec.nodeName={node}"))
        // The server ends each watch after this, s: a connection that died
        // without a word is noticed.
        .timeout(120);
    let pause = ExponentialBuilder::default()
        .with_min_delay(PAUSES[0])
        .with_max_delay(PAUSES[1])
        .with_jitter()
        .without_max_times();
    let pause = ExponentialBackoff::from(pause);
    let events = watcher(pods, of_node).backoff(ResetTimerBackoff::new(pause, CALM));
    let mut events = pin!(events);
    let mut list = List::default();
    let mut due = None;
    let mut failing = false;
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = until(due) => {
                due = None;
                list.write(out)?;
                continue;
            }
        };
        let event = match event {
            Ok(Some(event)) => event,
            // A watch has no end.
            Ok(None) => anyhow::bail!("the watch has ended"),
            Err(e) => {
                if !failing {
                    warn!("the API server cannot be watched, the list stays as it is: {e}");
                }
                failing = true;
                continue;
            }
        };
        if std::mem::take(&mut failing) {
            info!("the API server is watched again");
        }
        match event {
            Event::Init => {
                list.begin();
                continue;
            }
            Event::InitApply(pod) => {
                list.listed(pod.metadata);
                continue;
            }
            Event::InitDone => {
                list.end();
                info!("{} pods of node {node}", list.len());
            }
            Event::Apply(pod) => list.changed(pod.metadata),
            Event::Delete(pod) => list.gone(&pod.metadata),
        }
        due.get_or_insert_with(|| Instant::now() + GATHER);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
