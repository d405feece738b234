//! What begins where in a file, by all of its symbol tables: for people who
//! look at addresses. Section headers are read for it, which ld.so does not
//! do: a file can lie in them, and then names are wrong and nothing else.

use std::collections::HashMap;
use std::fs::File;

use object::read::{Object as _, ObjectSegment as _, ObjectSymbol as _, ReadCache};

/// Names that are kept of one file, and the bytes of each.
const MOST: usize = 1 << 19;
const LONGEST: usize = 256;

/// Larger files are not read, bytes.
const MAX_FILE: u64 = 2 << 30;

/// Names of a file's functions and data by where these begin.
#[derive(Debug, Default)]
pub struct Named {
    /// Offset in the file, length, and address before the load base is added.
    segments: Vec<(u64, u64, u64)>,
    names: HashMap<u64, Box<str>>,
}

impl Named {
    /// Of an open file; empty if it is none of the kind, or larger than any.
    pub fn read(file: &File) -> Named {
        let small = file.metadata().is_ok_and(|stat| stat.len() <= MAX_FILE);
        let cache = ReadCache::new(file);
        let Some(image) = small.then(|| object::File::parse(&cache).ok()).flatten() else {
            return Named::default();
        };
        let segments = image.segments().map(|segment| {
            let (offset, length) = segment.file_range();
            (offset, length, segment.address())
        });
        let segments = segments.collect();
        let mut names = HashMap::new();
        // The dynamic table's last: it has the names that others know.
        for symbol in image.symbols().chain(image.dynamic_symbols()) {
            if names.len() >= MOST {
                break;
            }
            if symbol.is_definition()
                && let Ok(name) = symbol.name()
                && !name.is_empty()
                && name.len() <= LONGEST
            {
                names.insert(symbol.address(), name.into());
            }
        }
        Named { segments, names }
    }

    /// What begins at this offset in the file.
    pub fn at(&self, offset: u64) -> Option<&str> {
        let (from, _, address) = self
            .segments
            .iter()
            .find(|(from, length, _)| offset.checked_sub(*from).is_some_and(|at| at < *length))?;
        let name = self.names.get(&(address.checked_add(offset - from)?))?;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[unsafe(no_mangle)]
    extern "C" fn xsched_named_here() -> u64 {
        std::hint::black_box(77)
    }

    #[test]
    fn functions_of_this_program_have_their_names() {
        let own = std::fs::File::open("/proc/self/exe").expect("this program");
        let named = Named::read(&own);
        let address = xsched_named_here as *const () as u64;
        let maps = crate::process::maps(std::process::id()).expect("this process");
        let mapping = maps.iter().find(|m| m.range.contains(&address));
        let mapping = mapping.expect("mapped");
        let offset = address - mapping.range.start + mapping.offset;
        assert_eq!(named.at(offset), Some("xsched_named_here"));
        assert_eq!(named.at(offset + 1), None, "nothing begins there");
        assert_eq!(xsched_named_here(), 77);
    }

    #[test]
    fn other_files_have_no_names() {
        let mut file = tempfile::tempfile().expect("a file");
        assert_eq!(Named::read(&file).at(0), None);
        file.write_all(b"\x7fELF\x02\x01\x01 and no more")
            .expect("writable");
        assert_eq!(Named::read(&file).at(0), None);
    }
}
