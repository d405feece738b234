//! File names of the shims that are known.

/// Ours.
pub const OURS: &str = "libxsched_shim.so";

/// XSched's: the library that is preloaded, and the one behind it that calls
/// the runtime.
pub const XSCHED: [&str; 2] = ["libshimhip.so", "libhalhip.so"];
