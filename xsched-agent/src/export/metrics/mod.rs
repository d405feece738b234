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

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use xsched_common::api::Snapshot;

use crate::control::LoopStats;
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
    /// The control loop's own times.
    pub control: Arc<LoopStats>,
    /// Processes that have series of their own.
    pub processes: usize,
}

/// All numbers at one moment.
#[derive(Debug)]
pub struct Scrape {
    /// The state of the machine.
    pub snapshot: Arc<Snapshot>,
    /// Sums by class.
    pub sums: Sums,
    /// How late the control thread's heartbeats were.
    pub heartbeat_late: TimeHistogram,
    /// Rounds of decisions.
    pub control_rounds: u64,
    /// Processes that have series of their own.
    pub processes: usize,
}

impl Sources {
    fn scrape(&self) -> Scrape {
        let mut heartbeat_late = TimeHistogram::default();
        heartbeat_late.add(&self.control.heartbeat_late.counts());
        Scrape {
            snapshot: self.snapshots.borrow().clone(),
            sums: self.sums.copy(),
            heartbeat_late,
            control_rounds: self.control.rounds(),
            processes: self.processes,
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
        processes::collect(&self.snapshot, self.processes, &mut families)
    }
}
