//! The table of HIP entry points and symbol versions, from `data/`.
//!
//! An entry point is a function of libamdhip64 that puts work on a stream,
//! waits for it, or changes streams, events or code. The table says what it
//! does and where its stream argument is when it is entered.

include!(concat!(env!("OUT_DIR"), "/hip_tables.rs"));

/// A row of [`ENTRY_POINTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The exported name.
    pub symbol: &'static str,
    /// What it does.
    pub class: EntryClass,
    /// Where the stream is at its first instruction.
    pub stream_at: StreamAt,
    /// The version node that the runtime exports it under.
    pub node: &'static str,
}

/// What an entry point does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryClass {
    /// Launches kernels.
    Launch,
    /// Enqueues a host function.
    Callback,
    /// Copies memory.
    Memcpy,
    /// Sets memory.
    Memset,
    /// Allocates or frees.
    Alloc,
    /// Waits for, or asks about, enqueued work.
    Sync,
    /// Creates, records or destroys events.
    Event,
    /// Creates, changes or destroys streams.
    Stream,
    /// Builds, captures or launches graphs.
    Graph,
    /// Configures launches, loads code, looks functions up.
    Other,
}

/// An integer argument register of the System V x86-64 calling convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Register {
    /// First integer argument.
    Rdi = 0,
    /// Second.
    Rsi = 1,
    /// Third.
    Rdx = 2,
    /// Fourth.
    Rcx = 3,
    /// Fifth.
    R8 = 4,
    /// Sixth.
    R9 = 5,
}

impl Register {
    /// The register with this number; unknown numbers read as the first, so
    /// that BPF code needs no error path.
    pub const fn from_raw(raw: u8) -> Register {
        match raw {
            1 => Register::Rsi,
            2 => Register::Rdx,
            3 => Register::Rcx,
            4 => Register::R8,
            5 => Register::R9,
            _ => Register::Rdi,
        }
    }
}

/// Where a stream argument is at a function's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamAt {
    /// There is none, or it is implied (thread-local configuration, legacy
    /// stream of synchronous calls).
    Unknown,
    /// In a register.
    Register(Register),
    /// On the stack, this many bytes above the stack pointer.
    Stack(u16),
    /// In the structure that the register points to, at this offset.
    Field(Register, u16),
}

/// The entry point called `symbol`, with its index.
pub fn entry_point(symbol: &str) -> Option<(u16, &'static EntryPoint)> {
    let index = ENTRY_POINTS
        .binary_search_by(|entry| entry.symbol.cmp(symbol))
        .ok()?;
    Some((index as u16, &ENTRY_POINTS[index]))
}

/// The version node that real runtimes export `symbol` under. No symbol has
/// ever changed its node, so one answer holds for all of them.
pub fn symbol_node(symbol: &str) -> Option<&'static str> {
    let index = SYMBOL_NODES
        .binary_search_by(|(name, _)| (*name).cmp(symbol))
        .ok()?;
    Some(SYMBOL_NODES[index].1)
}

impl EntryPoint {
    /// Whether a call enqueues kernels: the calls that are counted as
    /// launches everywhere a user sees the word.
    pub fn is_launch(&self) -> bool {
        self.class == EntryClass::Launch
            || matches!(self.symbol, "hipGraphLaunch" | "hipGraphLaunch_spt")
    }

    /// Whether the call returns only after work that was enqueued before it
    /// is complete: waits, and copies that the host waits for. Copies between
    /// two places on devices are not among them: HIP returns from those
    /// while they run.
    pub fn drains(&self) -> bool {
        let at_once = ["Query", "Async", "DtoD", "DtoA", "AtoD", "AtoA", "Peer"];
        matches!(self.class, EntryClass::Sync | EntryClass::Memcpy)
            && !at_once.iter().any(|mark| self.symbol.contains(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_find_every_row() {
        for (i, entry) in ENTRY_POINTS.iter().enumerate() {
            assert_eq!(entry_point(entry.symbol), Some((i as u16, entry)));
        }
        assert_eq!(entry_point("hipNoSuchThing"), None);
        assert_eq!(symbol_node("hipMallocAsync"), Some("hip_5.1"));
    }

    #[test]
    fn the_two_tables_agree_on_nodes() {
        for entry in ENTRY_POINTS {
            assert_eq!(
                symbol_node(entry.symbol),
                Some(entry.node),
                "{}",
                entry.symbol
            );
        }
    }

    #[test]
    fn what_drains_is_what_the_host_waits_for() {
        let drains = |symbol| entry_point(symbol).expect("in the table").1.drains();
        for symbol in [
            "hipDeviceSynchronize",
            "hipStreamSynchronize_spt",
            "hipEventSynchronize",
            "hipMemcpy",
            "hipMemcpyDtoH",
            "hipMemcpyWithStream",
        ] {
            assert!(drains(symbol), "{symbol}");
        }
        for symbol in [
            "hipLaunchKernel",
            "hipStreamQuery",
            "hipMemcpyAsync",
            "hipMemcpyDtoD",
            "hipMemsetD8",
            "hipStreamWaitEvent",
            "hipWaitExternalSemaphoresAsync",
        ] {
            assert!(!drains(symbol), "{symbol}");
        }
    }

    #[test]
    fn stream_places_follow_the_prototypes() {
        let at = |symbol| entry_point(symbol).expect("in the table").1.stream_at;
        // Two dim3 by value take four registers, so the rest moves to the stack.
        assert_eq!(at("hipLaunchKernel"), StreamAt::Stack(16));
        assert_eq!(
            at("__hipPushCallConfiguration"),
            StreamAt::Register(Register::R9)
        );
        // Six integers in registers; blockZ, shared size and stream follow.
        assert_eq!(at("hipModuleLaunchKernel"), StreamAt::Stack(24));
        // Structures over 16 bytes by value (hipPitchedPtr, hipExtent) use no register.
        assert_eq!(at("hipMemset3DAsync"), StreamAt::Register(Register::Rsi));
        assert_eq!(
            at("hipStreamSynchronize"),
            StreamAt::Register(Register::Rdi)
        );
        assert_eq!(at("hipLaunchKernelExC"), StreamAt::Field(Register::Rdi, 32));
    }
}
