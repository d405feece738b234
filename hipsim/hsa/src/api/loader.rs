//! Loading a code object: an AMDGPU ELF file is laid out in memory and relocated, as the real loader does, so that kernels have
//! descriptors and variables have addresses.
//!
//! The image may be anything; nothing outside its bounds is read.

use std::collections::HashMap;

use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _,
    RelocationFlags, RelocationTarget, SectionFlags, elf,
};
use simdevice::device::ipc::PAGE;
use simdevice::known::Argument;
use simdevice::target::Target;

use super::metadata;
use crate::abi::status::{Result, Status};
use crate::machine::kernels::SUFFIX;
use crate::memory::pages;

/// Relocations of code objects (LLVM, "User Guide for AMDGPU Backend").
const NONE: u32 = 0;
const ABS32_LO: u32 = 1;
const ABS32_HI: u32 = 2;
const ABS64: u32 = 3;
const ABS32: u32 = 6;
const RELATIVE64: u32 = 13;
/// `NT_AMDGPU_METADATA` of the vendor "AMDGPU".
const METADATA: u32 = 32;
const INVALID: Status = Status::INVALID_CODE_OBJECT;
/// Larger images are refused.
const MAX_IMAGE: u64 = 1 << 32;
/// Bytes of a kernel descriptor.
const DESCRIPTOR: usize = 64;
/// Bit of a descriptor's properties: the kernel's stack has no size known before it runs.
const DYNAMIC_STACK: u16 = 1 << 11;

/// What a symbol of a code object is.
#[derive(Clone, Debug)]
pub enum Symbol {
    /// A kernel; sizes are in bytes.
    Kernel {
        /// Address of its descriptor.
        descriptor: u64,
        group_size: u32,
        private_size: u32,
        arguments: u32,
        has_dynamic_stack: bool,
        /// Each argument, if the code object tells.
        signature: Option<Vec<Argument>>,
    },
    /// A variable.
    Variable {
        address: u64,
        size: u32,
        /// Whether the device may only read it.
        is_const: bool,
    },
}

/// A code object in memory.
#[derive(Debug)]
pub struct Image {
    start: usize,
    size: usize,
    /// What it defines, by name.
    pub symbols: HashMap<String, Symbol>,
}

/// Loads an image for a device; `defined` are variables that the program defines itself.
///
/// # Errors
/// `INVALID_CODE_OBJECT`, `INCOMPATIBLE_ARGUMENTS` when it is for other processors, `VARIABLE_UNDEFINED`.
pub fn load(image: &[u8], device: &Target, defined: &HashMap<String, u64>) -> Result<Image> {
    let elf = ElfFile64::<Endianness>::parse(image).map_err(|_| INVALID)?;
    let (header, endian) = (elf.elf_header(), elf.endian());
    if header.e_machine(endian) != elf::EM_AMDGPU {
        return Err(INVALID);
    }
    let target = Target::of_flags(header.e_flags(endian).0);
    if !target.is_some_and(|target| device.runs(&target)) {
        return Err(Status::INCOMPATIBLE_ARGUMENTS);
    }
    let ends = elf
        .segments()
        .map(|segment| segment.address().checked_add(segment.size()));
    let size = ends
        .max()
        .flatten()
        .filter(|size| (1..=MAX_IMAGE).contains(size))
        .ok_or(INVALID)?;
    let size = (size as usize).next_multiple_of(PAGE);
    let mut loaded = Image {
        start: pages(size)?,
        size,
        symbols: HashMap::new(),
    };
    match loaded.fill(&elf, defined) {
        Ok(()) => Ok(loaded),
        Err(status) => {
            // SAFETY: nobody knows of it yet.
            unsafe { loaded.unmap() };
            Err(status)
        }
    }
}

type Elf<'i> = ElfFile64<'i, Endianness>;

/// What the code object's notes tell of its kernels' arguments.
fn signatures(elf: &Elf<'_>) -> HashMap<String, Vec<Argument>> {
    let mut found = HashMap::new();
    for header in elf.elf_program_headers() {
        let Ok(Some(mut notes)) = header.notes(elf.endian(), elf.data()) else {
            continue;
        };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"AMDGPU" && note.n_type(elf.endian()).0 == METADATA {
                found.extend(metadata::arguments(note.desc()));
            }
        }
    }
    found
}

impl Image {
    fn fill(&mut self, elf: &Elf<'_>, defined: &HashMap<String, u64>) -> Result {
        for segment in elf.segments() {
            let bytes = segment.data().map_err(|_| INVALID)?;
            let at = segment.address() as usize;
            self.bytes(at, bytes.len())
                .ok_or(INVALID)?
                .copy_from_slice(bytes);
        }
        for (at, relocation) in elf.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                return Err(INVALID);
            };
            let base = match relocation.target() {
                RelocationTarget::Symbol(index) if r_type.0 != RELATIVE64 => {
                    let symbol = elf.dynamic_symbol_table().and_then(|table| {
                        use object::ObjectSymbolTable as _;
                        table.symbol_by_index(index).ok()
                    });
                    let symbol = symbol.ok_or(INVALID)?;
                    match symbol.is_undefined() {
                        false => self.address(symbol.address(), 0)?,
                        true => {
                            let name = symbol.name().map_err(|_| INVALID)?;
                            let weak = symbol.is_weak().then_some(0);
                            defined
                                .get(name)
                                .copied()
                                .or(weak)
                                .ok_or(Status::VARIABLE_UNDEFINED)?
                        }
                    }
                }
                _ => self.start as u64,
            };
            let value = base.wrapping_add_signed(relocation.addend()).to_le_bytes();
            let bytes = match r_type.0 {
                NONE => continue,
                ABS64 | RELATIVE64 => &value[..],
                ABS32 | ABS32_LO => &value[..4],
                ABS32_HI => &value[4..],
                // Left alone, the place would hold something else than the program means.
                _ => return Err(INVALID),
            };
            self.bytes(at as usize, bytes.len())
                .ok_or(INVALID)?
                .copy_from_slice(bytes);
        }
        let mut signatures = signatures(elf);
        for symbol in elf.dynamic_symbols() {
            if let Some((name, symbol)) = self.symbol(elf, &symbol, &mut signatures)? {
                self.symbols.insert(name, symbol);
            }
        }
        Ok(())
    }

    /// A symbol that programs ask for; none for others.
    fn symbol<'d>(
        &mut self,
        elf: &Elf<'d>,
        symbol: &impl object::ObjectSymbol<'d>,
        signatures: &mut HashMap<String, Vec<Argument>>,
    ) -> Result<Option<(String, Symbol)>> {
        let Ok(name) = symbol.name() else {
            return Ok(None);
        };
        if symbol.is_undefined() || name.is_empty() {
            return Ok(None);
        }
        let section = symbol
            .section_index()
            .and_then(|index| elf.section_by_index(index).ok());
        let Some(SectionFlags::Elf { sh_flags, .. }) = section.map(|section| section.flags())
        else {
            return Ok(None);
        };
        let found = if name.ends_with(SUFFIX) {
            let descriptor = self.address(symbol.address(), DESCRIPTOR as u64)?;
            let bytes = self
                .bytes(symbol.address() as usize, DESCRIPTOR)
                .ok_or(INVALID)?;
            let word =
                |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
            Symbol::Kernel {
                descriptor,
                group_size: word(0),
                private_size: word(4),
                arguments: word(8),
                has_dynamic_stack: word(56) as u16 & DYNAMIC_STACK != 0,
                signature: signatures.remove(name),
            }
        } else if sh_flags.0 & elf::SHF_EXECINSTR.0 == 0 {
            Symbol::Variable {
                address: self.address(symbol.address(), symbol.size())?,
                size: u32::try_from(symbol.size()).map_err(|_| INVALID)?,
                is_const: sh_flags.0 & elf::SHF_WRITE.0 == 0,
            }
        } else {
            return Ok(None);
        };
        Ok(Some((name.to_owned(), found)))
    }

    /// Where so many bytes of the file's addresses are in memory, if the image has them.
    fn address(&self, at: u64, length: u64) -> Result<u64> {
        at.checked_add(length)
            .filter(|end| *end <= self.size as u64)
            .map(|_| self.start as u64 + at)
            .ok_or(INVALID)
    }

    fn bytes(&mut self, at: usize, length: usize) -> Option<&mut [u8]> {
        at.checked_add(length).filter(|end| *end <= self.size)?;
        // SAFETY: within the pages made for this image, which nobody else knows yet.
        Some(unsafe { std::slice::from_raw_parts_mut((self.start + at) as *mut u8, length) })
    }

    /// Where it lies.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.start as u64..(self.start + self.size) as u64
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub unsafe fn unmap(&self) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(self.start as *mut libc::c_void, self.size) };
    }
}

#[cfg(test)]
mod tests {
    use simdevice::code::{self, Kernel};
    use simdevice::known::ArgumentKind;

    use super::*;

    fn image() -> Vec<u8> {
        let kernels = [
            Kernel {
                name: "fill",
                arguments: &[8, 4, 8],
            },
            Kernel {
                name: "other",
                arguments: &[],
            },
        ];
        code::object("gfx906", &kernels)
    }

    fn load_one(image: &[u8]) -> Result<Image> {
        let device = Target::parse("gfx906").expect("a target");
        load(image, &device, &HashMap::new())
    }

    #[test]
    fn a_kernel_comes_with_its_arguments() {
        let loaded = load_one(&image()).expect("loads");
        let Some(Symbol::Kernel { signature, .. }) = loaded.symbols.get("fill.kd") else {
            panic!("{:?}", loaded.symbols);
        };
        let argument = |offset, size| Argument {
            offset,
            size,
            kind: ArgumentKind::Bytes,
        };
        let expected = [argument(0, 8), argument(8, 4), argument(16, 8)];
        assert_eq!(signature.as_deref(), Some(&expected[..]));
        // SAFETY: nobody else has it.
        unsafe { loaded.unmap() };
    }

    /// Offset and size of the section of this type, from the file's header.
    fn section(image: &[u8], kind: u32) -> (usize, usize) {
        let long = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().expect("8"));
        let table = long(40) as usize;
        let mut headers = (0..usize::from(image[60])).map(|index| table + index * 64);
        let is_meant = |at: &usize| image[at + 4..at + 8] == kind.to_le_bytes();
        let at = headers.find(is_meant).expect("the section");
        (long(at + 24) as usize, long(at + 32) as usize)
    }

    #[test]
    fn symbols_outside_the_image_are_refused() {
        let (symbols, size) = section(&image(), 11);
        for address in [u64::MAX, u64::MAX - 63, 1 << 40, 1 << 20] {
            for index in 1..size / 24 {
                let mut broken = image();
                let at = symbols + index * 24;
                // A variable of the descriptors' section, whatever it was.
                broken[at + 6] = 5;
                broken[at + 8..at + 16].copy_from_slice(&address.to_le_bytes());
                let status = load_one(&broken).map(drop);
                assert_eq!(status, Err(INVALID), "symbol {index} at {address:#x}");
            }
        }
        // Its end, not its start.
        let mut broken = image();
        broken[symbols + 24 + 6] = 5;
        broken[symbols + 24 + 16..symbols + 24 + 24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(load_one(&broken).map(drop), Err(INVALID));
    }

    /// Nothing ends the process or is read outside, whatever a byte or two are.
    #[test]
    fn changed_images_are_loaded_or_refused() {
        let whole = image();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let mut loaded = 0;
        for round in 0..20_000 {
            let mut broken = whole.clone();
            for _ in 0..=round % 4 {
                let at = random() % broken.len();
                broken[at] = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
            }
            broken.truncate(broken.len() - if round % 7 == 0 { random() % 512 } else { 0 });
            if let Ok(image) = load_one(&broken) {
                loaded += 1;
                // SAFETY: nobody else has it.
                unsafe { image.unmap() };
            }
        }
        assert!(loaded > 0, "all were refused: nothing was tested");
    }
}
