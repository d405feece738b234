//! What leaves the agent: the API socket.

mod api;
mod authorise;
mod diagnosis;
mod lines;
mod places;

pub use api::{ApiError, serve};
