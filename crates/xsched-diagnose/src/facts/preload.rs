//! The files that LD_PRELOAD and /etc/ld.so.preload name, seen from inside
//! the process's mount namespace: whether each is there, can be loaded, and
//! is mapped.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use xsched_host::elf::Elf;
use xsched_host::process::ProcessId;

use super::files::Root;
use super::mapped::MappedObjects;
use super::mapped::basename;
use super::tokens;
use crate::linker::STANDARD_DIRECTORIES;

/// One named file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// As it was named.
    pub entry: String,
    /// Who named it.
    pub source: PreloadSource,
    /// What became of it.
    pub state: PreloadState,
}

/// Who named a file to preload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreloadSource {
    /// The environment variable.
    Variable,
    /// /etc/ld.so.preload.
    SystemFile,
}

impl PreloadSource {
    /// For messages.
    pub const fn name(self) -> &'static str {
        match self {
            PreloadSource::Variable => "LD_PRELOAD",
            PreloadSource::SystemFile => "/etc/ld.so.preload",
        }
    }
}

/// What became of a named file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreloadState {
    /// It is mapped.
    Mapped,
    /// There is no such file; what was looked for.
    Missing(String),
    /// The file at this path cannot be preloaded, and why.
    NotLoadable(String),
    /// The file at this path could be loaded now, but is not mapped; what is
    /// known about the reason.
    NotMapped(String),
}

/// The process that names the files.
#[derive(Debug)]
pub struct PreloadContext {
    /// Whose start time counts.
    pub id: ProcessId,
    /// Its root directory.
    pub root: Root,
    /// Its LD_LIBRARY_PATH.
    pub library_path: String,
    /// Where bare names are looked for, once asked.
    pub directories: OnceCell<Vec<String>>,
}

/// More directories than any linker searches.
const MAX_DIRECTORIES: usize = 512;

/// More entries than anyone preloads.
const MAX_ENTRIES: usize = 256;

/// Examines all named files, in the linker's order.
pub fn examine(
    place: &PreloadContext,
    ld_preload: Option<&str>,
    mapped: &MappedObjects,
) -> Vec<Preload> {
    let system = place.root.read_config("/etc/ld.so.preload");
    // ld.so(8): colons or blanks separate; there is no way to quote either.
    let variable = ld_preload.unwrap_or("").split([':', ' ']);
    let variable = variable.map(|entry| (entry, PreloadSource::Variable));
    let lines = system.lines().map(|l| l.split('#').next().unwrap_or(""));
    let system = lines.flat_map(|l| l.split([':', ' ', '\t']));
    let system = system.map(|entry| (entry, PreloadSource::SystemFile));
    let entries = variable
        .chain(system)
        .filter(|(entry, _)| !entry.is_empty())
        .take(MAX_ENTRIES);
    // Each is asked for once, however many entries there are.
    let identities = OnceCell::new();
    let identities = || {
        identities.get_or_init(|| {
            let objects = mapped.objects.iter();
            objects.filter_map(|o| place.identity(&o.path)).collect()
        })
    };
    entries
        .map(|(entry, source)| Preload {
            entry: entry.to_owned(),
            source,
            state: state(place, entry, mapped, &identities),
        })
        .collect()
}

/// Device and inode.
type FileId = (u64, u64);

fn state<'a>(
    place: &PreloadContext,
    entry: &str,
    mapped: &MappedObjects,
    identities: &impl Fn() -> &'a HashSet<FileId>,
) -> PreloadState {
    let candidates = place.candidates(entry);
    let found = candidates
        .iter()
        .find_map(|path| Some((path, place.root.stat(path).ok()?)));
    let identity = found.as_ref().map(|(_, meta)| (meta.dev(), meta.ino()));
    let mapped = mapped.objects.iter().any(|o| {
        if entry.contains('/') && !entry.contains('$') && o.path == *entry {
            return true;
        }
        // By name where the file has been replaced since (an upgrade): it is
        // still the one that was asked for.
        identity.is_none() && o.basename() == basename(entry) && candidates.contains(&o.path)
    });
    if mapped || identity.is_some_and(|identity| identities().contains(&identity)) {
        return PreloadState::Mapped;
    }
    let Some((path, meta)) = found else {
        return PreloadState::Missing(place.missing(entry, &candidates));
    };
    match place
        .root
        .open(path)
        .map_err(|e| format!("cannot be read: {e}"))
        .and_then(|file| Elf::read(&file).map_err(|e| e.to_string()))
    {
        Err(reason) => PreloadState::NotLoadable(format!("{path} {reason}")),
        Ok(_) => PreloadState::NotMapped(place.unmapped(path, meta.ctime())),
    }
}

impl PreloadContext {
    fn identity(&self, path: &str) -> Option<FileId> {
        let meta = self.root.stat(path).ok()?;
        Some((meta.dev(), meta.ino()))
    }

    /// Where ld.so may look for `entry`.
    fn candidates(&self, entry: &str) -> Vec<String> {
        if entry.contains('/') {
            let exe = fs::read_link(format!("/proc/{}/exe", self.id.pid)).unwrap_or_default();
            let origin = exe.parent().unwrap_or(Path::new("/"));
            return tokens::expand(entry, &origin.to_string_lossy());
        }
        self.directories()
            .iter()
            .map(|dir| format!("{dir}/{entry}"))
            .collect()
    }

    /// ld.so's search order for bare names, with the directories that its
    /// cache is made from in place of the cache.
    fn directories(&self) -> &[String] {
        self.directories.get_or_init(|| {
            let mut out: Vec<String> = self
                .library_path
                .split([':', ';'])
                .filter(|d| !d.is_empty())
                .take(MAX_DIRECTORIES)
                .map(str::to_owned)
                .collect();
            for name in self.root.list("/etc/ld.so.conf.d") {
                if out.len() >= MAX_DIRECTORIES {
                    break;
                }
                let text = self.root.read_config(&format!("/etc/ld.so.conf.d/{name}"));
                let lines = text.lines().filter(|l| l.starts_with('/'));
                out.extend(lines.map(str::to_owned));
            }
            out.truncate(MAX_DIRECTORIES);
            out.extend(STANDARD_DIRECTORIES.map(str::to_owned));
            out
        })
    }

    fn missing(&self, entry: &str, candidates: &[String]) -> String {
        if !entry.contains('/') {
            return format!(
                "{entry} is in no directory of LD_LIBRARY_PATH, /etc/ld.so.conf.d and the standard \
                 ones"
            );
        }
        let mut text = format!("{} does not exist", candidates.join(", "));
        if self.root.differs_from_ours(self.id.pid) {
            text += " in the process's mount namespace";
            if entry.starts_with('/') && self.root.exists_outside(entry) {
                text += ", although it exists outside (the container does not mount it)";
            }
        }
        text
    }

    fn unmapped(&self, path: &str, changed: i64) -> String {
        match self.started() {
            Some(started) if changed > started => format!(
                "{path} can be loaded now, but was put there or changed {} s after the process \
                 started",
                changed - started
            ),
            _ => format!("{path} exists and is a loadable library, but is not mapped"),
        }
    }

    /// When the process started, seconds since 1970.
    fn started(&self) -> Option<i64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot: i64 = stat
            .lines()
            .find_map(|l| l.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        Some(boot + (self.id.start_time / ticks) as i64)
    }
}
