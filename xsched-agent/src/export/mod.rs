//! What leaves the agent: the API socket.

mod api;
mod authorise;
mod lines;

pub use api::{ApiError, serve};
