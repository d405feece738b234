//! The library through its C interface, as a HIP runtime calls it. No file of AMD's is needed.

mod agents;
mod exports;
mod programs;
mod sharing;
mod support;
