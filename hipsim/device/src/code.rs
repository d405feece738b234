//! Writes code objects whose kernels do nothing, for programs that shall run on a real HIP runtime without a compiler: the
//! device knows kernels by name.
//!
//! The format is that of LLVM's "User Guide for AMDGPU Backend": an ELF file of code object version 4, with a descriptor and
//! metadata (MessagePack, in a note) for each kernel; several of them in a bundle as clang-offload-bundler makes it.

use crate::target::Target;

/// A kernel to be.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Sizes of its arguments in bytes, each aligned to its size.
    pub arguments: &'a [usize],
}

/// `s_endpgm`, for all processors known here.
const END: u32 = 0xbf81_0000;
const EM_AMDGPU: u16 = 224;
const HEADER: usize = 64;
const SEGMENTS: usize = 3;
/// Instructions begin at a multiple of this.
const CODE_ALIGNMENT: usize = 256;
const DESCRIPTOR: usize = 64;

/// A bundle with the kernels for each of these processors.
///
/// # Panics
/// A target is unknown: they come from the program that is being built.
pub fn bundle(targets: &[&str], kernels: &[Kernel<'_>]) -> Vec<u8> {
    let host = ("host-x86_64-unknown-linux--".to_owned(), Vec::new());
    let objects = targets.iter().map(|target| {
        (
            format!("hipv4-amdgcn-amd-amdhsa--{target}"),
            object(target, kernels),
        )
    });
    let entries: Vec<(String, Vec<u8>)> = std::iter::once(host).chain(objects).collect();
    let mut offset = 4096;
    let mut head = b"__CLANG_OFFLOAD_BUNDLE__".to_vec();
    head.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    let mut body = Vec::new();
    for (name, image) in &entries {
        for word in [offset, image.len(), name.len()] {
            head.extend_from_slice(&(word as u64).to_le_bytes());
        }
        head.extend_from_slice(name.as_bytes());
        body.extend_from_slice(image);
        body.resize(body.len().next_multiple_of(4096), 0);
        offset = 4096 + body.len();
    }
    head.resize(4096, 0);
    head.extend_from_slice(&body);
    head
}

/// A code object for a processor, with its optional features open.
///
/// # Panics
/// As [`bundle`].
pub fn object(target: &str, kernels: &[Kernel<'_>]) -> Vec<u8> {
    let flags = Target::parse(target)
        .and_then(|target| target.flags())
        .unwrap_or_else(|| panic!("{target} is no processor known here"));
    let mut file = File {
        bytes: vec![0; HEADER + SEGMENTS * 56],
        sections: vec![Section::default()],
        names: vec![0],
    };
    let note = file.section(".note", 7, 2, 4, &note(&metadata(target, kernels)));
    // Addresses are offsets: the file is one segment. What is at which address is known once the tables' sizes are.
    let (symbols, strings) = (1 + 2 * kernels.len(), strings(kernels));
    let tables = file.bytes.len().next_multiple_of(8) + symbols * 24 + strings.len() + 16;
    let descriptors = (tables + (2 + symbols + 1) * 4).next_multiple_of(DESCRIPTOR);
    let code = (descriptors + kernels.len() * DESCRIPTOR).next_multiple_of(CODE_ALIGNMENT);
    let mut table = vec![0; 24];
    let mut symbol = |name: usize, kind: u8, section: u8, at: usize, size: usize| {
        table.extend_from_slice(&(name as u32).to_le_bytes());
        table.extend_from_slice(&[kind, 0, section, 0]);
        table.extend_from_slice(&(at as u64).to_le_bytes());
        table.extend_from_slice(&(size as u64).to_le_bytes());
    };
    let mut name = 1;
    for (index, kernel) in kernels.iter().enumerate() {
        // Global, both: the function in section 6, the code, and the object in section 5, the descriptors.
        let length = kernel.name.len() + 1;
        symbol(name, 0x12, 6, code + index * CODE_ALIGNMENT, 4);
        symbol(
            name + length,
            0x11,
            5,
            descriptors + index * DESCRIPTOR,
            DESCRIPTOR,
        );
        name += 2 * length + ".kd".len();
    }
    let dynsym = file.section(".dynsym", 11, 2, 8, &table);
    file.sections[dynsym].link = 3;
    file.sections[dynsym].information = 1;
    file.sections[dynsym].entry = 24;
    let dynstr = file.section(".dynstr", 3, 2, 1, &strings);
    // One bucket with all symbols in a chain.
    let chain = (0..symbols as u32).map(|index| {
        if index == 0 || index as usize == symbols - 1 {
            0
        } else {
            index + 1
        }
    });
    let words = [1, symbols as u32, u32::from(symbols > 1)]
        .into_iter()
        .chain(chain);
    let table: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let hash = file.section(".hash", 5, 2, 4, &table);
    file.sections[hash].link = 2;
    file.bytes.resize(descriptors, 0);
    let mut table = Vec::new();
    for (index, kernel) in kernels.iter().enumerate() {
        let mut descriptor = [0; DESCRIPTOR];
        descriptor[8..12].copy_from_slice(&(size_of(kernel) as u32).to_le_bytes());
        let entry = (code + index * CODE_ALIGNMENT) - (descriptors + index * DESCRIPTOR);
        descriptor[16..24].copy_from_slice(&(entry as u64).to_le_bytes());
        table.extend_from_slice(&descriptor);
    }
    file.section(".rodata", 1, 2, DESCRIPTOR, &table);
    file.bytes.resize(code, 0);
    let mut text = Vec::new();
    for index in 0..kernels.len() {
        text.resize(index * CODE_ALIGNMENT, 0);
        text.extend_from_slice(&END.to_le_bytes());
    }
    file.section(".text", 1, 6, CODE_ALIGNMENT, &text);
    let at = |section: usize| file.sections[section].offset as u64;
    let entries = [
        (4, at(hash)),
        (5, at(dynstr)),
        (6, at(dynsym)),
        (10, strings.len() as u64),
        (11, 24),
        (0, 0),
    ];
    let table: Vec<u8> = entries
        .iter()
        .flat_map(|(tag, value): &(u64, u64)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
        .collect();
    let dynamic = file.section(".dynamic", 6, 3, 8, &table);
    file.sections[dynamic].link = 3;
    file.finish(flags, note, dynamic)
}

fn size_of(kernel: &Kernel<'_>) -> usize {
    offsets(kernel)
        .last()
        .map_or(0, |(offset, size)| (offset + size).next_multiple_of(8))
}

fn offsets(kernel: &Kernel<'_>) -> Vec<(usize, usize)> {
    let mut at: usize = 0;
    let place = |size: &usize| {
        let offset = at.next_multiple_of(*size);
        at = offset + size;
        (offset, *size)
    };
    kernel.arguments.iter().map(place).collect()
}

fn strings(kernels: &[Kernel<'_>]) -> Vec<u8> {
    let mut table = vec![0];
    for kernel in kernels {
        for suffix in ["\0", ".kd\0"] {
            table.extend_from_slice(kernel.name.as_bytes());
            table.extend_from_slice(suffix.as_bytes());
        }
    }
    table
}

/// A note of AMDGPU's, type 32 (NT_AMDGPU_METADATA).
fn note(metadata: &[u8]) -> Vec<u8> {
    let mut note: Vec<u8> = [7, metadata.len() as u32, 32]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    note.extend_from_slice(b"AMDGPU\0\0");
    note.extend_from_slice(metadata);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// MessagePack, as much of it as is needed.
struct Pack(Vec<u8>);

impl Pack {
    fn map(&mut self, entries: u16) {
        self.0.push(0xde);
        self.0.extend_from_slice(&entries.to_be_bytes());
    }

    fn list(&mut self, elements: u16) {
        self.0.push(0xdc);
        self.0.extend_from_slice(&elements.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(0xda);
        self.0.extend_from_slice(&(text.len() as u16).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        self.0.push(0xce);
        self.0.extend_from_slice(&(number as u32).to_be_bytes());
    }
}

fn metadata(target: &str, kernels: &[Kernel<'_>]) -> Vec<u8> {
    let mut pack = Pack(Vec::new());
    pack.map(3);
    pack.text("amdhsa.version");
    pack.list(2);
    pack.number(1);
    pack.number(1);
    pack.text("amdhsa.target");
    pack.text(&format!("amdgcn-amd-amdhsa--{target}"));
    pack.text("amdhsa.kernels");
    pack.list(kernels.len() as u16);
    let wave = Target::parse(target).map_or(64, |target| target.wave());
    for kernel in kernels {
        let numbers = [
            (".kernarg_segment_size", size_of(kernel)),
            (".kernarg_segment_align", 8),
            (".group_segment_fixed_size", 0),
            (".private_segment_fixed_size", 0),
            (".wavefront_size", wave as usize),
            (".sgpr_count", 8),
            (".vgpr_count", 8),
            (".max_flat_workgroup_size", 1024),
        ];
        pack.map(numbers.len() as u16 + 3);
        for (name, number) in numbers {
            pack.text(name);
            pack.number(number);
        }
        pack.text(".name");
        pack.text(kernel.name);
        pack.text(".symbol");
        pack.text(&format!("{}.kd", kernel.name));
        pack.text(".args");
        pack.list(kernel.arguments.len() as u16);
        for (offset, size) in offsets(kernel) {
            pack.map(3);
            pack.text(".offset");
            pack.number(offset);
            pack.text(".size");
            pack.number(size);
            pack.text(".value_kind");
            pack.text("by_value");
        }
    }
    pack.0
}

#[derive(Clone, Copy, Default)]
struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    offset: usize,
    size: usize,
    link: u32,
    information: u32,
    alignment: u64,
    entry: u64,
}

/// An ELF file in the making.
struct File {
    bytes: Vec<u8>,
    sections: Vec<Section>,
    names: Vec<u8>,
}

impl File {
    /// Appends a section; its index.
    fn section(
        &mut self,
        name: &str,
        kind: u32,
        flags: u64,
        alignment: usize,
        bytes: &[u8],
    ) -> usize {
        let offset = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(bytes);
        self.sections.push(Section {
            name: self.names.len() as u32,
            kind,
            flags,
            offset,
            size: bytes.len(),
            alignment: alignment as u64,
            ..Section::default()
        });
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        self.sections.len() - 1
    }

    fn finish(mut self, flags: u32, note: usize, dynamic: usize) -> Vec<u8> {
        let loaded = self.bytes.len();
        // The runtime's own reader of ELF files wants these two, whatever is in them.
        let symbols = self.section(".symtab", 2, 0, 8, &[0; 24]);
        self.sections[symbols].information = 1;
        self.sections[symbols].entry = 24;
        self.sections[symbols].link = self.section(".strtab", 3, 0, 1, &[0]) as u32;
        let names = [&*self.names, b".shstrtab\0"].concat();
        let named = self.section(".shstrtab", 3, 0, 1, &names);
        let table = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(table, 0);
        for (index, section) in self.sections.clone().iter().enumerate() {
            // What is not loaded has no address.
            let address = if index >= symbols { 0 } else { section.offset };
            self.words(&[section.name, section.kind]);
            self.longs(&[
                section.flags,
                address as u64,
                section.offset as u64,
                section.size as u64,
            ]);
            self.words(&[section.link, section.information]);
            self.longs(&[section.alignment, section.entry]);
        }
        let segment = |kind: u32, offset: usize, size: usize, alignment: usize| {
            let mut bytes: Vec<u8> = [kind, 7].into_iter().flat_map(u32::to_le_bytes).collect();
            let words = [offset, offset, offset, size, size, alignment].map(|word| word as u64);
            bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
            bytes
        };
        let place = |index: usize| (self.sections[index].offset, self.sections[index].size);
        let ((dynamic, dynamic_size), (note, note_size)) = (place(dynamic), place(note));
        let segments = [
            segment(1, 0, loaded, 4096),
            segment(2, dynamic, dynamic_size, 8),
            segment(4, note, note_size, 4),
        ]
        .concat();
        self.bytes[HEADER..HEADER + segments.len()].copy_from_slice(&segments);
        // 64 bits, little endian, AMDGPU_HSA, code object version 4.
        let mut header = b"\x7fELF\x02\x01\x01\x40\x02\0\0\0\0\0\0\0".to_vec();
        header.extend(3_u16.to_le_bytes());
        header.extend(EM_AMDGPU.to_le_bytes());
        header.extend(1_u32.to_le_bytes());
        header.extend(
            [0, HEADER as u64, table as u64]
                .into_iter()
                .flat_map(u64::to_le_bytes),
        );
        header.extend(flags.to_le_bytes());
        let sizes = [HEADER, 56, SEGMENTS, 64, self.sections.len(), named];
        header.extend(
            sizes
                .into_iter()
                .flat_map(|size| (size as u16).to_le_bytes()),
        );
        self.bytes[..HEADER].copy_from_slice(&header);
        self.bytes
    }

    fn words(&mut self, words: &[u32]) {
        self.bytes
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn longs(&mut self, longs: &[u64]) {
        self.bytes
            .extend(longs.iter().flat_map(|long| long.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_lie_where_symbols_say() {
        let kernels = [
            Kernel {
                name: "a",
                arguments: &[4, 8],
            },
            Kernel {
                name: "longer",
                arguments: &[],
            },
        ];
        let image = object("gfx906", &kernels);
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap()) as usize;
        assert_eq!(word(48), 0x52f, "gfx906 with its features open");
        let (table, count) = (long(40), usize::from(image[60]));
        let section = |name: u32| {
            let mut headers = (0..count).map(|index| table + index * 64);
            headers
                .find(|at| word(at + 4) == name)
                .map(|at| (long(at + 24), long(at + 32)))
                .unwrap()
        };
        let (symbols, size) = section(11);
        assert_eq!(size, 5 * 24);
        for (index, arguments) in [(2, 16), (4, 0)] {
            let descriptor = long(symbols + index * 24 + 8);
            assert_eq!(word(descriptor + 8), arguments);
            assert_eq!(word(descriptor + long(descriptor + 16)), END);
        }
    }
}
