//! What the shim does at each entry point: the one place that decides it.
//!
//! **The rule**: a row of the table is exported if it puts work on a stream,
//! waits for work, or changes streams or events. In the table's terms these
//! are all rows of the classes launch, callback, memcpy, memset, sync, event
//! and stream, and of the other classes those that name a stream
//! ([`ONLY_DESCRIBES`] excepted) or that do so by implication ([`IMPLIED`]).
//! Gated are kernels, graphs, memsets and copies; what else has something to
//! tell is hooked; the rest is forwarded, so that probes and the dispatch
//! table find one place for all of them.

use std::collections::BTreeMap;

use xsched_common::hip::{ENTRY_POINTS, EntryClass, EntryPoint, StreamAt, symbol_node};

/// One exported symbol.
pub struct Export {
    pub symbol: &'static str,
    pub node: &'static str,
    pub kind: Kind,
    pub stream: StreamAt,
    /// Its row in the dispatch table of HIP 6.1 and later.
    pub row: Option<u16>,
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

/// Exported although no entry points: the thread's current device is told or
/// changed by nothing else.
const EXTRA: &[(&str, Kind)] = &[
    ("hipSetDevice", Kind::Hook("SetDevice")),
    ("hipCtxCreate", Kind::Hook("OtherDevice")),
    ("hipCtxPopCurrent", Kind::Hook("OtherDevice")),
    ("hipCtxPushCurrent", Kind::Hook("OtherDevice")),
    ("hipCtxSetCurrent", Kind::Hook("OtherDevice")),
];

/// Name a stream, and neither enqueue on it nor wait for it: they prepare or
/// describe a launch.
const ONLY_DESCRIBES: [&str; 3] = [
    "__hipPushCallConfiguration",
    "hipConfigureCall",
    "hipKernelNameRefByPtr",
];

/// Name no stream, and still wait for the device's work, enqueue work,
/// destroy streams, or hand out functions that do.
const IMPLIED: [&str; 18] = [
    "hipArrayDestroy",
    "hipCtxDestroy",
    "hipDevicePrimaryCtxReset",
    "hipDeviceReset",
    "hipFree",
    "hipFreeArray",
    "hipFreeHost",
    "hipFreeMipmappedArray",
    "hipGetDriverEntryPoint",
    "hipGetDriverEntryPoint_spt",
    "hipGetProcAddress",
    "hipGetProcAddress_spt",
    "hipGraphInstantiateWithParams",
    "hipHostFree",
    "hipHostUnregister",
    "hipLibraryUnload",
    "hipMipmappedArrayDestroy",
    "hipModuleUnload",
];

fn is_exported(entry: &EntryPoint) -> bool {
    match entry.class {
        EntryClass::Launch
        | EntryClass::Callback
        | EntryClass::Memcpy
        | EntryClass::Memset
        | EntryClass::Sync
        | EntryClass::Event
        | EntryClass::Stream => true,
        EntryClass::Alloc | EntryClass::Graph | EntryClass::Other => {
            (entry.stream_at != StreamAt::Unknown && !ONLY_DESCRIBES.contains(&entry.symbol))
                || IMPLIED.contains(&entry.symbol)
        }
    }
}

/// `rows`: the dispatch table's symbols with their rows.
pub fn exports(rows: &BTreeMap<String, u16>) -> Vec<Export> {
    let mut out: Vec<_> = ENTRY_POINTS
        .iter()
        .filter(|entry| is_exported(entry))
        .map(|entry| Export {
            symbol: entry.symbol,
            node: entry.node,
            kind: kind(entry),
            stream: entry.stream_at,
            row: rows.get(c_name(entry.symbol)).copied(),
        })
        .chain(EXTRA.iter().map(|&(symbol, kind)| Export {
            symbol,
            node: symbol_node(symbol).expect("a symbol of real runtimes"),
            kind,
            stream: StreamAt::Unknown,
            row: rows.get(symbol).copied(),
        }))
        .collect();
    out.sort_by_key(|export| export.symbol);
    out
}

/// The C twin of a mangled function (`_Z3foo...` -> `foo`), which shares its
/// row of the dispatch table; other names are their own.
fn c_name(symbol: &'static str) -> &'static str {
    let Some(mangled) = symbol.strip_prefix("_Z") else {
        return symbol;
    };
    let name = mangled.trim_start_matches(|c: char| c.is_ascii_digit());
    mangled[..mangled.len() - name.len()]
        .parse()
        .ok()
        .and_then(|len: usize| name.get(..len))
        .unwrap_or(symbol)
}

fn kind(entry: &EntryPoint) -> Kind {
    const LAUNCH: Kind = Kind::Command {
        size: "Size::Whole",
        counting: "Launch",
    };
    if entry.is_launch() {
        return LAUNCH;
    }
    match entry.class {
        EntryClass::Memset => Kind::Command {
            size: "Size::Whole",
            counting: "Uncounted",
        },
        EntryClass::Memcpy => copy(entry),
        EntryClass::Sync => sync(entry.symbol),
        EntryClass::Event => event(entry.symbol),
        EntryClass::Stream => stream(entry.symbol),
        EntryClass::Graph => capture(entry.symbol),
        EntryClass::Other => other(entry.symbol),
        // Never gated: the host function, the value or the memory may be what
        // a running kernel waits for.
        EntryClass::Launch | EntryClass::Callback | EntryClass::Alloc => Kind::Forward,
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

fn event(symbol: &str) -> Kind {
    match base(symbol) {
        "hipEventRecord" | "hipEventRecordWithFlags" => Kind::Hook("EventRecord"),
        "hipEventDestroy" => Kind::Hook("EventDestroy"),
        _ => Kind::Forward,
    }
}

fn stream(symbol: &str) -> Kind {
    match symbol {
        "hipStreamCreate" | "hipExtStreamCreateWithCUMask" => Kind::Hook("StreamCreate"),
        "hipStreamCreateWithFlags" | "hipStreamCreateWithPriority" => {
            Kind::Hook("StreamCreateWithFlags")
        }
        "hipStreamDestroy" => Kind::Hook("StreamDestroy"),
        _ => Kind::Forward,
    }
}

fn capture(symbol: &str) -> Kind {
    match base(symbol) {
        "hipStreamBeginCapture" | "hipStreamBeginCaptureToGraph" => Kind::Hook("BeginCapture"),
        "hipStreamEndCapture" => Kind::Hook("EndCapture"),
        _ => Kind::Forward,
    }
}

fn other(symbol: &str) -> Kind {
    match base(symbol) {
        "hipGetProcAddress" | "hipGetDriverEntryPoint" => Kind::Hook("ProcAddress"),
        "hipDeviceReset" => Kind::Hook("DeviceReset"),
        "hipCtxDestroy" => Kind::Hook("OtherDevice"),
        _ => Kind::Forward,
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
