//! `xtop`: the processes that use a GPU runtime, live.
//!
//! Data flows one way: [`xsched_client`] receives the agent's snapshots, [`state`]
//! takes them and the keys of [`input`] in, [`layout`] places things and
//! [`view`] draws them in the colours of [`theme`]. [`app`] moves messages
//! between them and the terminal. [`output`] prints snapshots as text
//! instead, [`replay`] writes them to a file and plays that. Only
//! `replay`, `config`, `app`, `terminal` and `output` do I/O.

pub mod app;
pub mod cli;
pub mod config;
pub mod format;
pub mod input;
pub mod layout;
pub mod manual;
pub mod output;
pub mod replay;
pub mod state;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod view;

#[cfg(test)]
mod fixture;
