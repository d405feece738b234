//! The objects in a live process: which files are mapped, where, and what
//! part each of them plays.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use xsched_common::platform::Platform;
use xsched_common::platform::names::{self, ShimKind, ShimNames};
use xsched_host::elf::{Elf, ElfError, Segment};
use xsched_host::foreign::{self, BehindError};
use xsched_host::process::{Mapping, ProcessError, maps};
use xsched_host::text::counted;

const PAGE: u64 = 4096;

/// How long the files of one process are read. A thousand libraries take half
/// a second; somebody else's files may be made to take for ever.
const READING: Duration = Duration::from_secs(4);

/// Copies of one file that are told apart; glibc has 16 link namespaces.
const MAX_INSTANCES: usize = 64;

/// What is kept of all files of one process, bytes. Real ones take a few MiB.
const MAX_KEPT: usize = 256 << 20;

/// The part an object plays between program and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The executable.
    Program,
    /// A platform's runtime.
    Runtime(Platform),
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

/// Index of an object in [`MappedObjects::objects`].
pub type ObjectIndex = usize;

/// All objects of a process at one moment.
#[derive(Clone, Debug, Default)]
pub struct MappedObjects {
    /// In address order.
    pub objects: Vec<MappedObject>,
    /// What could not be examined, as lines for people.
    pub limits: Vec<String>,
}

impl MappedObjects {
    /// Examines what the process has mapped now. `program` is the path of
    /// its executable.
    pub fn take(pid: u32, program: &str, shims: &ShimNames) -> Result<MappedObjects, ProcessError> {
        let maps = maps(pid)?;
        let mut mapped = MappedObjects::default();
        let until = Instant::now() + READING;
        let (mut kept, mut left) = (0, 0);
        for mappings in by_file(&maps, shims) {
            let Some(first) = mappings.iter().find(|m| m.executable) else {
                continue;
            };
            if kept > MAX_KEPT || Instant::now() >= until {
                left += 1;
                mapped.add_unread(&mappings, shims);
                continue;
            }
            match read(pid, first) {
                Ok(elf) => {
                    kept += elf.size();
                    mapped.add(Rc::new(elf), &mappings, program, shims);
                }
                // Programs map all kinds of files; those that are no objects
                // at all have no bindings that could be missed.
                Err(ElfError::NotElf | ElfError::NotLoadable(_)) => {}
                Err(e) => {
                    mapped
                        .limits
                        .push(format!("{} was not examined: it {e}", first.path));
                    mapped.add_unread(&mappings, shims);
                }
            }
        }
        if left > 0 {
            mapped.limits.push(format!(
                "{} not examined: the process maps more than is read ({} s, {} MiB)",
                counted(left, "file"),
                READING.as_secs(),
                MAX_KEPT >> 20
            ));
        }
        mapped.objects.sort_by_key(|o| o.span.start);
        Ok(mapped)
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
        if matches!(role, Role::Runtime(_) | Role::Shim(_)) {
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
        self.objects
            .iter()
            .filter(|o| matches!(o.role, Role::Runtime(_)))
    }

    /// The mapped shims with their kinds.
    pub fn shims(&self) -> impl Iterator<Item = (&MappedObject, ShimKind)> {
        self.objects.iter().filter_map(|o| match o.role {
            Role::Shim(kind) => Some((o, kind)),
            _ => None,
        })
    }
}

fn runtime(path: &str) -> Option<Platform> {
    names::runtime(path.as_bytes())
}

/// The part that the file at `path` plays.
pub fn role(path: &str, elf: &Elf, program: &str, shims: &ShimNames) -> Role {
    let soname = elf.soname.as_deref().unwrap_or("");
    if let Some(kind) = shims.kind(path).or_else(|| shims.kind(soname)) {
        Role::Shim(kind)
    } else if let Some(platform) = runtime(path).or_else(|| runtime(soname)) {
        Role::Runtime(platform)
    } else if path == program {
        Role::Program
    } else {
        Role::Library
    }
}

type FileKey = ((u32, u32), u64);

/// The mappings of each file. Runtimes and shims come first: they decide what
/// can be said of the others.
fn by_file<'a>(maps: &'a [Mapping], shims: &ShimNames) -> Vec<Vec<&'a Mapping>> {
    let mut files: BTreeMap<FileKey, Vec<&Mapping>> = BTreeMap::new();
    for mapping in maps.iter().filter(|m| m.inode != 0) {
        files
            .entry((mapping.device, mapping.inode))
            .or_default()
            .push(mapping);
    }
    let mut files: Vec<Vec<&Mapping>> = files.into_values().collect();
    files.sort_by_key(|mappings| {
        let path = &mappings[0].path;
        runtime(path).is_none() && shims.kind(path).is_none()
    });
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
    // In address order, as the kernel lists them.
    let mapped = |address: u64| {
        let at = mappings.partition_point(|m| m.range.end <= address);
        mappings.get(at).is_some_and(|m| m.range.contains(&address))
    };
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
        .take(MAX_INSTANCES)
        .collect()
}

/// The object behind a mapping: the very file, even when it has been replaced
/// or is in another mount namespace.
fn read(pid: u32, mapping: &Mapping) -> Result<Elf, ElfError> {
    let file = foreign::behind(pid, mapping).map_err(|e| match e {
        BehindError::Io(e) => ElfError::Io(e),
        BehindError::Replaced => ElfError::Replaced,
    })?;
    Elf::read(&file)
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
            executable: true,
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
}
