//! Kernel names of a code object: an AMDGPU ELF file, or the bundle of them that hipcc makes.
//!
//! The image may be anything; nothing outside its bounds is read and nothing is assumed about its contents.

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _};

const BUNDLE_MAGIC: &[u8] = b"__CLANG_OFFLOAD_BUNDLE__";
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// Starts a text blob whose module accepts any kernel name.
const TEXT_MAGIC: &[u8] = b"hipsim";
/// A kernel descriptor's symbol is the kernel's name with this suffix.
const DESCRIPTOR_SUFFIX: &str = ".kd";
/// Larger images are refused.
const MAX_IMAGE: usize = 1 << 30;

/// What an image contains.
#[derive(Debug, PartialEq, Eq)]
pub enum Contents {
    /// These kernels.
    Kernels(Vec<String>),
    /// Whatever name is asked for.
    Anything,
}

/// Reads an image; `None` if it is no code object.
pub fn read(image: &[u8]) -> Option<Contents> {
    if image.starts_with(TEXT_MAGIC) {
        return Some(Contents::Anything);
    }
    if image.starts_with(ELF_MAGIC) {
        return elf_kernels(image).map(Contents::Kernels);
    }
    let entries = bundle_entries(image)?;
    let mut kernels: Vec<String> = entries
        .into_iter()
        .filter_map(|(offset, size)| elf_kernels(image.get(offset..offset.checked_add(size)?)?))
        .flatten()
        .collect();
    kernels.sort();
    kernels.dedup();
    Some(Contents::Kernels(kernels))
}

/// Size of an image in memory that comes without one, from its own headers, as the real runtime computes it.
///
/// # Safety
/// `image` points to a code object, a bundle or a text blob that starts with `hipsim`.
pub unsafe fn size_in_memory(image: *const u8) -> Option<usize> {
    // SAFETY: every kind of image is at least this long, or differs before its end.
    let starts_with = |magic: &[u8]| (0..magic.len()).all(|i| unsafe { *image.add(i) } == magic[i]);
    if starts_with(TEXT_MAGIC) {
        return Some(TEXT_MAGIC.len());
    }
    let size = if starts_with(ELF_MAGIC) {
        // SAFETY: an ELF file has at least its header.
        let header = unsafe {
            std::slice::from_raw_parts(image, size_of::<object::elf::FileHeader64<Endianness>>())
        };
        let elf = object::elf::FileHeader64::<Endianness>::parse(header).ok()?;
        let endian = elf.endian().ok()?;
        let sections = usize::from(elf.e_shentsize(endian)) * usize::from(elf.e_shnum(endian));
        usize::try_from(elf.e_shoff(endian))
            .ok()?
            .checked_add(sections)?
    } else if starts_with(BUNDLE_MAGIC) {
        let fixed = BUNDLE_MAGIC.len() + 8;
        // SAFETY: a bundle has at least its magic and its count.
        let count = word(
            unsafe { std::slice::from_raw_parts(image, fixed) },
            BUNDLE_MAGIC.len(),
        )?;
        // SAFETY: each entry's header is bounded; 4096 bytes hold what hipcc writes for a few targets, page by page.
        let header = unsafe { std::slice::from_raw_parts(image, bundle_header(image, count)?) };
        bundle_entries(header)?
            .into_iter()
            .map(|(offset, size)| offset.saturating_add(size))
            .max()?
    } else {
        return None;
    };
    (size <= MAX_IMAGE).then_some(size)
}

/// Length of a bundle's table of entries.
///
/// # Safety
/// As [`size_in_memory`].
unsafe fn bundle_header(image: *const u8, count: usize) -> Option<usize> {
    let mut length = BUNDLE_MAGIC.len() + 8;
    for _ in 0..count.min(64) {
        // SAFETY: the table continues with this entry's three words.
        let words = unsafe { std::slice::from_raw_parts(image.add(length), 24) };
        length += 24 + word(words, 16).filter(|name| *name < 4096)?;
    }
    Some(length)
}

/// (offset, size) of each entry of a bundle.
fn bundle_entries(image: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut at = image
        .starts_with(BUNDLE_MAGIC)
        .then_some(BUNDLE_MAGIC.len())?;
    let count = word(image, at)?;
    at += 8;
    let mut entries = Vec::new();
    for _ in 0..count.min(64) {
        entries.push((word(image, at)?, word(image, at + 8)?));
        at = at.checked_add(24)?.checked_add(word(image, at + 16)?)?;
    }
    Some(entries)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn elf_kernels(image: &[u8]) -> Option<Vec<String>> {
    let elf = ElfFile64::<Endianness>::parse(image).ok()?;
    if elf.elf_header().e_machine(elf.endian()) != object::elf::EM_AMDGPU {
        return None;
    }
    let name = |symbol: object::read::elf::ElfSymbol64<'_, '_>| {
        Some(
            symbol
                .name()
                .ok()?
                .strip_suffix(DESCRIPTOR_SUFFIX)?
                .to_owned(),
        )
    };
    Some(elf.dynamic_symbols().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_refused() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\x7fELF"), None);
        assert_eq!(read(b"hipsim module"), Some(Contents::Anything));
        let mut bundle = BUNDLE_MAGIC.to_vec();
        assert_eq!(read(&bundle), None);
        bundle.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&bundle), None, "more entries than bytes");
        bundle.extend_from_slice(&[0xff; 24]);
        assert_eq!(read(&bundle), None, "a name longer than the address space");
    }

    #[test]
    fn host_programs_are_no_code_objects() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(read(&own), None);
    }
}
