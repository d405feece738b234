//! Loom's exhaustive exploration of the protocols between threads and
//! processes. Where a protocol has a file of its own, this compiles that
//! very file against loom's atomics; the others are modelled after the
//! function that each model names. Every model has a twin with the defect
//! that the protocol exists to avoid, which must fail.
//!
//! Loom treats sequentially consistent accesses as acquire-release ones, so
//! [`atomic`] turns them into read-modify-writes: those see the last value
//! in one total order, which is what the standard promises for programs that
//! make all accesses in question sequentially consistent.

#[path = "../../xsched-common/src/page/activity.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod activity;
#[path = "../../xsched-common/src/page/label.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod label;
#[path = "../../crates/xsched-shim-core/src/inflight/seqlock.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod seqlock;

#[path = "../../crates/xsched-shim-core/src/captures.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "compiled for its protocol"
)]
mod captures;

#[path = "protocols/queue.rs"]
mod queue;

/// What the documentation of `activity` links to.
#[allow(dead_code, reason = "named in documentation only")]
struct Edges;

mod atomic {
    pub use loom::sync::atomic::{AtomicU8, Ordering, fence};

    macro_rules! total_order {
        ($name:ident, $word:ty) => {
            pub struct $name(loom::sync::atomic::$name);

            #[allow(dead_code, reason = "not every width needs every access")]
            impl $name {
                pub fn new(value: $word) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $word {
                    match order {
                        Ordering::SeqCst => self.0.fetch_or(0, Ordering::SeqCst),
                        _ => self.0.load(order),
                    }
                }
                pub fn store(&self, value: $word, order: Ordering) {
                    match order {
                        Ordering::SeqCst => drop(self.0.swap(value, Ordering::SeqCst)),
                        _ => self.0.store(value, order),
                    }
                }
                pub fn fetch_sub(&self, value: $word, order: Ordering) -> $word {
                    self.0.fetch_sub(value, order)
                }
                pub fn fetch_add(&self, value: $word, order: Ordering) -> $word {
                    self.0.fetch_add(value, order)
                }
                pub fn compare_exchange(
                    &self,
                    old: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    self.0.compare_exchange(old, new, success, failure)
                }
                // Without spurious failures, which only repeat a loop.
                pub fn compare_exchange_weak(
                    &self,
                    old: $word,
                    new: $word,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$word, $word> {
                    self.0.compare_exchange(old, new, success, failure)
                }
            }
        };
    }
    total_order!(AtomicU32, u32);
    total_order!(AtomicU64, u64);
}

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};

use activity::{ActivityWord, Settled};
use atomic::{AtomicU8, AtomicU32, AtomicU64, fence};
use captures::Captures;
use label::{Label, LabelState};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use seqlock::Entry;
use xsched_common::gate::{GateMode, GateWord};

/// Explores all interleavings with up to three preemptions, the number that
/// the defects below need to show.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_up_to(3, model);
}

fn explore_up_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

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

/// What the doorbell and the page say to the agent.
struct Device {
    activity: ActivityWord,
    wanted: AtomicU32,
    rings: AtomicU32,
    launched: AtomicU64,
    completed: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
enum Ring {
    WhenWanted,
    NotAgain,
}

impl Device {
    fn new(launched: u64) -> Arc<Device> {
        Arc::new(Device {
            activity: ActivityWord(AtomicU64::new(launched & 1)),
            wanted: AtomicU32::new(0),
            rings: AtomicU32::new(0),
            launched: AtomicU64::new(launched),
            completed: AtomicU64::new(0),
        })
    }

    /// `Session::ring_if_wanted`.
    fn ring_if_wanted(&self) {
        if self.wanted.load(SeqCst) != 0 {
            self.rings.fetch_add(1, SeqCst);
        }
    }

    /// `gate::admit`: counts, then looks.
    fn launch(&self) {
        self.launched.fetch_add(1, SeqCst);
        if !self.activity.load().active && self.activity.set_active() {
            self.ring_if_wanted();
        }
    }

    /// A synchronisation that returned, and `DeviceWork::settle`.
    fn complete(&self, sequence: u64, ring: Ring) {
        self.completed.store(sequence, SeqCst);
        let busy = || self.launched.load(SeqCst) != self.completed.load(SeqCst);
        if self.activity.settle(busy) == Settled::ActiveAgain && ring == Ring::WhenWanted {
            self.ring_if_wanted();
        }
    }

    /// The agent arms the edge and then looks; whether it knows of the work.
    fn arm_and_look(&self) -> bool {
        self.wanted.store(1, Release);
        fence(SeqCst);
        self.activity.load().active
    }
}

#[test]
fn the_agent_hears_of_an_edge_or_sees_it() {
    explore(|| {
        let device = Device::new(0);
        let launchers: Vec<_> = (0..2)
            .map(|_| {
                let device = device.clone();
                thread::spawn(move || device.launch())
            })
            .collect();
        let saw = device.arm_and_look();
        for launcher in launchers {
            launcher.join().expect("launches");
        }
        let rings = device.rings.load(SeqCst);
        assert!(saw || rings > 0, "missed");
        assert!(rings <= 1, "one edge, one ring");
    });
}

#[test]
#[should_panic(expected = "missed")]
fn an_agent_that_looks_before_it_arms_misses_edges() {
    explore(|| {
        let device = Device::new(0);
        let launcher = {
            let device = device.clone();
            thread::spawn(move || device.launch())
        };
        let saw = device.activity.load().active;
        device.wanted.store(1, SeqCst);
        launcher.join().expect("launches");
        assert!(saw || device.rings.load(SeqCst) > 0, "missed");
    });
}

/// One thread's synchronisation ends while another launches and the agent
/// looks.
fn settling(ring: Ring) {
    explore(move || {
        let device = Device::new(1);
        let launcher = {
            let device = device.clone();
            thread::spawn(move || device.launch())
        };
        let drainer = {
            let device = device.clone();
            thread::spawn(move || device.complete(1, ring))
        };
        let saw = device.arm_and_look();
        launcher.join().expect("launches");
        drainer.join().expect("completes");
        assert!(device.activity.load().active, "there is work");
        assert!(saw || device.rings.load(SeqCst) > 0, "missed");
    });
}

#[test]
fn work_launched_while_another_thread_settles_is_announced() {
    settling(Ring::WhenWanted);
}

#[test]
#[should_panic(expected = "missed")]
fn a_silent_return_to_active_is_missed() {
    settling(Ring::NotAgain);
}

fn label() -> Arc<Label<2>> {
    Arc::new(Label {
        state: AtomicU32::new(LabelState::Free as u32),
        bytes: [AtomicU8::new(0), AtomicU8::new(0)],
    })
}

/// `CallerSlot::claim` and `CallerSlot::name`.
#[test]
fn a_label_has_one_writer_and_is_read_whole() {
    explore(|| {
        let label = label();
        let claimers: Vec<_> = [*b"aa", *b"bb"]
            .into_iter()
            .map(|name| {
                let label = label.clone();
                thread::spawn(move || label.claim(&name))
            })
            .collect();
        let mut buffer = [0; 2];
        if let Some(name) = label.read(&mut buffer) {
            assert!(name == b"aa" || name == b"bb", "torn: {name:?}");
        }
        let won = claimers
            .into_iter()
            .filter_map(|claimer| claimer.join().expect("claims").then_some(()))
            .count();
        assert_eq!(won, 1);
        assert!(label.read(&mut buffer).is_some());
    });
}

#[test]
#[should_panic(expected = "torn")]
fn a_label_published_before_its_bytes_is_torn() {
    explore(|| {
        let label = label();
        let claimer = {
            let label = label.clone();
            thread::spawn(move || {
                label.state.store(LabelState::Ready as u32, Relaxed);
                for byte in &label.bytes {
                    byte.store(b'a', Relaxed);
                }
            })
        };
        let mut buffer = [0; 2];
        if let Some(name) = label.read(&mut buffer) {
            assert!(name == b"aa", "torn: {name:?}");
        }
        claimer.join().expect("claims");
    });
}

fn entry() -> Arc<Entry<1>> {
    Arc::new(Entry {
        version: AtomicU64::new(0),
        key: AtomicU64::new(1),
        value: [AtomicU64::new(10)],
    })
}

/// `inflight::EventTable`: two events share an entry.
#[test]
fn a_seqlock_never_pairs_a_key_with_anothers_value() {
    // Three would take minutes.
    explore_up_to(2, || {
        let entry = entry();
        let writers: Vec<_> = [(2, 20), (3, 30)]
            .into_iter()
            .map(|(key, value)| {
                let entry = entry.clone();
                thread::spawn(move || entry.write(key, [value]))
            })
            .collect();
        if let Some(value) = entry.read(2) {
            assert_eq!(value, [20], "torn");
        }
        for writer in writers {
            writer.join().expect("writes");
        }
        entry.remove(2);
        assert_eq!(entry.read(2), None);
    });
}

#[test]
#[should_panic(expected = "torn")]
fn two_words_without_a_version_are_torn() {
    explore(|| {
        let entry = entry();
        let writer = {
            let entry = entry.clone();
            thread::spawn(move || {
                entry.key.store(2, SeqCst);
                entry.value[0].store(20, SeqCst);
            })
        };
        if let Some(value) = entry.read(2) {
            assert_eq!(value, [20], "torn");
        }
        writer.join().expect("writes");
    });
}

/// A capture begins as `hip::hooks` does it, while another thread polls a
/// fence as `hip::fence` does it.
fn capture_beside_a_fence(order: MarkOrder) {
    explore(move || {
        let captures = Arc::new(Captures::<1>::of(
            AtomicU32::new(0),
            AtomicU32::new(0),
            [AtomicU64::new(0)],
        ));
        // The runtime's own state: whether a capture is active there.
        let active = Arc::new(AtomicU32::new(0));
        let (theirs, runtime) = (captures.clone(), active.clone());
        let other = thread::spawn(move || {
            if let Some(_guard) = theirs.forbid() {
                // Asking now would invalidate an active capture.
                assert_eq!(runtime.load(SeqCst), 0, "asked during a capture");
            }
        });
        let begin = || {
            captures.begin(16);
            while !captures.is_quiet() {
                thread::yield_now();
            }
        };
        match order {
            MarkOrder::BeforeTheCall => {
                begin();
                active.store(1, SeqCst);
            }
            MarkOrder::AfterTheCall => {
                active.store(1, SeqCst);
                begin();
            }
        }
        active.store(0, SeqCst);
        captures.end(16);
        other.join().expect("the other thread's assertion holds");
    });
}

#[derive(Clone, Copy)]
enum MarkOrder {
    BeforeTheCall,
    AfterTheCall,
}

#[test]
fn no_fence_is_asked_about_during_a_capture() {
    capture_beside_a_fence(MarkOrder::BeforeTheCall);
}

#[test]
#[should_panic(expected = "asked during a capture")]
fn marking_a_capture_after_it_began_is_too_late() {
    capture_beside_a_fence(MarkOrder::AfterTheCall);
}
