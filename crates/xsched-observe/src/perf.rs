//! Perf uprobes, one link per probe: for kernels without reliable multi
//! links.

use std::num::NonZeroU32;

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::programs::{ProgramError, UProbe};

use super::compat::Kernel;
use super::plan::Scope;
use super::unavailable::Unavailable;

/// The programs, loaded for perf events.
pub struct PerfPrograms {
    pub(super) bpf: Ebpf,
    kernel: Kernel,
}

impl PerfPrograms {
    /// Loads those of these names.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn load(
        mut bpf: Ebpf,
        names: &[&str],
        kernel: Kernel,
    ) -> Result<PerfPrograms, Unavailable> {
        let wanted = bpf.programs_mut().filter(|(name, _)| names.contains(name));
        for (_, program) in wanted {
            let program: Result<&mut UProbe, ProgramError> = program.try_into();
            program
                .and_then(UProbe::load)
                .map_err(|e| Unavailable::on_kernel(kernel, "load BPF programs", &e))?;
        }
        Ok(PerfPrograms { bpf, kernel })
    }

    /// Attaches the program called `name` at a file offset; the program says
    /// at which end of the function.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn attach(
        &mut self,
        name: &str,
        target: &str,
        offset: u64,
        cookie: u64,
        scope: Scope,
    ) -> Result<FdLink, Unavailable> {
        let scope = match scope {
            Scope::All => UProbeScope::AllProcesses,
            Scope::Pid(pid) => UProbeScope::OneProcess(
                NonZeroU32::new(pid).ok_or(Unavailable::NotPermitted("probe process 0"))?,
            ),
        };
        let point = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(offset),
            cookie: Some(cookie),
        };
        let kernel = self.kernel;
        let failed = |e: ProgramError| match e {
            ProgramError::AttachCookieNotSupported => Unavailable::OldKernel(kernel),
            e => Unavailable::from_error("attach a uprobe", &e),
        };
        let program: &mut UProbe = self
            .bpf
            .program_mut(name)
            .expect("the prebuilt object has the program")
            .try_into()
            .map_err(failed)?;
        let id = program.attach(point, target, scope).map_err(failed)?;
        let link = program.take_link(id).map_err(failed)?;
        FdLink::try_from(link).map_err(|e| Unavailable::from_error("hold a uprobe", &e))
    }
}
