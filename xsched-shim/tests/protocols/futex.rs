//! Waits at a gate: no wake is lost between a look and a sleep.

use super::*;

/// A futex as futex(2) describes it: the comparison and the decision to
/// sleep are one step with respect to wakes. No timeout: what loses a wake
/// sleeps for ever, and loom reports the deadlock.
struct Futex {
    word: AtomicU32,
    /// The status page's count.
    waiting: AtomicU32,
    queue: Mutex<()>,
    sleepers: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
enum Compare {
    Word,
    Nothing,
}

impl Futex {
    fn new(word: GateWord) -> Futex {
        Futex {
            word: AtomicU32::new(word.0),
            waiting: AtomicU32::new(0),
            queue: Mutex::new(()),
            sleepers: Condvar::new(),
        }
    }

    fn wait(&self, expected: u32, compare: Compare) {
        let queue = self.queue.lock().expect("not poisoned");
        if compare == Compare::Nothing || self.word.load(SeqCst) == expected {
            drop(self.sleepers.wait(queue).expect("not poisoned"));
        }
    }

    /// The agent's `set_word` and `wake` (control/device.rs).
    fn set(&self, mode: GateMode, count: Count) {
        let before = self.waiting.load(SeqCst);
        let word = GateWord(self.word.load(Relaxed));
        // The agent's release store and the fence behind it, as one step:
        // loom orders a plain store and this model's loads only by chance.
        self.word.store(word.next(mode).0, SeqCst);
        if !word.mode().allows_less_than(mode) {
            return;
        }
        let waiting = match count {
            Count::AfterTheWord => self.waiting.load(SeqCst),
            Count::BeforeTheWord => before,
        };
        if waiting != 0 {
            drop(self.queue.lock().expect("not poisoned"));
            self.sleepers.notify_all();
        }
    }

    /// `gate::wait::wait`, without its guards.
    fn pass(&self, compare: Compare) {
        let mut counted = false;
        loop {
            let word = GateWord(self.word.load(SeqCst));
            if word.is_open() {
                break;
            }
            if !counted {
                counted = true;
                self.waiting.fetch_add(1, SeqCst);
            }
            self.wait(word.0, compare);
        }
        if counted {
            self.waiting.fetch_sub(1, SeqCst);
        }
    }
}

/// When the agent looks whether anybody waits.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    AfterTheWord,
    BeforeTheWord,
}

fn gate(compare: Compare, count: Count) {
    explore(move || {
        let futex = Arc::new(Futex::new(GateWord::new(GateMode::Capped(1), 7)));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let futex = futex.clone();
                thread::spawn(move || futex.pass(compare))
            })
            .collect();
        futex.set(GateMode::Closed, count);
        futex.set(GateMode::Open, count);
        for waiter in waiters {
            waiter.join().expect("passes");
        }
    });
}

#[test]
fn no_wake_is_lost_between_look_and_sleep() {
    gate(Compare::Word, Count::AfterTheWord);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleep_without_comparison_loses_wakes() {
    gate(Compare::Nothing, Count::AfterTheWord);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_agent_that_counts_before_it_opens_loses_wakes() {
    gate(Compare::Word, Count::BeforeTheWord);
}
