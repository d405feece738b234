//! Where ld.so looks for a library that is needed by name: the order of
//! ld.so(8) and glibc's `_dl_map_object` (elf/dl-load.c).

use std::fs;

use xsched_host::elf::Elf;

use super::cache::Cache;
use crate::facts::tokens;
use crate::linker::STANDARD_DIRECTORIES;

/// One who asks, or on whose behalf is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its dynamic section.
    pub elf: &'a Elf,
    /// Its directory.
    pub directory: &'a str,
}

/// The places that do not depend on who asks.
#[derive(Debug)]
pub struct Search {
    library_path: Vec<String>,
    cache: Cache,
}

impl Search {
    /// With a value of LD_LIBRARY_PATH.
    pub fn new(library_path: &str) -> Search {
        Search {
            library_path: library_path
                .split([':', ';'])
                .map(str::to_owned)
                .filter(|_| !library_path.is_empty())
                .collect(),
            cache: Cache::of_this_machine(),
        }
    }

    /// The files that `name` may be, in ld.so's order. `askers` begins with
    /// the object that needs it; its loader follows, and so on up to the
    /// program.
    pub fn candidates(&self, name: &str, askers: &[Asker<'_>]) -> Vec<String> {
        let Some(asker) = askers.first() else {
            return Vec::new();
        };
        if name.contains('/') {
            return tokens::expand(name, asker.directory);
        }
        let mut directories = Vec::new();
        if asker.elf.runpath.is_none() {
            for asker in askers.iter().filter(|a| a.elf.runpath.is_none()) {
                directories.extend(listed(asker.elf.rpath.as_deref(), asker.directory));
            }
        }
        directories.extend(self.library_path.iter().cloned());
        directories.extend(listed(asker.elf.runpath.as_deref(), asker.directory));
        let in_directory = |directory: &str| match directory {
            "" => format!("./{name}"),
            _ => format!("{directory}/{name}"),
        };
        let mut out: Vec<String> = directories.iter().map(|d| in_directory(d)).collect();
        out.extend(self.cache.find(name).map(str::to_owned));
        out.extend(STANDARD_DIRECTORIES.map(in_directory));
        out.retain(|path| fs::metadata(path).is_ok_and(|m| m.is_file()));
        out
    }
}

/// The directories of DT_RPATH or DT_RUNPATH.
fn listed(paths: Option<&str>, origin: &str) -> Vec<String> {
    let Some(paths) = paths.filter(|p| !p.is_empty()) else {
        return Vec::new();
    };
    let split = paths.split(':');
    split
        .flat_map(|path| tokens::expand(path, origin))
        .collect()
}
