//! What may take as long as a client likes, done by threads apart: one for
//! each user, who waits for nobody but himself.
//!
//! Closing is such a thing. A message may carry descriptors, and whoever
//! drops the last reference to a socket with SO_LINGER waits for it; a file
//! may carry a million locks, which are looked through at every close.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;

use rustix::net::RecvFlags;

use crate::readers::{Readers, Task, Tenant};

/// Tasks of one user that may wait for its thread to take more.
const MOST_WAITING: usize = 1024;

/// Packets that are taken from a connection before it is closed.
const MOST_UNREAD: usize = 64;

/// The threads, and what none of them could take yet.
#[derive(Default)]
pub(super) struct Aside {
    lanes: Readers,
    waiting: VecDeque<(u32, Task)>,
    /// How many of them are each user's.
    of_user: HashMap<u32, usize>,
}

impl Aside {
    /// Has `task` done by the thread of user `uid`, some time. Never waits.
    pub fn give(&mut self, uid: u32, task: impl FnOnce() + Send + 'static) {
        if let Err(task) = self.lanes.give(lane(uid), Box::new(task)) {
            self.waiting.push_back((uid, task));
            *self.of_user.entry(uid).or_default() += 1;
        }
    }

    /// Closes and unmaps.
    pub fn drop(&mut self, uid: u32, what: impl Send + 'static) {
        self.give(uid, move || drop(what));
    }

    /// Closes a connection, once what its peer has said is taken: one that is
    /// closed unread resets the connection, and the peer may miss the answer.
    pub fn hang_up(&mut self, uid: u32, connection: OwnedFd) {
        self.give(uid, move || {
            for _ in 0..MOST_UNREAD {
                let mut nothing = [0; 1];
                let flags = RecvFlags::DONTWAIT;
                match rustix::net::recv(&connection, &mut nothing[..], flags) {
                    Ok((_, len)) if len > 0 => {}
                    Ok(_) | Err(_) => break,
                }
            }
        });
    }

    /// Gives again what could not be taken.
    pub fn retry(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some((uid, task)) = self.waiting.pop_front() else {
                return;
            };
            match self.lanes.give(lane(uid), task) {
                Ok(()) => {
                    if let Entry::Occupied(mut count) = self.of_user.entry(uid) {
                        *count.get_mut() -= 1;
                        if *count.get() == 0 {
                            count.remove();
                        }
                    }
                }
                Err(task) => self.waiting.push_back((uid, task)),
            }
        }
    }

    /// Whether a user's thread is so far behind that nothing more should be
    /// begun for it.
    pub fn is_behind(&self, uid: u32) -> bool {
        // Empty but for a user that holds up its own thread.
        self.of_user.get(&uid).is_some_and(|of| *of >= MOST_WAITING)
    }
}

/// Users are apart, and not their control groups: asking for those reads a
/// file.
fn lane(uid: u32) -> Tenant {
    Tenant {
        uid,
        cgroup: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc::channel;

    #[test]
    fn whoever_holds_up_its_thread_waits_alone_and_nothing_is_lost() {
        let mut aside = Aside::default();
        let (release, held) = channel::<()>();
        let done = Arc::new(AtomicUsize::new(0));
        aside.give(1000, move || {
            let _ = held.recv();
        });
        let many = 3 * MOST_WAITING;
        for _ in 0..many {
            let done = done.clone();
            aside.give(1000, move || {
                done.fetch_add(1, Relaxed);
            });
        }
        assert!(aside.is_behind(1000) && !aside.is_behind(1001));
        let (tell, told) = channel();
        aside.give(1001, move || {
            let _ = tell.send(());
        });
        assert_eq!(told.recv(), Ok(()), "another user's");
        assert_eq!(done.load(Relaxed), 0);
        drop(release);
        while done.load(Relaxed) < many {
            aside.retry();
            std::thread::yield_now();
        }
    }
}
