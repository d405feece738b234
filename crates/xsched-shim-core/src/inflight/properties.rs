//! The table of streams against a reference: a list of streams with what is
//! outstanding on each.

use std::collections::HashMap;

use proptest::prelude::*;
use xsched_common::units::DeviceIndex;

use super::{Fence, Implied, STREAMS, StreamInfo, StreamKey, StreamOrdering, StreamTable};
use crate::owner::Role;

const DEVICES: u8 = 2;

#[derive(Clone, Debug)]
enum Step {
    /// So many commands on a stream.
    Launch(u16, u8),
    /// A synchronisation that began now, and during which so many commands
    /// were launched on the stream.
    Sync(u16, u8),
    /// The same for all of a device's streams.
    DeviceSync(u8),
    Destroy(u16),
    /// A fence now, remembered if there is room.
    Fence(u16),
    /// The oldest fence of a stream is complete.
    Reap(u16),
    /// News of a command that never was.
    Nonsense(u16, u64),
}

fn steps(streams: u16) -> impl Strategy<Value = Vec<Step>> {
    let stream = 0..streams;
    let step = prop_oneof![
        6 => (stream.clone(), 1u8..20).prop_map(|(s, n)| Step::Launch(s, n)),
        3 => (stream.clone(), 0u8..3).prop_map(|(s, n)| Step::Sync(s, n)),
        1 => (0..DEVICES).prop_map(Step::DeviceSync),
        1 => stream.clone().prop_map(Step::Destroy),
        2 => stream.clone().prop_map(Step::Fence),
        2 => stream.clone().prop_map(Step::Reap),
        1 => (stream, any::<u64>()).prop_map(|(s, n)| Step::Nonsense(s, n)),
    ];
    prop::collection::vec(step, 1..400)
}

/// Outstanding commands of one stream, with its fences as the number of
/// commands that were outstanding behind each.
#[derive(Default)]
struct Reference {
    outstanding: u64,
    fences: Vec<u64>,
}

impl Reference {
    /// The oldest `n` are complete.
    fn complete(&mut self, n: u64) {
        self.outstanding -= n;
        for before in &mut self.fences {
            *before = before.saturating_sub(n);
        }
    }
}

fn key(stream: u16) -> StreamKey {
    StreamKey::created(0x1000 + 8 * u64::from(stream))
}

fn info(stream: u16) -> StreamInfo {
    StreamInfo {
        group: crate::groups::Group::PROCESS,
        device: DeviceIndex((stream % u16::from(DEVICES)) as u8),
        ordering: StreamOrdering::Independent,
        handle: Some(u64::from(stream)),
    }
}

/// Runs the steps on both, comparing after each.
fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let table = Box::new(StreamTable::new());
    let mut reference: HashMap<u16, Reference> = HashMap::new();
    for step in steps {
        match *step {
            Step::Launch(stream, n) => {
                let slot = table.find_or_insert(key(stream), || info(stream));
                let slot = slot.expect("fewer streams than slots");
                for _ in 0..n {
                    slot.launch(Role::Other);
                }
                reference.entry(stream).or_default().outstanding += u64::from(n);
            }
            Step::Sync(stream, late) => {
                if let Some(slot) = table.find(key(stream)) {
                    let before = slot.launched();
                    for _ in 0..late {
                        slot.launch(Role::Other);
                    }
                    let expected = reference.entry(stream).or_default();
                    let drained = expected.outstanding;
                    expected.outstanding += u64::from(late);
                    expected.complete(drained);
                    prop_assert_eq!(slot.complete(before), drained);
                }
            }
            Step::DeviceSync(device) => {
                for slot in table.of(DeviceIndex(device)) {
                    slot.complete(slot.launched());
                }
                for (&stream, expected) in &mut reference {
                    if info(stream).device.0 == device {
                        expected.complete(expected.outstanding);
                    }
                }
            }
            Step::Destroy(stream) => {
                if let Some(slot) = table.find(key(stream)) {
                    slot.with_fences(|fences| {
                        while let Some(fence) = fences.oldest() {
                            fences.remove(fence);
                        }
                    });
                    table.remove(slot);
                }
                reference.remove(&stream);
            }
            Step::Fence(stream) => {
                if let Some(slot) = table.find(key(stream)) {
                    let expected = reference.entry(stream).or_default();
                    slot.with_fences(|fences| {
                        if fences.has_room() && fences.unfenced() > 0 {
                            fences.push(Fence {
                                event: slot.launched(),
                                sequence: slot.launched(),
                                implied: Implied::NONE,
                            });
                            expected.fences.push(expected.outstanding);
                        }
                    });
                }
            }
            Step::Reap(stream) => {
                if let Some(slot) = table.find(key(stream)) {
                    let expected = reference.entry(stream).or_default();
                    let oldest = slot.with_fences(|fences| {
                        let fence = fences.oldest()?;
                        fences.remove(fence);
                        Some(slot.complete(fence.sequence))
                    });
                    let before = (!expected.fences.is_empty()).then(|| expected.fences.remove(0));
                    if let Some(before) = before {
                        expected.complete(before);
                    }
                    prop_assert_eq!(oldest.flatten(), before);
                }
            }
            Step::Nonsense(stream, number) => {
                if let Some(slot) = table.find(key(stream)) {
                    let known = slot.launched();
                    let news = slot.complete(known.saturating_add(number));
                    let expected = reference.entry(stream).or_default();
                    prop_assert_eq!(news, expected.outstanding);
                    expected.complete(news);
                }
            }
        }
        for device in 0..DEVICES {
            let outstanding: u64 = reference
                .iter()
                .filter(|&(&stream, _)| info(stream).device.0 == device)
                .map(|(_, expected)| expected.outstanding)
                .sum();
            prop_assert_eq!(table.in_flight(DeviceIndex(device)), outstanding);
        }
        for slot in table.slots() {
            prop_assert!(slot.in_flight() <= slot.launched());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_those_of_a_list(steps in steps(8)) {
        run(&steps)?;
    }

    #[test]
    fn streams_that_come_and_go_are_counted_too(steps in steps(STREAMS as u16)) {
        run(&steps)?;
    }
}

/// Threads that launch and threads that synchronise at the same time: never
/// negative, never more than launched, and nothing is left over.
#[test]
fn concurrent_launches_and_completions_stay_in_bounds() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    let table: Arc<StreamTable> = Arc::from(Box::new(StreamTable::new()));
    for stream in 0..4 {
        table.insert(key(stream), info(stream)).expect("room");
    }
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (table, done) = (table.clone(), done.clone());
        std::thread::spawn(move || {
            while !done.load(Relaxed) {
                for slot in table.slots() {
                    let in_flight = slot.in_flight();
                    assert!(in_flight <= slot.launched(), "{in_flight}");
                }
            }
        })
    };
    let workers: Vec<_> = (0..4u16)
        .map(|i| {
            let table = table.clone();
            std::thread::spawn(move || {
                let mut news = 0;
                for n in 0..20_000u32 {
                    let slot = table.find(key((i + n as u16) % 4)).expect("inserted");
                    slot.launch(Role::Other);
                    if n % 7 == 0 {
                        news += slot.complete(slot.launched());
                    }
                }
                news
            })
        })
        .collect();
    let mut news: u64 = workers
        .into_iter()
        .map(|worker| worker.join().expect("no worker panics"))
        .sum();
    done.store(true, Relaxed);
    watcher.join().expect("always in bounds");
    news += table
        .slots()
        .iter()
        .map(|slot| slot.complete(slot.launched()))
        .sum::<u64>();
    assert_eq!(news, 4 * 20_000, "each completion is news once");
    assert_eq!(
        table.in_flight(DeviceIndex(0)) + table.in_flight(DeviceIndex(1)),
        0
    );
}
