//! The observer: finds the images of the runtime, probes them, and says which
//! process called what, from which library, on which kind of stream.
//!
//! No cooperation is needed from the observed processes. Counting happens in
//! the kernel; this side reads totals and names the callers.

pub mod attach;
pub mod callers;
pub mod compat;
pub mod counts;
pub mod duty;
mod files;
pub mod host_capabilities;
pub mod images;
mod multi;
mod notices;
mod observer;
mod perf;
mod placed;
mod placing;
mod plan;
mod read_timeout;
mod same_file;
mod sample;
mod served;
pub mod site;
pub mod support;
mod symbols;
mod turns;
mod unavailable;

pub use callers::{Caller, CallerObject, ObjectKind};
pub use compat::{Kernel, Returns};
pub use counts::{CountsError, Drops, DropsByCpu};
pub use files::FileId;
pub use images::ImageKind;
pub use observer::Observer;
pub use placed::Watched;
pub use plan::{LinkKind, Plan, Purpose, Scope, ShimProbes};
pub use sample::{CallCount, Sample, effective_stream};
pub use site::ProbeSet;
pub use support::{ProbeCost, probe_cost, probe_support};
pub use unavailable::Unavailable;
