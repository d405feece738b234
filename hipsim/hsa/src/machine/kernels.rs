//! Kernels by the address of their descriptor, which is what a dispatch packet names.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use simdevice::known::{Argument, Known};
use simdevice::names::plain_name;
use simdevice::options;

use super::blits::{Blit, BlitKernel};
use super::packet::Effect;
use super::packets::Refusal;
use crate::abi::status::Status;
use crate::abi::types::DispatchPacket;
use crate::counted::{Taken, count};

/// A descriptor's symbol is the kernel's name with this suffix.
pub const SUFFIX: &str = ".kd";

/// One of them. Never freed: a doorbell of another thread may be reading it.
#[derive(Debug)]
struct Kernel {
    name: String,
    /// Time alone on the device, in ns, before jitter.
    service: u64,
    /// Bytes of its arguments, as its descriptor says.
    arguments: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Known(Known),
    Blit(BlitKernel),
    /// Takes time and leaves memory as it is.
    Other,
}

static KERNELS: RwLock<Option<HashMap<u64, &'static Kernel>>> = RwLock::new(None);

/// Notes a kernel: the address of its descriptor, its name without suffix, the bytes of its arguments, and each of them if
/// the code object tells. Without that a kernel is not taken for a known one: it may be the program's own.
pub fn register(descriptor: u64, name: &str, arguments: usize, signature: Option<&[Argument]>) {
    let plain = plain_name(name);
    let blit = BlitKernel::find(name);
    let options = options::get();
    let known = signature.and_then(|signature| Known::with_signature(name, signature));
    let kind = match (known, blit) {
        (_, Some(blit)) => Kind::Blit(blit),
        (Some(known), _) => Kind::Known(known),
        _ => Kind::Other,
    };
    let ruled = options.kernel_duration(name, plain);
    let service = match kind {
        // Copies have a time of their own unless a rule names them.
        Kind::Blit(_) if ruled == options.default_kernel => {
            blit.map_or(0, |blit| blit.time(options.copy_latency))
        }
        _ => ruled,
    };
    let kernel = Box::leak(Box::new(Kernel {
        name: name.to_owned(),
        service,
        arguments,
        kind,
    }));
    let mut kernels = KERNELS.write().unwrap_or_else(PoisonError::into_inner);
    kernels.get_or_insert_default().insert(descriptor, kernel);
}

/// Forgets the kernels of an image that lies there.
pub fn forget(image: std::ops::Range<u64>) {
    let mut kernels = KERNELS.write().unwrap_or_else(PoisonError::into_inner);
    kernels
        .get_or_insert_default()
        .retain(|descriptor, _| !image.contains(descriptor));
}

/// What a dispatch takes, in ns, and what it does.
///
/// # Safety
/// The packet's argument segment is as long as the kernel's descriptor says.
///
/// # Errors
/// It names no kernel that was loaded, or one that should compute and cannot be: for the queue's callback.
pub unsafe fn launch(packet: &DispatchPacket) -> Result<(u64, Option<Effect>), Refusal> {
    let kernels = KERNELS.read().unwrap_or_else(PoisonError::into_inner);
    let kernel = kernels
        .as_ref()
        .and_then(|kernels| kernels.get(&packet.kernel).copied());
    drop(kernels);
    let Some(kernel) = kernel else {
        let why = format!(
            "a dispatch of {:#x}, where no kernel was loaded",
            packet.kernel
        );
        return Err((Status::INVALID_CODE_OBJECT, why));
    };
    let arguments: &[u8] = match packet.arguments {
        0 => &[],
        // SAFETY: the caller's promise.
        at => unsafe { std::slice::from_raw_parts(at as *const u8, kernel.arguments) },
    };
    count(match kernel.kind {
        Kind::Blit(_) => Taken::Own,
        Kind::Known(_) | Kind::Other => Taken::Kernel,
    });
    // What cannot be done must not look done.
    let refused = |why: &str| {
        let why = format!("a dispatch of {}: {why}", kernel.name);
        (Status::INVALID_ARGUMENT, why)
    };
    Ok(match &kernel.kind {
        Kind::Known(known) => {
            let call = known.call_with_buffer(arguments);
            let call = call.ok_or_else(|| refused("it has no arguments"))?;
            let service = call.requested_time().unwrap_or(kernel.service);
            (service, call.has_effect().then_some(Effect::Known(call)))
        }
        Kind::Blit(BlitKernel::Nothing) => (kernel.service, None),
        Kind::Blit(BlitKernel::NotSimulated) => return Err(refused("it is not simulated")),
        Kind::Blit(blit) => {
            // SAFETY: what the runtime's own kernels point to is valid at their dispatch.
            let blit = unsafe { Blit::new(*blit, arguments) };
            let blit = blit.ok_or_else(|| refused("its arguments are not as known"))?;
            (kernel.service, Some(Effect::Blit(blit)))
        }
        Kind::Other => (kernel.service, None),
    })
}
