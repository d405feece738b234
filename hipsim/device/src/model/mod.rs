//! The device's arithmetic without clocks, threads or shared memory, so that virtual-time tests and the real-time
//! runtime run the same code.

pub mod fifo;
pub mod rings;
pub mod share;

#[cfg(test)]
mod tests;
