//! The part of Perfetto's trace format that is written here.
//!
//! Field numbers from perfetto's protos/perfetto/trace (trace_packet.proto,
//! track_event/*.proto, clock_snapshot.proto, interned_data.proto). Only what
//! is used is declared: readers skip what they do not know, and so do we.

use prost::Message;

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub struct Trace {
    /// In any order; readers sort by time.
    #[prost(message, repeated, tag = "1")]
    pub packet: Vec<TracePacket>,
}

/// What a file consists of.
#[derive(Clone, PartialEq, Message)]
pub struct TracePacket {
    /// Relations between clocks.
    #[prost(message, optional, tag = "6")]
    pub clock_snapshot: Option<ClockSnapshot>,
    /// On the clock of [`TracePacketDefaults`].
    #[prost(uint64, optional, tag = "8")]
    pub timestamp: Option<u64>,
    /// The writer.
    #[prost(uint32, optional, tag = "10")]
    pub trusted_packet_sequence_id: Option<u32>,
    /// Something that happened.
    #[prost(message, optional, tag = "11")]
    pub track_event: Option<TrackEvent>,
    /// Texts that this packet and later ones refer to by number.
    #[prost(message, optional, tag = "12")]
    pub interned_data: Option<InternedData>,
    /// [`INCREMENTAL_STATE_CLEARED`] and [`NEEDS_INCREMENTAL_STATE`].
    #[prost(uint32, optional, tag = "13")]
    pub sequence_flags: Option<u32>,
    /// For all packets of this writer.
    #[prost(message, optional, tag = "59")]
    pub trace_packet_defaults: Option<TracePacketDefaults>,
    /// Introduces a track.
    #[prost(message, optional, tag = "60")]
    pub track_descriptor: Option<TrackDescriptor>,
}

/// The first packet of a writer.
pub const INCREMENTAL_STATE_CLEARED: u32 = 1;
/// A packet with numbers that stand for texts.
pub const NEEDS_INCREMENTAL_STATE: u32 = 2;

/// builtin_clock.proto.
pub const CLOCK_REALTIME: u32 = 1;
/// CLOCK_MONOTONIC, which BPF tells.
pub const CLOCK_MONOTONIC: u32 = 3;
/// The clock that readers show.
pub const CLOCK_BOOTTIME: u32 = 6;

/// The same moment on several clocks.
#[derive(Clone, PartialEq, Message)]
pub struct ClockSnapshot {
    /// One reading each.
    #[prost(message, repeated, tag = "1")]
    pub clocks: Vec<Clock>,
}

/// A reading.
#[derive(Clone, PartialEq, Message)]
pub struct Clock {
    /// Which.
    #[prost(uint32, optional, tag = "1")]
    pub clock_id: Option<u32>,
    /// ns.
    #[prost(uint64, optional, tag = "2")]
    pub timestamp: Option<u64>,
}

/// What holds for all packets of a writer.
#[derive(Clone, PartialEq, Message)]
pub struct TracePacketDefaults {
    /// The clock of timestamps.
    #[prost(uint32, optional, tag = "58")]
    pub timestamp_clock_id: Option<u32>,
}

/// A line in the picture.
#[derive(Clone, PartialEq, Message)]
pub struct TrackDescriptor {
    /// Its number.
    #[prost(uint64, optional, tag = "1")]
    pub uuid: Option<u64>,
    /// Its name, unless it is a process or thread.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// It stands for a process.
    #[prost(message, optional, tag = "3")]
    pub process: Option<ProcessDescriptor>,
    /// It stands for a thread.
    #[prost(message, optional, tag = "4")]
    pub thread: Option<ThreadDescriptor>,
    /// The line that it belongs under.
    #[prost(uint64, optional, tag = "5")]
    pub parent_uuid: Option<u64>,
    /// It is a number over time.
    #[prost(message, optional, tag = "8")]
    pub counter: Option<CounterDescriptor>,
}

/// A number over time.
#[derive(Clone, PartialEq, Message)]
pub struct CounterDescriptor {
    /// [`UNIT_COUNT`].
    #[prost(int32, optional, tag = "3")]
    pub unit: Option<i32>,
}

/// A number of things (counter_descriptor.proto).
pub const UNIT_COUNT: i32 = 2;

/// A process.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessDescriptor {
    /// Its number.
    #[prost(int32, optional, tag = "1")]
    pub pid: Option<i32>,
    /// Arguments.
    #[prost(string, repeated, tag = "2")]
    pub cmdline: Vec<String>,
    /// Its name.
    #[prost(string, optional, tag = "6")]
    pub process_name: Option<String>,
    /// Shown beside the name.
    #[prost(string, repeated, tag = "8")]
    pub process_labels: Vec<String>,
}

/// A thread.
#[derive(Clone, PartialEq, Message)]
pub struct ThreadDescriptor {
    /// Its process.
    #[prost(int32, optional, tag = "1")]
    pub pid: Option<i32>,
    /// Its number.
    #[prost(int32, optional, tag = "2")]
    pub tid: Option<i32>,
    /// Its name.
    #[prost(string, optional, tag = "5")]
    pub thread_name: Option<String>,
}

/// Something that happened on a track.
#[derive(Clone, PartialEq, Message)]
pub struct TrackEvent {
    /// Stand for what kinds of things it is among.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub category_iids: Vec<u64>,
    /// Details.
    #[prost(message, repeated, tag = "4")]
    pub debug_annotations: Vec<DebugAnnotation>,
    /// An [`EventType`].
    #[prost(enumeration = "EventType", optional, tag = "9")]
    pub kind: Option<i32>,
    /// Stands for a name.
    #[prost(uint64, optional, tag = "10")]
    pub name_iid: Option<u64>,
    /// Where.
    #[prost(uint64, optional, tag = "11")]
    pub track_uuid: Option<u64>,
    /// Of a counter.
    #[prost(int64, optional, tag = "30")]
    pub counter_value: Option<i64>,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    /// Never written.
    Unspecified = 0,
    /// Something begins.
    SliceBegin = 1,
    /// The innermost thing that has begun on the track ends.
    SliceEnd = 2,
    /// A moment.
    Instant = 3,
    /// A number from now on.
    Counter = 4,
}

/// A detail of an event.
#[derive(Clone, PartialEq, Message)]
pub struct DebugAnnotation {
    /// Stands for its name.
    #[prost(uint64, optional, tag = "1")]
    pub name_iid: Option<u64>,
    /// A number.
    #[prost(uint64, optional, tag = "3")]
    pub uint_value: Option<u64>,
    /// Stands for a text.
    #[prost(uint64, optional, tag = "17")]
    pub string_value_iid: Option<u64>,
}

/// Texts and their numbers, by use.
#[derive(Clone, PartialEq, Message)]
pub struct InternedData {
    /// Kinds of things.
    #[prost(message, repeated, tag = "1")]
    pub event_categories: Vec<InternedName>,
    /// Of events.
    #[prost(message, repeated, tag = "2")]
    pub event_names: Vec<InternedName>,
    /// Of details.
    #[prost(message, repeated, tag = "3")]
    pub debug_annotation_names: Vec<InternedName>,
    /// Values of details (as bytes, which are the same on the wire).
    #[prost(message, repeated, tag = "29")]
    pub debug_annotation_string_values: Vec<InternedName>,
}

/// A text and its number.
#[derive(Clone, PartialEq, Message)]
pub struct InternedName {
    /// The number, from 1.
    #[prost(uint64, optional, tag = "1")]
    pub iid: Option<u64>,
    /// The text.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
