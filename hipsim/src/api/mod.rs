//! The bodies of the exported functions, one file per family of the API. `data/simulated.tsv` says which export runs
//! which body; all other exports run [`support::not_supported`].

pub mod answers;
pub mod attributes;
pub mod capture;
pub mod context;
pub mod copy;
pub mod copy_driver;
pub mod copy_shaped;
pub mod copy_symbol;
pub mod device;
pub mod errors;
pub mod event;
pub mod fill;
pub mod forms;
pub mod graph;
pub mod graph_edges;
pub mod graph_nodes;
pub mod hiprtc;
pub mod host_function;
pub mod ipc;
pub mod launch;
pub mod launch_forms;
pub mod lookup;
pub mod memory;
pub mod module;
pub mod occupancy;
pub mod pool;
pub mod register;
pub mod stream;
pub mod support;
pub mod value;
