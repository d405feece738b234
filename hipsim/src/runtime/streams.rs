//! Streams: handles, their place on the hardware rings, and points in their order.

use std::ffi::c_void;

use super::devices::DeviceIndex;
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::model::rings::RINGS;

/// A stream by index and generation: a handle kept after `hipStreamDestroy` is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    index: u16,
    generation: u32,
}

/// How a stream orders itself against the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The legacy default stream.
    Legacy,
    Blocking,
    NonBlocking,
}

/// A place in a stream's order; reached when everything up to it has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub stream: StreamId,
    pub sequence: u64,
    pub ring: usize,
    /// The ring's cumulative service there, see [`crate::model::rings::Rings::earliest_end`].
    pub cumulative: u64,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    generation: u32,
    live: bool,
    pub kind: StreamKind,
    pub priority: i32,
    pub ring: usize,
    /// Sequence number of the last item queued.
    pub submitted: u64,
    /// Sequence number of the last item finished.
    pub completed: u64,
    /// Cumulative service of the ring at the last item.
    pub cumulative: u64,
    /// The capture this stream records into.
    pub capture: Option<u64>,
}

/// All streams of the process. Index 0 is the legacy default stream.
#[derive(Debug)]
pub struct Streams {
    all: Vec<Stream>,
    free: Vec<u16>,
    next_ring: usize,
}

/// The legacy default stream.
pub const LEGACY: StreamId = StreamId {
    index: 0,
    generation: 0,
};

/// Tag in the top bits of a stream handle: a canonical, never mapped user address.
const TAG: usize = 0x51 << 40;
/// Below it: device, generation, index, and four bits that are zero.
const DEVICE_SHIFT: usize = 33;
const GENERATIONS: u32 = 0x1_ffff;

impl Default for Streams {
    fn default() -> Self {
        let mut streams = Self {
            all: Vec::new(),
            free: Vec::new(),
            next_ring: 0,
        };
        streams.create(StreamKind::Legacy, 0);
        streams
    }
}

impl Streams {
    /// A new stream, on the next ring in turn.
    pub fn create(&mut self, kind: StreamKind, priority: i32) -> Option<StreamId> {
        let ring = self.next_ring;
        let index = self
            .free
            .pop()
            .or_else(|| u16::try_from(self.all.len()).ok())?;
        self.next_ring = (ring + 1) % RINGS;
        let generation = self
            .all
            .get(usize::from(index))
            .map_or(0, |old| old.generation);
        let stream = Stream {
            generation,
            live: true,
            kind,
            priority,
            ring,
            submitted: 0,
            completed: 0,
            cumulative: 0,
            capture: None,
        };
        match self.all.get_mut(usize::from(index)) {
            Some(old) => *old = stream,
            None => self.all.push(stream),
        }
        Some(StreamId { index, generation })
    }

    /// Forgets a stream; its handle becomes invalid.
    pub fn destroy(&mut self, id: StreamId) {
        if let Ok(stream) = self.get_mut(id) {
            stream.live = false;
            stream.generation = (stream.generation + 1) & GENERATIONS;
            self.free.push(id.index);
        }
    }

    /// The stream, unless it was destroyed.
    ///
    /// # Errors
    /// It has been destroyed.
    pub fn get(&self, id: StreamId) -> Result<&Stream> {
        let found = self.all.get(usize::from(id.index));
        found
            .filter(|stream| stream.live && stream.generation == id.generation)
            .ok_or(HipError::ContextIsDestroyed)
    }

    /// As [`Self::get`], to change it.
    pub fn get_mut(&mut self, id: StreamId) -> Result<&mut Stream> {
        let found = self.all.get_mut(usize::from(id.index));
        found
            .filter(|stream| stream.live && stream.generation == id.generation)
            .ok_or(HipError::ContextIsDestroyed)
    }

    /// All living streams.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.all
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.live)
            .map(|(index, stream)| {
                (
                    StreamId {
                        index: index as u16,
                        generation: stream.generation,
                    },
                    stream,
                )
            })
    }

    /// As [`Self::iter`], to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.all.iter_mut().filter(|stream| stream.live)
    }

    /// The last point of a stream, if work before it is unfinished.
    pub fn pending(&self, id: StreamId) -> Option<Point> {
        let stream = self.get(id).ok()?;
        (stream.submitted > stream.completed).then_some(Point {
            stream: id,
            sequence: stream.submitted,
            ring: stream.ring,
            cumulative: stream.cumulative,
        })
    }

    /// Whether everything up to the point has finished. A destroyed stream had finished everything.
    pub fn reached(&self, point: &Point) -> bool {
        let stream = self.get(point.stream).ok();
        stream.is_none_or(|stream| stream.completed >= point.sequence)
    }
}

/// The handle of a stream that is not the default one.
pub fn handle(device: DeviceIndex, id: StreamId) -> StreamHandle {
    (TAG | (device.number() << DEVICE_SHIFT
        | (id.generation as usize) << 16
        | usize::from(id.index))
        << 4) as *mut c_void
}

/// What a stream argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Legacy,
    PerThread,
    Created(DeviceIndex, StreamId),
}

/// Decodes a stream argument. Whether the stream still lives is for [`Streams::get`] to say.
///
/// # Errors
/// `ContextIsDestroyed` (709), as the real runtime answers for a pointer that is no stream.
pub fn named(handle: StreamHandle) -> Result<Named> {
    match handle as usize {
        0 | 1 => Ok(Named::Legacy),
        2 => Ok(Named::PerThread),
        value if value & (0x7f << 40) == TAG && value >> 47 == 0 && value & 0xf == 0 => {
            let value = (value ^ TAG) >> 4;
            let device = DeviceIndex::new((value >> DEVICE_SHIFT) as i32)
                .map_err(|_| HipError::ContextIsDestroyed)?;
            let id = StreamId {
                index: value as u16,
                generation: (value >> 16) as u32 & GENERATIONS,
            };
            Ok(Named::Created(device, id))
        }
        _ => Err(HipError::ContextIsDestroyed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::devices::FIRST;

    #[test]
    fn handles_survive_the_round_trip_and_die_with_the_stream() {
        let mut streams = Streams::default();
        let first = streams.create(StreamKind::Blocking, 0).unwrap();
        assert_eq!(
            named(handle(FIRST, first)),
            Ok(Named::Created(FIRST, first))
        );
        streams.destroy(first);
        assert!(streams.get(first).is_err());
        let second = streams.create(StreamKind::NonBlocking, 0).unwrap();
        assert_eq!(second.index, first.index, "the place is used again");
        assert_ne!(handle(FIRST, second), handle(FIRST, first));
        assert!(streams.get(first).is_err());
    }

    #[test]
    fn foreign_pointers_are_no_streams() {
        for value in [3usize, 16, 0x7fff_1234_5670, usize::MAX, TAG | 8] {
            assert!(named(value as StreamHandle).is_err(), "{value:#x}");
        }
        assert_eq!(named(2 as StreamHandle), Ok(Named::PerThread));
    }
}
