//! Attributes end to end: a real agent with a file, real processes, and every
//! source of class, weight and target.

mod clusters;
mod file;
mod fixture;
mod holds;
mod kept;
mod sources;
mod units;
mod unset;
mod users;
