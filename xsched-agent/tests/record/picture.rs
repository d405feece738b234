//! A trace as Perfetto's reader sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use prost::Message as _;
use xsched_agent::record::perfetto::{EventType, Trace, TrackDescriptor};

/// A trace as a reader makes it of the packets.
#[derive(Default)]
pub struct Picture {
    pub tracks: HashMap<u64, TrackDescriptor>,
    pub moments: Vec<Seen>,
    pub slices: Vec<Seen>,
    /// Values by counter.
    pub counts: HashMap<u64, Vec<i64>>,
}

pub struct Seen {
    pub track: u64,
    pub from: u64,
    pub to: u64,
    pub name: String,
    pub category: String,
    pub details: BTreeMap<String, String>,
}

impl Picture {
    /// Resolves numbers to texts and pairs the ends of slices, as
    /// Perfetto's reader does; anything that it would complain of panics.
    pub fn read(file: &Path) -> Picture {
        let bytes = std::fs::read(file).expect("the trace");
        let trace = Trace::decode(bytes.as_slice()).expect("a trace");
        let mut picture = Picture::default();
        let (mut names, mut keys, mut values, mut categories) = (
            HashMap::new(),
            HashMap::new(),
            HashMap::<u64, String>::new(),
            HashMap::<u64, String>::new(),
        );
        let mut events = Vec::new();
        let mut clocks = BTreeSet::new();
        for packet in trace.packet {
            assert_eq!(packet.trusted_packet_sequence_id(), 1);
            if let Some(snapshot) = packet.clock_snapshot {
                clocks.extend(snapshot.clocks.iter().map(|clock| clock.clock_id()));
            }
            if let Some(new) = packet.interned_data {
                for (known, new) in [
                    (&mut names, new.event_names),
                    (&mut categories, new.event_categories),
                    (&mut keys, new.debug_annotation_names),
                    (&mut values, new.debug_annotation_string_values),
                ] {
                    known.extend(new.into_iter().map(|t| (t.iid(), t.name().to_owned())));
                }
            }
            if let Some(track) = packet.track_descriptor {
                let parent = track.parent_uuid;
                assert!(parent.is_none_or(|parent| picture.tracks.contains_key(&parent)));
                assert!(picture.tracks.insert(track.uuid(), track).is_none());
            }
            if let Some(event) = packet.track_event {
                assert!(picture.tracks.contains_key(&event.track_uuid()));
                events.push((packet.timestamp.expect("a time"), event));
            }
        }
        assert_eq!(clocks, BTreeSet::from([1, 3, 6]));
        // Stable: events of the same time keep their order.
        events.sort_by_key(|(time, _)| *time);
        let mut open: HashMap<u64, Vec<Seen>> = HashMap::new();
        for (time, event) in events {
            let (track, kind) = (event.track_uuid(), event.kind());
            let seen = event.name_iid.map(|name| Seen {
                track,
                from: time,
                to: time,
                name: names[&name].clone(),
                category: match event.category_iids[..] {
                    [one] => categories[&one].clone(),
                    ref other => panic!("one category each: {other:?}"),
                },
                details: event
                    .debug_annotations
                    .iter()
                    .map(|detail| {
                        let value = detail.string_value_iid.map(|iid| values[&iid].clone());
                        let value = value.unwrap_or_else(|| detail.uint_value().to_string());
                        (keys[&detail.name_iid()].clone(), value)
                    })
                    .collect(),
            });
            let open = open.entry(track).or_default();
            match kind {
                EventType::Counter => {
                    assert!(picture.tracks[&track].counter.is_some());
                    let values = picture.counts.entry(track).or_default();
                    values.push(event.counter_value.expect("a number"));
                }
                EventType::Instant => picture.moments.push(seen.expect("a name")),
                EventType::SliceBegin => open.push(seen.expect("a name")),
                EventType::SliceEnd => {
                    let mut slice = open.pop().expect("something has begun");
                    slice.to = time;
                    picture.slices.push(slice);
                }
                EventType::Unspecified => panic!("no kind"),
            }
        }
        assert!(open.values().all(Vec::is_empty), "everything ends");
        picture
    }

    /// The process that a track belongs to.
    pub fn pid(&self, track: u64) -> Option<i32> {
        let mut track = &self.tracks[&track];
        loop {
            if let Some(process) = &track.process {
                return process.pid;
            }
            track = &self.tracks[&track.parent_uuid?];
        }
    }

    /// The line of a process with this name.
    pub fn line(&self, pid: u32, name: &str) -> Option<u64> {
        let named = |(_, track): &(&u64, &TrackDescriptor)| {
            track.name() == name && self.pid(track.uuid()) == Some(pid as i32)
        };
        self.tracks.iter().find(named).map(|(uuid, _)| *uuid)
    }

    /// What is on a line.
    pub fn on(&self, line: u64) -> Vec<&Seen> {
        self.slices
            .iter()
            .filter(|seen| seen.track == line)
            .collect()
    }

    pub fn of<'a>(
        &'a self,
        seen: &'a [Seen],
        pid: u32,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Seen> {
        seen.iter()
            .filter(move |seen| seen.name == name && self.pid(seen.track) == Some(pid as i32))
    }
}
