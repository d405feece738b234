//! What leaves the agent: the API socket.

mod api;
mod authorise;
mod diagnosis;
mod lines;

pub use api::{ApiError, serve};
