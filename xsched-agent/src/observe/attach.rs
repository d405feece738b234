//! Loads the BPF programs and attaches them. Nothing outside this file and
//! [`super::counts`] names the BPF library's types.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;
use std::{error, io, path, thread};

use aya::programs::links::FdLink;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use aya::{Ebpf, EbpfLoader};
use xsched_common::bpf::Cookie;
use xsched_common::hip::ENTRY_POINTS;

use super::counts::Maps;
use super::images::ImageKind;
use super::site::Site;

/// The prebuilt programs (`cargo xtask build-ebpf`).
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xsched-ebpf/prebuilt/xsched.bpf.o");

/// Where the kernel says that it has perf uprobes.
const UPROBE_PMU: &str = "/sys/bus/event_source/devices/uprobe/type";

/// How many links close at the same time: each waits for a grace period of
/// about 0.1 s that all waiters share.
const CLOSERS: usize = 64;

/// Why processes cannot be observed on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Not privileged.
    #[error(
        "cannot {0}: not permitted; run as root (sudo), in a container with --privileged and \
         --pid=host"
    )]
    NotPermitted(&'static str),
    /// No uprobes.
    #[error(
        "this kernel shows no uprobes ({UPROBE_PMU} is missing): mount /sys, or use a kernel with \
         CONFIG_UPROBE_EVENTS"
    )]
    NoUprobes,
    /// No attach cookies.
    #[error("this kernel's BPF has no attach cookies: Linux 5.15 or later is needed")]
    OldKernel,
    /// The kernel said something else.
    #[error("cannot {what}: {why}; `xsched-agent check` shows what this machine offers")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// All that is known, from the outermost error to the kernel's.
        why: String,
    },
    /// Everything was accepted and nothing was counted.
    #[error("a probe on this program itself attached but did not fire; uprobes do not work here")]
    NeverFires,
}

impl Unavailable {
    fn from_error(what: &'static str, error: &(dyn error::Error + 'static)) -> Unavailable {
        match errno(error) {
            Some(libc::EPERM | libc::EACCES) => Unavailable::NotPermitted(what),
            _ => Unavailable::Kernel {
                what,
                why: chain(error),
            },
        }
    }
}

/// The system's error number at the end of a chain of errors.
fn errno(error: &(dyn error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = error.source();
    }
    None
}

fn chain(error: &(dyn error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Which processes a probe fires for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, also those started later.
    All,
    /// One process with all its threads.
    Pid(u32),
}

/// The programs in the kernel.
pub struct Programs {
    bpf: Ebpf,
}

impl Programs {
    /// Loads the programs with room for `max_keys` distinct counts.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn load(max_keys: u32) -> Result<(Programs, Maps), Unavailable> {
        if !path::Path::new(UPROBE_PMU).exists() {
            return Err(Unavailable::NoUprobes);
        }
        let load = "load BPF programs";
        let mut bpf = EbpfLoader::new()
            .map_max_entries("CALLS", max_keys)
            .load(OBJECT)
            .map_err(|e| Unavailable::from_error(load, &e))?;
        for (_, program) in bpf.programs_mut() {
            let program: Result<&mut UProbe, ProgramError> = program.try_into();
            program
                .and_then(UProbe::load)
                .map_err(|e| Unavailable::from_error(load, &e))?;
        }
        let maps = Maps::take(&mut bpf).map_err(|e| Unavailable::from_error("use BPF maps", &e))?;
        Ok((Programs { bpf }, maps))
    }

    /// Attaches the program for `kind` to all `sites` of an open image. A
    /// site that fails does not keep the others from being probed.
    pub fn attach(
        &mut self,
        kind: ImageKind,
        image: &File,
        sites: &[Site],
        scope: Scope,
    ) -> Probes {
        let mut probes = Probes::default();
        // Resolved by the kernel in this process: works in any mount
        // namespace and for files that have lost their name.
        let target = format!("/proc/self/fd/{}", image.as_raw_fd());
        for site in sites {
            match self.attach_one(kind, &target, site, scope) {
                Ok(link) => probes.links.push(link),
                Err(error) => probes.failed.push((site.api, error)),
            }
        }
        probes
    }

    fn attach_one(
        &mut self,
        kind: ImageKind,
        target: &str,
        site: &Site,
        scope: Scope,
    ) -> Result<FdLink, Unavailable> {
        let name = match kind {
            ImageKind::Runtime => "runtime_call",
            ImageKind::Shim => "shim_call",
        };
        let scope = match scope {
            Scope::All => UProbeScope::AllProcesses,
            Scope::Pid(pid) => UProbeScope::OneProcess(
                NonZeroU32::new(pid).ok_or(Unavailable::NotPermitted("probe process 0"))?,
            ),
        };
        let cookie = Cookie {
            api: site.api,
            stream_at: ENTRY_POINTS[usize::from(site.api)].stream_at,
        };
        let point = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(site.offset),
            cookie: Some(cookie.pack()),
        };
        let failed = |e: ProgramError| match e {
            ProgramError::AttachCookieNotSupported => Unavailable::OldKernel,
            e => Unavailable::from_error("attach a uprobe", &e),
        };
        let program: &mut UProbe = self
            .bpf
            .program_mut(name)
            .expect("the prebuilt object has both programs")
            .try_into()
            .map_err(failed)?;
        let id = program.attach(point, target, scope).map_err(failed)?;
        let link = program.take_link(id).map_err(failed)?;
        FdLink::try_from(link).map_err(|e| Unavailable::from_error("hold a uprobe", &e))
    }
}

/// Attached probes; dropping them detaches.
#[derive(Default)]
pub struct Probes {
    links: Vec<FdLink>,
    /// Functions (indices into the table) that could not be probed.
    pub failed: Vec<(u16, Unavailable)>,
}

impl Probes {
    /// How many are attached.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Takes `other`'s probes over, so that they detach together.
    pub fn append(&mut self, mut other: Probes) {
        self.links.append(&mut other.links);
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.links);
        let share = links.len().div_ceil(CLOSERS).max(1);
        let mut rest = links.into_iter();
        thread::scope(|scope| {
            loop {
                let chunk: Vec<FdLink> = rest.by_ref().take(share).collect();
                if chunk.is_empty() {
                    break;
                }
                // Without a thread the chunk is dropped, slowly, right here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(chunk));
            }
        });
    }
}
