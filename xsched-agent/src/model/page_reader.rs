//! Reading a client's page: monotone counts out of memory that its writer
//! may fill with anything.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::Guard;
use xsched_common::page::{CALLER_NAME_LEN, HistogramCounts, MAX_DEVICES, Route, StatusPage};
use xsched_common::units::StreamClass;
use xsched_host::text::printable;

/// Launches of one calling library, as its page counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageLaunches {
    pub gated: u64,
    pub passthrough: u64,
    pub default_stream: u64,
}

impl PageLaunches {
    fn since(self, earlier: PageLaunches) -> PageLaunches {
        // A client that counts backwards gains nothing: zero, not 2^64.
        PageLaunches {
            gated: self.gated.saturating_sub(earlier.gated),
            passthrough: self.passthrough.saturating_sub(earlier.passthrough),
            default_stream: self.default_stream.saturating_sub(earlier.default_stream),
        }
    }

    pub fn add(&mut self, more: PageLaunches) {
        self.gated = self.gated.saturating_add(more.gated);
        self.passthrough = self.passthrough.saturating_add(more.passthrough);
        self.default_stream = self.default_stream.saturating_add(more.default_stream);
    }

    pub fn total(self) -> u64 {
        self.gated.saturating_add(self.passthrough)
    }
}

/// What has happened on a page since the last look.
pub(crate) struct PageChange {
    pub callers: BTreeMap<String, PageLaunches>,
    pub bursts: HistogramCounts,
    pub gate_waits: HistogramCounts,
    pub busy_ns: [u64; MAX_DEVICES],
    pub guards: [u64; Guard::COUNT],
}

/// Remembers the last look at one page.
#[derive(Default)]
pub(crate) struct PageReader {
    callers: BTreeMap<String, PageLaunches>,
    bursts: HistogramCounts,
    gate_waits: HistogramCounts,
    busy_ns: [u64; MAX_DEVICES],
    guards: [u64; Guard::COUNT],
    launches: u64,
    glance: u64,
    /// Looks since something was new.
    quiet: u32,
}

/// A page on which so many looks found nothing is read in full only at every
/// [`FULL_LOOKS`]th: a thousand idle pages are more than a cache holds.
const QUIET: u32 = 10;
const FULL_LOOKS: u32 = 4;

/// The counts that change with whatever goes through the gate; launches past
/// it on purpose are in none of them.
fn glance(page: &StatusPage) -> u64 {
    let admitted = page.devices.iter().map(|device| &device.admitted);
    let counts = admitted.chain(&page.guards).chain([&page.waits]);
    counts.fold(0, |sum, n| sum.wrapping_add(n.load(Relaxed)))
}

/// Launches of all libraries that are named. Tells whether any was made
/// since: a page whose sum stays while its counts change counts backwards.
pub(super) fn sum_of_launches(page: &StatusPage) -> u64 {
    let mut name = [0; CALLER_NAME_LEN];
    let mut sum = 0u64;
    for slot in &page.callers {
        if slot.name(&mut name).is_some() {
            let counts = slot.launches.iter().flatten();
            sum = counts.fold(sum, |sum, n| sum.wrapping_add(n.load(Relaxed)));
        }
    }
    sum
}

impl PageReader {
    /// Whether there is nothing to read since the last look: the common case
    /// by far on a machine with many processes. What goes on past the gate is
    /// noticed a few looks late after a silence.
    pub fn is_current(&mut self, page: &StatusPage) -> bool {
        let resting = self.quiet >= QUIET && !self.quiet.is_multiple_of(FULL_LOOKS);
        let current = match resting && glance(page) == self.glance {
            true => true,
            false => self.nothing_new(page),
        };
        self.quiet = match current {
            true => self.quiet.wrapping_add(1),
            false => 0,
        };
        current
    }

    fn nothing_new(&self, page: &StatusPage) -> bool {
        let guards = page.guards.iter().zip(&self.guards);
        let busy = page.devices.iter().map(|device| &device.busy_ns);
        guards
            .chain(busy.zip(&self.busy_ns))
            .all(|(now, then)| now.load(Relaxed) == *then)
            && sum_of_launches(page) == self.launches
            && page.bursts.equals(&self.bursts)
            && page.gate_waits.equals(&self.gate_waits)
    }

    pub fn read(&mut self, page: &StatusPage) -> PageChange {
        // Before the counts: what comes in between is read again.
        let (launches, glance) = (sum_of_launches(page), glance(page));
        let mut callers: BTreeMap<String, PageLaunches> = BTreeMap::new();
        let mut name = [0; CALLER_NAME_LEN];
        for slot in &page.callers {
            let Some(name) = slot.name(&mut name) else {
                continue;
            };
            let mut launches = PageLaunches::default();
            for stream in 0..StreamClass::COUNT {
                let gated = slot.launches[Route::Gated as usize][stream].load(Relaxed);
                let passed = slot.launches[Route::Passthrough as usize][stream].load(Relaxed);
                launches.gated = launches.gated.saturating_add(gated);
                launches.passthrough = launches.passthrough.saturating_add(passed);
                if StreamClass::from_raw(stream as u8).is_some_and(StreamClass::is_default) {
                    launches.default_stream = launches
                        .default_stream
                        .saturating_add(gated)
                        .saturating_add(passed);
                }
            }
            if launches.total() > 0 {
                let name = printable(&String::from_utf8_lossy(name));
                callers.entry(name).or_default().add(launches);
            }
        }
        let (bursts, gate_waits) = (page.bursts.counts(), page.gate_waits.counts());
        let guards = page.guards.each_ref().map(|n| n.load(Relaxed));
        let busy_ns = page.devices.each_ref().map(|d| d.busy_ns.load(Relaxed));
        let change = PageChange {
            callers: callers
                .iter()
                .map(|(name, now)| {
                    let before = self.callers.get(name).copied().unwrap_or_default();
                    (name.clone(), now.since(before))
                })
                .collect(),
            bursts: bursts.since(&self.bursts),
            gate_waits: gate_waits.since(&self.gate_waits),
            busy_ns: std::array::from_fn(|device| {
                busy_ns[device].saturating_sub(self.busy_ns[device])
            }),
            guards: std::array::from_fn(|guard| guards[guard].saturating_sub(self.guards[guard])),
        };
        *self = PageReader {
            callers,
            bursts,
            gate_waits,
            busy_ns,
            guards,
            launches,
            glance,
            quiet: 0,
        };
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::Nanos;

    fn assert_each_count_is_noticed(reader: &mut PageReader, page: &StatusPage) {
        let created = StreamClass::Created as usize;
        let counts: [&dyn Fn(); 5] = [
            &|| page.gate_waits.record(Nanos(1)),
            &|| page.bursts.record(Nanos(1)),
            &|| {
                page.guards[0].fetch_add(1, Relaxed);
            },
            &|| {
                page.devices[MAX_DEVICES - 1].busy_ns.fetch_add(1, Relaxed);
            },
            &|| {
                page.callers[0].launches[0][created].fetch_add(1, Relaxed);
            },
        ];
        for (at, count) in counts.into_iter().enumerate() {
            count();
            assert!(!reader.is_current(page), "count {at}");
            reader.read(page);
            assert!(reader.is_current(page), "count {at}");
        }
    }

    #[test]
    fn a_page_is_read_in_steps() {
        let page = StatusPage::new();
        assert!(page.callers[0].claim(b"libtorch_hip.so"));
        let mut reader = PageReader::default();
        assert!(reader.is_current(&page), "nothing was launched");
        page.callers[0].launches[Route::Gated as usize][StreamClass::Null as usize]
            .store(5, Relaxed);
        page.callers[0].launches[Route::Passthrough as usize][StreamClass::Created as usize]
            .store(2, Relaxed);
        page.bursts.record(Nanos::from_millis(3));
        assert!(!reader.is_current(&page));
        let change = reader.read(&page);
        assert!(reader.is_current(&page));
        assert_each_count_is_noticed(&mut reader, &page);
        let torch = change.callers["libtorch_hip.so"];
        assert_eq!(
            torch,
            PageLaunches {
                gated: 5,
                passthrough: 2,
                default_stream: 5
            }
        );
        assert_eq!(change.bursts.total(), 1);
        assert!(page.callers[63].claim(b"(others)"));
        let change = reader.read(&page);
        assert!(
            !change.callers.contains_key("(others)"),
            "it has launched nothing"
        );
        assert_eq!(change.callers["libtorch_hip.so"].total(), 0);
        assert_eq!(change.bursts.total(), 0);
    }

    #[test]
    fn a_silent_page_is_read_seldom_and_never_missed() {
        let page = StatusPage::new();
        assert!(page.callers[0].claim(b"liba.so"));
        let mut reader = PageReader::default();
        let rest = |reader: &mut PageReader| {
            for _ in 0..4 * QUIET {
                assert!(reader.is_current(&page));
            }
        };
        rest(&mut reader);
        page.devices[0].admitted.fetch_add(1, Relaxed);
        page.callers[0].launches[0][0].fetch_add(1, Relaxed);
        assert!(!reader.is_current(&page), "through the gate: at once");
        reader.read(&page);
        rest(&mut reader);
        page.callers[0].launches[1][0].fetch_add(1, Relaxed);
        let looks = (1..).take(FULL_LOOKS as usize);
        let noticed = looks.filter(|_| !reader.is_current(&page)).count();
        assert!(noticed > 0, "past the gate: soon");
    }

    #[test]
    fn a_hostile_page_harms_only_its_own_numbers() {
        let page = StatusPage::new();
        assert!(page.callers[0].claim(b"\x1b[2Jevil\xff"));
        let count = &page.callers[0].launches[0][0];
        count.store(u64::MAX, Relaxed);
        page.callers[0].launches[1][1].store(u64::MAX, Relaxed);
        let mut reader = PageReader::default();
        let change = reader.read(&page);
        let name = change.callers.keys().next().expect("one caller");
        assert!(!name.chars().any(char::is_control));
        count.store(3, Relaxed);
        assert_eq!(reader.read(&page).callers[name].gated, 0, "backwards");
    }
}
