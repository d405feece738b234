//! The binary interface: types and error codes of `hip_runtime_api.h`, and the exported entries.

pub mod dispatch;
pub mod error;
pub mod exports;
pub mod properties;
pub mod trace;
pub mod types;
