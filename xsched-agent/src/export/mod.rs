//! What leaves the agent: the API socket and metrics.

mod answer;
mod authorise;
mod changes;
mod connection;
mod diagnosis;
mod lines;
pub mod metrics;
mod quota;
mod rate_limit;
mod schema;
mod served;
mod server;
mod settings;

pub use schema::schema;
pub use served::Served;
pub use server::{ApiError, listen, serve};

fn agent_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
