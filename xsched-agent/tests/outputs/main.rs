//! What leaves the agent besides snapshots: the past, events, metrics,
//! the relay, the documents that describe them.

mod fixture;
mod metrics;
mod past;
mod protocol;
mod relay;
