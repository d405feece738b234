//! Which of the runtime's ABIs this copy stands for.

/// The major version of the SONAME this copy was installed under. `install` rewrites the last byte of the mark in the
/// copies it makes; nothing else in the library tells them apart.
#[used]
static ABI_MAJOR: [u8; 24] = *b"hipsim-abi-major:\0\0\0\0\0\0\x05";

/// Major version of the ABI this library stands for: 5, 6 or 7.
pub fn major_version() -> u8 {
    // Volatile, or the compiler would use the value it sees here.
    // SAFETY: reads one byte of a static array.
    unsafe { std::ptr::read_volatile(&raw const ABI_MAJOR[23]) }
}
