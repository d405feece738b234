//! Sets the probes that are wanted and takes the others away.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::time::{Duration, Instant};

use xsched_host::text::printable;

use super::attach::Probes;
use super::files::FileId;
use super::images::ImageKind;
use super::observer::{Observer, UNUSED_FOR};
use super::placed::{self, Links, Target};

impl Observer {
    /// Makes the probes what is wanted, but for images of which a process that
    /// maps them holds the lock of its memory map: the kernel takes that lock
    /// of each of them for every probe, and lets nobody on the machine fork
    /// meanwhile (`dup_mmap_sem` in kernel/events/uprobes.c).
    ///
    /// A call that has passed the shim's probe must not meet the runtime's
    /// alone: so the runtimes' go first and come last.
    pub(super) fn place(&mut self) {
        let links = match self.programs.close_quickly() {
            true => Links::Quick,
            false => Links::Slow,
        };
        let mut wanted: HashMap<FileId, BTreeSet<Target>> = HashMap::new();
        let served = self.finder.served();
        for (&id, attached) in &mut self.attached {
            let users = &attached.image.pids;
            let targets = placed::targets(users, &self.watched, self.plan.scope, links);
            let has = attached.targets();
            // Which file lies behind one that a user serves is not known.
            let holder = match targets == has {
                true => None,
                false => self
                    .locks
                    .holder(users)
                    .or_else(|| self.locks.holder(&served)),
            };
            attached.held_up = holder.map(|pid| held_up(&attached.image.path, pid));
            wanted.insert(id, if holder.is_some() { has } else { targets });
        }
        for kind in [ImageKind::Runtime, ImageKind::Shim] {
            let mut leaving = Probes::default();
            for (id, attached) in &mut self.attached {
                if attached.image.kind == kind {
                    leaving.append(attached.release(&wanted[id]));
                }
            }
        }
        let mut placed = false;
        for kind in [ImageKind::Shim, ImageKind::Runtime] {
            for (id, attached) in &mut self.attached {
                if attached.image.kind == kind {
                    placed |= attached.place(&mut self.programs, &wanted[id]);
                }
            }
        }
        if placed {
            // Without it bursts are longer than they were by the time in
            // which no probes were there; that the map cannot be written is
            // unheard of.
            let _ = self.maps.begin_epoch();
        }
    }

    pub(super) fn detach_unused(&mut self, now: Instant) {
        for attached in self.attached.values_mut() {
            if now.duration_since(attached.last_used) > Duration::ZERO {
                attached.image.pids.clear();
            }
        }
        let mut leaving = Probes::default();
        for (_, attached) in self
            .attached
            .extract_if(|_, a| now.duration_since(a.last_used) > UNUSED_FOR)
        {
            leaving.append(attached.into_probes());
        }
    }

    /// Why probes are not those that are wanted, if somebody who maps an image
    /// holds up whoever sets them.
    pub fn held_up(&self) -> Option<&str> {
        let mut attached = self.attached.values();
        attached.find_map(|attached| attached.held_up.as_deref())
    }
}

fn held_up(path: &str, pid: u32) -> String {
    format!(
        "{}: probes are neither set nor taken away, because process {pid}, which maps it, or others of \
         its user hold up whoever takes the lock of its memory map",
        printable(path)
    )
}

impl Drop for Observer {
    fn drop(&mut self) {
        // All at once: each image for itself would wait one after the other.
        let mut leaving = Probes::default();
        self.locks.hurry();
        let served = self.finder.served();
        for (_, attached) in self.attached.drain() {
            let users = &attached.image.pids;
            let holder = self
                .locks
                .holder(users)
                .or_else(|| self.locks.holder(&served));
            match holder {
                None => leaving.append(attached.into_probes()),
                // They go with this program: see `place`.
                Some(_) => mem::forget(attached.into_probes()),
            }
        }
    }
}
