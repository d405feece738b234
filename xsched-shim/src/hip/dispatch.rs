//! The dispatch table of HIP 6.1 and later: found, checked, read.
//!
//! Every export of such a runtime gets the table from one local function,
//! the accessor, and jumps to its row:
//!
//! ```text
//! hipLaunchKernel:  ...; call accessor; ...; mov disp32(%rax),%rax; ...; jmp *%rax
//! accessor:         endbr64; movzbl guard(%rip),%eax; test %al,%al; je init;
//!                   mov table(%rip),%rax; ret; init: __cxa_guard_acquire ...
//! table:            { size_t size; void (*rows[])(void); }
//! ```
//!
//! Seen in 6.4.3 and 7.2.4 (Debian); the rows' numbers are in
//! `xsched-common/data/hip-dispatch-table.tsv`. Nothing here trusts them:
//! each export must itself use the row that the file says, and jump there, so
//! that the row's function finds the caller's stack and return address.

use xsched_shim_core::loader::Object;

use super::exports::EXPORTS;

/// Bytes of an export that are looked at.
const EXPORT_LEN: usize = 256;
/// Rows no table will ever have; a size beyond them is none.
const MAX_ROWS: usize = 4096;
const PF_RX: u32 = libc::PF_R | libc::PF_X;
const PF_RW: u32 = libc::PF_R | libc::PF_W;

/// What the code of a runtime says about its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// The function; takes nothing, returns the table.
    pub function: usize,
    /// The guard of the table's initialisation (Itanium C++ ABI 3.3.3): the
    /// first byte says done, the second in progress.
    guard: usize,
}

/// How far the runtime is with its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A call of the accessor returns at once.
    Done,
    /// A call of the accessor makes it.
    NotBegun,
    /// Some thread makes it, maybe this one: a call could wait for itself.
    InProgress,
}

impl Accessor {
    /// From the code of the runtime's export at `export`.
    fn called_by(object: &Object<'_>, export: usize) -> Option<(Accessor, usize)> {
        const HEAD: [u8; 7] = [0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0xb6, 0x05];
        let code = code_at(object, export);
        let calls = code.windows(5).enumerate().filter(|(_, w)| w[0] == 0xe8);
        for (at, call) in calls {
            let behind = export + at + 5;
            let function = relative(behind, call.get(1..5)?)?;
            if !object.permits(function, 23, PF_RX) {
                continue;
            }
            let body: [u8; 23] = object.read(function)?;
            let guard = relative(function + 11, body.get(7..11)?)?;
            let is_accessor = body.starts_with(&HEAD)
                && body.get(11..14) == Some(&[0x84, 0xc0, 0x74])
                && body.get(15..18) == Some(&[0x48, 0x8b, 0x05])
                && body.last() == Some(&0xc3);
            if is_accessor && object.permits(guard, 2, PF_RW) {
                return Some((Accessor { function, guard }, at + 5));
            }
        }
        None
    }

    /// How far the table is.
    pub fn readiness(&self, object: &Object<'_>) -> Readiness {
        match object.read::<[u8; 2]>(self.guard) {
            Some([0, 0]) => Readiness::NotBegun,
            Some([0, _]) | None => Readiness::InProgress,
            Some(_) => Readiness::Done,
        }
    }
}

/// The accessor of the runtime in `object`, and the exports (by index, with
/// their rows) whose code goes through it as expected. `address` gives an
/// export's address in the object.
pub fn read_code(
    object: &Object<'_>,
    address: impl Fn(usize) -> Option<usize>,
) -> Option<(Accessor, Vec<(usize, u16)>)> {
    let mut accessor: Option<Accessor> = None;
    let mut rows = Vec::new();
    for (index, export) in EXPORTS.iter().enumerate() {
        let (Some(row), Some(at)) = (export.row, address(index)) else {
            continue;
        };
        let Some((called, behind)) = Accessor::called_by(object, at) else {
            continue;
        };
        // Two accessors exist, one per table; a launch function has this one.
        if *accessor.get_or_insert(called) == called
            && jumps_to_row(code_at(object, at).get(behind..).unwrap_or(&[]), row)
        {
            rows.push((index, row));
        }
    }
    Some((accessor?, rows))
}

/// Whether code loads this row of the table in rax and jumps there before
/// anything else is loaded into rax, called or returned.
fn jumps_to_row(code: &[u8], row: u16) -> bool {
    let offset = (8 + 8 * u32::from(row)).to_le_bytes();
    let [low, second, third, high] = offset;
    let long = [0x48, 0x8b, 0x80, low, second, third, high];
    let short = [0x48, 0x8b, 0x40, low];
    let load = if row < 15 { &short[..] } else { &long[..] };
    let Some(at) = code.windows(load.len()).position(|w| w == load) else {
        return false;
    };
    // Between them only registers and the stack are restored.
    const RESTORING: usize = 64;
    let rest = code.get(at + load.len()..).unwrap_or(&[]);
    rest.windows(2)
        .take(RESTORING)
        .position(|w| w == [0xff, 0xe0])
        .is_some_and(|jump| !rest[..jump].contains(&0xc3) && !rest[..jump].contains(&0xe8))
}

/// A function's code: as much of it as is mapped, up to the next function.
/// Both begin with endbr64; a function that does not is not of this kind.
fn code_at<'o>(object: &Object<'o>, address: usize) -> &'o [u8] {
    let len = (1..=EXPORT_LEN)
        .rev()
        .step_by(16)
        .find(|&len| object.permits(address, len, PF_RX))
        .unwrap_or(0);
    // SAFETY: mapped and readable; code does not change while the object is
    // mapped, apart from breakpoints that a tool may set, which the checks
    // then do not recognise.
    let code = unsafe { std::slice::from_raw_parts(address as *const u8, len) };
    function(code)
}

fn function(code: &[u8]) -> &[u8] {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let mut starts = code
        .windows(4)
        .enumerate()
        .filter(|(_, w)| *w == ENDBR64)
        .map(|(at, _)| at);
    match (starts.next(), starts.next()) {
        (Some(0), next) => code.get(..next.unwrap_or(code.len())).unwrap_or(&[]),
        _ => &[],
    }
}

fn relative(from: usize, displacement: &[u8]) -> Option<usize> {
    let displacement = i32::from_le_bytes(displacement.try_into().ok()?);
    Some(from.wrapping_add_signed(displacement as isize))
}

/// How many rows the table at `table` has, if it looks like one of the
/// runtime in `object`.
pub fn rows_of(object: &Object<'_>, table: usize) -> Option<usize> {
    if !table.is_multiple_of(8) || !object.permits(table, 8, PF_RW) {
        return None;
    }
    let size: usize = object.read(table)?;
    let rows = size.checked_sub(8)? / 8;
    let fits = size.is_multiple_of(8) && rows <= MAX_ROWS && object.permits(table, size, PF_RW);
    fits.then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let first = b"\xf3\x0f\x1e\xfa\x90\xc3";
        let both = [&first[..], first].concat();
        assert_eq!(function(&both), first);
        assert_eq!(function(first), first);
        assert_eq!(function(&both[1..]), b"", "not a beginning");
    }

    #[test]
    fn only_a_jump_to_the_right_row_counts() {
        // mov 0x6b8(%rax),%rax; mov 0x28(%rsp),%edx; add $0x38,%rsp; jmp *%rax
        let code = b"\x90\x48\x8b\x80\xb8\x06\0\0\x8b\x54\x24\x28\x48\x83\xc4\x38\xff\xe0\x90";
        assert!(jumps_to_row(code, 214));
        assert!(!jumps_to_row(code, 215));
        assert!(!jumps_to_row(&code[..16], 214), "no jump");
        let mut called = code.to_vec();
        called[8] = 0xe8;
        assert!(!jumps_to_row(&called, 214));
        assert!(jumps_to_row(b"\x48\x8b\x40\x10\xff\xe0", 1));
    }
}
