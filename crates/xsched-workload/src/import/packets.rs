//! A recording's packets, whoever wrote them: one after the other, within
//! limits that the recorder never comes near.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use xsched_common::units::Nanos;

use super::ImportError;
use crate::perfetto::{EventType, InternedName, TracePacket, TrackDescriptor, TrackEvent};

/// Bytes of a packet: the recorder's have some hundred.
const LARGEST_PACKET: usize = 1 << 20;

/// Events: what is in the largest file.
const MOST_EVENTS: usize = 4_000_000;

/// Texts of one kind, and tracks: the recorder numbers 65,536 texts.
const MOST_TEXTS: usize = 262_144;

/// Bytes of a text; what is longer is cut. Names of kernels have 128 bytes, and
/// those of files 255.
const LONGEST_TEXT: usize = 4_096;

/// Tracks by their numbers.
pub type Tracks = HashMap<u64, TrackDescriptor>;

/// What is in a recording.
#[derive(Default)]
pub struct Recording {
    pub tracks: Tracks,
    /// As they were written.
    pub events: Vec<Seen>,
}

/// An event with its texts.
pub struct Seen {
    pub at: Nanos,
    pub track: u64,
    pub kind: EventType,
    pub name: Arc<str>,
    pub function: Option<Arc<str>>,
    pub caller: Option<Arc<str>>,
    pub stream: Option<Arc<str>>,
    pub tid: Option<u64>,
    /// Whether it went on when the recording ended.
    pub is_unfinished: bool,
}

/// Texts by their numbers.
#[derive(Default)]
struct Texts(HashMap<u64, Arc<str>>);

impl Texts {
    fn add(&mut self, new: &[InternedName]) -> Result<(), ImportError> {
        for text in new {
            self.0.insert(text.iid(), cut(text.name()).into());
        }
        within(self.0.len(), MOST_TEXTS, "texts")
    }
}

/// As much of a text as is read.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

fn within(number: usize, most: usize, what: &str) -> Result<(), ImportError> {
    match number <= most {
        true => Ok(()),
        false => Err(ImportError::TooMuch(format!("{most} {what}"))),
    }
}

impl Recording {
    /// Reads them all.
    ///
    /// # Errors
    /// They do not decode, or are too many.
    pub fn read(bytes: &[u8]) -> Result<Recording, ImportError> {
        /// Of the file, which is one message of packets.
        const PACKET: u32 = 1;
        let mut recording = Recording::default();
        let (mut names, mut keys, mut values) = <(Texts, Texts, Texts)>::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (field, wire) = decode_key(&mut rest)?;
            if (field, wire) != (PACKET, WireType::LengthDelimited) {
                skip_field(wire, field, &mut rest, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
            within(length, LARGEST_PACKET, "bytes in a packet")?;
            let (packet, after) = rest.split_at_checked(length).ok_or(ImportError::Cut)?;
            rest = after;
            let packet = TracePacket::decode(packet)?;
            if let Some(new) = packet.interned_data {
                names.add(&new.event_names)?;
                keys.add(&new.debug_annotation_names)?;
                values.add(&new.debug_annotation_string_values)?;
            }
            if let Some(mut track) = packet.track_descriptor {
                if let Some(name) = &mut track.name {
                    name.truncate(cut(name).len());
                }
                recording.tracks.insert(track.uuid(), track);
                within(recording.tracks.len(), MOST_TEXTS, "tracks")?;
            }
            if let (Some(event), Some(at)) = (packet.track_event, packet.timestamp) {
                let seen = seen(&event, Nanos(at), &names, &keys, &values);
                recording.events.push(seen);
                within(recording.events.len(), MOST_EVENTS, "events")?;
            }
        }
        Ok(recording)
    }
}

fn seen(event: &TrackEvent, at: Nanos, names: &Texts, keys: &Texts, values: &Texts) -> Seen {
    let name = names.0.get(&event.name_iid());
    let mut seen = Seen {
        at,
        track: event.track_uuid(),
        kind: event.kind(),
        name: name.cloned().unwrap_or_default(),
        function: None,
        caller: None,
        stream: None,
        tid: None,
        is_unfinished: false,
    };
    for detail in &event.debug_annotations {
        let text = || values.0.get(&detail.string_value_iid?).cloned();
        match keys.0.get(&detail.name_iid()).map(|key| &**key) {
            Some("function") => seen.function = text(),
            Some("caller") => seen.caller = text(),
            Some("stream") => seen.stream = text(),
            Some("tid") => seen.tid = detail.uint_value,
            Some("unfinished") => seen.is_unfinished = true,
            _ => {}
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LAUNCH, Writer};
    use super::*;
    use crate::perfetto::InternedData;

    fn refused(bytes: &[u8]) -> String {
        let refused = Recording::read(bytes).err().expect("refused");
        refused.to_string()
    }

    #[test]
    fn what_would_take_memory_without_end_is_refused() {
        // A packet of 2 bytes becomes hundreds in memory; one that is empty is
        // nothing.
        let empty = [0x0a, 0].repeat(1_000_000);
        let read = Recording::read(&empty).expect("nothing");
        assert!(read.events.is_empty() && read.tracks.is_empty());
        let mut large = Writer { bytes: Vec::new() };
        large.packet(TracePacket {
            interned_data: Some(InternedData {
                event_names: vec![InternedName::default(); LARGEST_PACKET],
                ..InternedData::default()
            }),
            ..TracePacket::default()
        });
        assert!(refused(&large.bytes).contains("in a packet"));
        let mut tracks = Writer { bytes: Vec::new() };
        for uuid in 0..=MOST_TEXTS as u64 {
            tracks.packet(TracePacket {
                track_descriptor: Some(TrackDescriptor {
                    uuid: Some(uuid),
                    ..TrackDescriptor::default()
                }),
                ..TracePacket::default()
            });
        }
        assert!(refused(&tracks.bytes).contains("tracks"));
    }

    #[test]
    fn long_texts_are_cut_and_shared() {
        let mut writer = Writer::with_a_thread();
        writer.packet(TracePacket {
            interned_data: Some(InternedData {
                event_names: vec![InternedName {
                    iid: Some(LAUNCH),
                    name: Some("\u{e4}".repeat(100_000)),
                }],
                ..InternedData::default()
            }),
            ..TracePacket::default()
        });
        (0..1_000).for_each(|at| writer.launch(at, 0));
        let read = Recording::read(&writer.bytes).expect("a recording");
        assert_eq!(read.events[0].name.len(), LONGEST_TEXT);
        assert!(Arc::ptr_eq(&read.events[0].name, &read.events[999].name));
    }

    #[test]
    fn a_file_that_is_cut_is_no_recording() {
        let mut writer = Writer::with_a_thread();
        writer.launch(1, 0);
        let cut = &writer.bytes[..writer.bytes.len() - 1];
        assert!(refused(cut).contains("ends in"));
        assert!(Recording::read(&[0xff; 40]).is_err());
    }
}
