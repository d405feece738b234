//! The priority of the hardware queues that AMD's HIP runtime makes.
//!
//! A lever of the agent's, off by default. The runtime makes its queues by three
//! functions of libhsa-runtime64, which this library exports in front of that one:
//! they lead there, and note which queues there are. A queue whose priority the
//! runtime chooses itself, because the program made a stream of that priority, is
//! the program's and left alone. All of this happens where queues are made and
//! destroyed and where the process's class changes, never in a launch.
//!
//! A process may hold several copies of that library (wheels bring their own): what
//! a caller reaches is the one that it is linked with, else the one in its own
//! folder, else the next in load order. Without us the linker looks among what the
//! program was started with first: a library preloaded behind us that stands before
//! HSA's is left out for callers that are linked with HSA's.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use xsched_common::page::QueuePriority;
use xsched_shim_core::loader::{self, Object, Version};
use xsched_shim_core::sys;

/// Queues that can be noted; the runtime makes at most four of each priority and
/// device, and some for cooperative launches. Others keep what they have.
const ROOM: usize = 128;

/// `HSA_STATUS_ERROR`: nobody has the function, which a caller of it has found.
const ERROR: u32 = 0x1000;

/// What an entry says beside the queue's address, which is a multiple of 64.
const MARKS: usize = 7;
/// Its priority is the program's.
const CHOSEN: usize = 1;
/// A thread is setting it.
const BUSY: usize = 2;
/// It is not the runtime's own: we have set it.
const SET: usize = 4;

struct Entry {
    /// The queue's address and marks; zero while free.
    queue: AtomicUsize,
    /// `hsa_amd_queue_set_priority` of its library.
    set_priority: AtomicUsize,
}

static QUEUES: [Entry; ROOM] = [const {
    Entry {
        queue: AtomicUsize::new(0),
        set_priority: AtomicUsize::new(0),
    }
}; ROOM];

/// What the agent asks for, a [`QueuePriority`].
static ASKED: AtomicU32 = AtomicU32::new(0);
/// Whose queues these are: a fork's child has none.
static PROCESS: AtomicU32 = AtomicU32::new(0);

type Create = unsafe extern "C-unwind" fn(u64, u32, u32, usize, usize, u32, u32, *mut usize) -> u32;
type Destroy = unsafe extern "C-unwind" fn(usize) -> u32;
type SetPriority = unsafe extern "C-unwind" fn(usize, u32) -> u32;

/// Gives all queues this priority that the program has not chosen one for.
pub fn set_priority(priority: QueuePriority) {
    ASKED.store(priority as u32, SeqCst);
    if PROCESS.load(SeqCst) != sys::pid() {
        return;
    }
    for entry in &QUEUES {
        entry.follow();
    }
}

/// Whether the object that calls us destroys queues through us as well: those that
/// it destroys through a pointer of its own would end without our knowing.
fn destroys_here(caller: usize) -> bool {
    loader::object_at(caller, |object| {
        let mut slots = 0;
        loader::slots(object, b"hsa_queue_destroy", |_| slots += 1);
        slots > 0
    })
    .unwrap_or(false)
}

impl Entry {
    fn address(&self) -> usize {
        self.queue.load(SeqCst) & !MARKS
    }

    /// Sets what is asked for. Again where that has changed meanwhile, or the one
    /// who changed it found us here.
    fn follow(&self) {
        for _ in 0..4 {
            let asked = ASKED.load(SeqCst);
            let before = self.queue.load(SeqCst);
            if before == 0 || before & (CHOSEN | BUSY) != 0 {
                return;
            }
            // HSA_AMD_QUEUE_PRIORITY_LOW, _NORMAL and _HIGH (hsa_ext_amd.h).
            let (value, mark) = match QueuePriority::from_raw(asked) {
                QueuePriority::Low => (0, SET),
                QueuePriority::High => (2, SET),
                QueuePriority::Leave | QueuePriority::Normal if before & SET == 0 => return,
                QueuePriority::Leave | QueuePriority::Normal => (1, 0),
            };
            let taken = self
                .queue
                .compare_exchange(before, before | BUSY, SeqCst, SeqCst);
            if taken.is_err() {
                continue;
            }
            let set_priority = self.set_priority.load(SeqCst);
            if set_priority != 0 {
                // SAFETY: the function of the library whose queue this is, which is
                // destroyed only once it is no longer busy.
                unsafe { as_set_priority(set_priority)(before & !MARKS, value) };
            }
            let after = before & !MARKS | mark;
            let _ = self
                .queue
                .compare_exchange(before | BUSY, after, SeqCst, SeqCst);
            if ASKED.load(SeqCst) == asked {
                return;
            }
        }
    }

    /// Changes an entry that nobody is busy with. After a second the thread that
    /// is has ended amid it.
    fn change(&self, queue: usize, to: usize) {
        let change = || {
            let before = self.queue.load(SeqCst);
            if before & !MARKS != queue {
                return Some(());
            }
            let changed = before & BUSY == 0
                && self
                    .queue
                    .compare_exchange(before, to, SeqCst, SeqCst)
                    .is_ok();
            changed.then_some(())
        };
        // Each asks for 50 ms.
        let changed = (0..20).find_map(|_| sys::yield_until(change));
        if changed.is_none() {
            self.queue.store(to, SeqCst);
        }
    }
}

fn noted(queue: usize) -> impl Iterator<Item = &'static Entry> {
    QUEUES
        .iter()
        .filter(move |entry| queue != 0 && entry.address() == queue)
}

fn note(queue: usize, set_priority: usize) {
    if queue == 0 || queue & MARKS != 0 {
        return;
    }
    if PROCESS.swap(sys::pid(), SeqCst) != sys::pid() {
        // A fork's child has a runtime of its own, if any.
        for entry in &QUEUES {
            entry.queue.store(0, SeqCst);
        }
    }
    for ended in noted(queue) {
        // Somebody else has destroyed it.
        ended.change(queue, 0);
    }
    let free = QUEUES.iter().find(|entry| {
        // Busy until its function stands there.
        let taken = entry
            .queue
            .compare_exchange(0, queue | BUSY, SeqCst, SeqCst);
        taken.is_ok()
    });
    if let Some(entry) = free {
        entry.set_priority.store(set_priority, SeqCst);
        entry.queue.store(queue, SeqCst);
        entry.follow();
    }
}

/// # Safety
/// It is the address of that function.
unsafe fn as_set_priority(address: usize) -> SetPriority {
    // SAFETY: the caller's.
    unsafe { std::mem::transmute(address) }
}

/// Something was unmapped: queues of a library that is gone are gone with it.
pub fn forget_unmapped() {
    for entry in &QUEUES {
        let queue = entry.queue.load(SeqCst);
        let library = entry.set_priority.load(SeqCst);
        if queue != 0 && loader::object_at(library, |_| ()).is_none() {
            let _ = entry.queue.compare_exchange(queue, 0, SeqCst, SeqCst);
        }
    }
}

/// Where an object lies.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// The function of a name that `caller`, an address in an object, is to reach: of
/// what it is linked with, else of its own folder, else the next in load order.
fn behind_us(name: &[u8], caller: usize) -> Option<usize> {
    let of = |wanted: &dyn Fn(&Object<'_>) -> bool| {
        loader::visit(|object| {
            let is_it = !loader::own_contains(object) && wanted(object);
            let found = is_it.then(|| loader::lookup(object, name, Version::Default));
            match found.flatten() {
                Some(found) => ControlFlow::Break(found),
                None => ControlFlow::Continue(()),
            }
        })
    };
    let of_caller = loader::object_at(caller, |caller| {
        let near = |object: &Object<'_>| folder(object.path) == folder(caller.path);
        of(&|object| loader::is_linked_with(caller, object)).or_else(|| of(&near))
    });
    of_caller.flatten().or_else(|| of(&|_| true))
}

/// `hsa_queue_create`, and who called it.
unsafe extern "C-unwind" fn create(
    agent: u64,
    size: u32,
    kind: u32,
    callback: usize,
    data: usize,
    private: u32,
    group: u32,
    queue: *mut usize,
    caller: usize,
) -> u32 {
    let Some(real) = behind_us(b"hsa_queue_create", caller) else {
        return ERROR;
    };
    // SAFETY: HSA's function of that name, and the caller's arguments.
    let status = unsafe {
        let real: Create = std::mem::transmute(real);
        real(agent, size, kind, callback, data, private, group, queue)
    };
    if status == 0
        && !queue.is_null()
        && destroys_here(caller)
        && let Some(set_priority) = behind_us(b"hsa_amd_queue_set_priority", caller)
    {
        // SAFETY: HSA has written the new queue's address there.
        note(unsafe { queue.read() }, set_priority);
    }
    status
}

/// `hsa_queue_destroy`.
unsafe extern "C-unwind" fn destroy(queue: usize, caller: usize) -> u32 {
    for entry in noted(queue) {
        entry.change(queue, 0);
    }
    let Some(real) = behind_us(b"hsa_queue_destroy", caller) else {
        return ERROR;
    };
    // SAFETY: as above.
    unsafe {
        let real: Destroy = std::mem::transmute(real);
        real(queue)
    }
}

/// `hsa_amd_queue_set_priority`: the runtime chooses one.
unsafe extern "C-unwind" fn choose(queue: usize, priority: u32, caller: usize) -> u32 {
    for entry in noted(queue) {
        entry.change(queue, queue | CHOSEN);
    }
    match behind_us(b"hsa_amd_queue_set_priority", caller) {
        // SAFETY: as above.
        Some(real) => unsafe { as_set_priority(real)(queue, priority) },
        None => ERROR,
    }
}

#[cfg(not(test))]
mod exports {
    use std::arch::naked_asm;

    /// See the module above.
    ///
    /// # Safety
    /// As HSA's.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn hsa_queue_create() {
        naked_asm!(
            ".cfi_startproc",
            // The seventh and eighth argument, and behind them the return address.
            "push qword ptr [rsp]",
            ".cfi_adjust_cfa_offset 8",
            "push qword ptr [rsp + 24]",
            ".cfi_adjust_cfa_offset 8",
            "push qword ptr [rsp + 24]",
            ".cfi_adjust_cfa_offset 8",
            "call {create}",
            "add rsp, 24",
            ".cfi_adjust_cfa_offset -24",
            "ret",
            ".cfi_endproc",
            create = sym super::create,
        )
    }

    /// See the module above.
    ///
    /// # Safety
    /// As HSA's.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn hsa_queue_destroy() {
        naked_asm!("mov rsi, [rsp]", "jmp {destroy}", destroy = sym super::destroy)
    }

    /// See the module above.
    ///
    /// # Safety
    /// As HSA's.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn hsa_amd_queue_set_priority() {
        naked_asm!("mov rdx, [rsp]", "jmp {choose}", choose = sym super::choose)
    }
}
