//! What a row of a platform's table of entry points says.

use super::Platform;
use super::place::{ArgumentAt, Register, SizeAt};

/// A function of a runtime. What the shim exports and does, what is probed,
/// what the configuration may name and what diagnosis says of it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// Whose it is.
    pub platform: Platform,
    /// The exported name.
    pub symbol: &'static str,
    /// What it does.
    pub class: EntryClass,
    /// What the shim does when it is called; `None`: the shim does not export it.
    pub action: Option<Action>,
    /// What the shim learns from a call that succeeds.
    pub effect: Effect,
    /// Where the stream is.
    pub stream_at: ArgumentAt,
    /// How much it copies.
    pub size_at: SizeAt,
    /// What a null stream, or the lack of a stream argument, means.
    pub default_stream: DefaultStream,
    /// Whether programs ask it in a loop.
    pub polled: bool,
    /// What is complete after it.
    pub completion: Completion,
    /// The version node that the runtime exports it under; `None` where
    /// there are no nodes, or it is not known.
    pub node: Option<&'static str>,
    /// Its row in the runtime's dispatch table, where there is one.
    pub row: Option<u16>,
}

/// What an entry point does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryClass {
    /// Launches kernels or graphs.
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
    /// Builds or captures graphs.
    Graph,
    /// Chooses or describes devices.
    Device,
    /// Configures launches, loads code, looks functions up.
    Other,
}

/// What the shim does at an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks the gate, then jumps to the runtime.
    Gate,
    /// Calls the runtime; that it returns tells that earlier work is complete.
    Drain,
    /// Calls the runtime and learns from what it answers.
    Hook,
    /// Jumps to the runtime.
    Forward,
}

/// What the shim learns from a call that succeeds, beside completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// The event in the first argument stands behind the stream's work.
    EventRecord,
    /// The event in this register stands for nothing that is known.
    EventForget(Register),
    /// There is a new event at the first argument; its flags.
    EventCreate(Option<Register>),
    /// The program reads a time between two events.
    EventElapsed,
    /// The stream waits for the event in the second argument.
    StreamWait,
    /// The function in the second argument runs in stream order.
    HostFunction,
    /// The same, called with stream and status.
    StreamCallback,
    /// There is a new stream at the first argument.
    StreamCreate(StreamKind),
    /// The stream in the first argument is gone.
    StreamDestroy,
    /// The stream in the first argument records a graph from here on.
    CaptureBegin,
    /// It does so no more.
    CaptureEnd,
    /// A function's address was looked up: name, and where the address is put.
    LookUp,
    /// The thread uses the device in the first argument.
    DeviceSet,
    /// The thread may use another device.
    DeviceChange,
    /// All that was on the thread's device is gone.
    DeviceReset,
    /// The context in this register is gone, with all that was made in it.
    ContextGone(Register),
    /// What was made in the primary context of the device in this register may
    /// be gone.
    DeviceGone(Register),
}

/// What orders a new stream against the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// It waits for the default stream and the reverse.
    Blocking,
    /// It does not.
    Independent,
    /// The flags in this register say.
    Flags(Register),
}

/// What a null stream, or the lack of a stream argument, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultStream {
    /// Nothing: the call has to do with no stream.
    None,
    /// The device's.
    Legacy,
    /// The calling thread's.
    PerThread,
    /// The one that an earlier call of the thread named.
    Implied,
}

/// What tells that work is complete, and of which work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nothing.
    Silent,
    /// Its return.
    Return(Scope, Direction),
    /// A yes to the question that it is.
    Query(Scope),
    /// That the function which it hands over runs.
    Callback,
}

/// Of which work a call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the thread's device.
    Device,
    /// All of the device of the context in this register.
    DeviceOf(Register),
    /// The stream's.
    Stream,
    /// What stands before the event in this register.
    Event(Register),
    /// Before both.
    Events(Register, Register),
    /// Of streams that nobody can tell.
    Context,
}

/// In which direction a copy must go for its return to tell anything: the
/// host waits for those between itself and a device only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// No matter.
    Any,
    /// Here, as the runtime numbers directions.
    At(Register),
    /// Where nobody reads it.
    Unread,
}

impl EntryPoint {
    /// Whether a call enqueues kernels: the calls that are counted as
    /// launches everywhere a user sees the word.
    pub fn is_launch(&self) -> bool {
        self.class == EntryClass::Launch
    }

    /// Whether it looks a kernel up by name: the handle's place is its first
    /// argument, the name its third.
    pub fn looks_up_kernel(&self) -> bool {
        self.platform.names().kernel_lookups.contains(&self.symbol)
    }

    /// Whether the call returns only after work that was enqueued before it
    /// is complete: waits, and copies that the host waits for.
    pub fn drains(&self) -> bool {
        matches!(self.completion, Completion::Return(..))
    }

    /// Whether the shim exports it to gate it.
    pub fn is_gated(&self) -> bool {
        self.action == Some(Action::Gate)
    }
}
