//! Who may have how many connections, or diagnoses, at once.
//!
//! Anybody may connect and stay. Without a bound for each user, one of them
//! could take every place and keep everybody else from looking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Those of one user.
    pub of_user: usize,
    /// Those of all users but root and the agent's own, who always find one.
    pub of_users: usize,
}

/// The places that are taken.
#[derive(Clone, Debug)]
pub(super) struct ConnectionQuota {
    limits: Limits,
    by_user: Arc<Mutex<HashMap<u32, usize>>>,
}

/// What somebody has taken; dropping it frees it.
#[derive(Debug)]
pub(super) struct Permit {
    quota: ConnectionQuota,
    user: Option<u32>,
}

impl ConnectionQuota {
    /// All free.
    pub fn new(limits: Limits) -> ConnectionQuota {
        ConnectionQuota {
            limits,
            by_user: Arc::default(),
        }
    }

    /// A place for user `uid`, if there is one.
    pub fn take(&self, uid: u32, agent_uid: u32) -> Option<Permit> {
        let user = (uid != 0 && uid != agent_uid).then_some(uid);
        if let Some(uid) = user {
            let mut by_user = self.lock();
            if by_user.values().sum::<usize>() >= self.limits.of_users {
                return None;
            }
            let taken = by_user.entry(uid).or_default();
            if *taken >= self.limits.of_user {
                return None;
            }
            *taken += 1;
        }
        Some(Permit {
            quota: self.clone(),
            user,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        // Counts are whole after every statement.
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(uid) = self.user else { return };
        let mut by_user = self.quota.lock();
        if let Some(taken) = by_user.get_mut(&uid) {
            *taken -= 1;
            if *taken == 0 {
                by_user.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_takes_the_places_of_others_and_root_finds_one() {
        let limits = Limits {
            of_user: 32,
            of_users: 256,
        };
        let quota = ConnectionQuota::new(limits);
        let mut held: Vec<Permit> = (0..limits.of_user)
            .map(|_| quota.take(1000, 0).expect("free"))
            .collect();
        assert!(quota.take(1000, 0).is_none());
        assert!(quota.take(1000, 1000).is_some(), "its own agent");
        held.pop();
        held.push(quota.take(1000, 0).expect("free again"));
        let others = (1001..).map_while(|uid| quota.take(uid, 0));
        held.extend(others.take(2 * limits.of_users));
        assert_eq!(held.len(), limits.of_users);
        assert!(quota.take(0, 1000).is_some());
        held.clear();
        assert!(quota.lock().is_empty());
    }
}
