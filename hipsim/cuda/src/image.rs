//! Kernel names of what programs load: PTX text, a cubin, a fat binary of them, or a wrapper around one.
//!
//! Fat binaries are as in nvcc's fatbinary_section.h and the files that it makes. Compressed ones are not unpacked: their modules
//! have a function of any name.

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};

use crate::code::{Code, Result};

/// What an image contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// These kernels.
    Kernels(Vec<String>),
    /// Whatever name is asked for.
    Anything,
}

/// `__fatBinC_Wrapper_t`: magic, version, the fat binary.
const WRAPPER: u32 = 0x4662_43b1;
/// Magic, version and length of the header, length of what follows.
const FAT_BINARY: u32 = 0xba55_ed50;
const ELF: u32 = u32::from_le_bytes(*b"\x7fELF");
/// A text whose module accepts any kernel name, as for hipsim's HIP face.
const ANYTHING: &[u8] = b"hipsim";

/// In the header of each file of a fat binary.
const KIND_PTX: u16 = 1;
const KIND_ELF: u16 = 2;
const COMPRESSED: u64 = 0x2000 | 0x8000;
const FILE_HEADER: usize = 48;
/// Larger images are refused.
const MOST: usize = 1 << 30;

/// Reads an image that lies in memory.
///
/// # Safety
/// `image` is null or points to an image as `cuModuleLoadData` takes it.
///
/// # Errors
/// `INVALID_IMAGE` for anything else.
pub unsafe fn in_memory(image: *const u8) -> Result<Contents> {
    if image.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: every image has four bytes, be it text or not; the rest is read as its own header says.
    unsafe {
        match image.cast::<u32>().read_unaligned() {
            WRAPPER => in_memory(image.add(8).cast::<*const u8>().read_unaligned()),
            FAT_BINARY => {
                let header = usize::from(image.add(6).cast::<u16>().read_unaligned());
                let files = image.add(8).cast::<u64>().read_unaligned() as usize;
                let size = header.saturating_add(files);
                read(slice(image, size)?)
            }
            ELF => read(slice(image, elf_size(image))?),
            _ => read(std::ffi::CStr::from_ptr(image.cast()).to_bytes()),
        }
    }
}

unsafe fn slice<'a>(image: *const u8, size: usize) -> Result<&'a [u8]> {
    if size > MOST {
        return Err(Code::INVALID_IMAGE);
    }
    // SAFETY: as long as its header says.
    Ok(unsafe { std::slice::from_raw_parts(image, size) })
}

/// Where an ELF file's section headers end, which are last in a cubin.
unsafe fn elf_size(image: *const u8) -> usize {
    // SAFETY: an ELF header.
    unsafe {
        let offset = image.add(40).cast::<u64>().read_unaligned() as usize;
        let size = usize::from(image.add(58).cast::<u16>().read_unaligned());
        let count = usize::from(image.add(60).cast::<u16>().read_unaligned());
        offset.saturating_add(size * count)
    }
}

/// Reads an image as it is in a file.
///
/// # Errors
/// `INVALID_IMAGE` if it is none.
pub fn read(image: &[u8]) -> Result<Contents> {
    if image.starts_with(ANYTHING) {
        return Ok(Contents::Anything);
    }
    match word(image, 0) {
        Some(FAT_BINARY) => fat_binary(image).ok_or(Code::INVALID_IMAGE),
        Some(ELF) => cubin(image)
            .map(Contents::Kernels)
            .ok_or(Code::INVALID_IMAGE),
        _ => ptx(image).map(Contents::Kernels).ok_or(Code::INVALID_IMAGE),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn fat_binary(image: &[u8]) -> Option<Contents> {
    let mut at = usize::from(u16::from_le_bytes(image.get(6..8)?.try_into().ok()?));
    let mut kernels = Vec::new();
    while at.checked_add(FILE_HEADER)? <= image.len() {
        let kind = word(image, at)? as u16;
        let header = word(image, at + 4)? as usize;
        let flags = u64::from(word(image, at + 40)?);
        let size = word(image, at + 8)?.max(word(image, at + 16)?) as usize;
        if flags & COMPRESSED != 0 {
            return Some(Contents::Anything);
        }
        let begin = at.checked_add(header)?;
        let end = begin.checked_add(size)?;
        let file = image.get(begin..end)?;
        let names = match kind {
            KIND_PTX => ptx(file),
            KIND_ELF => cubin(file),
            _ => None,
        };
        kernels.extend(names.into_iter().flatten());
        at = end;
    }
    Some(Contents::Kernels(kernels))
}

/// Each kernel of a cubin has a section of code with its name.
fn cubin(image: &[u8]) -> Option<Vec<String>> {
    let elf = ElfFile64::<Endianness>::parse(image).ok()?;
    let names = elf.sections().filter_map(|section| {
        let name = section.name().ok()?.strip_prefix(".text.")?;
        Some(name.to_owned())
    });
    Some(names.collect())
}

fn ptx(text: &[u8]) -> Option<Vec<String>> {
    let text = text.split(|&b| b == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    text.contains(".version").then(|| {
        let name = |after: &str| {
            let after = after.trim_start();
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "_$%".contains(c)));
            after[..end.unwrap_or(after.len())].to_owned()
        };
        text.split(".entry").skip(1).map(name).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = ".version 8.0\n.target sm_90\n.visible .entry vector_add(\n.param .u64 a)\n{ ret; }\n\
                       .entry _Z4fillPj ( ) { ret; }";

    fn kernels(names: &[&str]) -> Result<Contents> {
        Ok(Contents::Kernels(
            names.iter().map(|&n| n.to_owned()).collect(),
        ))
    }

    fn fat(kind: u16, flags: u64, file: &[u8]) -> Vec<u8> {
        let mut image = FAT_BINARY.to_le_bytes().to_vec();
        image.extend([1u16, 16].iter().flat_map(|n| n.to_le_bytes()));
        image.extend(((64 + file.len()) as u64).to_le_bytes());
        let mut header = [0u8; 64];
        header[..2].copy_from_slice(&kind.to_le_bytes());
        header[4..8].copy_from_slice(&64u32.to_le_bytes());
        header[8..12].copy_from_slice(&(file.len() as u32).to_le_bytes());
        header[40..48].copy_from_slice(&flags.to_le_bytes());
        image.extend(header);
        image.extend(file);
        image
    }

    #[test]
    fn names_come_from_text_and_from_fat_binaries_of_it() {
        assert_eq!(read(PTX.as_bytes()), kernels(&["vector_add", "_Z4fillPj"]));
        let image = fat(KIND_PTX, 1, PTX.as_bytes());
        assert_eq!(read(&image), kernels(&["vector_add", "_Z4fillPj"]));
        // SAFETY: a whole image.
        let found = unsafe { in_memory(image.as_ptr()) };
        assert_eq!(found, kernels(&["vector_add", "_Z4fillPj"]));
        let packed = fat(KIND_PTX, 0x2000, b"anything");
        assert_eq!(read(&packed), Ok(Contents::Anything));
        assert_eq!(read(b"hipsim module"), Ok(Contents::Anything));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let mut cut = fat(KIND_PTX, 1, PTX.as_bytes());
        cut.truncate(100);
        for image in [&b""[..], b"nonsense", b"\x7fELF", &cut] {
            assert_eq!(read(image), Err(Code::INVALID_IMAGE), "{image:?}");
        }
    }
}
