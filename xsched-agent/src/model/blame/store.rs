//! The last minute's accounts, for whoever asks.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xsched_blame::Account;
use xsched_common::api::BlameRow;
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;

/// What is kept of a process.
const KEPT: Nanos = Nanos::from_secs(60);

/// Accounts that are kept at most: more would be of ticks that are too short.
const MOST: usize = 240;

/// Shared between the model, which writes, and the API, which copies out.
#[derive(Clone, Default)]
pub struct BlameStore(Arc<Mutex<Accounts>>);

/// Oldest first.
type Accounts = HashMap<ProcessId, VecDeque<Account>>;

impl BlameStore {
    pub(super) fn add(&self, id: ProcessId, account: Account) {
        let mut accounts = self.lock();
        let ring = accounts.entry(id).or_default();
        ring.push_back(account);
        let over = |ring: &VecDeque<Account>| {
            let spans = ring.iter().map(|account| account.over);
            spans.fold(Nanos::ZERO, |sum, over| sum + over)
        };
        while ring.len() > MOST || (ring.len() > 1 && over(ring) > KEPT) {
            ring.pop_front();
        }
    }

    pub(super) fn retain<T>(&self, known: &HashMap<ProcessId, T>) {
        self.lock().retain(|id, _| known.contains_key(id));
    }

    /// An account of the last so much time in which a process had bursts;
    /// `None` while nothing can be said.
    pub fn latest(&self, id: ProcessId, time: Nanos) -> Option<BlameRow> {
        let accounts = self.lock();
        let mut sum = Account::default();
        for account in accounts.get(&id)?.iter().rev() {
            if sum.over >= time {
                break;
            }
            sum.add(account);
        }
        sum.limit = accounts.get(&id)?.back()?.limit;
        sum.limit?;
        Some(sum.row())
    }

    /// The same of the process that has this number.
    pub fn of_pid(&self, pid: u32, time: Nanos) -> Option<BlameRow> {
        let id = {
            let accounts = self.lock();
            let ids = accounts.keys().filter(|id| id.pid == pid);
            *ids.max_by_key(|id| id.start_time)?
        };
        self.latest(id, time)
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_kept_and_the_newest_is_asked_for() {
        let store = BlameStore::default();
        let id = ProcessId {
            pid: 7,
            start_time: 1,
        };
        assert_eq!(store.of_pid(7, KEPT), None);
        for slow in 0..200 {
            let account = Account {
                over: Nanos::from_millis(500),
                bursts: 10,
                limit: Some(Nanos::from_millis(5)),
                slow,
                slow_time: Nanos::from_millis(9 * slow),
                loss: Nanos::from_millis(4 * slow),
                ..Account::default()
            };
            store.add(id, account);
        }
        let minute = store.of_pid(7, KEPT).expect("accounts");
        assert_eq!((minute.over_ns, minute.bursts), (KEPT, 1_200));
        let latest = store.latest(id, Nanos::from_secs(1)).expect("accounts");
        assert_eq!((latest.slow, latest.bursts), (199 + 198, 20));
        store.retain::<()>(&HashMap::new());
        assert_eq!(store.of_pid(7, KEPT), None);
    }
}
