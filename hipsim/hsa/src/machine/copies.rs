//! The copy engines (SDMA): copies wait for their signals, and those of one engine run one after another.

use std::collections::VecDeque;

use simdevice::options;

use super::signal::{Ends, Place, Signal};

/// `rows` x `planes` runs of `width` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub width: usize,
    pub rows: usize,
    pub planes: usize,
}

/// Where the rows of a [`Block`] lie.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub start: usize,
    pub row_pitch: usize,
    pub plane_pitch: usize,
}

/// Copies a block.
///
/// # Safety
/// Both places are valid for it.
pub unsafe fn copy(from: Rows, to: Rows, block: Block) {
    for plane in 0..block.planes {
        for row in 0..block.rows {
            let at = |rows: Rows| rows.start + plane * rows.plane_pitch + row * rows.row_pitch;
            // SAFETY: the caller's promise. `copy`, not `copy_nonoverlapping`: programs do overlap.
            unsafe { std::ptr::copy(at(from) as *const u8, at(to) as *mut u8, block.width) };
        }
    }
}

/// One engine of one GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub gpu: usize,
    pub number: u32,
}

/// A copy on its way.
#[derive(Debug)]
pub struct Copy {
    pub dependencies: Vec<Signal>,
    pub from: Rows,
    pub to: Rows,
    pub block: Block,
    pub completion: Option<Signal>,
}

impl Copy {
    /// Does it.
    ///
    /// # Safety
    /// The addresses are the program's, valid until the copy is done.
    pub unsafe fn execute(&self) {
        // SAFETY: the caller's promise.
        unsafe { copy(self.from, self.to, self.block) };
    }
}

enum Head {
    /// Its dependencies are not looked at yet.
    Waiting,
    /// It began at the first time, in ns, and is due at the second.
    Running(u64, u64),
    /// Somebody executes it.
    Taken(u64),
}

struct Line {
    engine: Engine,
    head: Head,
    copies: VecDeque<Copy>,
}

/// All engines that were used.
#[derive(Default)]
pub struct Copies(Vec<Line>);

impl Copies {
    /// None used.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a copy.
    pub fn push(&mut self, engine: Engine, copy: Copy) {
        if let Some(signal) = copy.completion {
            // What a copy waits for may be the host's, and the engine's thread is.
            signal.queued(Place::Copy, Ends::WithHost);
        }
        let at = self.0.iter().position(|line| line.engine == engine);
        let at = at.unwrap_or_else(|| {
            self.0.push(Line {
                engine,
                head: Head::Waiting,
                copies: VecDeque::new(),
            });
            self.0.len() - 1
        });
        self.0[at].copies.push_back(copy);
    }

    /// Starts what can start at `now`.
    pub fn advance(&mut self, now: u64) {
        for line in &mut self.0 {
            if let (Head::Waiting, Some(copy)) = (&line.head, line.copies.front())
                && copy.dependencies.iter().all(|signal| signal.value() == 0)
            {
                let latency = match copy.block.width {
                    0 => 0,
                    _ => options::get().copy_latency,
                };
                line.head = Head::Running(now, now + latency);
            }
        }
    }

    /// Takes a copy that is due; its line and the copy.
    pub fn take_due(&mut self, now: u64) -> Option<(usize, Copy)> {
        let due = |line: &Line| matches!(line.head, Head::Running(_, due) if due <= now);
        let at = self.0.iter().position(due)?;
        let line = &mut self.0[at];
        if let Head::Running(began, _) = line.head {
            line.head = Head::Taken(began);
        }
        Some((at, line.copies.pop_front()?))
    }

    /// The copy taken from this line is done.
    pub fn complete(&mut self, line: usize, copy: &Copy, now: u64) {
        let line = &mut self.0[line];
        if let (Head::Taken(began), Some(signal)) = (&line.head, copy.completion) {
            signal.begin(*began);
            signal.complete(now);
        }
        line.head = Head::Waiting;
    }

    /// Whether any are queued.
    pub fn any(&self) -> bool {
        self.0.iter().any(|line| !line.copies.is_empty())
    }

    /// When the next is due that has begun.
    pub fn next_due(&self) -> Option<u64> {
        let due = |line: &Line| match line.head {
            Head::Running(_, due) => Some(due),
            _ => None,
        };
        self.0.iter().filter_map(due).min()
    }

    /// What copies at the heads wait for.
    pub fn awaited(&self) -> Vec<Signal> {
        let heads = self
            .0
            .iter()
            .filter(|line| matches!(line.head, Head::Waiting));
        let signals = heads.filter_map(|line| line.copies.front());
        signals
            .flat_map(|copy| copy.dependencies.iter().copied())
            .filter(|signal| signal.value() != 0)
            .collect()
    }
}
