//! All that was found out about a process, and the questions that several
//! findings ask of it.

use std::collections::BTreeSet;

use xsched_common::bpf::CallRoute;

use super::bindings::{Binding, Target};
use super::calls::{Observed, ObservedCall, is_launch};
use super::elf::{Linkage, Loader, Symbol};
use super::environment::Environment;
use super::linker::{Namespaces, ObjectEntry, Scope, ShimEntry};
use super::preload::PreloadState;
use super::shims::{ShimKind, ShimNames};
use super::survey::{MappedObject, ObjectIndex, Role, Survey};

/// The evidence that findings are made from.
#[derive(Debug)]
pub struct Facts {
    /// The process.
    pub pid: u32,
    /// Path of its executable.
    pub exe: String,
    /// Its mapped objects.
    pub survey: Survey,
    /// Where its references lead.
    pub bindings: Vec<Binding>,
    /// How it was started.
    pub environment: Environment,
    /// Its calls, if they were observed.
    pub observed: Option<Observed>,
    /// What counts as a shim.
    pub shim_names: ShimNames,
}

impl Facts {
    /// The object at `index`.
    pub fn object(&self, index: ObjectIndex) -> &MappedObject {
        &self.survey.objects[index]
    }

    /// The mapped shim that counts: ours before others.
    pub fn shim(&self) -> Option<(&MappedObject, ShimKind)> {
        self.survey.shims().min_by_key(|(_, kind)| *kind)
    }

    /// What any mapped shim defines under `name`.
    pub fn shim_definitions(&self, name: &str) -> Vec<&Symbol> {
        self.survey
            .shims()
            .flat_map(|(object, _)| object.elf.symbols.values())
            .filter(|s| s.linkage == Linkage::Defined && s.name == name)
            .collect()
    }

    /// Whether ld.so loaded the program; it preloads nothing into others.
    pub fn loader(&self) -> Option<Loader> {
        self.survey
            .objects
            .iter()
            .find(|o| o.role == Role::Program)
            .map(|o| o.elf.loader)
    }

    /// Whether an object is the runtime.
    pub fn is_runtime(&self, index: ObjectIndex) -> bool {
        self.object(index).role == Role::Runtime
    }

    /// The scope in which references of `object` are looked up.
    pub fn scope(&self, object: ObjectIndex) -> Scope {
        let preloaded =
            self.environment.preloads.iter().any(|p| {
                p.state == PreloadState::Mapped && self.shim_names.kind(&p.entry).is_some()
            });
        let c_libraries = self
            .survey
            .objects
            .iter()
            .filter(|o| o.elf.soname.as_deref() == Some("libc.so.6"))
            .count();
        Scope {
            shim: match preloaded {
                true => ShimEntry::Preloaded,
                false => ShimEntry::Other,
            },
            object: match self.startup_objects().contains(&object) {
                true => ObjectEntry::Startup,
                false => ObjectEntry::Opened,
            },
            namespaces: match c_libraries {
                0 | 1 => Namespaces::One,
                _ => Namespaces::Several,
            },
        }
    }

    /// The program, what was preloaded, and everything that these need. An
    /// object that is mapped twice is not among them: its second copy is one
    /// of dlmopen's.
    fn startup_objects(&self) -> BTreeSet<ObjectIndex> {
        let objects = &self.survey.objects;
        let mut found = BTreeSet::new();
        let preloaded = |o: &MappedObject| {
            self.environment
                .preloads
                .iter()
                .any(|p| p.state == PreloadState::Mapped && p.entry.ends_with(o.basename()))
        };
        let mut next: Vec<ObjectIndex> = (0..objects.len())
            .filter(|&i| objects[i].role == Role::Program || preloaded(&objects[i]))
            .collect();
        while let Some(index) = next.pop() {
            if !found.insert(index) {
                continue;
            }
            for needed in &objects[index].elf.needed {
                let named = |o: &MappedObject| {
                    o.elf.soname.as_deref().unwrap_or(o.basename()) == needed.as_str()
                        || o.path == *needed
                };
                let copies: Vec<_> = (0..objects.len()).filter(|&i| named(&objects[i])).collect();
                if let [only] = copies[..] {
                    next.push(only);
                }
            }
        }
        found
    }

    /// All observed launches that a program or a library made: what the
    /// runtime launches on behalf of another call was counted there.
    pub fn launches(&self) -> impl Iterator<Item = &ObservedCall> {
        self.observed
            .iter()
            .flat_map(|o| &o.calls)
            .filter(|c| c.is_launch() && !self.is_runtime_path(&c.object))
    }

    /// Whether an observed call passed no shim.
    pub fn is_direct(&self, call: &ObservedCall) -> bool {
        call.route == CallRoute::Direct && self.shim_names.kind(&call.object).is_none()
    }

    fn is_runtime_path(&self, path: &str) -> bool {
        self.survey.runtimes().any(|o| o.path == path)
    }

    /// Bindings of launch functions that lead to a runtime.
    pub fn launch_bindings_to_runtime(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|b| {
            is_launch(&b.symbol) && matches!(b.target, Target::Object(to) if self.is_runtime(to))
        })
    }
}
