//! Names of addresses in processes, out of the files that they map.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use xsched_host::elf::Named;
use xsched_host::process::{self, Mapping};
use xsched_host::text::printable;

use super::read_timeout::ReadTimeout;

/// Files whose names are kept; then all are read anew.
const MOST: usize = 64;

/// A file, by device and inode as /proc/PID/maps has them.
type FileKey = ((u32, u32), u64);

/// Names of the files that were asked about.
#[derive(Default)]
pub(super) struct Symbols(HashMap<FileKey, Arc<Named>>);

impl Symbols {
    /// What begins at an address of a process, by its file's symbols; none
    /// where these do not say.
    pub fn name(
        &mut self,
        pid: u32,
        address: u64,
        read_timeout: &mut ReadTimeout,
    ) -> Option<String> {
        let maps = read_timeout.read(pid, move || process::maps(pid)).ok()?;
        let maps = maps.ok()?;
        let at = maps.partition_point(|mapping| mapping.range.end <= address);
        let mapping = maps.get(at).filter(|m| m.range.contains(&address))?;
        let named = self.of(pid, mapping, read_timeout)?;
        let offset = (address - mapping.range.start).checked_add(mapping.offset)?;
        named.at(offset).map(printable)
    }

    fn of(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        read_timeout: &mut ReadTimeout,
    ) -> Option<Arc<Named>> {
        if mapping.inode == 0 {
            return None;
        }
        let key = (mapping.device, mapping.inode);
        if let Some(known) = self.0.get(&key) {
            return Some(Arc::clone(known));
        }
        let range = mapping.range.clone();
        let read = move || {
            let (from, to) = (range.start, range.end);
            let file = File::open(format!("/proc/{pid}/map_files/{from:x}-{to:x}"));
            file.map(|file| Named::read(&file))
        };
        // Who holds it up has no names.
        let named = Arc::new(read_timeout.read(pid, read).ok()?.ok()?);
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(key, Arc::clone(&named));
        Some(named)
    }
}
