//! `xtop`: the processes that use a GPU runtime, live.
//!
//! Data flows one way: [`xsched_client`] or [`replay`] brings the agent's
//! snapshots, [`input`] makes [`action`]s of keys and the mouse, [`state`]
//! takes both in, [`layout`] places things and [`view`] draws them in the
//! colours of [`theme`]. [`ui`] is these together, [`nodes`] one for
//! each machine; [`app`] moves messages
//! between them and the terminal. [`output`] prints snapshots as text
//! instead. Only `replay`, `config`, [`saved`],
//! [`signal`], `app`, `terminal` and `output` do I/O.

pub mod action;
pub mod app;
pub mod cli;
pub mod column;
pub mod config;
pub mod format;
pub mod input;
pub mod layout;
pub mod manual;
pub mod nodes;
pub mod output;
pub mod replay;
pub mod saved;
pub mod signal;
pub mod state;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod ui;
pub mod view;

#[cfg(test)]
mod fixture;
