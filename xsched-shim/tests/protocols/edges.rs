//! Edges of a client's activity: the agent hears of one or sees it.

use super::*;

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

    /// `gate::admit` of any thread but the owner (`owner.rs` has a test of that
    /// one: loom knows no membarrier): counts, then looks.
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
