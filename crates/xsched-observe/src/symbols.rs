//! Names of addresses in processes, out of the files that they map.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use xsched_host::elf::Named;
use xsched_host::foreign;
use xsched_host::process::{self, Mapping};
use xsched_host::text::printable;

use super::read_timeout::ReadTimeout;

/// Files whose names are kept; then all are read anew.
const MOST: usize = 64;

/// A file, by its own device and inode: the mapping may be another's by the
/// time its file is opened, and names of one file are used for all who map it.
type FileKey = (u64, u64);

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
        let behind = mapping.clone();
        let open = move || {
            let file = foreign::behind(pid, &behind).ok()?;
            let stat = file.metadata().ok()?;
            Some(((stat.dev(), stat.ino()), file))
        };
        // Who holds it up has no names.
        let (key, file) = read_timeout.read(pid, open).ok()??;
        if let Some(known) = self.0.get(&key) {
            return Some(Arc::clone(known));
        }
        let read = move || Named::read(&file);
        let named = Arc::new(read_timeout.read(pid, read).ok()?);
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(key, Arc::clone(&named));
        Some(named)
    }
}
