//! What the process was started with, as far as it decides whether a shim
//! can be in it.

use std::cell::OnceCell;
use std::fs;

use xsched_common::platform::Platform;
use xsched_host::process::{self, ProcessError, ProcessId};

use super::files::Root;
use super::fork::{self, ForkedAfterInit};
use super::mapped::MappedObjects;
use super::preload::{self, Preload};
use super::server::ServerUse;

/// Key of the auxiliary vector: the kernel asked for secure execution.
const AT_SECURE: u64 = 23;

/// Facts about the process as a whole.
#[derive(Clone, Debug)]
pub struct Environment {
    /// LD_PRELOAD as it was given, if it was.
    pub ld_preload: Option<String>,
    /// Every file that LD_PRELOAD or /etc/ld.so.preload names.
    pub preloads: Vec<Preload>,
    /// Whether ld.so ignores LD_PRELOAD for privileges' sake.
    pub execution: Execution,
    /// Whether the process holds the GPU's device file open.
    pub gpu: GpuUse,
    /// The shim's options (XSCHED_...), as NAME=value.
    pub options: Vec<String>,
    /// Whether it shares its device by a server.
    pub server: Option<ServerUse>,
    /// Whether it is a fork's child that inherited the GPU.
    pub fork: Option<ForkedAfterInit>,
    /// What could not be read.
    pub limits: Vec<String>,
}

/// Whether a program runs with more rights than whoever started it
/// (set-user-ID, file capabilities); ld.so then ignores LD_PRELOAD paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// No.
    Ordinary,
    /// Yes.
    Secure,
}

/// Whether the process uses the GPU, whatever library it does it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuUse {
    /// It holds the file of a platform's driver open.
    Open(Platform),
    /// It does not, or that could not be seen.
    NotSeen,
}

impl Environment {
    /// The value of one of the shim's options.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter();
        options.find_map(|o| o.strip_prefix(name)?.strip_prefix('='))
    }

    /// Reads it. `list of mapped objects` tells which of the named files are mapped.
    pub fn read(id: ProcessId, mapped: &MappedObjects) -> Result<Environment, ProcessError> {
        let mut limits = Vec::new();
        let variables: Vec<String> = match process::environ(id.pid) {
            Ok(list) => list
                .into_iter()
                .map(|v| v.to_string_lossy().into_owned())
                .collect(),
            Err(ProcessError::Gone(pid)) => return Err(ProcessError::Gone(pid)),
            Err(e) => {
                limits.push(format!("the environment was not examined: {e}"));
                Vec::new()
            }
        };
        let variable = |name: &str| {
            variables
                .iter()
                .find_map(|v| v.strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned)
        };
        let ld_preload = variable("LD_PRELOAD").filter(|v| !v.trim().is_empty());
        let preloads = match Root::of(id.pid) {
            Ok(root) => {
                let library_path = variable("LD_LIBRARY_PATH").unwrap_or_default();
                let place = preload::PreloadContext {
                    id,
                    root,
                    library_path,
                    directories: OnceCell::new(),
                };
                preload::examine(&place, ld_preload.as_deref(), mapped)
            }
            Err(e) => {
                limits.push(format!(
                    "the files that LD_PRELOAD names were not examined: /proc/{}/root: {e}",
                    id.pid
                ));
                Vec::new()
            }
        };
        let auxv = fs::read(format!("/proc/{}/auxv", id.pid)).unwrap_or_default();
        Ok(Environment {
            preloads,
            ld_preload,
            execution: execution(&auxv),
            gpu: gpu_use(id.pid),
            server: ServerUse::of(id.pid, mapped, variable),
            fork: fork::after_init(id.pid),
            options: variables
                .into_iter()
                .filter(|v| v.starts_with("XSCHED_"))
                .collect(),
            limits,
        })
    }
}

fn execution(auxv: &[u8]) -> Execution {
    let secure = auxv.chunks_exact(16).any(|pair| {
        let word = |at| xsched_host::elf::word_at(pair, at);
        word(0) == Some(AT_SECURE) && word(8) != Some(0)
    });
    if secure {
        Execution::Secure
    } else {
        Execution::Ordinary
    }
}

fn gpu_use(pid: u32) -> GpuUse {
    match fork::gpu_descriptors(pid).first() {
        Some((_, platform)) => GpuUse::Open(*platform),
        None => GpuUse::NotSeen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secure_execution_is_read_from_the_auxiliary_vector() {
        let auxv = |key: u64, value: u64| [key.to_le_bytes(), value.to_le_bytes()].concat();
        assert_eq!(execution(&auxv(AT_SECURE, 1)), Execution::Secure);
        assert_eq!(execution(&auxv(AT_SECURE, 0)), Execution::Ordinary);
        assert_eq!(execution(&auxv(6, 4096)), Execution::Ordinary);
        assert_eq!(execution(&auxv(AT_SECURE, 1)[..15]), Execution::Ordinary);
    }
}
