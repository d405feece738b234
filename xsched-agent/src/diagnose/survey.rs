//! The objects in a live process: which files are mapped, where, and what
//! part each of them plays.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;

use super::elf::{Elf, ElfError, Segment};
use super::files::{Root, open_regular};
use super::shims::{ShimKind, ShimNames};
use crate::process::{Mapping, ProcessError, maps};

const PAGE: u64 = 4096;

/// The part an object plays between program and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The executable.
    Program,
    /// libamdhip64.
    Runtime,
    /// A library that stands between programs and the runtime.
    Shim(ShimKind),
    /// Any other library.
    Library,
}

/// Whether an object's file could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// It was.
    Read,
    /// It could not: nothing is known about its symbols.
    Unread,
}

/// One object of the process. A file that is mapped twice (dlmopen) is two.
#[derive(Clone, Debug)]
pub struct MappedObject {
    /// Path in the process's own mount namespace.
    pub path: String,
    /// Its part.
    pub role: Role,
    /// Whether its symbols are known.
    pub contents: Contents,
    /// What is added to the addresses in the file.
    pub base: u64,
    /// Addresses from its first to its last segment.
    pub span: Range<u64>,
    /// The file's dynamic linking; instances of one file share it.
    pub elf: Rc<Elf>,
}

impl MappedObject {
    /// The file's name.
    pub fn basename(&self) -> &str {
        basename(&self.path)
    }
}

/// The last component of a path.
pub fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Index of an object in [`Survey::objects`].
pub type ObjectIndex = usize;

/// All objects of a process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In address order.
    pub objects: Vec<MappedObject>,
    /// What could not be examined, as lines for people.
    pub limits: Vec<String>,
}

impl Survey {
    /// Examines what the process has mapped now. `program` is the path of
    /// its executable.
    pub fn take(pid: u32, program: &str, shims: &ShimNames) -> Result<Survey, ProcessError> {
        let maps = maps(pid)?;
        let mut survey = Survey::default();
        for (_, mappings) in by_file(&maps) {
            let Some(first) = mappings.iter().find(|m| m.executable) else {
                continue;
            };
            match open(pid, first).and_then(|file| Elf::read(&file)) {
                Ok(elf) => survey.add(Rc::new(elf), &mappings, program, shims),
                // Programs map all kinds of files; those that are no objects
                // at all have no bindings that could be missed.
                Err(ElfError::NotElf | ElfError::NotLoadable(_)) => {}
                Err(e) => {
                    survey
                        .limits
                        .push(format!("{} was not examined: it {e}", first.path));
                    survey.add_unread(&mappings, shims);
                }
            }
        }
        survey.objects.sort_by_key(|o| o.span.start);
        Ok(survey)
    }

    fn add(&mut self, elf: Rc<Elf>, mappings: &[&Mapping], program: &str, shims: &ShimNames) {
        let path = mappings[0].path.clone();
        let role = role(&path, &elf, program, shims);
        for (base, span) in instances(&elf.segments, mappings) {
            self.objects.push(MappedObject {
                path: path.clone(),
                role,
                contents: Contents::Read,
                base,
                span,
                elf: Rc::clone(&elf),
            });
        }
    }

    /// Runtimes and shims are known by their names: where calls lead can be
    /// said even when the files cannot be read.
    fn add_unread(&mut self, mappings: &[&Mapping], shims: &ShimNames) {
        let (Some(first), Some(last)) = (mappings.first(), mappings.last()) else {
            return;
        };
        let role = role(&first.path, &Elf::unread(), "", shims);
        if matches!(role, Role::Runtime | Role::Shim(_)) {
            self.objects.push(MappedObject {
                path: first.path.clone(),
                role,
                contents: Contents::Unread,
                base: first.range.start,
                span: first.range.start..last.range.end,
                elf: Rc::new(Elf::unread()),
            });
        }
    }

    /// The object whose span holds `address`.
    pub fn owner(&self, address: u64) -> Option<ObjectIndex> {
        let after = self.objects.partition_point(|o| o.span.start <= address);
        let index = after.checked_sub(1)?;
        self.objects[index].span.contains(&address).then_some(index)
    }

    /// The mapped runtimes.
    pub fn runtimes(&self) -> impl Iterator<Item = &MappedObject> {
        self.objects.iter().filter(|o| o.role == Role::Runtime)
    }

    /// The mapped shims with their kinds.
    pub fn shims(&self) -> impl Iterator<Item = (&MappedObject, ShimKind)> {
        self.objects.iter().filter_map(|o| match o.role {
            Role::Shim(kind) => Some((o, kind)),
            _ => None,
        })
    }
}

/// Whether a file of this name is a HIP runtime; wheels put a hash between
/// name and suffix.
pub fn is_runtime_name(basename: &str) -> bool {
    basename.starts_with("libamdhip64") && basename.contains(".so")
}

/// The part that the file at `path` plays.
pub fn role(path: &str, elf: &Elf, program: &str, shims: &ShimNames) -> Role {
    let soname = elf.soname.as_deref().unwrap_or("");
    if let Some(kind) = shims.kind(path).or_else(|| shims.kind(soname)) {
        Role::Shim(kind)
    } else if is_runtime_name(basename(path)) || is_runtime_name(soname) {
        Role::Runtime
    } else if path == program {
        Role::Program
    } else {
        Role::Library
    }
}

type FileKey = ((u32, u32), u64);

fn by_file(maps: &[Mapping]) -> BTreeMap<FileKey, Vec<&Mapping>> {
    let mut files: BTreeMap<FileKey, Vec<&Mapping>> = BTreeMap::new();
    for mapping in maps.iter().filter(|m| m.inode != 0) {
        files
            .entry((mapping.device, mapping.inode))
            .or_default()
            .push(mapping);
    }
    files
}

/// Where the object was loaded, once or several times: every mapping of its
/// first segment whose other segments lie where they belong. The check tells
/// a second copy from a second segment that begins in the file's first page.
fn instances(segments: &[Segment], mappings: &[&Mapping]) -> Vec<(u64, Range<u64>)> {
    let Some(first) = segments.first() else {
        return Vec::new();
    };
    let page = |n: u64| n & !(PAGE - 1);
    let mapped = |address: u64| mappings.iter().any(|m| m.range.contains(&address));
    mappings
        .iter()
        .filter(|m| m.offset == page(first.offset))
        .filter_map(|m| {
            let base = m.range.start.checked_sub(page(first.address))?;
            let mut end = m.range.end;
            for segment in segments.iter().filter(|s| s.file_len > 0) {
                let start = base.checked_add(segment.address)?;
                if !mapped(start) {
                    return None;
                }
                end = end.max(start.checked_add(segment.memory_len)?);
            }
            Some((base, m.range.start..end))
        })
        .collect()
}

/// Opens the file behind a mapping: the very file, even when it has been
/// replaced or is in another mount namespace. map_files needs
/// CAP_CHECKPOINT_RESTORE (or CAP_SYS_ADMIN); without it the path is opened in the
/// process's root and compared.
fn open(pid: u32, mapping: &Mapping) -> Result<File, ElfError> {
    let exact = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.range.start, mapping.range.end
    );
    if let Ok(file) = open_regular(&exact) {
        return Ok(file);
    }
    let file = Root::of(pid)
        .and_then(|root| root.open(&mapping.path))
        .map_err(ElfError::Io)?;
    let inode = file.metadata().map_err(ElfError::Io)?.ino();
    if inode != mapping.inode {
        return Err(ElfError::Replaced);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(range: Range<u64>, offset: u64) -> Mapping {
        Mapping {
            range,
            executable: true,
            writable: false,
            offset,
            device: (1, 1),
            inode: 7,
            path: "/lib/x.so".into(),
            deleted: false,
            shared: false,
        }
    }

    fn segment(offset: u64, address: u64, len: u64) -> Segment {
        Segment {
            offset,
            address,
            file_len: len,
            memory_len: len,
        }
    }

    #[test]
    fn a_second_segment_in_the_first_page_is_no_second_copy() {
        // A small library: text and data both lie in the file's first page.
        let segments = [segment(0, 0, 0x800), segment(0x800, 0x1800, 0x100)];
        let maps = [mapping(0x10000..0x11000, 0), mapping(0x11000..0x12000, 0)];
        let found = instances(&segments, &maps.iter().collect::<Vec<_>>());
        assert_eq!(found, [(0x10000, 0x10000..0x11900)]);
    }

    #[test]
    fn dlmopen_makes_a_second_instance() {
        let segments = [segment(0, 0, 0x1000), segment(0x1000, 0x1000, 0x1000)];
        let maps = [
            mapping(0x10000..0x11000, 0),
            mapping(0x11000..0x12000, 0x1000),
            mapping(0x50000..0x51000, 0),
            mapping(0x51000..0x52000, 0x1000),
        ];
        let found = instances(&segments, &maps.iter().collect::<Vec<_>>());
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].0, 0x50000);
    }

    #[test]
    fn programs_at_fixed_addresses_have_base_zero() {
        let segments = [segment(0, 0x400000, 0x1000)];
        let maps = [mapping(0x400000..0x401000, 0)];
        let found = instances(&segments, &maps.iter().collect::<Vec<_>>());
        assert_eq!(found, [(0, 0x400000..0x401000)]);
    }

    #[test]
    fn runtimes_go_by_their_names() {
        for name in [
            "libamdhip64.so",
            "libamdhip64.so.6",
            "libamdhip64.so.5.2.21153",
            "libamdhip64-1a2b3c.so.6",
        ] {
            assert!(is_runtime_name(name), "{name}");
        }
        assert!(!is_runtime_name("libhipblas.so.2"));
    }
}
