//! The disciplines in virtual time: processes with rings on one service clock, stepped event by event.

use super::fifo;
use super::rings::{Announce, Host, Rings, Sharing, Work};
use super::share::{Level, Snapshot};

const US: u64 = 1_000;

/// Records what finished when; everything may start at once.
#[derive(Default)]
struct Log {
    finished: Vec<(u32, u64)>,
    busy_until: u64,
    now: u64,
    blocked: Option<u32>,
}

impl Host<u32> for Log {
    fn may_start(&self, payload: &u32) -> bool {
        self.blocked != Some(*payload)
    }
    fn finished(&mut self, payload: u32, service: u64) {
        self.finished.push((payload, service));
    }
    fn reserve(&mut self, service: u64) -> u64 {
        self.busy_until = fifo::reserve(self.busy_until, self.now, service);
        self.busy_until
    }
}

fn snapshot(active: u64) -> Snapshot {
    Snapshot {
        active: [0, active, 0],
        ..Snapshot::default()
    }
}

fn service(clock: &Snapshot) -> u64 {
    clock.service[Level::Normal as usize]
}

#[test]
fn alone_runs_at_full_speed() {
    let ends = [100 * US];
    let clock = snapshot(1).advance(40 * US, |slot| ends[slot]);
    assert_eq!(service(&clock), 40 * US);
    assert_eq!(
        snapshot(1).time_at(Level::Normal, 100 * US, |slot| ends[slot]),
        100 * US
    );
}

#[test]
fn two_saturating_processes_get_half_each() {
    let clock = snapshot(0b11).advance(1_000 * US, |_| u64::MAX);
    assert_eq!(service(&clock), 500 * US);
}

#[test]
fn a_drained_process_gives_its_share_back_at_that_moment() {
    // Slot 0 has 10 us, slot 1 has 50 us: both run at half speed until 20 us, then slot 1 alone for its other 40 us.
    let ends = [10 * US, 50 * US];
    let end = |slot: usize| ends[slot];
    assert_eq!(snapshot(0b11).time_at(Level::Normal, 10 * US, end), 20 * US);
    assert_eq!(snapshot(0b11).time_at(Level::Normal, 50 * US, end), 60 * US);
    let late = snapshot(0b11).advance(60 * US, end);
    assert_eq!(
        service(&late),
        50 * US,
        "a late observer computes the same clock"
    );
    assert_eq!(late.anybody(), 0);
}

#[test]
fn splitting_an_interval_loses_nothing() {
    let mut clock = snapshot(0b111);
    for now in (0..=3_000_001).step_by(7) {
        clock = clock.advance(now, |_| u64::MAX);
    }
    let clock = clock.advance(3_000_001, |_| u64::MAX);
    assert_eq!(service(&clock), 1_000_000);
}

/// Slot 0 is low, slots 1 and 2 are high, with 30, 10 and 20 us of work.
#[test]
fn lower_levels_stand_still_while_a_higher_one_has_work() {
    let ends = [30 * US, 10 * US, 20 * US];
    let end = |slot: usize| ends[slot];
    let start = Snapshot::default()
        .with(0, Level::Low)
        .with(1, Level::High)
        .with(2, Level::High);
    assert_eq!(
        start.time_at(Level::High, 10 * US, end),
        20 * US,
        "half speed each"
    );
    assert_eq!(start.time_at(Level::High, 20 * US, end), 30 * US, "alone");
    assert_eq!(
        start.time_at(Level::Low, 30 * US, end),
        60 * US,
        "behind them"
    );
    assert_eq!(
        start.time_at(Level::Normal, 5 * US, end),
        35 * US,
        "before it"
    );
    let amid = start.advance(25 * US, end);
    assert_eq!(amid.service[Level::Low as usize], 0);
    assert_eq!(amid.service[Level::High as usize], 15 * US);
    assert_eq!(
        amid.advance(45 * US, end).service[Level::Low as usize],
        15 * US
    );
    let over = start.advance(100 * US, end);
    assert_eq!((over.anybody(), over.at), (0, 100 * US));
    // In many steps it is the same.
    let mut steps = start;
    for now in (0..=100 * US).step_by(777) {
        steps = steps.advance(now, end);
    }
    assert_eq!(steps.advance(100 * US, end), over);
}

#[test]
fn rings_share_the_process_and_keep_their_order() {
    let mut rings = Rings::new(Sharing::Equal);
    let mut log = Log::default();
    rings.push(0, Work::Service(10), Announce::AtPush, 1, &mut log);
    rings.push(0, Work::Service(10), Announce::AtPush, 2, &mut log);
    rings.push(1, Work::Service(5), Announce::AtPush, 3, &mut log);
    assert_eq!(rings.announced_work(), 25);
    rings.advance(100, &mut log);
    // Both at half speed until 3 ends at 10; then ring 0 alone: 1 has 5 left, 2 follows.
    assert_eq!(log.finished, [(3, 10), (1, 15), (2, 25)]);
    assert!(rings.is_empty());
    assert_eq!(rings.announced_work(), 0);
}

#[test]
fn a_kernel_starts_at_the_computed_end_of_the_one_before() {
    let mut rings = Rings::new(Sharing::Equal);
    let mut log = Log::default();
    for kernel in 0..1_000 {
        rings.push(
            0,
            Work::Service(100 * US),
            Announce::AtPush,
            kernel,
            &mut log,
        );
    }
    // Looked at only now and then, and late.
    for look in 1..=35 {
        rings.advance(look * 3_000 * US, &mut log);
    }
    assert!(
        log.finished
            .iter()
            .all(|(kernel, at)| *at == u64::from(kernel + 1) * 100 * US)
    );
    assert_eq!(log.finished.len(), 1_000);
}

#[test]
fn work_behind_the_host_is_announced_only_when_it_can_run() {
    let mut rings = Rings::new(Sharing::Equal);
    let mut log = Log::default();
    rings.push(0, Work::External, Announce::AtPush, 1, &mut log);
    rings.push(0, Work::Service(10), Announce::AtPush, 2, &mut log);
    rings.push(1, Work::Service(10), Announce::AtStart, 3, &mut log);
    log.blocked = Some(3);
    rings.advance(50, &mut log);
    assert_eq!(rings.announced_work(), 0, "everything waits for the host");
    assert_eq!(rings.external_heads().count(), 1);
    rings.take_external(0);
    assert_eq!(rings.external_heads().count(), 0);
    rings.complete_external(0, &mut log);
    assert_eq!(rings.announced_work(), 10);
    log.blocked = None;
    rings.advance(100, &mut log);
    assert_eq!(log.finished, [(1, 50), (2, 70), (3, 70)]);
}

#[test]
fn waits_end_no_later_than_estimated() {
    let mut rings = Rings::new(Sharing::Equal);
    let mut log = Log::default();
    let first = rings.push(0, Work::Service(10), Announce::AtPush, 1, &mut log);
    let last = rings.push(0, Work::Service(30), Announce::AtPush, 2, &mut log);
    rings.advance(4, &mut log);
    assert_eq!(rings.earliest_end(0, first), 10);
    assert_eq!(rings.earliest_end(0, last), 40);
    assert_eq!(rings.earliest_finish(), Some(10));
}

#[test]
fn fifo_serves_in_order_of_arrival_and_one_at_a_time() {
    let mut log = Log::default();
    let mut first = Rings::new(Sharing::Reserved);
    let mut second = Rings::new(Sharing::Reserved);
    first.push(0, Work::Service(10), Announce::AtPush, 1, &mut log);
    second.push(0, Work::Service(5), Announce::AtPush, 2, &mut log);
    first.push(1, Work::Service(10), Announce::AtPush, 3, &mut log);
    first.advance(100, &mut log);
    second.advance(100, &mut log);
    assert_eq!(log.finished, [(1, 10), (3, 25), (2, 15)]);
    // The device was idle since 25: the next kernel starts when it arrives.
    log.now = 100;
    first.push(0, Work::Service(7), Announce::AtPush, 4, &mut log);
    first.advance(107, &mut log);
    assert_eq!(log.finished.last(), Some(&(4, 107)));
}

#[test]
fn a_refund_never_passes_the_last_reservation() {
    assert_eq!(fifo::refund(1_000, 400, 10_000), 600);
    assert_eq!(fifo::refund(1_000, 400, 100), 100);
    assert_eq!(fifo::refund(1_000, 2_000, 100), 0);
}

/// Seeded exponential interarrival times.
struct Poisson {
    state: u64,
    mean: f64,
    next: f64,
}

impl Poisson {
    fn new(seed: u64, mean: f64) -> Self {
        let mut arrivals = Self {
            state: seed,
            mean,
            next: 0.0,
        };
        arrivals.take();
        arrivals
    }

    /// The next arrival; the one after it takes its place.
    fn take(&mut self) -> u64 {
        let now = self.next;
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        self.next -= uniform.ln() * self.mean;
        now as u64
    }
}

const SEED: u64 = 88_172_645_463_325_252;

/// Mean wait in an M/D/1 queue (Pollaczek-Khinchine): load / (2 (1 - load)) service times.
#[test]
fn fifo_matches_the_m_d_1_formula() {
    let service = 1_000_000u64;
    for load in [0.3, 0.5, 0.8] {
        let mut arrivals = Poisson::new(SEED, service as f64 / load);
        let (mut busy, mut waited) = (0u64, 0u64);
        let requests = 2_000_000u32;
        for _ in 0..requests {
            let arrival = arrivals.take();
            busy = fifo::reserve(busy, arrival, service);
            waited += busy - service - arrival;
        }
        let mean = waited as f64 / f64::from(requests) / service as f64;
        let formula = load / (2.0 * (1.0 - load));
        let error = mean / formula - 1.0;
        assert!(error.abs() < 0.02, "load {load}: {mean} for {formula}");
    }
}

/// Two classes in front of the device, of which a free device gets the more urgent one's work first and runs it to its end:
/// Cobham's mean waits with R the mean residual service, R / (1 - a) and R / ((1 - a) (1 - a - b)).
#[test]
fn work_chosen_by_priority_matches_cobhams_formula() {
    let service = [1_000_000u64, 3_000_000];
    let load = [0.3, 0.4];
    let mut arrivals = [0, 1].map(|class| {
        let mean = service[class] as f64 / load[class];
        Poisson::new(SEED ^ (class as u64 * 0x9e37_79b9), mean)
    });
    let (mut busy, mut waited, mut served) = (0u64, [0u64; 2], [0u32; 2]);
    while served[1] < 1_000_000 {
        // When the device becomes free, or the next work arrives if none is there.
        let now = busy.max(arrivals[0].next.min(arrivals[1].next) as u64);
        let class = usize::from(arrivals[0].next as u64 > now);
        let arrival = arrivals[class].take();
        busy = fifo::reserve(busy, arrival, service[class]);
        waited[class] += busy - service[class] - arrival;
        served[class] += 1;
    }
    let residual = (0..2)
        .map(|class| load[class] * service[class] as f64 / 2.0)
        .sum::<f64>();
    let formula = [
        residual / (1.0 - load[0]),
        residual / ((1.0 - load[0]) * (1.0 - load[0] - load[1])),
    ];
    for class in 0..2 {
        let mean = waited[class] as f64 / f64::from(served[class]);
        let error = mean / formula[class] - 1.0;
        assert!(
            error.abs() < 0.02,
            "class {class}: {mean} ns for {}",
            formula[class]
        );
    }
}
