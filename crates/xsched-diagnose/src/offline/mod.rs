//! Prediction: where the calls of a program would lead, from its files alone
//! and by the rules that ld.so follows.

mod cache;
mod closure;
mod lookup;
mod search;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use xsched_common::platform::names::ShimNames;
use xsched_host::elf::{ElfError, Loader};

use crate::error::PredictError;
use crate::facts::environment::{Environment, Execution, GpuUse};
use crate::facts::mapped::basename;
use crate::facts::mapped::{Contents, MappedObject, MappedObjects, Role, role};
use crate::facts::preload::{Preload, PreloadSource, PreloadState};
use crate::facts::{Collected, Facts};
use closure::Closure;
use search::Search;

/// What to predict. At least one of program and libraries must be there.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The program.
    pub program: Option<PathBuf>,
    /// Libraries that the program opens (dlopen), in order.
    pub libraries: Vec<PathBuf>,
    /// What LD_PRELOAD names.
    pub shims: Vec<PathBuf>,
    /// The runtime, in place of the one that would be found.
    pub runtime: Option<PathBuf>,
    /// The value of LD_LIBRARY_PATH.
    pub library_path: String,
}

/// What the files say of every binding.
pub fn collect(files: &Files) -> Result<Collected, PredictError> {
    let layout = Layout::of(files)?;
    let shim_names: Vec<String> = files.shims.iter().map(|p| text(p)).collect();
    let shim_names = ShimNames::with(&shim_names);
    let exe = layout
        .program
        .map(|p| layout.closure.objects[p].path.clone());
    let exe = exe.unwrap_or_default();
    let mapped = MappedObjects {
        objects: objects(&layout.closure, &exe, &shim_names),
        limits: Vec::new(),
    };
    let bindings = lookup::bind(&mapped.objects, |object| layout.scope(object));
    let execution = execution(files.program.as_deref());
    let uses_runtime = mapped.runtimes().next().is_some() || !bindings.is_empty();
    if !uses_runtime && layout.loader != Loader::Static {
        return Err(PredictError::NoRuntime);
    }
    let facts = Facts {
        pid: None,
        exe,
        bindings,
        environment: environment(files, execution),
        observed: None,
        shim_names,
        missing: layout.closure.missing,
        namespaces: None,
        agent: None,
        waits: Vec::new(),
        redirections: Vec::new(),
        lookups: Vec::new(),
        held: Vec::new(),
        mapped,
    };
    let limits = limits(&facts);
    Ok(Collected { facts, limits })
}

/// What is loaded, and the orders in which definitions are looked for.
struct Layout {
    closure: Closure,
    program: Option<usize>,
    loader: Loader,
    /// The program, the preloads and what they need.
    global: Vec<usize>,
    /// For each library that is opened: it and what it needs.
    local: Vec<Vec<usize>>,
}

impl Layout {
    fn of(files: &Files) -> Result<Layout, PredictError> {
        let mut closure = Closure::new(Search::new(&files.library_path));
        let open = |closure: &mut Closure, path: &Path, loader| {
            closure
                .open(&text(path), loader)
                .map_err(|e| unusable(path, e))
        };
        let mut layout = Layout {
            program: None,
            loader: Loader::Dynamic,
            global: Vec::new(),
            local: Vec::new(),
            closure: Closure::new(Search::new("")),
        };
        if let Some(path) = &files.program {
            let index = open(&mut closure, path, None)?;
            layout.program = Some(index);
            layout.loader = closure.objects[index].elf.loader;
            layout.global.push(index);
        }
        if layout.loader == Loader::Static {
            layout.closure = closure;
            return Ok(layout);
        }
        let secure = execution(files.program.as_deref()) == Execution::Secure;
        for path in files.shims.iter().filter(|_| !secure) {
            let index = open(&mut closure, path, layout.program)?;
            layout.global.push(index);
        }
        let runtime = match &files.runtime {
            Some(path) => Some(
                closure
                    .set_runtime(&text(path))
                    .map_err(|e| unusable(path, e))?,
            ),
            None => None,
        };
        layout.global = closure.load_needs(&layout.global);
        for path in &files.libraries {
            let index = open(&mut closure, path, layout.program)?;
            let list = closure.load_needs(&[index]);
            layout.local.push(list);
        }
        // A runtime that nothing here needs: the program has opened it.
        if let Some(runtime) = runtime
            && !layout.global.contains(&runtime)
        {
            layout.global.extend(closure.load_needs(&[runtime]));
        }
        layout.closure = closure;
        Ok(layout)
    }

    /// Where the references of `object` are looked up: dlopen gives what it
    /// loads the global scope first, then the library's own.
    fn scope(&self, object: usize) -> Vec<usize> {
        let mut out = self.global.clone();
        if !self.global.contains(&object)
            && let Some(own) = self.local.iter().find(|list| list.contains(&object))
        {
            out.extend(own);
        }
        out
    }
}

fn objects(closure: &Closure, program: &str, shims: &ShimNames) -> Vec<MappedObject> {
    let objects = closure.objects.iter();
    objects
        .map(|o| MappedObject {
            path: o.path.clone(),
            role: role(&o.path, &o.elf, program, shims),
            contents: Contents::Read,
            base: 0,
            span: 0..0,
            elf: Rc::clone(&o.elf),
        })
        .collect()
}

fn environment(files: &Files, execution: Execution) -> Environment {
    let names: Vec<String> = files.shims.iter().map(|p| text(p)).collect();
    let preloads = names.iter().map(|name| Preload {
        entry: name.clone(),
        source: PreloadSource::Variable,
        state: PreloadState::Mapped,
    });
    Environment {
        preloads: preloads.collect(),
        ld_preload: (!names.is_empty()).then(|| names.join(":")),
        execution,
        gpu: GpuUse::NotSeen,
        server: None,
        options: Vec::new(),
        fork: None,
        limits: Vec::new(),
    }
}

/// Whether ld.so would ignore LD_PRELOAD when an ordinary user runs `program`.
fn execution(program: Option<&Path>) -> Execution {
    let Some(program) = program else {
        return Execution::Ordinary;
    };
    let mode = std::fs::metadata(program).map_or(0, |m| m.mode());
    let mut capabilities = [0; 64];
    let capable = rustix::fs::getxattr(program, "security.capability", &mut capabilities)
        .is_ok_and(|n| n > 0);
    // Without the group's execute bit, set-group-ID means locking.
    if mode & 0o4000 != 0 || mode & 0o2010 == 0o2010 || capable {
        Execution::Secure
    } else {
        Execution::Ordinary
    }
}

/// What files cannot tell.
fn limits(facts: &Facts) -> Vec<String> {
    const MAX_NAMES: usize = 8;
    let mut out = vec![
        "libraries that the program opens itself (dlopen), unless named with --lib".to_owned(),
    ];
    let mut looking: Vec<&str> = Vec::new();
    for object in &facts.mapped.objects {
        if matches!(object.role, Role::Program | Role::Library) && object.elf.imports_dlsym() {
            looking.push(basename(&object.path));
        }
    }
    if !looking.is_empty() {
        let more = looking.len().saturating_sub(MAX_NAMES);
        looking.truncate(MAX_NAMES);
        let more = match more {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        out.push(format!(
            "functions that are looked up at run time (dlsym) by {}{more}",
            looking.join(", ")
        ));
    }
    out
}

fn unusable(path: &Path, source: ElfError) -> PredictError {
    PredictError::Unusable {
        path: path.to_owned(),
        source,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
