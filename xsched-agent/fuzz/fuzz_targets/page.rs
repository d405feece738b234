//! What clients write into their status pages, and everything that reads it:
//! the control thread's rounds and the model.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| xsched_agent::fuzzing::pages(bytes));
