//! Words that others read while they are written: labels, versioned entries, marks of captures.

use super::*;

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

/// A capture begins as `calls::hooks` does it, while another thread polls a
/// fence as `calls::fence` does it.
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
