//! All that was found out about a process, and the questions that several
//! findings ask of it.

pub mod agent_view;
pub mod bindings;
pub mod calls;
pub mod dispatch;
pub mod environment;
pub mod files;
pub mod fork;
pub mod held;
pub mod inversion;
pub mod mapped;
pub mod namespaces;
pub mod preload;
pub mod server;
pub mod shims;
pub mod tokens;

use std::collections::{BTreeSet, HashMap};

use xsched_common::bpf::CallRoute;
use xsched_common::platform::Platform;
use xsched_common::platform::names::{ShimKind, ShimNames};
use xsched_host::elf::{Linkage, Loader, Symbol};

use crate::linker::{NamespaceSide, ObjectEntry, Scope, ShimEntry};
use agent_view::AgentView;
use bindings::{Binding, Target};
use calls::{Observed, ObservedCall, is_launch};
use dispatch::Redirection;
use environment::{Environment, GpuUse};
use held::Held;
use inversion::Wait;
use mapped::{MappedObject, MappedObjects, ObjectIndex, Role};
use namespaces::{Namespace, Namespaces};
use preload::PreloadState;

/// What was found out, and what could not be.
#[derive(Debug)]
pub struct Collected {
    /// The evidence.
    pub facts: Facts,
    /// What was not seen beside what the facts say of it, for people.
    pub limits: Vec<String>,
}

/// A need that nothing satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Path of the object that needs it.
    pub needed_by: String,
    /// The name it asks for.
    pub name: String,
}

/// The evidence that findings are made from.
#[derive(Debug)]
pub struct Facts {
    /// The process; none for a prediction from files.
    pub pid: Option<u32>,
    /// Path of its executable.
    pub exe: String,
    /// Its mapped objects.
    pub mapped: MappedObjects,
    /// Where its references lead.
    pub bindings: Vec<Binding>,
    /// Where their references to dlsym and dlvsym lead.
    pub lookups: Vec<Binding>,
    /// Addresses that objects have looked up past a shim.
    pub held: Vec<Held>,
    /// Entries of dispatch tables that lead away from their runtime.
    pub redirections: Vec<Redirection>,
    /// The linker's lists of objects, if they could be read.
    pub namespaces: Option<Namespaces>,
    /// How it was started.
    pub environment: Environment,
    /// What a running agent says about it.
    pub agent: Option<AgentView>,
    /// Its lasting waits for processes that the agent holds back.
    pub waits: Vec<Wait>,
    /// Its calls, if they were observed.
    pub observed: Option<Observed>,
    /// What counts as a shim.
    pub shim_names: ShimNames,
    /// Needed libraries that a prediction did not find.
    pub missing: Vec<Missing>,
}

/// Definitions of one name that count. Every reference is held against all of
/// them; the runtime itself has two of some names.
const MAX_DEFINITIONS: usize = 64;

/// [`Scope`]s of all objects, found out once.
#[derive(Debug)]
pub struct Scopes {
    startup: BTreeSet<ObjectIndex>,
    shim: ShimEntry,
    places: Vec<NamespaceSide>,
}

impl Scopes {
    /// How the shim came into the process.
    pub fn shim(&self) -> ShimEntry {
        self.shim
    }

    /// The scope of the references of `object`.
    pub fn of(&self, object: ObjectIndex) -> Scope {
        Scope {
            shim: self.shim,
            object: match self.startup.contains(&object) {
                true => ObjectEntry::Startup,
                false => ObjectEntry::Opened,
            },
            place: self.places[object],
        }
    }
}

impl Facts {
    /// The object at `index`.
    pub fn object(&self, index: ObjectIndex) -> &MappedObject {
        &self.mapped.objects[index]
    }

    /// The mapped shim that counts: that of the runtime in use before another
    /// platform's, and ours before others.
    pub fn shim(&self) -> Option<(&MappedObject, ShimKind)> {
        let platform = self.platform();
        self.mapped.shims().min_by_key(|(object, kind)| {
            let is_anothers = ShimNames::platform(&object.path).is_some_and(|p| p != platform);
            (is_anothers, *kind)
        })
    }

    /// The runtime that is used, of several: the one that most launch
    /// functions lead to, then most functions.
    pub fn runtime(&self) -> Option<&MappedObject> {
        let mut uses: HashMap<ObjectIndex, (usize, usize)> = HashMap::new();
        for binding in &self.bindings {
            if let Target::Object(to) = binding.target {
                let (launches, all) = uses.entry(to).or_default();
                *launches += usize::from(is_launch(&binding.symbol));
                *all += 1;
            }
        }
        let runtimes = (0..self.mapped.objects.len()).filter(|&i| self.is_runtime(i));
        // Of equals the first.
        let used = runtimes
            .rev()
            .max_by_key(|i| uses.get(i).copied().unwrap_or_default());
        used.map(|index| self.object(index))
    }

    /// What the process uses: by its runtime, else by the device that it holds
    /// or by the shim that it was meant to have; the default where nothing
    /// tells.
    pub fn platform(&self) -> Platform {
        if let Some(Role::Runtime(platform)) = self.runtime().map(|object| object.role) {
            return platform;
        }
        let device = match self.environment.gpu {
            GpuUse::Open(platform) => Some(platform),
            GpuUse::NotSeen => None,
        };
        let meant = || {
            let mut preloads = self.environment.preloads.iter();
            preloads.find_map(|preload| ShimNames::platform(&preload.entry))
        };
        device.or_else(meant).unwrap_or_default()
    }

    /// What the mapped shims define, by name.
    pub fn shim_definitions(&self) -> HashMap<&str, Vec<&Symbol>> {
        let mut out: HashMap<&str, Vec<&Symbol>> = HashMap::new();
        for (object, _) in self.mapped.shims() {
            for symbol in object.elf.symbols.values() {
                if symbol.linkage == Linkage::Defined {
                    let definitions = out.entry(&symbol.name).or_default();
                    if definitions.len() < MAX_DEFINITIONS {
                        definitions.push(symbol);
                    }
                }
            }
        }
        out
    }

    /// Whether ld.so loaded the program; it preloads nothing into others.
    pub fn loader(&self) -> Option<Loader> {
        self.mapped
            .objects
            .iter()
            .find(|o| o.role == Role::Program)
            .map(|o| o.elf.loader)
    }

    /// Whether an object is the runtime.
    pub fn is_runtime(&self, index: ObjectIndex) -> bool {
        matches!(self.object(index).role, Role::Runtime(_))
    }

    /// The scopes in which the objects' references are looked up.
    pub fn scopes(&self) -> Scopes {
        let preloaded =
            self.environment.preloads.iter().any(|p| {
                p.state == PreloadState::Mapped && self.shim_names.kind(&p.entry).is_some()
            });
        Scopes {
            startup: self.startup_objects(),
            shim: match preloaded {
                true => ShimEntry::Preloaded,
                false => ShimEntry::Other,
            },
            places: self.places(),
        }
    }

    fn places(&self) -> Vec<NamespaceSide> {
        let mut paths = BTreeSet::new();
        let twice = self.mapped.objects.iter().any(|o| !paths.insert(&o.path));
        let shims = self.mapped.shims();
        let with_shim: BTreeSet<Namespace> = shims.filter_map(|(o, _)| self.namespace(o)).collect();
        let objects = self.mapped.objects.iter();
        objects
            .map(|object| match self.namespace(object) {
                Some(its) if with_shim.contains(&its) => NamespaceSide::WithShim,
                Some(_) if !with_shim.is_empty() => NamespaceSide::Apart,
                _ if !twice => NamespaceSide::WithShim,
                _ => NamespaceSide::Unknown,
            })
            .collect()
    }

    /// Whether a runtime hands the calls of `symbol` to a shim.
    pub fn returns_to_shim(&self, runtime: ObjectIndex, symbol: &str) -> bool {
        self.redirections.iter().any(|entry| {
            entry.runtime == runtime
                && entry.symbol == symbol
                && matches!(self.object(entry.to).role, Role::Shim(_))
        })
    }

    /// The same for whatever runtime was called.
    fn always_returns_to_shim(&self, symbol: &str) -> bool {
        let all = 0..self.mapped.objects.len();
        let mut runtimes = all.filter(|&i| self.is_runtime(i)).peekable();
        runtimes.peek().is_some() && runtimes.all(|i| self.returns_to_shim(i, symbol))
    }

    /// The link namespace of an object, if it is known.
    pub fn namespace(&self, object: &MappedObject) -> Option<Namespace> {
        self.namespaces.as_ref()?.of(object)
    }

    /// The program, what was preloaded, and everything that these need. An
    /// object that is mapped twice is not among them: its second copy is one
    /// of dlmopen's.
    fn startup_objects(&self) -> BTreeSet<ObjectIndex> {
        let objects = &self.mapped.objects;
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
        let mut by_name: HashMap<&str, Vec<ObjectIndex>> = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            let soname = object.elf.soname.as_deref();
            let name = soname.unwrap_or(object.basename());
            by_name.entry(name).or_default().push(index);
            if object.path != name {
                by_name.entry(&object.path).or_default().push(index);
            }
        }
        while let Some(index) = next.pop() {
            if !found.insert(index) {
                continue;
            }
            let needed = objects[index].elf.needed.iter();
            next.extend(
                needed.filter_map(|name| match by_name.get(name.as_str())?[..] {
                    [only] => Some(only),
                    _ => None,
                }),
            );
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
        call.route == CallRoute::Direct
            && self.shim_names.kind(&call.object).is_none()
            && !self.always_returns_to_shim(&call.api)
    }

    fn is_runtime_path(&self, path: &str) -> bool {
        self.mapped.runtimes().any(|o| o.path == path)
    }

    /// Bindings of launch functions that lead to a runtime.
    pub fn launch_bindings_to_runtime(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(|b| {
            is_launch(&b.symbol) && matches!(b.target, Target::Object(to) if self.is_runtime(to))
        })
    }
}
