//! What crosses the interface: structures, statuses, the exported entries.

pub mod call;
pub mod exports;
pub mod status;
pub mod types;
