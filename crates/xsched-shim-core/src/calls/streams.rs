//! Stream handles as keys of the vendor-neutral table.

use xsched_common::platform::DefaultStream;
use xsched_common::units::{DeviceIndex, StreamClass};

use super::{Runtime, devices};
use crate::groups::Group;
use crate::inflight::{StreamInfo, StreamKey, StreamOrdering, StreamSlot};
use crate::process::Process;

/// The calling thread's own stream.
pub const PER_THREAD: u64 = 2;

/// A stream as a call names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The handle.
    pub handle: u64,
    /// What kind of stream it is.
    pub class: StreamClass,
}

impl Stream {
    /// The stream of a handle in a function of this kind.
    #[inline(always)]
    pub fn new(handle: u64, default: DefaultStream) -> Stream {
        let handle = match (handle, default) {
            (0, DefaultStream::PerThread) => PER_THREAD,
            _ => handle,
        };
        Stream {
            handle,
            class: StreamClass::of_handle(handle),
        }
    }

    /// Its key, if its device has a number.
    #[inline(always)]
    fn key(self, device: Option<DeviceIndex>) -> Option<StreamKey> {
        match self.class {
            StreamClass::Created => Some(StreamKey::created(self.handle)),
            StreamClass::Null | StreamClass::Legacy => Some(StreamKey::default_of(device?)),
            StreamClass::PerThread => Some(StreamKey::per_thread(crate::tls::address(), device?)),
        }
    }

    /// What is fixed about it, first seen on `device`.
    fn info(self, device: DeviceIndex, group: Group, created: StreamOrdering) -> StreamInfo {
        let (ordering, handle) = match self.class {
            StreamClass::Created => (created, Some(self.handle)),
            StreamClass::Null | StreamClass::Legacy => (StreamOrdering::Default, Some(0)),
            // Waits for the default stream (the vendors' programming guides,
            // "per-thread default stream").
            StreamClass::PerThread => (StreamOrdering::Blocking, None),
        };
        StreamInfo {
            device,
            group,
            ordering,
            handle,
        }
    }
}

/// The slot a group's command on `stream` counts in, and its device: a created
/// stream belongs to the device that was current when it was first seen.
#[inline(always)]
pub fn place<R: Runtime>(
    process: &Process,
    group: Group,
    stream: Stream,
) -> Option<(DeviceIndex, Option<&StreamSlot>)> {
    if stream.class == StreamClass::Created {
        let key = StreamKey::created(stream.handle);
        if let Some(slot) = process.streams.find(key.of(group)) {
            return Some((slot.device(), Some(slot)));
        }
        // What is known of the stream is known from its creation, whoever uses it.
        if group != Group::PROCESS
            && let Some(slot) = process.streams.find(key)
        {
            let info = StreamInfo {
                group,
                ..slot.info()
            };
            return Some((info.device, process.streams.insert(key.of(group), info)));
        }
    }
    let device = devices::current::<R>()?;
    let key = stream.key(Some(device))?.of(group);
    let slot = process.streams.find_or_insert(key, || {
        stream.info(device, group, StreamOrdering::Independent)
    });
    Some((device, slot))
}

/// The slots that count for `stream`.
pub fn slots<R: Runtime>(process: &Process, stream: Stream) -> impl Iterator<Item = &StreamSlot> {
    let device = match stream.class {
        StreamClass::Created => None,
        _ => devices::current::<R>(),
    };
    stream
        .key(device)
        .into_iter()
        .flat_map(|key| process.streams.all(key))
}

/// The program created a stream: the only chance to learn its order.
pub fn created<R: Runtime>(process: &Process, handle: u64, ordering: StreamOrdering) {
    forget(process, handle);
    if StreamClass::of_handle(handle) == StreamClass::Created
        && let Some(device) = devices::current::<R>()
    {
        let stream = Stream::new(handle, DefaultStream::Legacy);
        let key = StreamKey::created(handle);
        let info = stream.info(device, Group::PROCESS, ordering);
        process.streams.insert(key, info);
    }
}

/// The handle is no stream's, or a new one's.
pub fn forget(process: &Process, handle: u64) {
    process.groups.forget_stream(handle);
    if StreamClass::of_handle(handle) == StreamClass::Created {
        for slot in process.streams.all(StreamKey::created(handle)) {
            process.streams.remove(slot);
        }
    }
}
