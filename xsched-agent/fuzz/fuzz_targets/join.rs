//! A packet on the joining socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| xsched_agent::fuzzing::hello(bytes));
