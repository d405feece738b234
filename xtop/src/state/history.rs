//! The last snapshots, as series: what sparklines and timelines show.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use xsched_common::api::{DeviceRow, GateState, History as Past, HistoryPoint};
use xsched_common::units::{Class, Nanos};

use super::row::{Identity, Row};
use super::spread::{Spread, spread};

/// Snapshots that are remembered.
pub const LENGTH: usize = 1_800;

/// Snapshots for which a process is remembered that is gone.
const GONE: u64 = 180;

/// Samples of all processes together: of a thousand, each has fewer.
const MAX_SAMPLES: usize = 1 << 18;

/// Snapshots of whose bursts the lengths are remembered, of all processes.
const MAX_SPREADS: usize = 1 << 14;

/// Series that are kept: beyond these, new processes have no history.
const MAX_SERIES: usize = 2_048;

/// One process in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// P50 and P99 of the bursts in the window, if there were any.
    pub burst: Option<(Nanos, Nanos)>,
    /// The P99 that they are to reach, if there is a target.
    pub target: Option<Nanos>,
    /// Shares of the window in which its gate was open, capped and closed.
    pub gate_shares: Option<[f32; 3]>,
    /// P99 of the waits at the gate, if there were any.
    pub wait_p99: Option<Nanos>,
    /// Its gate, if it has one.
    pub gate: Option<GateState>,
    /// Launches per second.
    pub launches_per_s: f32,
    /// Estimated share of the device's time, where the agent says it.
    pub busy: Option<f32>,
}

/// A device in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceSample {
    /// The highest class with work.
    pub top: Option<Class>,
    /// Estimated share of its time in which it had work, where the agent says
    /// it.
    pub busy: Option<f32>,
    /// The same by class, lowest first.
    pub classes: [f32; Class::ALL.len()],
    /// The share of work that was not scheduled, where that is known.
    pub unscheduled: Option<f32>,
    /// The part of the last moments in which some kernel ran, whoever's.
    pub utilization: Option<f32>,
    /// Watts.
    pub power_w: Option<f32>,
}

/// A process over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the rows of a timeline say.
    pub command: String,
    /// Its class when last seen.
    pub class: Class,
    /// Its device when last seen.
    pub device: Option<String>,
    samples: VecDeque<(u64, Sample)>,
    spreads: VecDeque<(u64, Spread)>,
}

/// The last [`LENGTH`] snapshots. Time is counted in snapshots.
#[derive(Clone, Debug, Default)]
pub struct History {
    now: u64,
    times: VecDeque<u64>,
    processes: HashMap<Identity, Series>,
    devices: HashMap<String, VecDeque<(u64, DeviceSample)>>,
}

impl History {
    /// Takes in a snapshot.
    pub fn push(&mut self, time_unix_ns: u64, rows: &[Row], devices: &[DeviceRow]) {
        self.now += 1;
        push_bounded(&mut self.times, time_unix_ns, LENGTH);
        let oldest = self.now.saturating_sub(LENGTH as u64);
        self.processes.retain(|_, series| {
            series
                .samples
                .back()
                .is_some_and(|(tick, _)| *tick > self.now.saturating_sub(GONE))
        });
        let length = (MAX_SAMPLES / rows.len().max(1)).clamp(GONE as usize, LENGTH);
        let spreads = (MAX_SPREADS / rows.len().max(1)).clamp(16, 600);
        self.devices
            .retain(|_, samples| samples.back().is_some_and(|(tick, _)| *tick > oldest));
        for row in rows {
            let identity = row.identity();
            let full = self.processes.len() >= MAX_SERIES;
            if full && !self.processes.contains_key(&identity) {
                continue;
            }
            let series = self.processes.entry(identity).or_insert_with(|| Series {
                command: row.command.clone(),
                class: row.process.class,
                device: None,
                samples: VecDeque::new(),
                spreads: VecDeque::new(),
            });
            series.class = row.process.class;
            series.device.clone_from(&row.device);
            push_bounded(&mut series.samples, (self.now, sample(row)), length);
            if !row.process.burst_histogram.is_empty() {
                push_bounded(&mut series.spreads, (self.now, spread(row)), spreads);
            }
        }
        for device in devices {
            let full = self.devices.len() >= MAX_SERIES;
            if full && !self.devices.contains_key(&device.address) {
                continue;
            }
            let samples = self.devices.entry(device.address.clone()).or_default();
            let hardware = device.hardware.as_ref();
            let sample = DeviceSample {
                top: device.top_active,
                busy: device.busy_ratio.map(|ratio| ratio as f32),
                classes: Class::ALL.map(|class| {
                    let row = device.classes.iter().find(|row| row.class == class);
                    row.and_then(|row| row.busy_ratio).unwrap_or(0.0) as f32
                }),
                unscheduled: device
                    .unscheduled
                    .as_ref()
                    .and_then(|row| row.busy_ratio)
                    .map(|ratio| ratio as f32),
                utilization: hardware.and_then(|h| h.utilization).map(|u| u as f32),
                power_w: hardware.and_then(|h| h.power_w).map(|w| w as f32),
            };
            push_bounded(samples, (self.now, sample), LENGTH);
        }
    }

    /// The last `n` samples of a process, oldest first; none where it was not
    /// there.
    pub fn process(&self, identity: Identity, n: usize) -> Vec<Option<Sample>> {
        let samples = self.processes.get(&identity).map(|s| &s.samples);
        self.last(samples, n)
    }

    /// A device in the last `n` snapshots, oldest first; none where it was not
    /// there.
    pub fn device(&self, address: &str, n: usize) -> Vec<Option<DeviceSample>> {
        self.last(self.devices.get(address), n)
    }

    /// All of a process with seconds relative to now, oldest first.
    pub fn process_points(&self, identity: Identity) -> Vec<(f64, Sample)> {
        let samples = self.processes.get(&identity).map(|s| &s.samples);
        self.timed(samples)
    }

    /// All of a device with seconds relative to now, oldest first.
    pub fn device_points(&self, address: &str) -> Vec<(f64, DeviceSample)> {
        self.timed(self.devices.get(address))
    }

    /// How long a process's bursts took, with seconds relative to now.
    pub fn spread_points(&self, identity: Identity) -> Vec<(f64, &Spread)> {
        let spreads = self.processes.get(&identity).map(|s| &s.spreads);
        let spreads = spreads.into_iter().flatten();
        spreads
            .filter_map(|(tick, spread)| Some((self.seconds(*tick)?, spread)))
            .collect()
    }

    /// All the time that is remembered.
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.span(self.len()).0)
    }

    /// What the agent remembers of a process, as samples with seconds relative
    /// to the newest snapshot.
    pub fn past_points(&self, past: &Past) -> Vec<(f64, Sample)> {
        let newest = self.times.back().copied().unwrap_or(0);
        let sample = |point: &HistoryPoint| Sample {
            burst: point.burst_p50_ns.zip(point.burst_p99_ns),
            target: None,
            gate_shares: None,
            wait_p99: point.gate_wait_p99_ns,
            gate: None,
            launches_per_s: point.launches_per_s as f32,
            busy: point.busy_ratio.map(|ratio| ratio as f32),
        };
        past.points
            .iter()
            .filter(|point| point.time_unix_ns <= newest)
            .map(|point| (-((newest - point.time_unix_ns) as f64) / 1e9, sample(point)))
            .collect()
    }

    fn timed<T: Copy>(&self, samples: Option<&VecDeque<(u64, T)>>) -> Vec<(f64, T)> {
        let samples = samples.into_iter().flatten();
        samples
            .filter_map(|&(tick, sample)| Some((self.seconds(tick)?, sample)))
            .collect()
    }

    /// From the newest snapshot to that of `tick`: never positive.
    fn seconds(&self, tick: u64) -> Option<f64> {
        let back = usize::try_from(self.now - tick).ok()?;
        let at = self.times.get(self.times.len().checked_sub(back + 1)?)?;
        let newest = *self.times.back()?;
        Some(-(newest.saturating_sub(*at) as f64) / 1e9)
    }

    /// Processes that used a device and were there in the last `n` snapshots,
    /// by class and pid.
    pub fn users(&self, address: &str, n: usize) -> Vec<(Identity, &Series)> {
        let first = self.first(n);
        let mut users: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, series)| series.device.as_deref() == Some(address))
            .filter(|(_, series)| {
                series
                    .samples
                    .back()
                    .is_some_and(|(tick, _)| *tick >= first)
            })
            .map(|(identity, series)| (*identity, series))
            .collect();
        users.sort_by_key(|(identity, series)| {
            (
                std::cmp::Reverse(series.class),
                identity.pid,
                identity.start_time,
            )
        });
        users
    }

    /// What `past` knows of the time before the last `n` snapshots, in at most
    /// `columns` steps of `interval`, oldest first.
    pub fn before(
        &self,
        past: &Past,
        n: usize,
        columns: usize,
        interval: Duration,
    ) -> Vec<Option<HistoryPoint>> {
        let first = self.times.len().saturating_sub(n.max(1));
        let (Some(&start), Some(oldest)) = (self.times.get(first), past.points.first()) else {
            return Vec::new();
        };
        let step = u64::try_from(interval.as_nanos())
            .unwrap_or(u64::MAX)
            .max(1);
        // Each point covers a window of several intervals: a late one also
        // stands for the interval that its predecessor left open.
        let length = past.interval_ns.0.saturating_mul(2).max(1);
        let oldest = oldest.time_unix_ns.saturating_sub(length);
        let mut columns: Vec<_> = (1..=columns as u64)
            .map_while(|k| start.checked_sub(step.checked_mul(k)?))
            .take_while(|&time| time > oldest)
            .map(|time| {
                let after = past.points.partition_point(|p| p.time_unix_ns < time);
                let point = past.points.get(after).copied();
                point.filter(|p| p.time_unix_ns.saturating_sub(length) < time)
            })
            .collect();
        columns.reverse();
        columns
    }

    /// The time that the last `n` snapshots cover.
    pub fn span(&self, n: usize) -> Nanos {
        let first = self.times.len().saturating_sub(n.max(1));
        match (self.times.get(first), self.times.back()) {
            (Some(first), Some(last)) => Nanos(last.saturating_sub(*first)),
            _ => Nanos::ZERO,
        }
    }

    /// Snapshots remembered.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there was none yet.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    fn last<T: Copy>(&self, samples: Option<&VecDeque<(u64, T)>>, n: usize) -> Vec<Option<T>> {
        let first = self.first(n);
        let mut line = vec![None; n.min(self.len())];
        let Some(samples) = samples else {
            return line;
        };
        let shown = samples.partition_point(|(tick, _)| *tick < first);
        for &(tick, sample) in samples.range(shown..) {
            line[(tick - first) as usize] = Some(sample);
        }
        line
    }

    /// The tick of the first of the last `n` snapshots.
    fn first(&self, n: usize) -> u64 {
        self.now + 1 - n.min(self.len()) as u64
    }
}

fn sample(row: &Row) -> Sample {
    let process = &row.process;
    let burst = process.burst.filter(|latency| latency.count > 0);
    let wait = process.gate_wait.filter(|latency| latency.count > 0);
    Sample {
        burst: burst.map(|latency| (latency.p50_ns, latency.p99_ns)),
        target: process.slo.as_ref().map(|slo| slo.target_p99_ns),
        gate_shares: process.gate_shares.map(|s| {
            [
                s.open_ratio as f32,
                s.capped_ratio as f32,
                s.closed_ratio as f32,
            ]
        }),
        wait_p99: wait.map(|latency| latency.p99_ns),
        gate: process.gate.as_ref().map(|gate| gate.state),
        launches_per_s: process.launches_per_s as f32,
        busy: process.busy_ratio.map(|ratio| ratio as f32),
    }
}

/// A queue goes round all of its memory: that is why it gets no more than
/// `length` needs, where growing alone doubles.
fn push_bounded<T>(queue: &mut VecDeque<T>, value: T, length: usize) {
    while queue.len() >= length {
        queue.pop_front();
    }
    if queue.capacity() > 2 * length {
        queue.shrink_to(length);
    }
    if queue.len() == queue.capacity() {
        queue.reserve_exact((length - queue.len()).min(queue.len().max(4)));
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{row, service};

    #[test]
    fn absence_is_a_gap_and_the_past_is_bounded() {
        let mut history = History::default();
        let service = service();
        let identity = service.identity();
        assert!(history.process(identity, 10).is_empty());
        for second in 0..5 {
            let rows = match second {
                2 => vec![row(7, "other")],
                _ => vec![service.clone()],
            };
            history.push(second * 1_000_000_000, &rows, &[]);
        }
        let there: Vec<bool> = history
            .process(identity, 4)
            .iter()
            .map(Option::is_some)
            .collect();
        assert_eq!(there, [true, false, true, true]);
        assert_eq!(history.span(100), Nanos::from_secs(4));
        for second in 5..2_000 {
            history.push(second * 1_000_000_000, &[], &[]);
        }
        assert_eq!((history.len(), history.processes.len()), (LENGTH, 0));
    }

    /// With the memory of a thousand processes, that of their history.
    #[test]
    fn samples_take_no_more_memory_than_they_may() {
        let mut history = History::default();
        let mut rows: Vec<Row> = (0..MAX_SAMPLES as u32 / 300)
            .map(|pid| row(pid, "x"))
            .collect();
        let room = |history: &History| -> usize {
            let series = history.processes.values();
            series.map(|series| series.samples.capacity()).sum()
        };
        for second in 0..400 {
            history.push(second * 1_000_000_000, &rows, &[]);
        }
        assert!(room(&history) <= MAX_SAMPLES, "{}", room(&history));
        // Fewer have more, and give it back when they are many again.
        rows.truncate(10);
        for second in 400..LENGTH as u64 {
            history.push(second * 1_000_000_000, &rows, &[]);
        }
        assert_eq!(history.processes.len(), rows.len());
        assert!(room(&history) <= rows.len() * LENGTH, "{}", room(&history));
        rows.extend((10..2_000).map(|pid| row(pid, "x")));
        history.push(0, &rows, &[]);
        let of_first = history.processes[&rows[0].identity()].samples.capacity();
        assert!(of_first <= 2 * GONE as usize, "{of_first}");
    }

    #[test]
    fn the_agents_past_fills_the_columns_before_the_first_snapshot() {
        let mut history = History::default();
        let second = 1_000_000_000;
        for n in 100..103 {
            history.push(n * second, &[], &[]);
        }
        // Every second from 90 on; 92 is missing, and 95 to 97.
        let point = |n: u64| HistoryPoint {
            time_unix_ns: n * second,
            launches_per_s: n as f64,
            ..HistoryPoint::default()
        };
        let past = Past {
            pid: Some(7),
            interval_ns: Nanos(second),
            points: [90, 91, 93, 94, 98, 99, 100, 101].map(point).to_vec(),
        };
        let columns = |n, columns, ms| -> Vec<Option<u64>> {
            let step = Duration::from_millis(ms);
            let before = history.before(&past, n, columns, step);
            let rate = |p: Option<HistoryPoint>| p.map(|p| p.launches_per_s as u64);
            before.into_iter().map(rate).collect()
        };
        let expected = [93, 94, 0, 0, 98, 98, 99].map(|n| Some(n).filter(|n| *n > 0));
        assert_eq!(columns(3, 7, 1_000), expected);
        assert_eq!(columns(3, 100, 1_000).len(), 11, "no further than known");
        assert_eq!(columns(1, 2, 500), [Some(101), None]);
        assert!(
            History::default()
                .before(&past, 3, 9, Duration::ZERO)
                .is_empty()
        );
    }
}
