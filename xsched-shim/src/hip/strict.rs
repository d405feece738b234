//! Strict mode: the gate in the runtime's own dispatch table, below every
//! way of reaching the runtime (RTLD_DEEPBIND, direct pointers, a second
//! loader's bindings).
//!
//! The table's entry of each gated or hooked function is replaced by a
//! trampoline of ours that goes on to what stood there: the runtime's
//! function, or that of a profiler which came first. A profiler that comes
//! later goes on to us in the same way. So nobody is left out, and whoever
//! calls our export still comes through the table:
//!
//! ```text
//! program -> our export -> runtime's export -> table -> [profiler] -> our trampoline -> runtime
//! DEEPBIND ---------------^
//! ```
//!
//! Nothing is gated twice: while an entry is ours, our export of a command
//! only leads on. A hook works at the export and calls; its trampoline in the
//! table then finds our own return address and leaves the call alone. The
//! change is never undone. It is not made at all when the runtime does not
//! look as expected ([`super::dispatch`]).

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use xsched_shim_core::Moment;
use xsched_shim_core::loader::{self, Object, Version};
use xsched_shim_core::log;
use xsched_shim_core::near;
use xsched_shim_core::options::{Options, Power, Strictness};

use super::dispatch::{self, Readiness};
use super::exports::{EXPORTS, REAL, TABLED, table_address};
use super::is_runtime;

static STATE: AtomicU32 = AtomicU32::new(UNTRIED);
const UNTRIED: u32 = 0;
const TRYING: u32 = 1;
const SETTLED: u32 = 2;

/// Whether any entry is ours: the hot path's only question.
static IN_FORCE: AtomicBool = AtomicBool::new(false);
static OURS: [AtomicBool; TABLED] = [const { AtomicBool::new(false) }; TABLED];

/// Whether a call that entered the trampoline `index` passes the gate later,
/// on its way through the table.
#[inline(always)]
pub fn passes_later(index: usize) -> bool {
    near!(IN_FORCE, AtomicBool).load(Relaxed) && is_ours(index)
}

/// Why strict mode is not in force.
#[derive(Debug)]
enum Refusal {
    /// No runtime is mapped, or it is making its table: ask again.
    NotYet,
    NoTable,
    Size,
}

/// Whether strict mode is asked for.
pub fn is_wanted(options: &Options) -> bool {
    options.strictness == Strictness::Table && options.power == Power::On
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotYet => "no runtime so far",
            Refusal::NoTable => {
                "this HIP runtime has no dispatch table that the shim knows (6.1 and later have)"
            }
            Refusal::Size => "the runtime's dispatch table does not look as expected",
        })
    }
}

/// Puts strict mode in force if it is asked for and can be. Called when an
/// export is first used, when a program looks something up and when a library
/// arrives (`xsched_shim_core::interpose::arrivals`): once a runtime is mapped one of them comes
/// before its first launch.
#[cold]
pub fn install(options: &Options, moment: Moment) {
    if !is_wanted(options)
        || STATE
            .compare_exchange(UNTRIED, TRYING, AcqRel, Relaxed)
            .is_err()
    {
        return;
    }
    let settled = match patch(moment) {
        Ok(entries) => {
            log::verbose(format_args!(
                "strict mode: {entries} entries of the runtime's dispatch table are gated"
            ));
            SETTLED
        }
        Err(Refusal::NotYet) => UNTRIED,
        Err(why) => {
            // Asked for and not given: the user must know.
            log::line(format_args!("strict mode is not in force: {why}"));
            SETTLED
        }
    };
    STATE.store(settled, Release);
}

/// The runtime is gone, and its table with it.
pub fn forget() {
    IN_FORCE.store(false, Relaxed);
    for ours in &OURS {
        ours.store(false, Relaxed);
    }
    let _ = STATE.compare_exchange(SETTLED, UNTRIED, AcqRel, Relaxed);
}

fn in_runtime<T>(f: impl FnOnce(&Object<'_>) -> T) -> Option<T> {
    let mut f = Some(f);
    loader::visit(|object| {
        if !is_runtime(object) {
            return ControlFlow::Continue(());
        }
        match f.take() {
            Some(f) => ControlFlow::Break(f(object)),
            None => ControlFlow::Continue(()),
        }
    })
}

fn patch(moment: Moment) -> Result<usize, Refusal> {
    let found = in_runtime(|object| {
        let address = |index: usize| {
            let export = EXPORTS.get(index)?;
            let node = Version::Node(export.node?.as_bytes());
            loader::lookup(object, export.symbol.as_bytes(), node)
        };
        let (accessor, rows) = dispatch::read_code(object, address)?;
        Some((accessor, accessor.readiness(object), rows))
    });
    let Some((accessor, readiness, rows)) = found.ok_or(Refusal::NotYet)? else {
        return Err(Refusal::NoTable);
    };
    match (readiness, moment) {
        (Readiness::InProgress, _) | (Readiness::NotBegun, Moment::Arrival) => {
            return Err(Refusal::NotYet);
        }
        (Readiness::Done, _) | (Readiness::NotBegun, Moment::Use) => {}
    }
    // SAFETY: the code at this address is the accessor's, compared byte for
    // byte; it takes no arguments and returns the table. Any call of the
    // program to the runtime begins with the same call; where a lock is held
    // the table is there.
    let table: usize = unsafe {
        let accessor: extern "C-unwind" fn() -> usize = std::mem::transmute(accessor.function);
        accessor()
    };
    let count = in_runtime(|object| dispatch::rows_of(object, table))
        .flatten()
        .ok_or(Refusal::Size)?;
    IN_FORCE.store(true, Relaxed);
    let mut entries = 0;
    for (i, &(index, row)) in rows.iter().enumerate() {
        // A C function and its C++ twin share a row: the first one's
        // trampoline stands there for both.
        let twin = rows[..i]
            .iter()
            .find(|&&(first, theirs)| theirs == row && is_ours(first));
        if twin.is_some() {
            set_ours(index, true);
        } else if usize::from(row) < count && replace(table + 8 + 8 * usize::from(row), index) {
            entries += 1;
        }
    }
    Ok(entries)
}

#[inline(always)]
fn is_ours(index: usize) -> bool {
    OURS.get(index).is_some_and(|ours| ours.load(Relaxed))
}

fn set_ours(index: usize, ours: bool) {
    if let Some(flag) = OURS.get(index) {
        flag.store(ours, Release);
    }
}

/// Puts our trampoline for the export `index` into the entry, if what stands
/// there is code.
fn replace(entry: usize, index: usize) -> bool {
    let (Some(ours), Some(next)) = (table_address(index), REAL.get(TABLED + index)) else {
        return false;
    };
    // SAFETY: an aligned word inside of the table, which is writable memory
    // of the runtime (`dispatch::rows_of`).
    let entry = unsafe { AtomicUsize::from_ptr(entry as *mut usize) };
    let before = entry.load(Acquire);
    let is_code = loader::object_at(before, |object| object.permits(before, 1, libc::PF_X));
    if before == ours || is_code != Some(true) {
        return false;
    }
    next.store(before, Release);
    // From here on our export leaves the gate to the table. A call between
    // these two lines passes ungated, once.
    set_ours(index, true);
    let replaced = entry
        .compare_exchange(before, ours, AcqRel, Relaxed)
        .is_ok();
    if !replaced {
        set_ours(index, false);
    }
    replaced
}
