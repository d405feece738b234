//! Loads the BPF programs and attaches them.
//!
//! Only this file, [`super::perf`], [`super::multi`] and [`super::counts`]
//! name the BPF library's types.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::{io, path, thread};

use aya::maps::Map;
use aya::programs::links::FdLink;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::{ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use xsched_common::bpf::{CallRole, Cookie, Room};
use xsched_common::platform::ENTRY_POINTS;

use super::compat::{Kernel, Returns};
use super::counts::Maps;
use super::images::ImageKind;
use super::multi;
use super::perf::PerfPrograms;
use super::plan::{End, LinkKind, Purpose, Scope};
use super::site::Site;
use super::unavailable::{UPROBE_PMU, Unavailable};

/// The prebuilt programs (`cargo xtask build-ebpf`).
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../xsched-ebpf/prebuilt/xsched.bpf.o");

/// How many links close at the same time: each waits for a grace period of
/// about 0.1 s that all waiters share.
const CLOSERS: usize = 64;

/// Names of the programs for a purpose.
#[derive(Clone, Copy, Debug)]
struct ProgramNames {
    entry: &'static str,
    ret: &'static str,
    shim: &'static str,
    /// Entry and return of functions that look kernels up by name.
    lookup: Option<[&'static str; 2]>,
}

impl Purpose {
    fn names(self) -> ProgramNames {
        let (entry, ret, shim) = match self {
            Purpose::Count => ("runtime_call", "runtime_return", "shim_call"),
            Purpose::Record { .. } => ("record_call", "record_return", "record_shim_call"),
        };
        ProgramNames {
            entry,
            ret,
            shim,
            lookup: match self {
                Purpose::Count => None,
                Purpose::Record { .. } => Some(["kernel_lookup", "kernel_lookup_return"]),
            },
        }
    }

    fn ring_bytes(self) -> u32 {
        match self {
            // The smallest there is.
            Purpose::Count => 1 << 12,
            Purpose::Record { ring_bytes } => ring_bytes,
        }
    }
}

/// The tracepoints that tell of processes, and their programs.
const LIFECYCLE: [(&str, &str); 2] = [
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
];

/// The programs in the kernel.
pub struct Programs {
    loaded: Loaded,
    names: ProgramNames,
    returns: Returns,
    lifecycle: Result<Vec<RawTracePointLink>, Unavailable>,
}

enum Loaded {
    Multi(HashMap<String, OwnedFd>),
    Perf(PerfPrograms),
}

impl Programs {
    /// Loads the programs with room for `max_keys` distinct counts. `returns`
    /// is what is wanted; what `kernel` allows is [`Programs::returns`].
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn load(
        max_keys: u32,
        links: LinkKind,
        purpose: Purpose,
        returns: Returns,
        kernel: Kernel,
    ) -> Result<(Programs, Maps), Unavailable> {
        let returns = kernel.returns(returns);
        if !path::Path::new(UPROBE_PMU).exists() {
            return Err(Unavailable::NoUprobes);
        }
        let names = purpose.names();
        let mut uprobes = vec![names.entry, names.shim];
        if returns == Returns::OfWaits {
            uprobes.push(names.ret);
            uprobes.extend(names.lookup.into_iter().flatten());
        }
        let room = Room::for_keys(max_keys);
        let mut bpf = EbpfLoader::new()
            .map_max_entries("CALLS", room.keys)
            .map_max_entries("KEYS", room.processes)
            .map_max_entries("USERS", room.processes)
            .map_max_entries("RECORDS", purpose.ring_bytes())
            .load(OBJECT)
            .map_err(|e| Unavailable::on_kernel(kernel, "load BPF programs", &e))?;
        let multi = (links == LinkKind::Best && kernel.has_multi_links())
            .then(|| {
                let maps = bpf.maps().filter_map(|(name, map)| {
                    let data = match map {
                        Map::Array(data)
                        | Map::HashMap(data)
                        | Map::PerCpuHashMap(data)
                        | Map::PerCpuArray(data)
                        | Map::LruHashMap(data)
                        | Map::RingBuf(data) => data,
                        _ => return None,
                    };
                    Some((name.to_owned(), data.fd().as_fd()))
                });
                let programs = multi::load(OBJECT, &uprobes, &maps.collect()).ok()?;
                (programs.len() == uprobes.len()).then_some(Loaded::Multi(programs))
            })
            .flatten();
        let maps =
            Maps::take(&mut bpf, room).map_err(|e| Unavailable::from_error("use BPF maps", &e))?;
        let lifecycle = attach_lifecycle(&mut bpf)
            .map_err(|e| Unavailable::from_error("follow processes by tracepoints", &e));
        let loaded = match multi {
            Some(multi) => multi,
            None => Loaded::Perf(PerfPrograms::load(bpf, &uprobes, kernel)?),
        };
        let programs = Programs {
            loaded,
            names,
            returns,
            lifecycle,
        };
        Ok((programs, maps))
    }

    /// Which returns are probed.
    pub fn returns(&self) -> Returns {
        self.returns
    }

    /// As [`Programs::lifecycle_missing`], for keeps.
    pub(super) fn into_lifecycle_missing(self) -> Option<Unavailable> {
        self.lifecycle.err()
    }

    /// Why processes that begin another program or end are found by sweeps
    /// only, if that is so.
    pub fn lifecycle_missing(&self) -> Option<&Unavailable> {
        self.lifecycle.as_ref().err()
    }

    /// Whether an image's probes go in one piece, within a tenth of a second.
    pub fn close_quickly(&self) -> bool {
        matches!(self.loaded, Loaded::Multi(_))
    }

    /// Attaches the programs for `kind` to all `sites` of an open image. A
    /// site that fails does not keep the others from being probed.
    pub fn attach(
        &mut self,
        kind: ImageKind,
        image: &File,
        sites: &[Site],
        scope: Scope,
    ) -> Probes {
        let with_cookie = |&site: &Site| (site, Cookie::of(site.api).pack());
        let looks_up = |site: &&Site| ENTRY_POINTS[usize::from(site.api)].looks_up_kernel();
        let (lookups, entries): (Vec<&Site>, Vec<&Site>) = sites.iter().partition(looks_up);
        let lookups: Vec<(Site, u64)> = lookups.into_iter().map(with_cookie).collect();
        let entries: Vec<(Site, u64)> = entries.into_iter().map(with_cookie).collect();
        let mut probes = Probes::default();
        let names = self.names;
        match kind {
            ImageKind::Shim => {
                self.attach_end(names.shim, End::Entry, image, &entries, scope, &mut probes);
            }
            ImageKind::Runtime => {
                // Returns first: a wait that is counted is one that ends.
                if self.returns == Returns::OfWaits {
                    // A trace tells how long launches take, too.
                    let is_told = |role| match role {
                        CallRole::Drain => true,
                        CallRole::Launch => names.lookup.is_some(),
                        CallRole::Other => false,
                    };
                    let told: Vec<(Site, u64)> = entries
                        .iter()
                        .filter(|(site, _)| is_told(Cookie::of(site.api).role))
                        .copied()
                        .collect();
                    self.attach_end(names.ret, End::Return, image, &told, scope, &mut probes);
                    if let Some([entry, ret]) = names.lookup {
                        self.attach_end(ret, End::Return, image, &lookups, scope, &mut probes);
                        self.attach_end(entry, End::Entry, image, &lookups, scope, &mut probes);
                    }
                }
                self.attach_end(names.entry, End::Entry, image, &entries, scope, &mut probes);
            }
        }
        probes
    }

    fn attach_end(
        &mut self,
        program: &str,
        end: End,
        image: &File,
        sites: &[(Site, u64)],
        scope: Scope,
        probes: &mut Probes,
    ) {
        // Resolved by the kernel in this process: works in any mount
        // namespace and for files that have lost their name.
        let target = format!("/proc/self/fd/{}", image.as_raw_fd());
        match &mut self.loaded {
            Loaded::Multi(programs) => {
                let program = &programs[program];
                let target = CString::new(target).expect("digits and slashes");
                let pid = match scope {
                    Scope::All => None,
                    Scope::Pid(pid) => Some(pid),
                };
                probes.attach_halves(sites, &|sites| {
                    multi::attach(program, &target, end, sites, pid)
                });
            }
            Loaded::Perf(programs) => {
                for &(site, cookie) in sites {
                    match programs.attach(program, &target, site.offset, cookie, scope) {
                        Ok(link) => probes.hold(Link::Perf(link), 1),
                        Err(error) => probes.failed.push((site.api, error)),
                    }
                }
            }
        }
    }
}

/// Helpers that the programs may call: all of them are in Linux 5.15, the
/// oldest kernel that is supported (include/uapi/linux/bpf.h).
#[cfg(test)]
const HELPERS: [(i32, &str); 12] = [
    (1, "map_lookup_elem"),
    (2, "map_update_elem"),
    (3, "map_delete_elem"),
    (5, "ktime_get_ns"),
    (14, "get_current_pid_tgid"),
    (15, "get_current_uid_gid"),
    (112, "probe_read_user"),
    (114, "probe_read_user_str"),
    (131, "ringbuf_reserve"),
    (132, "ringbuf_submit"),
    (133, "ringbuf_discard"),
    (174, "get_attach_cookie"),
];

/// Attaches the programs that tell of processes.
fn attach_lifecycle(bpf: &mut Ebpf) -> Result<Vec<RawTracePointLink>, ProgramError> {
    LIFECYCLE
        .iter()
        .map(|(name, tracepoint)| {
            let program: &mut RawTracePoint = bpf
                .program_mut(name)
                .expect("the prebuilt object has the program")
                .try_into()?;
            program.load()?;
            let id = program.attach(tracepoint)?;
            program.take_link(id)
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// BPF_JMP | BPF_CALL; a source register of 0 means a helper.
    const CALL: u8 = 0x85;

    #[test]
    fn the_programs_use_nothing_that_linux_5_15_has_not() {
        let object = aya_obj::Object::parse(OBJECT).expect("the prebuilt object");
        let instructions = object
            .functions
            .values()
            .flat_map(|function| &function.instructions);
        let mut called = 0;
        for call in instructions.filter(|i| i.code == CALL && i.src_reg() == 0) {
            let known = HELPERS.iter().any(|(number, _)| *number == call.imm);
            assert!(known, "helper {} is not on the list", call.imm);
            called += 1;
        }
        assert!(called > 20, "the programs call helpers: {called}");
        for (name, program) in &object.programs {
            use aya_obj::ProgramSection::{RawTracePoint, UProbe, URetProbe};
            assert!(
                matches!(
                    program.section,
                    UProbe { .. } | URetProbe { .. } | RawTracePoint
                ),
                "{name}: {:?}",
                program.section
            );
        }
        // Hash, array, per-CPU hash and array, LRU hash, ring buffer (5.8).
        for (name, map) in &object.maps {
            assert!([1, 2, 5, 6, 9, 27].contains(&map.map_type()), "{name}");
        }
    }
}
