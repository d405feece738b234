//! Kernel names of a code object: an AMDGPU ELF file, or the bundle of them that hipcc makes.
//!
//! The image may be anything; nothing outside its bounds is read and nothing is assumed about its contents.

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _};

use crate::abi::error::{HipError, Result};
use crate::target::Target;

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

/// Reads an image for a device.
///
/// # Errors
/// `InvalidImage` if it is no code object, `NoBinaryForGpu` if it is one for other devices.
pub fn read(image: &[u8], device: &Target) -> Result<Contents> {
    if image.starts_with(TEXT_MAGIC) {
        return Ok(Contents::Anything);
    }
    if image.starts_with(ELF_MAGIC) {
        let (target, kernels) = elf_kernels(image).ok_or(HipError::InvalidImage)?;
        return match target {
            Some(target) if device.runs(&target) => Ok(Contents::Kernels(kernels)),
            _ => Err(HipError::NoBinaryForGpu),
        };
    }
    let entries = bundle_entries(image).ok_or(HipError::InvalidImage)?;
    let entry = entries.iter().find(|entry| entry.fits(device));
    let entry = entry.ok_or(HipError::NoBinaryForGpu)?;
    let code = entry
        .offset
        .checked_add(entry.size)
        .and_then(|end| image.get(entry.offset..end));
    let (_, kernels) = code.and_then(elf_kernels).ok_or(HipError::InvalidImage)?;
    Ok(Contents::Kernels(kernels))
}

/// Whether the device runs what is in the fat binary of a program. One that is no plain bundle (compressed, of a test) is
/// taken at its word.
///
/// # Safety
/// `image` is null or points to a fat binary.
pub unsafe fn fits_in_memory(image: *const u8, device: &Target) -> bool {
    // SAFETY: the caller's promise; every kind of image differs from the magic before its own end.
    let is_bundle = !image.is_null()
        && (0..BUNDLE_MAGIC.len()).all(|i| unsafe { *image.add(i) } == BUNDLE_MAGIC[i]);
    if !is_bundle {
        return true;
    }
    // SAFETY: a bundle, see above.
    let header = unsafe { bundle_header(image) };
    header
        .and_then(bundle_entries)
        .is_none_or(|entries| entries.iter().any(|entry| entry.fits(device)))
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
        // SAFETY: a bundle.
        bundle_entries(unsafe { bundle_header(image) }?)?
            .into_iter()
            .map(|entry| entry.offset.saturating_add(entry.size))
            .max()?
    } else {
        return None;
    };
    (size <= MAX_IMAGE).then_some(size)
}

/// A bundle's table of entries.
///
/// # Safety
/// `image` points to a bundle.
unsafe fn bundle_header<'a>(image: *const u8) -> Option<&'a [u8]> {
    let mut length = BUNDLE_MAGIC.len() + 8;
    // SAFETY: a bundle has at least its magic and its count.
    let fixed = unsafe { std::slice::from_raw_parts(image, length) };
    let count = word(fixed, BUNDLE_MAGIC.len())?;
    for _ in 0..count.min(64) {
        // SAFETY: the table continues with this entry's three words.
        let words = unsafe { std::slice::from_raw_parts(image.add(length), 24) };
        length += 24 + word(words, 16).filter(|name| *name < 4096)?;
    }
    // SAFETY: the table is that long.
    Some(unsafe { std::slice::from_raw_parts(image, length) })
}

/// An entry of a bundle: the code for one target, or the host's.
struct Entry {
    offset: usize,
    size: usize,
    target: Option<Target>,
}

impl Entry {
    fn fits(&self, device: &Target) -> bool {
        self.target
            .as_ref()
            .is_some_and(|target| device.runs(target))
    }
}

fn bundle_entries(image: &[u8]) -> Option<Vec<Entry>> {
    let mut at = image
        .starts_with(BUNDLE_MAGIC)
        .then_some(BUNDLE_MAGIC.len())?;
    let count = word(image, at)?;
    at += 8;
    let mut entries = Vec::new();
    for _ in 0..count.min(64) {
        let (offset, size) = (word(image, at)?, word(image, at + 8)?);
        let name = at.checked_add(24)?;
        let end = name.checked_add(word(image, at + 16)?)?;
        let name = String::from_utf8_lossy(image.get(name..end)?);
        let target = Target::of_entry(&name);
        entries.push(Entry {
            offset,
            size,
            target,
        });
        at = end;
    }
    Some(entries)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// What an ELF file is for, if that is known, and its kernels.
fn elf_kernels(image: &[u8]) -> Option<(Option<Target>, Vec<String>)> {
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
    let target = Target::of_flags(elf.elf_header().e_flags(elf.endian()).0);
    Some((target, elf.dynamic_symbols().filter_map(name).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &[u8]) -> Result<Contents> {
        super::read(image, &Target::of_device("gfx90a").unwrap())
    }

    #[test]
    fn garbage_is_refused() {
        let invalid = Err(HipError::InvalidImage);
        assert_eq!(read(b""), invalid);
        assert_eq!(read(b"\x7fELF"), invalid);
        assert_eq!(read(b"hipsim module"), Ok(Contents::Anything));
        let mut bundle = BUNDLE_MAGIC.to_vec();
        assert_eq!(read(&bundle), invalid);
        bundle.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&bundle), invalid, "more entries than bytes");
        bundle.extend_from_slice(&[0xff; 24]);
        assert_eq!(
            read(&bundle),
            invalid,
            "a name longer than the address space"
        );
    }

    #[test]
    fn host_programs_are_no_code_objects() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(read(&own), Err(HipError::InvalidImage));
    }

    /// A bundle with an entry of this name and place.
    fn bundle(name: &str, offset: u64, size: u64) -> Vec<u8> {
        let mut image = BUNDLE_MAGIC.to_vec();
        for word in [1, offset, size, name.len() as u64] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        image.extend_from_slice(name.as_bytes());
        image
    }

    #[test]
    fn code_for_other_devices_is_told_apart_from_garbage() {
        let other = bundle("hipv4-amdgcn-amd-amdhsa--gfx906", 4096, 0);
        assert_eq!(read(&other), Err(HipError::NoBinaryForGpu));
        for (offset, size) in [(4096, 0), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            let own = bundle("hipv4-amdgcn-amd-amdhsa--gfx90a", offset, size);
            assert_eq!(read(&own), Err(HipError::InvalidImage), "no code there");
        }
        let device = Target::of_device("gfx90a").unwrap();
        let fits = |image: &[u8]| {
            // SAFETY: a bundle, or bytes that differ from one before their end.
            unsafe { fits_in_memory(image.as_ptr(), &device) }
        };
        assert!(!fits(&other));
        assert!(fits(&bundle(
            "hipv4-amdgcn-amd-amdhsa--gfx90a:xnack-",
            0,
            0
        )));
        assert!(fits(b"\0"), "what cannot be read is taken at its word");
    }
}
