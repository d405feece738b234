//! What a thread does next, on whatever clock.

use std::borrow::Borrow;

use crate::format::{Gaps, Launch, Repeat, Step, Thread, Wait};

/// What a thread does next. Times are ns since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Launch one kernel.
    Launch(Launch),
    /// Wait for the device.
    Wait(Wait),
    /// Work on the processor until then.
    Compute(u64),
    /// Nothing to do until then.
    Idle(u64),
    /// A request is over.
    Served {
        /// When it came, or when the thread woke up for it.
        arrived: u64,
    },
    /// All steps are done.
    End,
}

/// A thread under way.
#[derive(Clone, Debug)]
pub struct Player<T> {
    thread: T,
    at: usize,
    /// Launches of this step that are done.
    launched: u32,
    /// When the last call returned, or the request began.
    mark: u64,
    request: Request,
    /// When the next request comes.
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// None has come.
    None,
    /// The thread waits for its time to come.
    Awaited(u64),
    /// Under way since then.
    Since(u64),
}

impl<T: Borrow<Thread>> Player<T> {
    /// At its beginning.
    pub fn new(thread: T) -> Player<T> {
        Player {
            thread,
            at: 0,
            launched: 0,
            mark: 0,
            request: Request::None,
            next: 0,
        }
    }

    /// What comes next at `now`, when what it said before is done. `uniform`
    /// gives numbers from 0 up to 1.
    pub fn next(&mut self, now: u64, mut uniform: impl FnMut() -> f64) -> Move {
        // Of what it said before, the end is now.
        if let Request::Awaited(came) = self.request {
            // What a request waits for the thread's own timer is not its latency.
            self.request = Request::Since(came.max(now));
            self.mark = now;
        }
        loop {
            let Some(step) = self.thread.borrow().steps.get(self.at).copied() else {
                match self.pass_ends(now, &mut uniform) {
                    Some(what) => return what,
                    None => continue,
                }
            };
            if self.at == 0 && self.launched == 0 && self.request == Request::None {
                match self.thread.borrow().repeat {
                    Repeat::Once => {}
                    Repeat::BackToBack => self.request = Request::Since(now),
                    Repeat::Every { .. } => match self.begin(self.next, now) {
                        Some(what) => return what,
                        None => continue,
                    },
                }
            }
            match step {
                Step::Arrive(at) => {
                    if let Request::Since(arrived) = self.request {
                        self.request = Request::None;
                        return Move::Served { arrived };
                    }
                    self.at += 1;
                    if let Some(what) = self.begin(at, now) {
                        return what;
                    }
                }
                Step::Launch(launch) if self.launched == launch.count => {
                    self.at += 1;
                    self.launched = 0;
                }
                Step::Launch(launch) => {
                    let until = self.mark.saturating_add(launch.after_ns);
                    if now < until {
                        return Move::Compute(until);
                    }
                    self.launched += 1;
                    return Move::Launch(launch);
                }
                Step::Wait(wait) => {
                    let until = self.mark.saturating_add(wait.after_ns);
                    if now < until {
                        return Move::Compute(until);
                    }
                    self.at += 1;
                    return Move::Wait(wait);
                }
            }
        }
    }

    /// A call that [`Player::next`] said has returned.
    pub fn returned(&mut self, now: u64) {
        self.mark = now;
    }

    /// A request that comes `at` a time: what the thread does until then.
    fn begin(&mut self, at: u64, now: u64) -> Option<Move> {
        if now < at {
            self.request = Request::Awaited(at);
            return Some(Move::Idle(at));
        }
        self.request = Request::Since(at);
        self.mark = now;
        None
    }

    fn pass_ends(&mut self, now: u64, uniform: &mut impl FnMut() -> f64) -> Option<Move> {
        if let Request::Since(arrived) = self.request {
            self.request = Request::None;
            return Some(Move::Served { arrived });
        }
        match self.thread.borrow().repeat {
            Repeat::Once => return Some(Move::End),
            Repeat::BackToBack => {}
            Repeat::Every { period_ns, gaps } => {
                let period = period_ns as f64;
                let gap = match gaps {
                    Gaps::Fixed => period_ns,
                    Gaps::Jittered => (period * (0.5 + uniform())) as u64,
                    Gaps::Exponential => (-(1.0 - uniform()).ln() * period) as u64,
                };
                self.next = self.next.saturating_add(gap);
            }
        }
        self.at = 0;
        self.mark = now;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Launch = Launch {
        ns: 100,
        count: 2,
        after_ns: 10,
        stream: 0,
        caller: None,
    };
    const ALL: Wait = Wait {
        stream: None,
        ahead: 0,
        after_ns: 0,
    };

    /// Plays with calls that take 1 ns, waits that take 50, and no lateness.
    fn played(thread: &Thread, most: usize) -> Vec<(u64, Move)> {
        let (mut player, mut now) = (Player::new(thread), 0);
        let mut moves = Vec::new();
        while moves.len() < most {
            let what = player.next(now, || 0.5);
            moves.push((now, what));
            now = match what {
                Move::Launch(_) => now + 1,
                Move::Wait(_) => now + 50,
                Move::Compute(until) | Move::Idle(until) => until,
                Move::Served { .. } => now,
                Move::End => break,
            };
            if matches!(what, Move::Launch(_) | Move::Wait(_)) {
                player.returned(now);
            }
        }
        moves
    }

    #[test]
    fn requests_come_at_their_times_and_count_from_them() {
        let thread = Thread {
            name: String::new(),
            repeat: Repeat::Every {
                period_ns: 60,
                gaps: Gaps::Fixed,
            },
            steps: vec![Step::Launch(KERNEL), Step::Wait(ALL)],
        };
        let moves = played(&thread, 100);
        let served: Vec<(u64, u64)> = moves
            .iter()
            .filter_map(|(now, what)| match what {
                Move::Served { arrived } => Some((*arrived, now - arrived)),
                _ => None,
            })
            .collect();
        // 10 + 1 + 10 + 1 + 50 each, more than a period: they queue.
        assert_eq!(served[..3], [(0, 72), (60, 84), (120, 96)]);
    }

    #[test]
    fn a_recording_is_played_once_with_its_idle_times() {
        let thread = Thread {
            name: String::new(),
            repeat: Repeat::Once,
            steps: vec![
                Step::Arrive(0),
                Step::Launch(KERNEL),
                Step::Wait(ALL),
                Step::Arrive(1_000),
                Step::Launch(KERNEL),
                Step::Wait(ALL),
            ],
        };
        let moves = played(&thread, 100);
        assert_eq!(moves.last(), Some(&(1_072, Move::End)));
        let launches = |moves: &[(u64, Move)]| {
            let is = |(_, what): &&(u64, Move)| matches!(what, Move::Launch(_));
            moves.iter().filter(is).count()
        };
        assert_eq!(launches(&moves), 4);
        assert!(moves.contains(&(72, Move::Idle(1_000))));
        assert!(moves.contains(&(1_072, Move::Served { arrived: 1_000 })));
    }
}
