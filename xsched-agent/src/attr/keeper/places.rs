//! How many processes are known without having joined, and whose.

use std::collections::HashMap;

use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;

use super::{Because, Keeper, Known};
use crate::attr::Refused;
use crate::attr::given::Right;

/// Processes that are known without having joined: more show the defaults.
pub(super) const MAX_KNOWN: usize = 16_384;

/// Of these, those of one tenant.
pub(super) const MAX_OF_TENANT: usize = 1024;

/// Beside them, for root and the agent's own user.
const KEPT_FOR_OURS: usize = 4_096;

/// Processes that are taken from one look of the model's: each takes about
/// 0.1 ms to be looked up.
const SEEN_AT_ONCE: usize = 512;

impl Keeper {
    /// Some of them: the model shows the others again.
    pub(super) fn seen(&mut self, processes: Vec<ProcessId>) {
        let new = |process: &ProcessId| {
            !self.known.contains_key(process) && !self.refused.contains(process)
        };
        let new: Vec<ProcessId> = processes
            .into_iter()
            .filter(new)
            .take(SEEN_AT_ONCE)
            .collect();
        if new.is_empty() {
            return;
        }
        let mut taken = HashMap::<Tenant, usize>::new();
        for known in self.known.values().filter(|known| known.clients == 0) {
            *taken.entry(known.tenant.clone()).or_default() += 1;
        }
        for process in new {
            let tenant = Tenant::of(process.pid);
            let taken = taken.entry(tenant.clone()).or_default();
            if self.has_place(&tenant, *taken) {
                *taken += 1;
                self.know(process, Vec::new(), Because::Seen);
                self.update_one(process);
            } else {
                self.refused.insert(process);
            }
        }
    }

    /// Whether one more can be known of a tenant that has so many: nobody may
    /// take all places, by starting processes or by asking about them.
    pub(super) fn has_place(&self, tenant: &Tenant, taken: usize) -> bool {
        match tenant.is_ours() {
            true => self.known.len() < MAX_KNOWN + KEPT_FOR_OURS,
            false => taken < MAX_OF_TENANT && self.known.len() < MAX_KNOWN,
        }
    }

    /// Whether one more process that has not joined can be known. Full rights
    /// need no place: whoever has them can stop the agent as well.
    pub(super) fn find_place(&self, process: ProcessId, right: Right) -> Result<(), Refused> {
        if right == Right::Full {
            return Ok(());
        }
        let tenant = Tenant::of(process.pid);
        let of_tenant = |known: &&Known| known.clients == 0 && known.tenant == tenant;
        let taken = self.known.values().filter(of_tenant).count();
        match self.has_place(&tenant, taken) {
            true => Ok(()),
            false => Err(Refused::TooMany),
        }
    }
}
