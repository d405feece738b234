//! Recordings for tests.

use prost::Message as _;

use crate::perfetto::{
    DebugAnnotation, EventType, InternedData, InternedName, ProcessDescriptor, ThreadDescriptor,
    Trace, TracePacket, TrackDescriptor, TrackEvent,
};

/// Writes recordings as the recorder does.
pub struct Writer {
    pub bytes: Vec<u8>,
}

/// Of what [`Writer`] writes.
const THREAD: u64 = 1;
const STREAM: u64 = 2;
/// The number of a launch's name.
pub const LAUNCH: u64 = 1;
const TID: u64 = 1;

impl Writer {
    /// Of process 5 and its thread 0, which launches kernels.
    pub fn with_a_thread() -> Writer {
        let mut writer = Writer { bytes: Vec::new() };
        let text = |number, text: &str| InternedName {
            iid: Some(number),
            name: Some(text.to_owned()),
        };
        writer.packet(TracePacket {
            interned_data: Some(InternedData {
                event_names: vec![text(LAUNCH, "hipModuleLaunchKernel")],
                debug_annotation_names: vec![text(TID, "tid")],
                ..InternedData::default()
            }),
            ..TracePacket::default()
        });
        let thread = ThreadDescriptor {
            pid: Some(5),
            tid: Some(0),
            thread_name: None,
        };
        let process = ProcessDescriptor {
            pid: Some(5),
            ..ProcessDescriptor::default()
        };
        for track in [
            TrackDescriptor {
                uuid: Some(THREAD),
                thread: Some(thread),
                ..TrackDescriptor::default()
            },
            TrackDescriptor {
                uuid: Some(STREAM),
                name: Some("null stream".to_owned()),
                process: Some(process),
                ..TrackDescriptor::default()
            },
        ] {
            writer.packet(TracePacket {
                track_descriptor: Some(track),
                ..TracePacket::default()
            });
        }
        writer
    }

    pub fn packet(&mut self, packet: TracePacket) {
        let trace = Trace {
            packet: vec![packet],
        };
        trace.encode(&mut self.bytes).expect("a vector grows");
    }

    fn event(&mut self, at: u64, track: u64, kind: EventType, tid: Option<u64>) {
        let tid = tid.map(|tid| DebugAnnotation {
            name_iid: Some(TID),
            uint_value: Some(tid),
            string_value_iid: None,
        });
        self.packet(TracePacket {
            timestamp: Some(at),
            track_event: Some(TrackEvent {
                debug_annotations: tid.into_iter().collect(),
                kind: Some(kind as i32),
                name_iid: Some(LAUNCH),
                track_uuid: Some(track),
                ..TrackEvent::default()
            }),
            ..TracePacket::default()
        });
    }

    /// A launch of this thread.
    pub fn launch(&mut self, at: u64, tid: u64) {
        self.event(at, STREAM, EventType::Instant, Some(tid));
    }

    /// The launch of thread 0 at `from` took until `to`.
    pub fn returned(&mut self, from: u64, to: u64) {
        self.event(from, THREAD, EventType::SliceBegin, None);
        self.event(to, THREAD, EventType::SliceEnd, None);
    }
}
