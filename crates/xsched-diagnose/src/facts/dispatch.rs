//! A runtime's dispatch table, read from the live process.
//!
//! Every export of newer runtimes jumps through a table in the runtime's
//! writable memory: its size in bytes, then one function pointer per row,
//! append-only (the data's head says where that is from).
//! Whoever replaces an entry gets every call of that function, whatever the
//! linker did. No symbol names the table, so it is known by its form: a size
//! that is right for a number of rows that real tables have, and that many
//! addresses of code behind it.

use std::ops::Range;

use xsched_host::elf::word_at;

use super::bindings::Memory;
use super::mapped::{MappedObjects, ObjectIndex, Role};

/// The first table had more rows than this, and those of a few
/// releases to come have fewer than that.
const ROW_COUNT: Range<usize> = 400..1_000;
/// More writable memory than the runtimes of a process have.
const MAX_MEMORY: u64 = 64 << 20;
const WORD: usize = 8;

/// An entry that does not lead into its runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The runtime whose table it is.
    pub runtime: ObjectIndex,
    /// The row's function.
    pub symbol: &'static str,
    /// Where the entry lies in the process.
    pub entry: u64,
    /// Whose function it leads to.
    pub to: ObjectIndex,
}

/// All entries of all runtimes' tables that lead elsewhere. `writable` are
/// the process's writable mappings.
pub fn redirections(
    mapped: &MappedObjects,
    memory: &Memory,
    writable: &[Range<u64>],
) -> Vec<Redirection> {
    let mut out = Vec::new();
    let (writable, mut budget) = (runs(writable), MAX_MEMORY);
    for (index, object) in mapped.objects.iter().enumerate() {
        let Role::Runtime(platform) = object.role else {
            continue;
        };
        let first = writable.partition_point(|range| range.end <= object.span.start);
        for range in &writable[first..] {
            let (start, end) = (
                range.start.max(object.span.start),
                range.end.min(object.span.end),
            );
            if start >= end {
                break;
            }
            if end - start > budget {
                continue;
            }
            budget -= end - start;
            let Some(bytes) = memory.bytes(start, (end - start) as usize) else {
                continue;
            };
            if let Some((at, count)) = find(&bytes, |address| mapped.owner(address).is_some()) {
                let rows = platform.dispatch_rows().iter().take(count);
                collect(mapped, index, &bytes, (start, at), rows, &mut out);
                break;
            }
        }
    }
    out
}

/// Adjacent mappings as one: a table may begin in the file's data and go on
/// in the memory behind it.
fn runs(mappings: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for mapping in mappings {
        match out.last_mut() {
            Some(last) if last.end == mapping.start => last.end = mapping.end,
            _ => out.push(mapping.clone()),
        }
    }
    out
}

/// Where the table begins in `bytes`, and its number of rows.
fn find(bytes: &[u8], is_code: impl Fn(u64) -> bool) -> Option<(usize, usize)> {
    for at in (0..bytes.len()).step_by(WORD) {
        let size = usize::try_from(word_at(bytes, at)?).unwrap_or(0);
        let count = size.saturating_sub(WORD) / WORD;
        if !ROW_COUNT.contains(&count) || size % WORD != 0 {
            continue;
        }
        let entry = |row: usize| word_at(bytes, at + WORD * (row + 1));
        if (0..count).all(|row| entry(row).is_some_and(&is_code)) {
            return Some((at, count));
        }
    }
    None
}

fn collect(
    mapped: &MappedObjects,
    runtime: ObjectIndex,
    bytes: &[u8],
    (start, at): (u64, usize),
    rows: impl Iterator<Item = &'static &'static str>,
    out: &mut Vec<Redirection>,
) {
    for (row, symbol) in rows.enumerate() {
        let place = at + WORD * (row + 1);
        let Some(to) = word_at(bytes, place).and_then(|address| mapped.owner(address)) else {
            continue;
        };
        if to != runtime {
            out.push(Redirection {
                runtime,
                symbol,
                entry: start + place as u64,
                to,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_mappings_are_read_as_one() {
        assert_eq!(runs(&[1..2, 2..4, 5..6]), [1..4, 5..6]);
        assert_eq!(runs(&[]), [0..0; 0]);
    }

    fn table(count: u64, entry: u64) -> Vec<u8> {
        let mut out = (WORD as u64 + count * WORD as u64).to_le_bytes().to_vec();
        for _ in 0..count {
            out.extend(entry.to_le_bytes());
        }
        out
    }

    #[test]
    fn a_table_is_known_by_its_form() {
        let is_code = |address| address == 0x1000;
        let mut memory = vec![0x18; 64];
        memory.extend(table(474, 0x1000));
        memory.extend([0; 8]);
        assert_eq!(find(&memory, is_code), Some((64, 474)));
        assert_eq!(find(&memory[..memory.len() - 16], is_code), None);
        assert_eq!(find(&table(474, 0), is_code), None);
        assert_eq!(find(&table(12, 0x1000), is_code), None);
        assert_eq!(find(&[], is_code), None);
    }
}
