//! The built library in real processes.

mod cudart;
mod device;
mod support;
