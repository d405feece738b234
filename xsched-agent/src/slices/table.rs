//! The slices of all processes, for the model to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xsched_common::api::{TimeSliceRow, TimeSlicing};
use xsched_common::units::Nanos;
use xsched_host::platform::slices::{NoSlices, SliceDriver};
use xsched_host::process::ProcessId;

use super::watched::Watched;

/// Shared by whoever sets slices and the model.
#[derive(Clone, Default)]
pub struct SliceTable(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    slicing: TimeSlicing,
    default: Nanos,
    rows: HashMap<ProcessId, Vec<TimeSliceRow>>,
    limits: Vec<String>,
}

impl SliceTable {
    /// Says why nobody sets any.
    pub fn unavailable(&self, why: &NoSlices) {
        self.lock().slicing.reason = Some(why.to_string());
    }

    pub(super) fn driver(&self, driver: &dyn SliceDriver) {
        let mut state = self.lock();
        state.slicing.driver = Some(driver.version().to_owned());
        state.default = driver.default_slice();
    }

    pub(super) fn publish(&self, watched: &HashMap<ProcessId, Watched>) {
        let mut state = self.lock();
        let default = state.default;
        state.rows = watched
            .iter()
            .map(|(id, watched)| (*id, watched.rows(default)))
            .filter(|(_, rows)| !rows.is_empty())
            .collect();
        // One line, however many there are.
        let mut failures: Vec<&String> = watched
            .values()
            .filter_map(|w| w.failure.as_ref())
            .collect();
        failures.sort_unstable();
        state.limits = match failures.as_slice() {
            [] => Vec::new(),
            [one] => vec![format!("time slices: {one}")],
            [first, rest @ ..] => vec![format!("time slices: {first} (and {} more)", rest.len())],
        };
    }

    pub(super) fn changed(&self) {
        self.lock().slicing.changes += 1;
    }

    pub(super) fn failed(&self) {
        self.lock().slicing.failures += 1;
    }

    /// Whether slices can be set here, and what came of it.
    pub fn slicing(&self) -> TimeSlicing {
        self.lock().slicing.clone()
    }

    /// A process's.
    pub fn rows(&self, process: ProcessId) -> Vec<TimeSliceRow> {
        self.lock().rows.get(&process).cloned().unwrap_or_default()
    }

    /// What cannot be done just now, a line each.
    pub fn limits(&self) -> Vec<String> {
        self.lock().limits.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
