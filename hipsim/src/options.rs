//! The device's options, and what this face of it adds: the version it reports and its default processor.

use std::sync::OnceLock;

pub use simdevice::options::{Discipline, get, trace_requested};

use crate::major::major_version;
use crate::target::Target;

/// The processor for which Debian's hipcc compiles out of the box.
const ARCHITECTURE: &str = "gfx906";

/// Version to report in the runtime's coding, 60400000 for 6.4. By default the newest of this copy's major version that was
/// looked at (Debian's 5.7.1, 6.4.3 and 7.2.4).
pub fn version() -> i32 {
    get().version.unwrap_or(match major_version() {
        5 => 50_700_000,
        6 => 60_400_000,
        _ => 70_200_000,
    })
}

/// The device's processor with its features.
pub fn architecture() -> &'static Target {
    static DEFAULT: OnceLock<Target> = OnceLock::new();
    get().architecture.as_ref().unwrap_or_else(|| {
        DEFAULT.get_or_init(|| {
            Target::of_device(ARCHITECTURE).expect("the default is an architecture")
        })
    })
}
