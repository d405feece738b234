//! Why there is no report, with the next step.

use std::path::PathBuf;

use xsched_common::platform::{Platform, TITLES};
use xsched_host::elf::ElfError;
use xsched_host::process::ProcessError;
use xsched_host::readers::apart::GivenUp;

/// Why a process could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It has no address space.
    #[error("process {0} has no memory: it is a zombie or a kernel thread")]
    NoMemory(u32),
    /// No runtime, and no sign that one was wanted.
    #[error(
        "process {0} does not use {TITLES}: none of {files} is mapped (if it loads one later, \
         diagnose it then)",
        files = runtimes()
    )]
    NoRuntime(u32),
    /// It ended.
    #[error(
        "process {0} exited while it was examined: diagnose it while it runs, or a new instance"
    )]
    Exited(u32),
    /// Whoever examines it is held up.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// It executed another program.
    #[error("process {0} executed another program while it was examined: run diagnose again")]
    Executed(u32),
}

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// A named file is not one that ld.so could load.
    #[error("{}: it {source} (name a 64-bit x86 program or library; for a script, its interpreter)", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// Nothing that concerns a runtime.
    #[error(
        "nothing here uses {TITLES}: neither the named files nor what they need import a function of \
         {} (libraries that a program opens itself can be named with --lib)",
        runtimes()
    )]
    NoRuntime,
}

/// The files of all runtimes, for people.
fn runtimes() -> String {
    Platform::ALL
        .map(|platform| platform.names().runtime)
        .join(", ")
}
