//! Finds the images of the runtime, and of shims, that processes have mapped.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use xsched_common::platform::names::{self, ShimNames};
use xsched_host::process::{self, ProcessError};
use xsched_host::readers::Tenant;
use xsched_host::text::counted;

use super::files::{FileId, Files, Opened, User};
use super::read_timeout::{HeldUp, ReadTimeout};
use super::turns::{DEAR, dear_rest, rest};

/// What an image is to the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// A runtime.
    Runtime,
    /// A library that interposes the runtime's functions.
    Shim,
}

/// Which file names are images.
#[derive(Clone, Debug)]
pub struct Names {
    shims: Arc<ShimNames>,
}

impl Names {
    /// The known shims and these.
    pub fn with_shims(more: &[String]) -> Names {
        Names {
            shims: Arc::new(ShimNames::with(more)),
        }
    }

    /// What a file of this name is.
    pub fn kind_of(&self, basename: &str) -> Option<ImageKind> {
        let runtime = names::runtime(basename.as_bytes()).map(|_| ImageKind::Runtime);
        runtime.or_else(|| self.shims.kind(basename).map(|_| ImageKind::Shim))
    }
}

/// An image and who uses it.
#[derive(Debug)]
pub struct Image {
    /// Which file.
    pub id: FileId,
    /// What it is.
    pub kind: ImageKind,
    /// Its path in the first process that was seen with it.
    pub path: String,
    /// The processes that map it.
    pub pids: Vec<u32>,
    /// The file, opened through one of them.
    pub file: Arc<File>,
}

/// What a look at the processes found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Every image in use.
    pub images: Vec<Image>,
    /// Processes that could not be read: other users', when this is not root.
    pub unreadable: usize,
    /// Processes with an image in a file system that a user may serve.
    pub served: usize,
    /// Processes that were not read because somebody holds up whoever does.
    pub held_up: usize,
    /// Processes with more mappings than are read.
    pub cut: usize,
    /// Processes left for the next sweep because the time was up.
    pub postponed: usize,
}

impl Sweep {
    /// Without what is said of others than this process.
    fn of(mut self, looked: Option<&Looked>) -> Sweep {
        let is = |seen| usize::from(looked.is_some_and(|looked| looked.seen == seen));
        self.unreadable = is(Seen::Unreadable);
        self.served = is(Seen::Served);
        self.held_up = is(Seen::HeldUp);
        self.cut = is(Seen::Start);
        self
    }

    /// What it did not see, one line each.
    pub fn limits(&self) -> Vec<String> {
        let line = |n: usize, what: &str| {
            (n > 0).then(|| format!("{} {what}", counted(n as u64, "process")))
        };
        [
            line(
                self.unreadable,
                "could not be read: if it uses a GPU, it is not seen (root reads all but protected \
                 processes)",
            ),
            line(
                self.served,
                "with a runtime or shim on FUSE, or on an overlay in a user namespace of its own, where \
                 setting a probe could keep the machine from forking: their calls are not seen",
            ),
            line(
                self.held_up,
                "could not be looked at, because a memory map or file system of the same user and \
                 control group holds up whoever reads it: what was mapped since is not seen",
            ),
            line(
                self.cut,
                "with more mappings than are read (64 MiB of /proc/PID/maps): a runtime that lies behind \
                 them is not seen",
            ),
            line(self.postponed, "left for the next look at /proc"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What a process had mapped at the last look.
#[derive(Debug)]
struct Looked {
    first: Instant,
    next: Instant,
    mappings: usize,
    uses: Vec<Use>,
    seen: Seen,
}

/// How much a look saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Everything,
    /// More mappings than are read.
    Start,
    /// Not all of it could be opened.
    Unreadable,
    /// Not all of it lies where only root serves files.
    Served,
    /// Nothing: what is known is from an earlier look.
    HeldUp,
}

#[derive(Debug)]
struct Use {
    id: FileId,
    kind: ImageKind,
    path: String,
    file: Arc<File>,
}

/// What one look found: the images, each with its path.
struct Look {
    tenant: Tenant,
    images: Vec<(ImageKind, String, Opened)>,
    mappings: usize,
    seen: Seen,
}

impl Look {
    /// Waits for the process's memory map, and for the file systems of what it
    /// maps.
    fn at(pid: u32, names: &Names) -> Result<Look, ProcessError> {
        let maps = process::all_maps(pid)?;
        let mut look = Look {
            tenant: Tenant::known_by(Tenant::NOBODY),
            images: Vec::new(),
            mappings: maps.mappings.len(),
            seen: match maps.whole {
                true => Seen::Everything,
                false => Seen::Start,
            },
        };
        let mut seen = HashSet::new();
        for mapping in maps.mappings.iter().filter(|mapping| mapping.executable) {
            let Some(kind) = names.kind_of(mapping.basename()) else {
                continue;
            };
            // A file is mapped in several pieces. The path belongs to the key
            // because the numbers alone are not unique on every file system
            // (btrfs subvolumes).
            if !seen.insert((mapping.device, mapping.inode, &mapping.path)) {
                continue;
            }
            match Opened::behind(pid, mapping) {
                Ok(opened) if opened.may_be_served(pid) => look.seen = Seen::Served,
                Ok(opened) => look.images.push((kind, mapping.path.clone(), opened)),
                Err(_) => look.seen = Seen::Unreadable,
            }
        }
        if !look.images.is_empty() {
            look.tenant = Tenant::of(pid);
        }
        Ok(look)
    }
}

/// Looks through /proc for images.
#[derive(Debug)]
pub struct Finder {
    names: Names,
    files: Files,
    processes: HashMap<u32, Looked>,
    /// A process that is not looked at.
    left_out: Option<u32>,
}

impl Finder {
    /// A finder for files of these names.
    pub fn new(names: Names) -> Finder {
        Finder {
            names,
            files: Files::default(),
            processes: HashMap::new(),
            left_out: None,
        }
    }

    /// Never looks at this process: an agent's management library may map the
    /// runtime, and the agent would blame itself for launching past the shim.
    pub(super) fn leave_out(&mut self, pid: u32) {
        self.left_out = Some(pid);
    }

    /// Looks at the processes whose turn it is, or as many as fit before
    /// `deadline`; says what all of them use. A library that an old process
    /// loads is found after ten seconds at the latest.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub(super) fn sweep(
        &mut self,
        deadline: Instant,
        read_timeout: &mut ReadTimeout,
    ) -> io::Result<Sweep> {
        let now = Instant::now();
        let mut pids = process::all_pids()?;
        pids.retain(|&pid| Some(pid) != self.left_out);
        let alive: HashSet<u32> = pids.iter().copied().collect();
        self.processes.retain(|pid, _| alive.contains(pid));
        // New processes first, then whoever waits longest.
        let mut due: Vec<(Option<Instant>, u32)> = pids
            .into_iter()
            .map(|pid| (self.processes.get(&pid).map(|looked| looked.next), pid))
            .filter(|(next, _)| next.is_none_or(|next| next <= now))
            .collect();
        due.sort_unstable();
        let mut postponed = 0;
        for (done, &(_, pid)) in due.iter().enumerate() {
            // At least one: sweeps must get on.
            if done > 0 && Instant::now() >= deadline {
                postponed = due.len() - done;
                break;
            }
            self.look_at(pid, now, read_timeout);
        }
        Ok(self.found(postponed, read_timeout))
    }

    /// Looks at one process only.
    pub(super) fn sweep_one(&mut self, pid: u32, read_timeout: &mut ReadTimeout) -> Sweep {
        self.look_at(pid, Instant::now(), read_timeout);
        self.found(0, read_timeout).of(self.processes.get(&pid))
    }

    /// The process runs another program: what was known of it is void. It is
    /// looked at at once, and often for a while.
    pub(super) fn renew(&mut self, pid: u32, read_timeout: &mut ReadTimeout) {
        self.processes.remove(&pid);
        self.look_at(pid, Instant::now(), read_timeout);
    }

    /// What the processes looked at so far use.
    pub(super) fn known(&mut self, read_timeout: &mut ReadTimeout) -> Sweep {
        self.found(0, read_timeout)
    }

    fn look_at(&mut self, pid: u32, now: Instant, read_timeout: &mut ReadTimeout) {
        let before = self.processes.remove(&pid);
        let first = before.as_ref().map_or(now, |looked| looked.first);
        let mut looked = Looked {
            first,
            next: now + rest(now.duration_since(first)),
            mappings: 0,
            uses: Vec::new(),
            seen: Seen::Unreadable,
        };
        let names = self.names.clone();
        match read_timeout.read(pid, move || Look::at(pid, &names)) {
            Ok(Ok(look)) => {
                looked.seen = look.seen;
                looked.mappings = look.mappings;
                let dear = self.processes.values();
                let dear = 1 + dear.filter(|other| other.mappings >= DEAR).count();
                looked.next = looked.next.max(now + dear_rest(look.mappings, dear));
                let tenant = look.tenant;
                let user = User { pid, tenant };
                for (kind, path, opened) in look.images {
                    match self.files.identify(opened, &user, read_timeout) {
                        Ok((id, file)) => looked.uses.push(Use {
                            id,
                            kind,
                            path,
                            file,
                        }),
                        Err(_) => looked.seen = Seen::Unreadable,
                    }
                }
            }
            Ok(Err(ProcessError::Gone(_))) => return,
            Ok(Err(_)) => {}
            Err(HeldUp) => {
                looked.seen = Seen::HeldUp;
                // Refused at once while it lasts.
                looked.next = now;
                looked.uses = before.map_or_else(Vec::new, |looked| looked.uses);
            }
        }
        self.processes.insert(pid, looked);
    }

    /// Processes that map a runtime or shim from where a user may serve files.
    pub fn served(&self) -> Vec<u32> {
        let served = |(_, looked): &(&u32, &Looked)| looked.seen == Seen::Served;
        self.processes
            .iter()
            .filter(served)
            .map(|(&pid, _)| pid)
            .collect()
    }

    fn found(&mut self, postponed: usize, read_timeout: &mut ReadTimeout) -> Sweep {
        self.files.forget_unheld(read_timeout);
        let mut sweep = Sweep {
            postponed,
            ..Sweep::default()
        };
        for (&pid, looked) in &self.processes {
            match looked.seen {
                Seen::Everything => {}
                Seen::Start => sweep.cut += 1,
                Seen::Unreadable => sweep.unreadable += 1,
                Seen::Served => sweep.served += 1,
                Seen::HeldUp => sweep.held_up += 1,
            }
            for used in &looked.uses {
                let image = sweep.images.iter_mut().find(|image| image.id == used.id);
                match image {
                    Some(image) => image.pids.push(pid),
                    None => sweep.images.push(Image {
                        id: used.id,
                        kind: used.kind,
                        path: used.path.clone(),
                        pids: vec![pid],
                        file: Arc::clone(&used.file),
                    }),
                }
            }
        }
        for image in &mut sweep.images {
            // One file under two paths, as a process may map it.
            image.pids.sort_unstable();
            image.pids.dedup();
        }
        sweep
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xsched_common::platform::Platform;

    use super::super::plan::Scope;
    use super::super::turns::LONGEST_REST;
    use super::*;

    #[test]
    fn names_of_images() {
        let names = Names::with_shims(&["libother.so".to_owned()]);
        for platform in Platform::ALL {
            let known = platform.names();
            let runtime = format!("{}.so.6", known.runtime);
            assert_eq!(names.kind_of(&runtime), Some(ImageKind::Runtime));
            for shim in [known.shim, "libother.so", "libother.so.2"] {
                assert_eq!(names.kind_of(shim), Some(ImageKind::Shim));
            }
        }
        assert_eq!(names.kind_of("libc.so.6"), None);
    }

    #[test]
    fn one_process_is_left_out() {
        let mut finder = Finder::new(Names::with_shims(&[]));
        let me = std::process::id();
        let later = Instant::now() + Duration::from_secs(60);
        for left_out in [false, true] {
            let read_timeout = &mut ReadTimeout::with(Scope::All);
            finder.sweep(later, read_timeout).expect("/proc");
            assert_eq!(finder.processes.contains_key(&me), !left_out);
            finder.leave_out(me);
        }
    }

    #[test]
    fn what_a_sweep_did_not_see_is_said() {
        assert_eq!(Sweep::default().limits(), [""; 0]);
        let sweep = Sweep {
            unreadable: 1,
            held_up: 2,
            cut: 1,
            postponed: 3,
            ..Sweep::default()
        };
        let limits = sweep.limits();
        assert!(limits[0].starts_with("1 process could not be read"));
        assert!(limits[1].starts_with("2 processes could not be looked at"));
        assert!(limits[2].starts_with("1 process with more mappings"));
        assert_eq!(limits[3], "3 processes left for the next look at /proc");
    }

    #[test]
    fn a_sweep_ends_in_time_and_the_next_one_goes_on() {
        let mut finder = Finder::new(Names::with_shims(&[]));
        let read_timeout = &mut ReadTimeout::with(Scope::All);
        let first = finder.sweep(Instant::now(), read_timeout).expect("sweep");
        assert!(first.postponed > 0);
        assert_eq!(finder.processes.len(), 1);
        let soon = Instant::now() + Duration::from_secs(60);
        assert_eq!(
            finder.sweep(soon, read_timeout).expect("sweep").postponed,
            0
        );
        assert!(finder.processes.len() > 2);
        assert!(finder.processes.contains_key(&std::process::id()));
    }

    #[test]
    fn old_processes_rest_longer_and_never_too_long() {
        let seconds = Duration::from_secs;
        assert_eq!(rest(seconds(0)), Duration::ZERO);
        assert_eq!(rest(seconds(1)), Duration::ZERO);
        assert_eq!(rest(seconds(8)), seconds(2));
        assert_eq!(rest(seconds(100_000)), LONGEST_REST);
        let mut finder = Finder::new(Names::with_shims(&[]));
        let read_timeout = &mut ReadTimeout::with(Scope::All);
        let soon = || Instant::now() + seconds(60);
        finder.sweep(soon(), read_timeout).expect("sweep");
        let me = std::process::id();
        let resting = Instant::now() + seconds(1_000);
        finder.processes.get_mut(&me).expect("looked at").next = resting;
        finder.sweep(soon(), read_timeout).expect("sweep");
        assert_eq!(finder.processes[&me].next, resting, "looked at too early");
        finder.processes.get_mut(&me).expect("looked at").next = Instant::now();
        finder.sweep(soon(), read_timeout).expect("sweep");
        assert_ne!(finder.processes[&me].next, resting);
    }
}
