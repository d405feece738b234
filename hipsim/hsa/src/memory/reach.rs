//! Addresses at which a device finds no memory.

use super::{Kind, containing, next_begin};

const PAGE: usize = 4096;
/// Pages that the kernel is asked about at once.
const AT_ONCE: usize = 4096;

/// The first address of these that has no memory behind it.
pub fn missing(start: usize, bytes: usize) -> Option<usize> {
    if bytes == 0 {
        return None;
    }
    let end = start.checked_add(bytes);
    let Some(last) = end.and_then(|end| end.checked_next_multiple_of(PAGE)) else {
        return Some(start);
    };
    if let Some(reserved) = reserved(start, start.saturating_add(bytes)) {
        return Some(reserved);
    }
    let mut at = start / PAGE * PAGE;
    while at < last {
        let pages = ((last - at) / PAGE).min(AT_ONCE);
        if !is_mapped(at, pages) {
            let mut single = (0..pages).map(|page| at + page * PAGE);
            return single.find(|at| !is_mapped(*at, 1)).map(|at| at.max(start));
        }
        at += pages * PAGE;
    }
    None
}

/// The first of these addresses that is reserved without memory: the process
/// maps such pages.
fn reserved(start: usize, end: usize) -> Option<usize> {
    let mut at = start;
    while at < end {
        at = match containing(at) {
            Some(entry) if entry.kind == Kind::Reserved => return Some(at),
            Some(entry) => entry.start.saturating_add(entry.size),
            None => next_begin(at).unwrap_or(end),
        };
    }
    None
}

/// Whether the process maps all of these pages (mincore(2): ENOMEM else).
fn is_mapped(at: usize, pages: usize) -> bool {
    let mut resident = [0_u8; AT_ONCE];
    // SAFETY: nothing is read or written there; there is a byte for each page.
    unsafe { libc::mincore(at as *mut _, pages * PAGE, resident.as_mut_ptr()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::pool::Pool;
    use crate::memory::{Allocation, pages, reservations, table};

    #[test]
    fn a_range_that_runs_into_reserved_addresses_is_found() {
        let start = pages(4 * PAGE).expect("pages");
        let entry = |start, kind| Allocation {
            start,
            size: 2 * PAGE,
            kind,
            pool: Pool::of_gpu(0),
            piece: None,
            users: 0,
        };
        let middle = start + 2 * PAGE;
        table().insert(start, entry(start, Kind::Pool));
        reservations().insert(middle, entry(middle, Kind::Reserved));
        assert_eq!(missing(start, 2 * PAGE), None);
        assert_eq!(missing(start, 2 * PAGE + 1), Some(middle));
        table().remove(&start);
        assert_eq!(missing(start, 3 * PAGE), Some(middle));
        reservations().remove(&middle);
        assert_eq!(missing(start, 4 * PAGE), None);
    }

    #[test]
    fn a_page_that_is_gone_is_found() {
        let start = pages(8 * PAGE).expect("pages");
        assert_eq!(missing(start + 16, 8 * PAGE - 16), None);
        // SAFETY: a page of our own that nobody uses.
        unsafe { libc::munmap((start + 5 * PAGE) as *mut _, PAGE) };
        assert_eq!(missing(start + 16, 8 * PAGE - 16), Some(start + 5 * PAGE));
        assert_eq!(missing(start, 5 * PAGE), None);
        assert_eq!(missing(start + 5 * PAGE + 8, 8), Some(start + 5 * PAGE + 8));
        assert_eq!(missing(0, 0), None);
        assert_eq!(missing(0, 1), Some(0));
        for last in [usize::MAX - 3, usize::MAX - 7] {
            assert_eq!(missing(last, 8), Some(last));
        }
        assert_eq!(missing(usize::MAX - 100, 8), Some(usize::MAX - 100));
    }
}
