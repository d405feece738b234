//! Who called: return address -> library, through a cache.
//!
//! An entry is exact (the return address itself), and addresses are reused
//! only after an object was unmapped: the exported `dlclose` empties the
//! cache (see [`crate::interpose`]), so nothing has to be checked on a hit.

mod registry;

use std::ops::ControlFlow;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use xsched_common::page::{CALLER_NAME_LEN, CALLER_SLOTS, CallerSlot, Route, StatusPage};
use xsched_common::units::StreamClass;

use crate::cache::SetAssociativeCache;
use crate::loader;
use crate::near;
use crate::options::Options;
use crate::owner::{self, Role};
use crate::page::Session;
use crate::sys::{self, Call};
use registry::Registry;

/// A calling library: its slots in the status page, and how its calls go on.
///
/// One slot is for the launches of the [owner](crate::owner), one for those of all
/// other threads; whoever reads the page adds up what has the same name. The
/// second is taken when it is needed: until then it is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(u16);

/// How a library's calls go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Treatment {
    /// Through the gate.
    Gate = 0,
    /// Past the gate, but counted.
    Pass = 1,
    /// The runtime calls itself, or we call it: neither gated nor counted.
    Inside = 2,
}

const SLOT_BITS: u32 = CALLER_SLOTS.trailing_zeros();
const _: () = assert!(CALLER_SLOTS.is_power_of_two() && 2 * SLOT_BITS + 2 <= u16::BITS);

impl Caller {
    const fn new(slot: u16, treatment: Treatment) -> Caller {
        Caller((treatment as u16) << (2 * SLOT_BITS) | slot << SLOT_BITS | slot)
    }

    /// Index into [`StatusPage::callers`].
    #[inline(always)]
    pub fn slot(self) -> usize {
        usize::from(self.0) % CALLER_SLOTS
    }

    /// The same for all threads but the owner; `None`: not taken yet.
    #[inline(always)]
    fn slot_of_others(self) -> Option<usize> {
        let slot = usize::from(self.0 >> SLOT_BITS) % CALLER_SLOTS;
        (slot != self.slot() || slot == registry::OTHERS).then_some(slot)
    }

    const fn with_others(self, slot: u16) -> Caller {
        let mask = (CALLER_SLOTS as u16 - 1) << SLOT_BITS;
        Caller(self.0 & !mask | slot << SLOT_BITS)
    }

    /// How its calls go on.
    #[inline(always)]
    pub fn treatment(self) -> Treatment {
        match self.0 >> (2 * SLOT_BITS) {
            0 => Treatment::Gate,
            1 => Treatment::Pass,
            _ => Treatment::Inside,
        }
    }
}

/// Where launches are counted.
#[derive(Clone, Copy)]
pub struct Counts<'a> {
    slot: &'a CallerSlot,
    alone: bool,
}

impl Counts<'_> {
    /// Counts a launch.
    #[inline(always)]
    pub fn raise(self, route: Route, class: StreamClass) {
        let of_route = self.slot.launches.get(route as usize);
        if let Some(count) = of_route.and_then(|streams| streams.get(class as usize)) {
            if self.alone {
                owner::count_alone(count);
            } else {
                count.fetch_add(1, Relaxed);
            }
        }
    }
}

/// 16,384 call sites. A kernel has one of its own (the stub that the compiler
/// makes for it), and a miss takes the loader's lock.
static CACHE: SetAssociativeCache<2048> = SetAssociativeCache::new();
/// Counts unmappings: a look-up that began before one must not fill the
/// cache after it.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTRY: Registry = Registry::new();
/// The program itself as a [`Caller`], asked once per generation.
static PROGRAM: AtomicU32 = AtomicU32::new(UNKNOWN);
const UNKNOWN: u32 = u32::MAX;
/// The program's slot, where its name stands: the kernel is asked once, so that
/// no change of the agent's list brings a system call to an open gate.
static PROGRAM_SLOT: AtomicU32 = AtomicU32::new(UNKNOWN);
/// The generation of the agent's passthrough list that the cache stands for.
static LIST: AtomicU32 = AtomicU32::new(0);

/// Tells a platform's runtime.
pub type IsRuntime = fn(&loader::Object<'_>) -> bool;

/// The library that goes on at `return_address`.
#[inline(always)]
pub fn of(return_address: u64, is_runtime: IsRuntime, session: Option<&Session>) -> Caller {
    match near!(CACHE, SetAssociativeCache<2048>).get(return_address) {
        Some(raw) => Caller(raw),
        None => find(return_address, is_runtime, session),
    }
}

/// Where the calling thread counts launches of the caller at `return_address`.
#[inline(always)]
pub fn counts(return_address: u64, caller: Caller, session: &Session, role: Role) -> Counts<'_> {
    let alone = role == Role::Owner && caller.slot() != registry::OTHERS;
    let slot = match (alone, caller.slot_of_others()) {
        (true, _) => caller.slot(),
        (false, Some(slot)) => slot,
        (false, None) => share(return_address, caller, session),
    };
    Counts {
        slot: &session.status().callers[slot % CALLER_SLOTS],
        alone,
    }
}

/// Takes the second slot; which it is.
#[cold]
#[inline(never)]
fn share(return_address: u64, caller: Caller, session: &Session) -> usize {
    let slot = REGISTRY.second_of(caller.slot(), session.status());
    CACHE.replace(return_address, caller.0, caller.with_others(slot).0);
    usize::from(slot)
}

#[cold]
fn find(return_address: u64, is_runtime: IsRuntime, session: Option<&Session>) -> Caller {
    let _unseen = sys::Unseen::new();
    let generation = GENERATION.load(SeqCst);
    let mut is_program = true;
    let caller = loader::visit(|object| {
        // The program itself comes first and has no name there.
        let program = std::mem::replace(&mut is_program, false);
        if !object.maps(return_address as usize, 1) {
            return ControlFlow::Continue(());
        }
        if loader::own_contains(object) || is_runtime(object) {
            return ControlFlow::Break(Caller::new(CALLER_SLOTS as u16 - 1, Treatment::Inside));
        }
        ControlFlow::Break(if program && object.path.is_empty() {
            the_program(session)
        } else {
            named(loader::basename(object.path), session)
        })
    })
    // Generated code, or a namespace of dlmopen.
    .unwrap_or_else(|| named(b"(unknown)", session));
    CACHE.put(return_address, caller.0);
    // Looked at after the entries were made: an unmapping either comes later
    // and forgets them, or is seen here.
    if GENERATION.load(SeqCst) != generation {
        forget();
    }
    caller
}

fn named(basename: &[u8], session: Option<&Session>) -> Caller {
    let configured = || {
        session.is_some_and(|s| {
            let listed = s.control().passthrough.listed(basename);
            s.control().scope.libraries().passes(listed)
        })
    };
    let treatment = if Options::get().passes(basename) || configured() {
        Treatment::Pass
    } else {
        Treatment::Gate
    };
    Caller::new(
        REGISTRY.slot_of(basename, session.map(Session::status)),
        treatment,
    )
}

/// The program itself, whose name only the kernel knows.
fn the_program(session: Option<&Session>) -> Caller {
    if let Ok(known) = u16::try_from(PROGRAM.load(Relaxed)) {
        return Caller(known);
    }
    let mut kept = [0; CALLER_NAME_LEN];
    let mut exe = [0; 512];
    let name = match REGISTRY.whole_name(PROGRAM_SLOT.load(Relaxed), &mut kept) {
        Some(name) => name,
        None => loader::basename(read_exe(&mut exe)),
    };
    let caller = named(name, session);
    PROGRAM_SLOT.store(caller.slot() as u32, Relaxed);
    PROGRAM.store(u32::from(caller.0), Relaxed);
    caller
}

fn read_exe(buffer: &mut [u8; 512]) -> &[u8] {
    let arguments = [
        c"/proc/self/exe".as_ptr() as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
    ];
    // SAFETY: the buffer's own length; the result is not NUL-terminated.
    let n = unsafe { sys::call(Call::Readlink, arguments) };
    n.ok().and_then(|n| buffer.get(..n)).unwrap_or(b"(program)")
}

/// Says to a page who is who; called whenever a library is new or the page
/// is.
pub fn publish(page: &StatusPage) {
    REGISTRY.publish(page);
}

/// Forgets all addresses: an object may have been unmapped.
pub fn invalidate() {
    GENERATION.fetch_add(1, SeqCst);
    forget();
}

fn forget() {
    PROGRAM.store(UNKNOWN, Relaxed);
    CACHE.clear();
}

/// Evaluates all callers anew if the agent's passthrough list has changed. Asked
/// when a burst begins, when a thread waits, and at each launch that passes.
pub fn refresh(session: &Session) {
    let now = session.control().passthrough.generation();
    if LIST.load(Relaxed) != now {
        LIST.store(now, Relaxed);
        invalidate();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Tests that look at the cache take turns.
    static TURN: Mutex<()> = Mutex::new(());
    static LOOKUPS: AtomicU32 = AtomicU32::new(0);

    fn counts(_: &loader::Object<'_>) -> bool {
        LOOKUPS.fetch_add(1, SeqCst);
        false
    }

    /// As many as a large program has kernels, whose stubs stand side by side.
    #[test]
    fn two_thousand_call_sites_are_looked_up_once() {
        let _turn = TURN.lock().expect("not poisoned");
        const SITES: u64 = 2_000;
        let first = libc::getpid as *const () as u64;
        for length in [0x30, 0x47, 0x60] {
            invalidate();
            LOOKUPS.store(0, SeqCst);
            for _round in 0..5 {
                for site in 0..SITES {
                    of(first + site * length, counts, None);
                }
                assert_eq!(
                    u64::from(LOOKUPS.load(SeqCst)),
                    SITES,
                    "{length} bytes each"
                );
            }
        }
    }

    /// The agent's list changes while a caller is evaluated by the old one.
    #[test]
    fn what_was_judged_before_a_change_is_forgotten() {
        fn changes(_: &loader::Object<'_>) -> bool {
            invalidate();
            // What `the_program` leaves that began before.
            PROGRAM.store(1, Relaxed);
            false
        }
        let _turn = TURN.lock().expect("not poisoned");
        let in_libc = libc::getpid as *const () as u64;
        invalidate();
        of(in_libc, changes, None);
        assert_eq!(PROGRAM.load(Relaxed), UNKNOWN);
        assert_eq!(CACHE.get(in_libc), None);
    }

    #[test]
    fn callers_are_told_apart_and_cached() {
        let _turn = TURN.lock().expect("not poisoned");
        let none = |_: &loader::Object<'_>| false;
        let in_libc = libc::getpid as *const () as u64;
        let caller = of(in_libc, none, None);
        assert_eq!(caller.treatment(), Treatment::Gate);
        assert_eq!(of(in_libc, none, None), caller);
        assert_ne!(of(8, none, None).slot(), caller.slot());
        assert_eq!(
            of(callers_address(), none, None).treatment(),
            Treatment::Inside,
            "our own calls are not the program's"
        );

        let page = StatusPage::new();
        publish(&page);
        let mut name = [0; xsched_common::page::CALLER_NAME_LEN];
        assert_eq!(
            page.callers[caller.slot()].name(&mut name),
            Some(&b"libc.so.6"[..])
        );
        invalidate();
        assert_eq!(of(in_libc, none, None), caller, "a library keeps its slot");
    }

    fn callers_address() -> u64 {
        find as *const () as u64
    }
}
