//! Why no shim is in a process: one answer, so that one fault is one finding.

use xsched_host::elf::Loader;

use crate::facts::Facts;
use crate::facts::environment::Execution;
use crate::facts::preload::{Preload, PreloadState};

/// Why no shim is mapped.
#[derive(Clone, Debug)]
pub enum Absence<'a> {
    /// No dynamic linker loaded the program.
    Static,
    /// The dynamic linker ignores LD_PRELOAD for this program.
    Secure,
    /// These files were to be preloaded and are not mapped.
    Failed(Vec<&'a Preload>),
    /// Nothing asked for one.
    NeverAsked,
}

/// The reason; `None` when a shim is mapped.
pub fn of(facts: &Facts) -> Option<Absence<'_>> {
    if facts.shim().is_some() {
        return None;
    }
    if facts.loader() == Some(Loader::Static) {
        return Some(Absence::Static);
    }
    if facts.environment.execution == Execution::Secure {
        return Some(Absence::Secure);
    }
    // A missing file counts whatever its name is: a misspelt shim is the
    // usual case. One that could be loaded counts only if it is a shim.
    let failed: Vec<&Preload> = facts
        .environment
        .preloads
        .iter()
        .filter(|p| match p.state {
            PreloadState::Mapped => false,
            PreloadState::Missing(_) | PreloadState::NotLoadable(_) => true,
            PreloadState::NotMapped(_) => facts.shim_names.kind(&p.entry).is_some(),
        })
        .collect();
    if failed.is_empty() {
        Some(Absence::NeverAsked)
    } else {
        Some(Absence::Failed(failed))
    }
}
