//! The thread that counts without locked instructions.
//!
//! A locked instruction costs a launch more than everything else at an open
//! gate. One thread, the owner, does without: it alone writes words of its own,
//! beside those that all other threads share ([`Tally`]). A plain instruction is
//! enough, since a signal handler cannot come amid it.
//!
//! What is lost is order: the owner's count may become visible after its next
//! load. Only one reader minds, the one that is about to say that a device is
//! idle, and it takes the ownership away first ([`Owner::revoke`]): an
//! asymmetric barrier, membarrier(2). Either the owner had counted before the
//! barrier, and the count is seen, or it finds itself no owner any more, and
//! orders its accesses itself.

use std::arch::asm;
use std::hint::cold_path;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use crate::sys::{self, Call};
use crate::tls;

/// Which thread it is.
pub struct Owner(AtomicU64);

/// Nobody so far.
const NOBODY: u64 = 0;
/// Nobody any more: no thread's words lie there.
const REVOKED: u64 = 1;
/// The same, and a barrier is on its way: whoever looks makes one of its own.
const REVOKING: u64 = 2;

/// How the calling thread counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In words that only it writes.
    Owner,
    /// In words that others write, too.
    Other,
}

impl Owner {
    /// Nobody; all bytes zero.
    pub const fn new() -> Owner {
        Owner(AtomicU64::new(NOBODY))
    }

    /// The calling thread becomes the owner, if the process never had one and
    /// [`prepare`] has succeeded.
    pub fn claim(&self) {
        let to = match PREPARED.load(Relaxed) {
            true => tls::address(),
            false => REVOKED,
        };
        let _ = self.0.compare_exchange(NOBODY, to, SeqCst, Relaxed);
    }

    /// The calling thread's role. A thread that was started where an owner has
    /// ended takes its place: they never run at once.
    #[inline(always)]
    pub fn role(&self) -> Role {
        match self.0.load(Relaxed) == tls::address() {
            true => Role::Owner,
            false => Role::Other,
        }
    }

    /// Orders what the calling thread has counted in this role before what it
    /// loads next: against [`Owner::revoke`] or by itself.
    #[inline(always)]
    pub fn order(&self, role: Role) {
        if role == Role::Owner && self.role() == Role::Other {
            cold_path();
            fence(SeqCst);
        }
    }

    /// Takes the ownership from another thread, for good; whether what any thread
    /// has counted is seen from here on, or the device seen by that thread's next
    /// look. It is not where a filter of system calls refuses the barrier.
    pub fn revoke(&self) -> bool {
        let owner = self.0.load(SeqCst);
        if owner == NOBODY || owner == REVOKED || owner == tls::address() {
            return true;
        }
        self.0.store(REVOKING, SeqCst);
        let made = membarrier(Command::Barrier);
        self.0.store(REVOKED, SeqCst);
        made
    }
}

/// Tells the kernel that barriers will be asked for (Linux 4.14). Once there are
/// several threads that takes milliseconds, so it belongs to the library's
/// constructor; children of a fork inherit it.
pub fn prepare() {
    PREPARED.store(membarrier(Command::Register), Relaxed);
}

static PREPARED: AtomicBool = AtomicBool::new(false);

fn membarrier(command: Command) -> bool {
    // SAFETY: no memory is passed.
    unsafe { sys::call(Call::Membarrier, [command as usize, 0, 0]) }.is_ok()
}

/// membarrier(2).
enum Command {
    Barrier = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED as isize,
    Register = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as isize,
}

/// Adds one to a word that the calling thread alone writes.
#[inline(always)]
pub fn count_alone(word: &AtomicU64) {
    // SAFETY: the word is valid; one instruction, so that a signal handler of
    // this thread counts before or after.
    unsafe {
        asm!(
            "inc qword ptr [{}]",
            in(reg) word.as_ptr(),
            options(nostack),
        );
    }
}

/// A count that all threads raise.
pub struct Tally {
    own: AtomicU64,
    shared: AtomicU64,
}

impl Tally {
    /// Zero; all bytes zero.
    pub const fn new() -> Tally {
        Tally {
            own: AtomicU64::new(0),
            shared: AtomicU64::new(0),
        }
    }

    /// Adds one; what it is now.
    #[inline(always)]
    pub fn raise(&self, role: Role) -> u64 {
        match role {
            Role::Owner => {
                count_alone(&self.own);
                self.own.load(Relaxed) + self.shared.load(Relaxed)
            }
            Role::Other => self.shared.fetch_add(1, SeqCst) + 1 + self.own.load(SeqCst),
        }
    }

    /// What it is; at least what it was at the call.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.own.load(SeqCst) + self.shared.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn claimed() -> Owner {
        prepare();
        let owner = Owner::new();
        owner.claim();
        owner
    }

    #[test]
    fn one_thread_is_the_owner_until_another_says_no() {
        prepare();
        let owner = Owner::new();
        assert_eq!(owner.role(), Role::Other);
        owner.revoke();
        owner.claim();
        assert_eq!(
            owner.role(),
            Role::Owner,
            "nobody was, and nothing was taken"
        );
        owner.revoke();
        assert_eq!(owner.role(), Role::Owner, "nobody takes it from itself");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                owner.claim();
                assert_eq!(owner.role(), Role::Other, "taken");
                owner.revoke();
            });
        });
        owner.claim();
        assert_eq!(owner.role(), Role::Other, "for good");
    }

    #[test]
    fn nothing_is_lost_between_the_owner_and_others() {
        const EACH: u64 = 100_000;
        let (owner, tally, barrier) = (claimed(), Tally::new(), Barrier::new(3));
        let count = |role: Role| {
            assert_eq!(owner.role(), role);
            barrier.wait();
            for _ in 0..EACH {
                tally.raise(role);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| count(Role::Other));
            scope.spawn(|| count(Role::Other));
            count(Role::Owner);
        });
        assert_eq!(tally.get(), 3 * EACH);
    }

    /// Dekker's pair of a launch and of a drain by another thread: at least one
    /// sees the other, whenever the ownership is taken away.
    #[test]
    fn the_owner_and_who_takes_it_away_do_not_miss_each_other() {
        for round in 0..2_000 {
            let (owner, tally, idle) = (claimed(), Tally::new(), AtomicBool::new(false));
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                let drainer = scope.spawn(|| {
                    barrier.wait();
                    (0..round % 200).for_each(|_| std::hint::spin_loop());
                    owner.revoke();
                    idle.store(true, SeqCst);
                    tally.get() != 0
                });
                barrier.wait();
                (0..100).for_each(|_| std::hint::spin_loop());
                let role = owner.role();
                tally.raise(role);
                owner.order(role);
                let saw = idle.load(SeqCst);
                let seen = drainer.join().expect("drains");
                assert!(saw || seen, "round {round}");
            });
        }
    }

    /// Another drainer has said that it is taken, and not had its barrier yet: a
    /// store and a look that nothing else orders, which a few of 100,000 rounds
    /// show.
    #[test]
    fn who_finds_it_being_taken_overlooks_nothing() {
        #[repr(align(128))]
        struct Apart<T>(T);
        type Round = (
            Apart<Owner>,
            Apart<Tally>,
            Apart<AtomicBool>,
            Apart<AtomicBool>,
        );
        const ROUNDS: u64 = 100_000;
        prepare();
        let me = tls::address();
        let round = |_| -> Round {
            (
                Apart(Owner(AtomicU64::new(me))),
                Apart(Tally::new()),
                Apart(AtomicBool::new(false)),
                Apart(AtomicBool::new(false)),
            )
        };
        let rounds: Vec<Round> = (0..ROUNDS).map(round).collect();
        let (go, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let reaches = |word: &AtomicU64, n: u64| {
            while word.load(SeqCst) < n {
                std::hint::spin_loop();
            }
        };
        let mut missed = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (n, (owner, tally, idle, seen)) in (0..).zip(&rounds) {
                    // The owner's next store misses the cache.
                    tally.0.shared.store(0, SeqCst);
                    done.store(2 * n + 1, SeqCst);
                    reaches(&go, n + 1);
                    (0..n % 64).for_each(|_| std::hint::spin_loop());
                    owner.0.0.store(REVOKING, SeqCst);
                    owner.0.revoke();
                    idle.0.swap(true, SeqCst);
                    seen.0.store(tally.0.get() != 0, SeqCst);
                    done.store(2 * n + 2, SeqCst);
                }
            });
            for (n, (owner, tally, idle, seen)) in (0..).zip(&rounds) {
                reaches(&done, 2 * n + 1);
                let _ = idle.0.load(SeqCst);
                let role = owner.0.role();
                go.store(n + 1, SeqCst);
                (0..n / 64 % 64).for_each(|_| std::hint::spin_loop());
                tally.0.raise(role);
                owner.0.order(role);
                let saw = idle.0.load(SeqCst);
                reaches(&done, 2 * n + 2);
                missed += u32::from(!saw && !seen.0.load(SeqCst));
            }
        });
        assert_eq!(missed, 0);
    }
}
