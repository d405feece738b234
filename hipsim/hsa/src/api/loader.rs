//! Loading a code object: an AMDGPU ELF file is laid out in memory and relocated, as the real loader does, so that kernels have
//! descriptors and variables have addresses.
//!
//! The image may be anything; nothing outside its bounds is read.

use std::collections::HashMap;

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _,
    RelocationFlags, RelocationTarget, SectionFlags, elf,
};
use simdevice::device::ipc::PAGE;
use simdevice::target::Target;

use crate::abi::status::{Result, Status};
use crate::machine::kernels::SUFFIX;
use crate::memory::pages;

/// Relocations of code objects (LLVM, "User Guide for AMDGPU Backend").
const ABS32_LO: u32 = 1;
const ABS32_HI: u32 = 2;
const ABS64: u32 = 3;
const ABS32: u32 = 6;
const RELATIVE64: u32 = 13;
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
    const INVALID: Status = Status::INVALID_CODE_OBJECT;
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

impl Image {
    fn fill(&mut self, elf: &Elf<'_>, defined: &HashMap<String, u64>) -> Result {
        const INVALID: Status = Status::INVALID_CODE_OBJECT;
        for segment in elf.segments() {
            let bytes = segment.data().map_err(|_| INVALID)?;
            let at = segment.address() as usize;
            self.bytes(at, bytes.len())
                .ok_or(INVALID)?
                .copy_from_slice(bytes);
        }
        for (at, relocation) in elf.dynamic_relocations().into_iter().flatten() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                continue;
            };
            let base = match relocation.target() {
                RelocationTarget::Symbol(index) if r_type.0 != RELATIVE64 => {
                    let symbol = elf.dynamic_symbol_table().and_then(|table| {
                        use object::ObjectSymbolTable as _;
                        table.symbol_by_index(index).ok()
                    });
                    let symbol = symbol.ok_or(INVALID)?;
                    match symbol.is_undefined() {
                        false => self.start as u64 + symbol.address(),
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
                ABS64 | RELATIVE64 => &value[..],
                ABS32 | ABS32_LO => &value[..4],
                ABS32_HI => &value[4..],
                _ => continue,
            };
            self.bytes(at as usize, bytes.len())
                .ok_or(INVALID)?
                .copy_from_slice(bytes);
        }
        for symbol in elf.dynamic_symbols() {
            if let Some((name, symbol)) = self.symbol(elf, &symbol) {
                self.symbols.insert(name, symbol);
            }
        }
        Ok(())
    }

    fn symbol<'d>(
        &mut self,
        elf: &Elf<'d>,
        symbol: &impl object::ObjectSymbol<'d>,
    ) -> Option<(String, Symbol)> {
        let name = symbol.name().ok()?.to_owned();
        if symbol.is_undefined() || name.is_empty() {
            return None;
        }
        let at = usize::try_from(symbol.address()).ok()?;
        let address = self.start as u64 + symbol.address();
        let section = elf.section_by_index(symbol.section_index()?).ok()?;
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            return None;
        };
        let found = if name.ends_with(SUFFIX) {
            let bytes = self.bytes(at, DESCRIPTOR)?;
            let word =
                |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
            Symbol::Kernel {
                descriptor: address,
                group_size: word(0),
                private_size: word(4),
                arguments: word(8),
                has_dynamic_stack: word(56) as u16 & DYNAMIC_STACK != 0,
            }
        } else if sh_flags.0 & elf::SHF_EXECINSTR.0 == 0 {
            Symbol::Variable {
                address,
                size: symbol.size() as u32,
                is_const: sh_flags.0 & elf::SHF_WRITE.0 == 0,
            }
        } else {
            return None;
        };
        Some((name, found))
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
