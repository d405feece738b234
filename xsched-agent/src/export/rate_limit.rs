//! How often one user may ask for what costs the agent work.
//!
//! A change goes through the keeper and the control thread, is saved, logged
//! and noted as an event. Without a pace for each user, one of them could keep
//! those threads from everybody else's work and push every other event out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;
use xsched_common::api::{Failure, Request};
use xsched_common::units::Nanos;

use crate::control::{Meter, Rate};

/// Requests of one user: a launcher may start a thousand processes at once,
/// each with its `run --class`.
const REQUESTS: Rate = Rate {
    interval: Nanos::from_millis(10),
    burst: 1024,
};

/// What each user has asked for lately; one for all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimit {
    users: Arc<Mutex<HashMap<u32, User>>>,
}

#[derive(Debug, Default)]
struct User {
    meter: Meter,
    /// Once for each time that it is too fast.
    warned: bool,
}

impl RateLimit {
    /// Whether user `uid` may ask for this now. Root and the agent's own user
    /// always may: they can stop the agent as well.
    ///
    /// # Errors
    /// It asks too often: what to answer.
    pub fn allow(
        &self,
        request: &Request,
        uid: u32,
        agent_uid: u32,
        now: Nanos,
    ) -> Result<(), Failure> {
        if uid == 0 || uid == agent_uid || !costs(request) {
            return Ok(());
        }
        // Whole after every statement.
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|known, user| *known == uid || !user.meter.is_full(now));
        let user = users.entry(uid).or_default();
        if user.meter.is_full(now) {
            user.warned = false;
        }
        if user.meter.take(&REQUESTS, now) {
            return Ok(());
        }
        if !user.warned {
            warn!("API: user {uid} asks too often and is told to wait");
            user.warned = true;
        }
        let wait = user.meter.wait(&REQUESTS, now).0.div_ceil(1_000_000).max(1);
        let per_second = 1_000_000_000 / REQUESTS.interval.0;
        Err(Failure {
            retry_after_ms: Some(wait),
            ..Failure::new(
                "busy",
                format!(
                    "user {uid} asks more than {per_second} times a second: try again in {wait} ms"
                ),
            )
        })
    }
}

/// Whether a request goes beyond what the API's own thread has at hand.
/// Diagnoses have places of their own.
fn costs(request: &Request) -> bool {
    match request {
        Request::Set(_)
        | Request::Unset { .. }
        | Request::Boost { .. }
        | Request::Suspend { .. }
        | Request::Resume { .. }
        | Request::Explain { .. }
        | Request::Reload
        | Request::Settings
        | Request::SetMode { .. }
        // As long as there are processes, and made anew for each.
        | Request::List
        | Request::History { .. }
        | Request::Slow { .. } => true,
        Request::Hello | Request::Watch { .. } | Request::Diagnose { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_pace_and_root_has_none() {
        let rate_limit = RateLimit::default();
        let resume = Request::Resume { pid: 1 };
        let mut now = Nanos::from_secs(9);
        let asked = |uid, now| rate_limit.allow(&resume, uid, 7, now);
        let burst = REQUESTS.burst as usize;
        assert_eq!(
            (0..burst + 50).filter(|_| asked(1000, now).is_ok()).count(),
            burst
        );
        let failure = asked(1000, now).expect_err("too many");
        assert_eq!(failure.code, "busy");
        assert_eq!(failure.retry_after_ms, Some(10));
        assert!(failure.message.ends_with("in 10 ms"), "{failure:?}");
        assert!(asked(1001, now).is_ok(), "another user");
        for uid in [0, 7] {
            assert!((0..2 * burst).all(|_| asked(uid, now).is_ok()));
        }
        assert!(rate_limit.allow(&Request::List, 1000, 7, now).is_err());
        assert!(
            rate_limit.allow(&Request::Hello, 1000, 7, now).is_ok(),
            "what costs nothing is free"
        );
        now = now + Nanos::from_millis(10);
        assert!(asked(1000, now).is_ok(), "after the time that was named");
        assert!(asked(1000, now).is_err());
        now = now + Nanos::from_secs(60);
        assert!(asked(1001, now).is_ok());
        assert_eq!(
            rate_limit.users.lock().expect("whole").len(),
            1,
            "forgotten"
        );
    }
}
