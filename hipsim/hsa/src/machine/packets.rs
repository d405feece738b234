//! The packet processor's front: AQL packets become requests to the GPU, at the doorbell and in order.
//!
//! The barrier bit needs nothing: a ring runs its packets one after another, which every use of the bit allows.

use std::sync::atomic::Ordering;

use simdevice::device::clock;

use super::gpu::Request;
use super::kernels;
use super::packet::Wait;
use super::queue::{End, INVALID, Queue};
use super::signal::{Signal, all_of};
use super::state::State;
use crate::abi::status::Status;
use crate::abi::types::{
    BarrierPacket, BarrierValuePacket, Condition, DispatchPacket, PacketHeader, SignalHandle,
};
use crate::counted::{Taken, count};

/// Packet types (`hsa_packet_type_t`), and AMD's format of its one vendor packet here.
const VENDOR: u16 = 0;
const DISPATCH: u16 = 2;
const BARRIER_AND: u16 = 3;
const BARRIER_OR: u16 = 5;
const BARRIER_VALUE: u8 = 2;

/// Why a packet cannot be run, for the queue's callback and for people.
pub type Refusal = (Status, String);

/// Takes all packets that are complete. A gap stops it: whoever fills it rings again.
///
/// # Errors
/// A packet that cannot be run. The queue takes none any more, as on the hardware; those before it run.
pub fn take(queue: &'static Queue, state: &mut State) -> Result<(), Refusal> {
    let now = clock::now();
    if !queue.is_running() {
        return Ok(());
    }
    let Ok(gpu) = state.gpu(queue.gpu) else {
        return Ok(());
    };
    gpu.advance(now);
    let mut refused = Ok(());
    let mut watched = Vec::new();
    for index in queue.fresh() {
        let at = queue.packet(index);
        // SAFETY: within the queue's pages, aligned to 64; others write the header atomically.
        let header = unsafe { &(*at.cast::<PacketHeader>()).header };
        let kind = header.load(Ordering::Acquire) & 0xff;
        if kind == INVALID {
            break;
        }
        // SAFETY: a packet of a valid type is complete and stays until its index is passed.
        match unsafe { request(queue, index, at, kind) } {
            Ok(request) => {
                watched.extend(request.completion.filter(|signal| signal.is_watched()));
                gpu.push(request, now);
            }
            Err(refusal) => {
                queue.end(End::Failed);
                refused = Err(refusal);
                break;
            }
        }
        header.store(INVALID, Ordering::Release);
        queue.took(index);
    }
    state.watched.extend(watched);
    refused
}

/// What a packet asks for.
///
/// # Safety
/// `at` is a complete packet of this type.
unsafe fn request(
    queue: &'static Queue,
    index: u64,
    at: *const u8,
    kind: u16,
) -> Result<Request, Refusal> {
    let request = |wait, completion: SignalHandle| Request {
        queue,
        index,
        wait,
        // SAFETY: signals in packets came from this library.
        completion: unsafe { Signal::of(completion) },
        service: 0,
        effect: None,
    };
    // SAFETY: the caller's promise; every packet is 64 bytes of plain data.
    unsafe {
        match kind {
            DISPATCH => {
                let packet = at.cast::<DispatchPacket>().read();
                let (service, effect) = kernels::launch(&packet)?;
                Ok(Request {
                    service,
                    effect,
                    ..request(Wait::None, packet.completion)
                })
            }
            BARRIER_AND | BARRIER_OR => {
                count(Taken::Barrier);
                let packet = at.cast::<BarrierPacket>().read();
                let signals = all_of(&packet.signals);
                let wait = match (signals.is_empty(), kind) {
                    (true, _) => Wait::None,
                    (false, BARRIER_AND) => Wait::All(signals),
                    (false, _) => Wait::Any(signals),
                };
                Ok(request(wait, packet.completion))
            }
            VENDOR if at.cast::<BarrierValuePacket>().read().format == BARRIER_VALUE => {
                let packet = at.cast::<BarrierValuePacket>().read();
                let condition = Condition::new(packet.condition);
                let wait = match (Signal::of(packet.signal), condition) {
                    (Some(signal), Some(condition)) => Wait::Value {
                        signal,
                        mask: packet.mask,
                        condition,
                        than: packet.value,
                    },
                    (None, _) => Wait::None,
                    (_, None) => return Err(malformed(index, kind)),
                };
                Ok(request(wait, packet.completion))
            }
            _ => Err(malformed(index, kind)),
        }
    }
}

fn malformed(index: u64, kind: u16) -> Refusal {
    let why = format!("packet {index} of type {kind} is not simulated");
    (Status::INVALID_PACKET_FORMAT, why)
}
