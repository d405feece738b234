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

use crate::list::{Change, List, Written};

/// Events that come together are written together.
const GATHER: Duration = Duration::from_millis(50);

/// Pauses after failures: from this to that, doubled each time, with jitter,
/// and anew after a minute without failure. A client-go controller begins at
/// 0.8 s; a pod that starts meanwhile waits for its class.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];
const CALM: Duration = Duration::from_secs(60);

/// Pods in a page of a list: with labels without end one has up to 1.5 MB,
/// etcd's own limit.
const PAGE: u32 = 50;

/// Until a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Watches for ever.
///
/// # Errors
/// The watch has ended, which it never does.
pub async fn run(client: Client, node: &str, out: &Path) -> anyhow::Result<()> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(client);
    let of_node = watcher::Config::default()
        // Those that have ended take no place: anybody may have thousands.
        .fields(&format!(
            "spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
        ))
        .page_size(PAGE)
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
    let mut file = File::new(out);
    let mut due = None;
    let mut failing = false;
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = until(due) => {
                due = file.write(&list).map(|pause| Instant::now() + pause);
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
        let change = match event {
            Event::Init => {
                list.begin();
                Change::None
            }
            Event::InitApply(pod) => {
                list.listed(pod.metadata);
                Change::None
            }
            Event::InitDone => {
                list.end();
                info!("{} pods of node {node}", list.len());
                Change::Some
            }
            Event::Apply(pod) => list.changed(pod.metadata),
            Event::Delete(pod) => list.gone(&pod.metadata),
        };
        if change == Change::Some {
            due.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }
}

/// The file, and what was last said of it.
struct File<'p> {
    path: &'p Path,
    fails: bool,
    left_out: usize,
}

impl File<'_> {
    fn new(path: &Path) -> File<'_> {
        File {
            path,
            fails: false,
            left_out: 0,
        }
    }

    /// Writes the list; after which pause to try again where that fails.
    fn write(&mut self, list: &List) -> Option<Duration> {
        let path = self.path.display();
        match list.write(self.path) {
            Ok(Written { left_out, .. }) => {
                if std::mem::take(&mut self.fails) {
                    info!("{path} is written again");
                }
                match (self.left_out > 0, left_out > 0) {
                    (false, true) => warn!(
                        "{left_out} pods have no room in the list: their namespaces have too many"
                    ),
                    (true, false) => info!("all pods have room in the list again"),
                    _ => {}
                }
                self.left_out = left_out;
                None
            }
            Err(e) => {
                if !std::mem::replace(&mut self.fails, true) {
                    warn!("cannot write {path}, the agent has an old list: {e}");
                }
                Some(RETRY)
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
