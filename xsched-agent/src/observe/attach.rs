//! Loads the BPF programs and attaches them.
//!
//! Only this file, [`super::perf`], [`super::multi`] and [`super::counts`]
//! name the BPF library's types.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::{io, path, thread};

use aya::EbpfLoader;
use aya::maps::Map;
use aya::programs::links::FdLink;
use xsched_common::bpf::Cookie;
use xsched_common::hip::ENTRY_POINTS;

use super::counts::Maps;
use super::images::ImageKind;
use super::multi;
use super::perf::PerfPrograms;
use super::site::Site;
use super::unavailable::{UPROBE_PMU, Unavailable};

/// The prebuilt programs (`cargo xtask build-ebpf`).
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xsched-ebpf/prebuilt/xsched.bpf.o");

/// How many links close at the same time: each waits for a grace period of
/// about 0.1 s that all waiters share.
const CLOSERS: usize = 64;

/// Which processes a probe fires for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them, also those started later.
    All,
    /// One process with all its threads.
    Pid(u32),
}

/// How probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// All probes of an image in one link, if the kernel is new enough.
    Best,
    /// A perf event for each probe, which every kernel can.
    Perf,
}

/// The programs in the kernel.
pub struct Programs {
    loaded: Loaded,
}

enum Loaded {
    Multi { runtime: OwnedFd, shim: OwnedFd },
    Perf(PerfPrograms),
}

impl Programs {
    /// Loads the programs with room for `max_keys` distinct counts.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn load(max_keys: u32, links: LinkKind) -> Result<(Programs, Maps), Unavailable> {
        if !path::Path::new(UPROBE_PMU).exists() {
            return Err(Unavailable::NoUprobes);
        }
        let mut bpf = EbpfLoader::new()
            .map_max_entries("CALLS", max_keys)
            .load(OBJECT)
            .map_err(|e| Unavailable::from_error("load BPF programs", &e))?;
        let multi = (links == LinkKind::Best && multi::reliable())
            .then(|| {
                let maps = bpf.maps().filter_map(|(name, map)| {
                    let data = match map {
                        Map::PerCpuHashMap(data)
                        | Map::PerCpuArray(data)
                        | Map::LruHashMap(data)
                        | Map::RingBuf(data) => data,
                        _ => return None,
                    };
                    Some((name.to_owned(), data.fd().as_fd()))
                });
                let mut programs = multi::load(OBJECT, &maps.collect()).ok()?;
                Some(Loaded::Multi {
                    runtime: programs.remove("runtime_call")?,
                    shim: programs.remove("shim_call")?,
                })
            })
            .flatten();
        let maps = Maps::take(&mut bpf).map_err(|e| Unavailable::from_error("use BPF maps", &e))?;
        let loaded = match multi {
            Some(multi) => multi,
            None => Loaded::Perf(PerfPrograms::load(bpf)?),
        };
        Ok((Programs { loaded }, maps))
    }

    /// Whether an image's probes go in one piece, within a tenth of a second.
    pub fn close_quickly(&self) -> bool {
        matches!(self.loaded, Loaded::Multi { .. })
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
        let sites: Vec<(Site, u64)> = sites
            .iter()
            .map(|&site| {
                let cookie = Cookie {
                    api: site.api,
                    stream_at: ENTRY_POINTS[usize::from(site.api)].stream_at,
                };
                (site, cookie.pack())
            })
            .collect();
        // Resolved by the kernel in this process: works in any mount
        // namespace and for files that have lost their name.
        let target = format!("/proc/self/fd/{}", image.as_raw_fd());
        let mut probes = Probes::default();
        match &mut self.loaded {
            Loaded::Multi { runtime, shim } => {
                let program = match kind {
                    ImageKind::Runtime => runtime,
                    ImageKind::Shim => shim,
                };
                let target = CString::new(target).expect("digits and slashes");
                let pid = match scope {
                    Scope::All => None,
                    Scope::Pid(pid) => Some(pid),
                };
                probes.attach_halves(&sites, &|sites| multi::attach(program, &target, sites, pid));
            }
            Loaded::Perf(programs) => {
                for (site, cookie) in sites {
                    match programs.attach(kind, &target, site.offset, cookie, scope) {
                        Ok(link) => probes.hold(Link::Perf(link), 1),
                        Err(error) => probes.failed.push((site.api, error)),
                    }
                }
            }
        }
        probes
    }
}

enum Link {
    Multi(#[expect(dead_code, reason = "held for its drop, which detaches")] OwnedFd),
    Perf(#[expect(dead_code, reason = "held for its drop, which detaches")] FdLink),
}

/// Attached probes; dropping them detaches.
#[derive(Default)]
pub struct Probes {
    links: Vec<Link>,
    sites: usize,
    /// Functions (indices into the table) that could not be probed.
    pub failed: Vec<(u16, Unavailable)>,
}

/// Attaches a program to all sites, each with its cookie, or to none.
type AttachAll<'a> = dyn Fn(&[(Site, u64)]) -> io::Result<OwnedFd> + 'a;

impl Probes {
    fn hold(&mut self, link: Link, sites: usize) {
        self.links.push(link);
        self.sites += sites;
    }

    /// One bad site fails a whole link: halves find out which it is.
    fn attach_halves(&mut self, sites: &[(Site, u64)], attach: &AttachAll<'_>) {
        if sites.is_empty() {
            return;
        }
        match attach(sites) {
            Ok(link) => self.hold(Link::Multi(link), sites.len()),
            Err(error) => match sites {
                [(site, _)] => self
                    .failed
                    .push((site.api, Unavailable::from_error("attach a uprobe", &error))),
                _ => {
                    let (front, back) = sites.split_at(sites.len() / 2);
                    self.attach_halves(front, attach);
                    self.attach_halves(back, attach);
                }
            },
        }
    }

    /// How many functions are probed.
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// Takes `other`'s probes over, so that they detach together.
    pub fn append(&mut self, mut other: Probes) {
        self.links.append(&mut other.links);
        self.sites += std::mem::take(&mut other.sites);
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let (multi, perf): (Vec<Link>, Vec<Link>) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|link| matches!(link, Link::Multi(_)));
        if !perf.is_empty() {
            // The kernel detaches perf uprobes one after the other whoever
            // asks, 0.1 s each: nobody waits for that here. Without a thread
            // the closure is dropped at once, and the links with it.
            let _ = thread::Builder::new().spawn(move || drop(perf));
        }
        let share = multi.len().div_ceil(CLOSERS).max(1);
        let mut rest = multi.into_iter();
        thread::scope(|scope| {
            loop {
                let chunk: Vec<Link> = rest.by_ref().take(share).collect();
                if chunk.is_empty() {
                    break;
                }
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(chunk));
            }
        });
    }
}
