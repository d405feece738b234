//! Events: a recorded point of a stream and, once reached, its time.

use std::ffi::c_void;
use std::sync::Arc;

use super::devices::DeviceIndex;
use super::shared_event::SharedEvent;
use super::streams::{Point, StreamId};
use crate::abi::error::{HipError, Result};
use crate::abi::types::EventHandle;

/// An event by index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    index: u32,
    generation: u16,
}

/// Whether an event keeps the time it was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Kept,
    Disabled,
}

/// What an event was last recorded as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recorded {
    Never,
    /// In a stream's order; `at` is the real time in ns at which it was reached.
    At {
        point: Point,
        at: Option<u64>,
    },
    /// In a capture: it names a place in a graph and cannot be waited for.
    Captured {
        capture: u64,
        stream: StreamId,
    },
}

/// One event.
#[derive(Debug)]
pub struct Event {
    generation: u16,
    live: bool,
    pub timing: Timing,
    pub recorded: Recorded,
    /// Set for an event of several processes. Its records are asked about there, this process's own too.
    pub shared: Option<Arc<SharedEvent>>,
}

/// All events of the process.
#[derive(Debug, Default)]
pub struct Events {
    all: Vec<Event>,
    free: Vec<u32>,
}

/// Tag in the top bits of an event handle.
const TAG: usize = 0x52 << 40;
/// Below it: device, generation, index, and four bits that are zero.
const DEVICE_SHIFT: usize = 33;
const GENERATIONS: u16 = 0x1fff;
const MAX_EVENTS: u32 = 1 << 20;

impl Events {
    /// A new event.
    pub fn create(&mut self, timing: Timing) -> Option<EventId> {
        let fresh = u32::try_from(self.all.len())
            .ok()
            .filter(|index| *index < MAX_EVENTS);
        let index = self.free.pop().or(fresh)?;
        let generation = self.all.get(index as usize).map_or(0, |old| old.generation);
        let event = Event {
            generation,
            live: true,
            timing,
            recorded: Recorded::Never,
            shared: None,
        };
        match self.all.get_mut(index as usize) {
            Some(old) => *old = event,
            None => self.all.push(event),
        }
        Some(EventId { index, generation })
    }

    /// Forgets an event. Work that refers to it goes on.
    pub fn destroy(&mut self, id: EventId) {
        if let Ok(event) = self.get_mut(id) {
            event.live = false;
            event.shared = None;
            event.generation = (event.generation + 1) & GENERATIONS;
            self.free.push(id.index);
        }
    }

    /// The event, unless it was destroyed.
    ///
    /// # Errors
    /// It has been destroyed.
    pub fn get(&self, id: EventId) -> Result<&Event> {
        let found = self.all.get(id.index as usize);
        found
            .filter(|event| event.live && event.generation == id.generation)
            .ok_or(HipError::InvalidHandle)
    }

    /// As [`Self::get`], to change it.
    pub fn get_mut(&mut self, id: EventId) -> Result<&mut Event> {
        let found = self.all.get_mut(id.index as usize);
        found
            .filter(|event| event.live && event.generation == id.generation)
            .ok_or(HipError::InvalidHandle)
    }

    /// The record at this place of a stream was reached at `time`. Ignored if the event was recorded again since.
    pub fn stamp(&mut self, id: EventId, stream: StreamId, sequence: u64, time: u64) {
        if let Ok(Event {
            recorded: Recorded::At { point, at },
            ..
        }) = self.get_mut(id)
            && (point.stream, point.sequence) == (stream, sequence)
        {
            *at = Some(time);
        }
    }
}

/// The handle of an event.
pub fn handle(device: DeviceIndex, id: EventId) -> EventHandle {
    (TAG | (device.number() << DEVICE_SHIFT | (id.generation as usize) << 20 | id.index as usize)
        << 4) as *mut c_void
}

/// Decodes an event argument.
///
/// # Errors
/// `InvalidHandle` for a pointer that is no event.
pub fn named(handle: EventHandle) -> Result<(DeviceIndex, EventId)> {
    let value = handle as usize;
    if value >> 47 != 0 || value & (0x7f << 40) != TAG || value & 0xf != 0 {
        return Err(HipError::InvalidHandle);
    }
    let value = (value ^ TAG) >> 4;
    let device =
        DeviceIndex::new((value >> DEVICE_SHIFT) as i32).map_err(|_| HipError::InvalidHandle)?;
    let id = EventId {
        index: value as u32 & (MAX_EVENTS - 1),
        generation: (value >> 20) as u16 & GENERATIONS,
    };
    Ok((device, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::devices::FIRST;

    #[test]
    fn handles_survive_the_round_trip_and_die_with_the_event() {
        let mut events = Events::default();
        let ids: Vec<_> = (0..300)
            .map(|_| events.create(Timing::Kept).unwrap())
            .collect();
        for id in &ids {
            assert_eq!(named(handle(FIRST, *id)), Ok((FIRST, *id)));
        }
        events.destroy(ids[7]);
        assert!(events.get(ids[7]).is_err());
        let again = events.create(Timing::Disabled).unwrap();
        assert_ne!(handle(FIRST, again), handle(FIRST, ids[7]));
        assert_eq!(named(16 as EventHandle), Err(HipError::InvalidHandle));
    }
}
