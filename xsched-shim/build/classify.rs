//! What the shim does at each entry point: the one place that decides it.

use xsched_common::hip::{ENTRY_POINTS, EntryClass, EntryPoint, StreamAt, symbol_node};

/// One exported symbol.
pub struct Export {
    pub symbol: &'static str,
    pub node: &'static str,
    pub kind: Kind,
    pub stream: StreamAt,
}

/// The handler, as Rust source of `hip::exports`' types.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Enqueues device work: asks the gate, then tail-jumps.
    Command {
        size: &'static str,
        counting: &'static str,
    },
    /// Only tail-jumps.
    Forward,
    /// Calls the real function and looks at what it says.
    Hook(&'static str),
}

/// Exported although no entry point: the thread's current device is told by
/// nothing else.
const EXTRA: &[(&str, Kind)] = &[("hipSetDevice", Kind::Hook("SetDevice"))];

pub fn exports() -> Vec<Export> {
    let mut out: Vec<_> = ENTRY_POINTS
        .iter()
        .filter_map(|entry| {
            Some(Export {
                symbol: entry.symbol,
                node: entry.node,
                kind: kind(entry)?,
                stream: entry.stream_at,
            })
        })
        .chain(EXTRA.iter().map(|&(symbol, kind)| Export {
            symbol,
            node: symbol_node(symbol).expect("a symbol of real runtimes"),
            kind,
            stream: StreamAt::Unknown,
        }))
        .collect();
    out.sort_by_key(|export| export.symbol);
    out
}

fn kind(entry: &EntryPoint) -> Option<Kind> {
    const LAUNCH: Kind = Kind::Command {
        size: "Size::Whole",
        counting: "Launch",
    };
    if entry.is_launch() {
        return Some(LAUNCH);
    }
    match entry.class {
        EntryClass::Memset => Some(Kind::Command {
            size: "Size::Whole",
            counting: "Uncounted",
        }),
        EntryClass::Memcpy => Some(copy(entry)),
        EntryClass::Sync => Some(sync(entry.symbol)),
        EntryClass::Event => event(entry.symbol),
        EntryClass::Stream => stream(entry.symbol),
        EntryClass::Graph => capture(entry.symbol),
        EntryClass::Other => other(entry.symbol),
        EntryClass::Launch | EntryClass::Callback | EntryClass::Alloc => None,
    }
}

/// Hooks call the real function with the six integer registers, so a
/// function with stack arguments can only be forwarded. Prototypes:
/// hip_runtime_api.h of ROCm 5.2 to 7.2.
fn copy(entry: &EntryPoint) -> Kind {
    let base = base(entry.symbol);
    // Hints about pages, no copies.
    if base.contains("Prefetch") || base.contains("Discard") {
        return Kind::Forward;
    }
    if entry.symbol == "hipMemcpyWithStream" {
        return Kind::Hook("CopyOnStream");
    }
    if entry.stream_at != StreamAt::Unknown {
        return Kind::Command {
            size: copy_size(base),
            counting: "Uncounted",
        };
    }
    match base {
        // The direction is the argument in this register.
        "hipMemcpy" => Kind::Hook("Copy(Direction::In(Register::Rcx))"),
        "hipMemcpyToSymbol" | "hipMemcpyFromSymbol" => {
            Kind::Hook("Copy(Direction::In(Register::R8))")
        }
        "hipMemcpyToArray" | "hipMemcpyFromArray" => {
            Kind::Hook("Copy(Direction::In(Register::R9))")
        }
        "hipMemcpyDtoH" | "hipMemcpyHtoD" | "hipMemcpyAtoH" | "hipMemcpyHtoA" => {
            Kind::Hook("Copy(Direction::Host)")
        }
        // Between two places on devices, which the runtime does not wait
        // for; or with stack arguments; or told by a structure.
        _ => Kind::Forward,
    }
}

/// Where an asynchronous copy says its size.
fn copy_size(base: &str) -> &'static str {
    match base {
        "hipMemcpyAsync"
        | "hipMemcpyDtoDAsync"
        | "hipMemcpyDtoHAsync"
        | "hipMemcpyHtoDAsync"
        | "hipMemcpyFromSymbolAsync"
        | "hipMemcpyToSymbolAsync" => "Size::Register(Register::Rdx)",
        "hipMemcpyAtoHAsync" | "hipMemcpyHtoAAsync" => "Size::Register(Register::Rcx)",
        "hipMemcpyPeerAsync" => "Size::Register(Register::R8)",
        // Width in bytes and height.
        "hipMemcpy2DAsync" => "Size::Product(Register::R8, Register::R9)",
        _ => "Size::Whole",
    }
}

fn sync(symbol: &str) -> Kind {
    match base(symbol) {
        "hipDeviceSynchronize" | "hipCtxSynchronize" => Kind::Hook("DeviceSync"),
        "hipStreamSynchronize" | "hipStreamQuery" => Kind::Hook("StreamSync"),
        "hipEventSynchronize" | "hipEventQuery" => Kind::Hook("EventSync"),
        _ => Kind::Forward,
    }
}

fn event(symbol: &str) -> Option<Kind> {
    match base(symbol) {
        "hipEventRecord" | "hipEventRecordWithFlags" => Some(Kind::Hook("EventRecord")),
        "hipEventDestroy" => Some(Kind::Hook("EventDestroy")),
        "hipStreamWaitEvent" => Some(Kind::Forward),
        _ => None,
    }
}

fn stream(symbol: &str) -> Option<Kind> {
    match symbol {
        "hipStreamCreate" | "hipExtStreamCreateWithCUMask" => Some(Kind::Hook("StreamCreate")),
        "hipStreamCreateWithFlags" | "hipStreamCreateWithPriority" => {
            Some(Kind::Hook("StreamCreateWithFlags"))
        }
        "hipStreamDestroy" => Some(Kind::Hook("StreamDestroy")),
        _ => None,
    }
}

fn capture(symbol: &str) -> Option<Kind> {
    match base(symbol) {
        "hipStreamBeginCapture" | "hipStreamBeginCaptureToGraph" => {
            Some(Kind::Hook("BeginCapture"))
        }
        "hipStreamEndCapture" => Some(Kind::Hook("EndCapture")),
        _ => None,
    }
}

fn other(symbol: &str) -> Option<Kind> {
    match base(symbol) {
        "hipGetProcAddress" | "hipGetDriverEntryPoint" => Some(Kind::Hook("ProcAddress")),
        "hipDeviceReset" => Some(Kind::Hook("DeviceReset")),
        _ => None,
    }
}

/// The name without the suffix of the per-thread default stream's twins.
fn base(symbol: &str) -> &str {
    symbol.strip_suffix("_spt").unwrap_or(symbol)
}

/// A `StreamAt` as Rust source.
pub fn stream_place(place: StreamAt) -> String {
    match place {
        StreamAt::Unknown => "StreamAt::Unknown".into(),
        StreamAt::Register(register) => format!("StreamAt::Register(Register::{register:?})"),
        StreamAt::Stack(offset) => format!("StreamAt::Stack({offset})"),
        StreamAt::Field(register, offset) => {
            format!("StreamAt::Field(Register::{register:?}, {offset})")
        }
    }
}
