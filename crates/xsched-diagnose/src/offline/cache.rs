//! /etc/ld.so.cache: the file that ldconfig makes of the standard
//! directories, in glibc's present format (glibc-ld.so.cache1.1).

use std::collections::HashMap;

use xsched_host::elf::{text_at, u32_at, word_at};
use xsched_host::foreign::open_regular;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_LEN: usize = 48;
const ENTRY_LEN: usize = 24;
/// A large system has 10,000 libraries in 1 MiB.
const MAX_LEN: u64 = 64 << 20;
/// ldconfig's flags: an ELF library of glibc, for 64-bit x86.
const ELF_X86_64: u32 = 0x0303;

/// Libraries by name.
#[derive(Debug, Default)]
pub struct Cache {
    paths: HashMap<String, String>,
}

impl Cache {
    /// This machine's; empty when there is none.
    pub fn of_this_machine() -> Cache {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        if let Ok(file) = open_regular("/etc/ld.so.cache") {
            // Half a cache is as good as a short one: entries are checked.
            let _ = file.take(MAX_LEN).read_to_end(&mut bytes);
        }
        Cache::parse(&bytes)
    }

    /// What the cache knows of `name`.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.paths.get(name).map(String::as_str)
    }

    fn parse(bytes: &[u8]) -> Cache {
        let mut paths = HashMap::new();
        // The old format may stand in front of the new one, 8-aligned.
        let start = (0..bytes.len().min(8 << 20))
            .step_by(8)
            .find(|&at| bytes[at..].starts_with(MAGIC));
        let Some(file) = start.map(|at| &bytes[at..]) else {
            return Cache::default();
        };
        let count = u32_at(file, MAGIC.len()).unwrap_or(0) as usize;
        let entries = file.get(HEADER_LEN..).unwrap_or_default();
        for entry in entries.chunks_exact(ENTRY_LEN).take(count) {
            let text = |at| {
                let bytes = text_at(file, u64::from(u32_at(entry, at)?))?;
                Some(String::from_utf8_lossy(bytes).into_owned())
            };
            // Entries for special hardware (hwcap) come before the plain
            // one of the same name; the plain one works everywhere.
            let plain = word_at(entry, 16) == Some(0);
            if u32_at(entry, 0) == Some(ELF_X86_64)
                && plain
                && let (Some(name), Some(path)) = (text(4), text(8))
            {
                paths.entry(name).or_insert(path);
            }
        }
        Cache { paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cache(entries: &[(u32, &str, &str, u64)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let base = HEADER_LEN + entries.len() * ENTRY_LEN;
        let mut table = Vec::new();
        for (flags, name, path, hwcap) in entries {
            table.extend(flags.to_le_bytes());
            for text in [name, path] {
                table.extend(((base + strings.len()) as u32).to_le_bytes());
                strings.extend(text.as_bytes());
                strings.push(0);
            }
            table.extend(0u32.to_le_bytes());
            table.extend(hwcap.to_le_bytes());
        }
        let mut out = MAGIC.to_vec();
        out.extend((entries.len() as u32).to_le_bytes());
        out.extend((strings.len() as u32).to_le_bytes());
        out.resize(HEADER_LEN, 0);
        out.extend(table);
        out.extend(strings);
        out
    }

    #[test]
    fn the_plain_entry_for_this_processor_counts() {
        let bytes = cache(&[
            (0x0003, "libx.so.1", "/lib32/libx.so.1", 0),
            (ELF_X86_64, "libx.so.1", "/lib/haswell/libx.so.1", 1 << 62),
            (ELF_X86_64, "libx.so.1", "/lib/libx.so.1", 0),
        ]);
        assert_eq!(
            Cache::parse(&bytes).find("libx.so.1"),
            Some("/lib/libx.so.1")
        );
        assert_eq!(Cache::parse(&bytes).find("liby.so.1"), None);
        assert_eq!(Cache::parse(&bytes[..60]).find("libx.so.1"), None);
    }

    #[test]
    fn this_machines_cache_knows_libc() {
        let path = Cache::of_this_machine();
        let path = path.find("libc.so.6").expect("glibc is installed");
        assert!(path.starts_with('/'), "{path}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(tail: Vec<u8>) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            let _ = Cache::parse(&bytes);
        }
    }
}
