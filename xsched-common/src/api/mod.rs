//! The agent's API: JSON lines over a Unix stream socket.
//!
//! One request per line, one or more response lines per request. Any
//! language can speak it. Fields are only ever added; times are in
//! nanoseconds (`_ns`), rates per second (`_per_s`), shares from 0 to 1
//! (`_ratio`); what is not known is `null`, never zero.

mod blame;
mod device;
mod drops;
mod event;
mod finding;
mod group;
mod history;
mod mode;
mod request;
mod snapshot;
mod time_slice;
mod workload;

pub use blame::{AgentWarning, BlameCause, BlamePart, BlameRow, BlameSource, UnscheduledRow};
pub use device::{ClassRow, DeviceRow, HardwareRow, ProcessHardware};
pub use drops::{DropCount, Drops};
pub use event::{EventKind, EventRow};
pub use finding::{Finding, Severity};
pub use group::{GroupOrigin, GroupRow};
pub use history::{History, HistoryPoint};
pub use mode::{SharingMode, UnknownMode};
pub use request::{
    Attr, Change, ChangeWay, Diagnosis, ExplainStep, Explanation, Failure, Hello, InForce,
    MAX_DESCENDANTS, MAX_OBSERVATION_MS, MAX_OVERRIDE_MS, MIN_OVERRIDE_MS, ModeSet, Reloaded,
    Request, Response, Settled, Slowness,
};
pub use snapshot::{
    AgentInfo, ApiRow, BpfState, CallerRow, ControlInfo, GateRow, GateShares, GateState, Guards,
    Latency, LatencyBucket, Override, OverrideRow, ProcessRow, RouteLaunches, Sampling, ShimState,
    SloRow, SloState, Snapshot,
};
pub use time_slice::{SliceSetter, TimeSliceRow, TimeSlicing};
pub use workload::{JobRow, PodRow};

/// Version of these messages; a peer that sees a higher one may miss fields.
pub const API_VERSION: u32 = 1;

/// The longest line either side accepts, bytes.
pub const MAX_LINE: usize = 16 << 20;
