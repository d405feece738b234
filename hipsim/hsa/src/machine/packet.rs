//! A packet in a hardware ring, and what it does.

use simdevice::known::KnownCall;

use super::blits::Blit;
use super::queue::Queue;
use super::signal::Signal;
use crate::abi::types::Condition;
use crate::memory::reach;

/// Whether an effect has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has.
    Done,
    /// Its condition does not hold yet.
    Retry,
    /// It would use this address, which has no memory: it never ends.
    Fault(usize),
}

/// What a packet does to memory.
#[derive(Debug)]
pub enum Effect {
    /// A kernel that the simulator knows.
    Known(KnownCall),
    /// A kernel of the HIP runtime's own.
    Blit(Blit),
    /// Nothing: its queue was destroyed before.
    Gone,
}

impl Effect {
    /// Does it.
    ///
    /// # Safety
    /// The addresses are the program's, valid until the packet is done.
    pub unsafe fn execute(&mut self) -> Outcome {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Known(call) => {
                    let mut used = call.memory().into_iter();
                    if let Some(at) = used.find_map(|(at, bytes)| reach::missing(at, bytes)) {
                        return Outcome::Fault(at);
                    }
                    call.run();
                    Outcome::Done
                }
                Self::Blit(blit) => blit.run(),
                Self::Gone => Outcome::Done,
            }
        }
    }
}

/// What a packet waits for besides those before it.
#[derive(Debug, Default)]
pub enum Wait {
    /// Nothing.
    #[default]
    None,
    /// All of these are zero.
    All(Vec<Signal>),
    /// One of these is zero.
    Any(Vec<Signal>),
    /// The masked value compares so.
    Value {
        signal: Signal,
        mask: i64,
        condition: Condition,
        than: i64,
    },
}

impl Wait {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        match self {
            Self::None => true,
            Self::All(signals) => signals.iter().all(|signal| signal.value() == 0),
            Self::Any(signals) => signals.iter().any(|signal| signal.value() == 0),
            Self::Value {
                signal,
                mask,
                condition,
                than,
            } => condition.holds(signal.value() & mask, *than),
        }
    }

    /// Whether only packets are waited for that are queued already and that the host does not hold up.
    pub fn ends_by_itself(&self) -> bool {
        let on_its_way = |signal: &Signal| signal.value() == 0 || signal.comes_by_itself();
        match self {
            Self::None => true,
            Self::All(signals) => signals.iter().all(on_its_way),
            Self::Any(signals) => signals.iter().any(on_its_way),
            Self::Value { signal, .. } => signal.comes_by_itself(),
        }
    }
}

/// Which part of a packet's way an item of a ring is: a kernel that computes first takes its time, then has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its time; the effect follows.
    Time,
    /// The effect.
    Effect,
}

/// An item of a ring.
pub struct Packet {
    pub queue: &'static Queue,
    /// Its index in the queue.
    pub index: u64,
    pub part: Part,
    pub wait: Wait,
    pub completion: Option<Signal>,
    /// Gone while somebody executes it.
    pub effect: Option<Effect>,
    /// When the effect is to be looked at, ns.
    pub due: Option<u64>,
}
