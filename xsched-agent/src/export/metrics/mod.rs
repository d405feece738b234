//! Metrics for Prometheus and whatever else reads its formats.
//!
//! Made at the scrape, on the API's thread, from what the model has
//! published: a scrape costs the control thread nothing. The number of series
//! is bounded, whatever runs on the machine: classes, devices and reasons are
//! few, and of the processes only the busiest have series of their own.

mod agent;
mod classes;
mod devices;
mod families;
mod format;
mod http;
mod processes;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use xsched_common::api::Snapshot;

use crate::control::Stats;
use crate::model::{SharedSums, Sums, TimeHistogram};
use families::Families;
pub use format::Format;
pub use http::{MetricsError, MetricsServer};

/// Where the numbers come from; cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// The latest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Sums by class.
    pub sums: SharedSums,
    /// How the control thread is doing.
    pub control: Arc<Stats>,
    /// Processes that have series of their own.
    pub processes: usize,
    /// Pods and jobs that have.
    pub workloads: usize,
}

/// All numbers at one moment.
#[derive(Debug)]
pub struct Scrape {
    /// The state of the machine.
    pub snapshot: Arc<Snapshot>,
    /// Sums by class.
    pub sums: Sums,
    /// How the control thread is doing.
    pub control: ControlTimes,
    /// Processes that have series of their own.
    pub processes: usize,
    /// Pods and jobs that have.
    pub workloads: usize,
}

/// A copy of the control thread's [`Stats`].
#[derive(Clone, Debug, Default)]
pub struct ControlTimes {
    /// How late each heartbeat was.
    pub beats_late: TimeHistogram,
    /// From waking up to having decided and written.
    pub rounds: TimeHistogram,
    /// See [`Stats::clients`].
    pub clients: u64,
    /// See [`Stats::bells_muted`].
    pub bells_muted: u64,
    /// See [`Stats::joins_refused`].
    pub joins_refused: u64,
}

impl ControlTimes {
    fn of(stats: &Stats) -> ControlTimes {
        let mut times = ControlTimes {
            clients: stats.clients.load(Relaxed),
            bells_muted: stats.bells_muted.load(Relaxed),
            joins_refused: stats.joins_refused.load(Relaxed),
            ..ControlTimes::default()
        };
        times.beats_late.add(&stats.beats_late.counts());
        times.rounds.add(&stats.passes.counts());
        times
    }
}

impl Sources {
    fn scrape(&self) -> Scrape {
        Scrape {
            snapshot: self.snapshots.borrow().clone(),
            sums: self.sums.copy(),
            control: ControlTimes::of(&self.control),
            processes: self.processes,
            workloads: self.workloads,
        }
    }
}

impl Scrape {
    /// The page of metrics.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn render(self, format: Format) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("xsched");
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(match format {
            Format::OpenMetrics => page,
            Format::Text => format::text(&page),
        })
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut families = Families::new(encoder);
        agent::collect(self, &mut families)?;
        classes::collect(self, &mut families)?;
        devices::collect(&self.snapshot, &mut families)?;
        processes::collect(&self.snapshot, self.processes, &mut families)?;
        workloads::collect(self, &mut families)
    }
}
