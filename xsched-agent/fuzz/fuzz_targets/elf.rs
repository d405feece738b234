//! The ELF reader on any bytes: no crash, and no more than the file is worth.
//! A corpus to start from: small libraries, `fuzz/seed.sh`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xsched_host::elf::Elf;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(elf) = Elf::read(bytes) {
        assert!(elf.slots.len() <= bytes.len());
        assert!(elf.segments.len() <= bytes.len());
    }
});
