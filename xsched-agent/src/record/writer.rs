//! Writes a trace, packet by packet: tracks, slices and moments with details.

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message as _;
use xsched_common::units::Nanos;

use super::perfetto::{
    CLOCK_MONOTONIC, Clock, ClockSnapshot, CounterDescriptor, DebugAnnotation, EventType,
    INCREMENTAL_STATE_CLEARED, InternedData, InternedName, NEEDS_INCREMENTAL_STATE,
    ProcessDescriptor, ThreadDescriptor, TracePacket, TracePacketDefaults, TrackDescriptor,
    TrackEvent, UNIT_COUNT,
};

/// There is one writer.
const SEQUENCE: u32 = 1;

/// Field 1 of a trace, with a length.
const PACKET_TAG: u8 = 1 << 3 | 2;

/// Texts that get a number. A program can make up library names without end;
/// further ones share the last.
const MAX_TEXTS: usize = 65_536;

/// A line in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track(u64);

/// A detail's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A text, of which there are few.
    Text(&'a str),
}

/// What kind of thing an event is: readers choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// A kernel or graph is launched.
    Launch,
    /// Memory is copied or set.
    Copy,
    /// The host waits for the device.
    Wait,
    /// A gate, or a wait at one.
    Gate,
    /// From a first launch to the end of its work.
    Burst,
    /// A class.
    Class,
    /// The recording itself.
    Recording,
}

impl Category {
    fn name(self) -> &'static str {
        match self {
            Category::Launch => "launch",
            Category::Copy => "copy",
            Category::Wait => "wait",
            Category::Gate => "gate",
            Category::Burst => "burst",
            Category::Class => "class",
            Category::Recording => "recording",
        }
    }
}

/// A detail.
pub type Detail<'a> = (&'static str, Value<'a>);

#[derive(Default)]
struct Texts {
    known: HashMap<String, u64>,
}

impl Texts {
    /// The text's number, introduced in `new` if it has none yet.
    fn number(&mut self, text: &str, new: &mut Vec<InternedName>) -> u64 {
        if let Some(&number) = self.known.get(text) {
            return number;
        }
        let text = match self.known.len() {
            n if n < MAX_TEXTS => text,
            _ => "(others)",
        };
        if let Some(&number) = self.known.get(text) {
            return number;
        }
        let number = self.known.len() as u64 + 1;
        self.known.insert(text.to_owned(), number);
        new.push(InternedName {
            iid: Some(number),
            name: Some(text.to_owned()),
        });
        number
    }
}

/// A trace that is being written.
pub struct TraceWriter<W> {
    out: W,
    buffer: Vec<u8>,
    written: u64,
    tracks: u64,
    categories: Texts,
    event_names: Texts,
    detail_names: Texts,
    detail_values: Texts,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace. `clocks` are readings of the same moment, by their
    /// number in the format; events are on [`CLOCK_MONOTONIC`].
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn begin(out: W, clocks: &[(u32, Nanos)]) -> io::Result<TraceWriter<W>> {
        let mut writer = TraceWriter {
            out,
            buffer: Vec::new(),
            written: 0,
            tracks: 0,
            categories: Texts::default(),
            event_names: Texts::default(),
            detail_names: Texts::default(),
            detail_values: Texts::default(),
        };
        writer.packet(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(INCREMENTAL_STATE_CLEARED),
            trace_packet_defaults: Some(TracePacketDefaults {
                timestamp_clock_id: Some(CLOCK_MONOTONIC),
            }),
            ..TracePacket::default()
        })?;
        let clocks = clocks.iter().map(|&(id, time)| Clock {
            clock_id: Some(id),
            timestamp: Some(time.0),
        });
        writer.packet(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            clock_snapshot: Some(ClockSnapshot {
                clocks: clocks.collect(),
            }),
            ..TracePacket::default()
        })?;
        Ok(writer)
    }

    fn packet(&mut self, packet: &TracePacket) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(PACKET_TAG);
        packet
            .encode_length_delimited(&mut self.buffer)
            .expect("a vector grows");
        self.written += self.buffer.len() as u64;
        self.out.write_all(&self.buffer)
    }

    fn track(
        &mut self,
        describe: impl FnOnce(TrackDescriptor) -> TrackDescriptor,
    ) -> io::Result<Track> {
        self.tracks += 1;
        let track = Track(self.tracks);
        self.packet(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            track_descriptor: Some(describe(TrackDescriptor {
                uuid: Some(track.0),
                ..TrackDescriptor::default()
            })),
            ..TracePacket::default()
        })?;
        Ok(track)
    }

    /// A process.
    ///
    /// # Errors
    /// The output cannot be written; so for all that follow.
    pub fn process(
        &mut self,
        pid: u32,
        name: &str,
        label: &str,
        cmdline: Vec<String>,
    ) -> io::Result<Track> {
        self.track(|track| TrackDescriptor {
            process: Some(ProcessDescriptor {
                pid: Some(pid as i32),
                cmdline,
                process_name: Some(name.to_owned()),
                process_labels: vec![label.to_owned()],
            }),
            ..track
        })
    }

    /// A thread of a process.
    pub fn thread(&mut self, process: Track, pid: u32, tid: u32, name: &str) -> io::Result<Track> {
        self.track(|track| TrackDescriptor {
            thread: Some(ThreadDescriptor {
                pid: Some(pid as i32),
                tid: Some(tid as i32),
                thread_name: Some(name.to_owned()),
            }),
            parent_uuid: Some(process.0),
            ..track
        })
    }

    /// Any other line, under another one or on its own.
    pub fn line(&mut self, under: Option<Track>, name: &str) -> io::Result<Track> {
        self.track(|track| TrackDescriptor {
            name: Some(name.to_owned()),
            parent_uuid: under.map(|parent| parent.0),
            ..track
        })
    }

    /// Something that took no time.
    pub fn moment(
        &mut self,
        track: Track,
        at: Nanos,
        name: &str,
        category: Category,
        details: &[Detail<'_>],
    ) -> io::Result<()> {
        let what = Some((name, category));
        self.event(track, at, EventType::Instant, what, details)
    }

    /// Something that took time. What overlaps on one track must be nested.
    pub fn slice(
        &mut self,
        track: Track,
        from: Nanos,
        to: Nanos,
        name: &str,
        category: Category,
        details: &[Detail<'_>],
    ) -> io::Result<()> {
        let what = Some((name, category));
        self.event(track, from, EventType::SliceBegin, what, details)?;
        self.event(track, to, EventType::SliceEnd, None, &[])
    }

    /// A line for a number over time.
    pub fn counter(&mut self, under: Track, name: &str) -> io::Result<Track> {
        self.track(|track| TrackDescriptor {
            name: Some(name.to_owned()),
            parent_uuid: Some(under.0),
            counter: Some(CounterDescriptor {
                unit: Some(UNIT_COUNT),
            }),
            ..track
        })
    }

    /// The number from then on.
    pub fn count(&mut self, counter: Track, at: Nanos, value: i64) -> io::Result<()> {
        self.packet(&TracePacket {
            timestamp: Some(at.0),
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(NEEDS_INCREMENTAL_STATE),
            track_event: Some(TrackEvent {
                kind: Some(EventType::Counter as i32),
                track_uuid: Some(counter.0),
                counter_value: Some(value),
                ..TrackEvent::default()
            }),
            ..TracePacket::default()
        })
    }

    fn event(
        &mut self,
        track: Track,
        at: Nanos,
        kind: EventType,
        what: Option<(&str, Category)>,
        details: &[Detail<'_>],
    ) -> io::Result<()> {
        let mut new = InternedData::default();
        let name_iid = what.map(|(name, _)| self.event_names.number(name, &mut new.event_names));
        let category_iids = what
            .iter()
            .map(|(_, category)| {
                self.categories
                    .number(category.name(), &mut new.event_categories)
            })
            .collect();
        let debug_annotations = details
            .iter()
            .map(|&(name, value)| {
                let number = match value {
                    Value::Number(number) => Some(number),
                    Value::Text(_) => None,
                };
                let text = match value {
                    Value::Number(_) => None,
                    Value::Text(text) => Some(
                        self.detail_values
                            .number(text, &mut new.debug_annotation_string_values),
                    ),
                };
                DebugAnnotation {
                    name_iid: Some(
                        self.detail_names
                            .number(name, &mut new.debug_annotation_names),
                    ),
                    uint_value: number,
                    string_value_iid: text,
                }
            })
            .collect();
        self.packet(&TracePacket {
            timestamp: Some(at.0),
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(NEEDS_INCREMENTAL_STATE),
            interned_data: (new != InternedData::default()).then_some(new),
            track_event: Some(TrackEvent {
                category_iids,
                debug_annotations,
                kind: Some(kind as i32),
                name_iid,
                track_uuid: Some(track.0),
                counter_value: None,
            }),
            ..TracePacket::default()
        })
    }

    /// Bytes up to now.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the trace.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::perfetto::Trace;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer =
            TraceWriter::begin(Vec::new(), &[(CLOCK_MONOTONIC, Nanos(5))]).expect("vec");
        let process = writer.process(7, "python", "hip", vec!["python".into(), "serve.py".into()]);
        let process = process.expect("vec");
        let thread = writer.thread(process, 7, 8, "worker").expect("vec");
        let stream = writer.line(Some(process), "null stream").expect("vec");
        for at in [10, 20] {
            let details = [
                ("caller", Value::Text("libtorch.so")),
                ("tid", Value::Number(8)),
            ];
            writer
                .moment(
                    stream,
                    Nanos(at),
                    "hipLaunchKernel",
                    Category::Launch,
                    &details,
                )
                .expect("vec");
        }
        writer
            .slice(
                thread,
                Nanos(21),
                Nanos(30),
                "hipStreamSynchronize",
                Category::Wait,
                &[],
            )
            .expect("vec");
        let counter = writer.counter(process, "in flight").expect("vec");
        writer.count(counter, Nanos(31), 5).expect("vec");
        assert!(writer.written() > 0);
        let bytes = writer.finish().expect("vec");
        let trace = Trace::decode(bytes.as_slice()).expect("a trace");
        let events: Vec<(&TracePacket, &TrackEvent)> = trace
            .packet
            .iter()
            .filter_map(|packet| Some((packet, packet.track_event.as_ref()?)))
            .collect();
        let kinds: Vec<EventType> = events.iter().map(|(_, event)| event.kind()).collect();
        use EventType::{Counter, Instant, SliceBegin, SliceEnd};
        assert_eq!(kinds, [Instant, Instant, SliceBegin, SliceEnd, Counter]);
        assert_eq!(events[4].1.counter_value, Some(5));
        // Texts are introduced once, with their first use.
        let first = events[0].0.interned_data.as_ref().expect("new texts");
        assert_eq!(first.event_names[0].name(), "hipLaunchKernel");
        assert_eq!(first.event_categories[0].name(), "launch");
        assert_eq!(
            first.debug_annotation_string_values[0].name(),
            "libtorch.so"
        );
        assert_eq!(events[1].0.interned_data, None);
        assert_eq!(events[0].1.name_iid, events[1].1.name_iid);
        assert_eq!(events[0].1.debug_annotations[1].uint_value, Some(8));
    }

    #[test]
    fn made_up_texts_do_not_grow_without_end() {
        let mut texts = Texts::default();
        let mut new = Vec::new();
        for i in 0..2 * MAX_TEXTS {
            texts.number(&format!("lib{i}.so"), &mut new);
        }
        assert_eq!(new.len(), MAX_TEXTS + 1);
    }
}
