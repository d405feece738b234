//! Whether this machine can observe: asked of the kernel by doing it.

use std::fs::File;
use std::hint::black_box;

use super::attach::{LinkKind, Programs, Scope};
use super::images::ImageKind;
use super::site::{FirstInstruction, Site};
use super::unavailable::Unavailable;
use crate::process;

/// What the probe of the self-test sits on.
#[inline(never)]
extern "C" fn probed(argument: u64) -> u64 {
    black_box(argument).wrapping_add(1)
}

/// Loads the programs, probes a function of this very program, calls it, and
/// looks whether that was counted.
///
/// # Errors
/// What is missing, with the next step.
pub fn probe_support() -> Result<(), Unavailable> {
    let broken = |why: String| Unavailable::Kernel {
        what: "examine this program itself",
        why,
    };
    let (mut programs, maps) = Programs::load(64, LinkKind::Best)?;
    let pid = std::process::id();
    let address = probed as *const () as u64;
    let mapping = process::maps(pid)
        .map_err(|e| broken(e.to_string()))?
        .into_iter()
        .find(|mapping| mapping.range.contains(&address))
        .ok_or_else(|| broken("its code is not mapped".to_owned()))?;
    let own = File::open("/proc/self/exe").map_err(|e| broken(e.to_string()))?;
    let site = Site {
        api: 0,
        offset: mapping.offset + (address - mapping.range.start),
        first: FirstInstruction::Other,
    };
    let mut probes = programs.attach(ImageKind::Runtime, &own, &[site], Scope::Pid(pid));
    if let Some((_, error)) = probes.failed.pop() {
        return Err(error);
    }
    black_box(probed(black_box(1)));
    match maps.events() {
        Ok(0) => Err(Unavailable::NeverFires),
        Ok(_) => Ok(()),
        Err(error) => Err(broken(error.to_string())),
    }
}
