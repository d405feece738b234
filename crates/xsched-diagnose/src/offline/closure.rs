//! What ld.so would load, in which order, and who would find what: the
//! objects of a program that is not running.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::rc::Rc;

use xsched_common::platform::names;
use xsched_host::elf::{Elf, ElfError};
use xsched_host::foreign::open_regular;

use super::search::{Asker, Search};
use crate::facts::Missing;

/// More objects than any process loads.
const MAX_OBJECTS: usize = 8_192;

/// An object that would be loaded.
#[derive(Debug)]
pub struct Loaded {
    /// Its path as ld.so would find it.
    pub path: String,
    /// Its dynamic linking.
    pub elf: Rc<Elf>,
    directory: String,
    identity: (u64, u64),
    /// By which needs it has been found.
    names: Vec<String>,
    /// Whose need it was loaded for.
    loader: Option<usize>,
}

/// The objects and the scopes.
#[derive(Debug)]
pub struct Closure {
    /// In the order in which they are found.
    pub objects: Vec<Loaded>,
    /// Needs without a file.
    pub missing: Vec<Missing>,
    search: Search,
    /// Stands for libamdhip64 wherever its own name is asked for.
    runtime: Option<usize>,
}

impl Closure {
    /// With nothing loaded.
    pub fn new(search: Search) -> Closure {
        Closure {
            objects: Vec::new(),
            missing: Vec::new(),
            search,
            runtime: None,
        }
    }

    /// Loads the file at `path`, unless it is loaded.
    pub fn open(&mut self, path: &str, loader: Option<usize>) -> Result<usize, ElfError> {
        let file = open_regular(path).map_err(ElfError::Io)?;
        let meta = file.metadata().map_err(ElfError::Io)?;
        let identity = (meta.dev(), meta.ino());
        if let Some(index) = self.objects.iter().position(|o| o.identity == identity) {
            return Ok(index);
        }
        let elf = Rc::new(Elf::read(&file)?);
        let absolute = std::path::absolute(path).map_err(ElfError::Io)?;
        let directory = absolute.parent().map(|p| p.to_string_lossy().into_owned());
        self.objects.push(Loaded {
            path: absolute.to_string_lossy().into_owned(),
            elf,
            directory: directory.unwrap_or_default(),
            identity,
            names: Vec::new(),
            loader,
        });
        Ok(self.objects.len() - 1)
    }

    /// Makes the file at `path` the runtime that needs are satisfied with.
    pub fn set_runtime(&mut self, path: &str) -> Result<usize, ElfError> {
        let index = self.open(path, None)?;
        self.runtime = Some(index);
        Ok(index)
    }

    /// `roots` and all that they need, breadth first: a search list
    /// (`_dl_map_object_deps`, elf/dl-deps.c).
    pub fn load_needs(&mut self, roots: &[usize]) -> Vec<usize> {
        let mut list = roots.to_vec();
        let mut queue: VecDeque<usize> = roots.iter().copied().collect();
        while let Some(index) = queue.pop_front() {
            let elf = Rc::clone(&self.objects[index].elf);
            for name in &elf.needed {
                match self.find(name, index) {
                    Some(found) if !list.contains(&found) => {
                        list.push(found);
                        queue.push_back(found);
                    }
                    Some(_) => {}
                    None => self.miss(index, name),
                }
            }
        }
        list
    }

    fn find(&mut self, name: &str, asker: usize) -> Option<usize> {
        let answers_to =
            |o: &Loaded| o.elf.soname.as_deref() == Some(name) || o.names.iter().any(|n| n == name);
        if let Some(index) = self.objects.iter().position(answers_to) {
            return Some(index);
        }
        // A runtime without SONAME stands for any name of one.
        if let Some(runtime) = self.runtime
            && self.objects[runtime].elf.soname.is_none()
            && names::runtime(name.as_bytes()).is_some()
        {
            return Some(runtime);
        }
        let candidates = self.search.candidates(name, &self.askers(asker));
        for path in candidates {
            if self.objects.len() >= MAX_OBJECTS {
                break;
            }
            // ld.so, too, goes on after a file for another machine.
            if let Ok(index) = self.open(&path, Some(asker)) {
                self.objects[index].names.push(name.to_owned());
                return Some(index);
            }
        }
        None
    }

    fn askers(&self, asker: usize) -> Vec<Asker<'_>> {
        let mut out = Vec::new();
        let mut next = Some(asker);
        // Loaders come before what they load, so this ends.
        while let Some(object) = next.map(|index| &self.objects[index]) {
            out.push(Asker {
                elf: &object.elf,
                directory: &object.directory,
            });
            next = object.loader;
        }
        out
    }

    fn miss(&mut self, by: usize, name: &str) {
        let missing = Missing {
            needed_by: self.objects[by].path.clone(),
            name: name.to_owned(),
        };
        if !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }
}
