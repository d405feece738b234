//! How much is said of each user's comings and goings: a loop of joins must
//! not become one of lines, nor push all other events out.

use std::collections::HashMap;

use xsched_common::units::Nanos;

use super::rate::{Meter, Rate};

/// What has been told of each user's processes.
pub(crate) struct Journal {
    rate: Rate,
    users: HashMap<u32, User>,
}

#[derive(Default)]
struct User {
    meter: Meter,
    untold: u64,
}

impl Journal {
    /// Lines of the log about one user's processes: a launcher's hundred at
    /// once, and then no more than somebody can read.
    pub const LINES: Rate = Rate {
        interval: Nanos::from_secs(1),
        burst: 100,
    };

    /// So much of each user.
    pub fn new(rate: Rate) -> Journal {
        Journal {
            rate,
            users: HashMap::new(),
        }
    }

    /// Whether one more thing about a process of `uid` is told; counts it
    /// if not.
    pub fn may_tell(&mut self, uid: u32, now: Nanos) -> bool {
        let user = self.users.entry(uid).or_default();
        let may = user.meter.take(&self.rate, now);
        user.untold += u64::from(!may);
        may
    }

    /// Of whom something was not told since the last call, and how often;
    /// forgets who has been quiet.
    pub fn untold(&mut self, now: Nanos) -> Vec<(u32, u64)> {
        let mut untold = Vec::new();
        self.users.retain(|uid, user| {
            if user.untold > 0 {
                untold.push((*uid, std::mem::take(&mut user.untold)));
            }
            !user.meter.is_full(now)
        });
        untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Rate = Journal::LINES;

    #[test]
    fn a_loop_of_one_user_is_summed_up_and_others_are_told_of() {
        let mut journal = Journal::new(LINES);
        let now = Nanos::from_secs(1);
        let told = (0..5_000).filter(|_| journal.may_tell(1000, now)).count();
        assert_eq!(told, LINES.burst as usize);
        assert!(journal.may_tell(1001, now));
        assert_eq!(journal.untold(now), [(1000, 4_900)]);
        assert_eq!(journal.untold(now), []);
        let later = now + LINES.interval.times(u64::from(LINES.burst));
        assert_eq!(journal.untold(later), []);
        assert!(journal.users.is_empty());
    }
}
