//! The generated entries: one per function of the real library, under its version node. Nothing inside calls an export.

include!(concat!(env!("OUT_DIR"), "/exports.rs"));
