//! How the shim does at each export what the table of actions says
//! (`xsched-common/data/hip-actions.tsv`).

use std::collections::BTreeMap;

use xsched_common::actions::{self, Action};
use xsched_common::hip::{EntryClass, EntryPoint, StreamAt, entry_point, symbol_node};

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

/// `rows`: the dispatch table's symbols with their rows.
pub fn exports(rows: &BTreeMap<String, u16>) -> Vec<Export> {
    actions::exported()
        .map(|(symbol, action)| {
            // What changes a thread's current device is no entry point.
            let entry = entry_point(symbol).map(|(_, entry)| entry);
            Export {
                symbol,
                node: symbol_node(symbol).expect("a symbol of real runtimes"),
                kind: kind(symbol, entry, action),
                stream: entry.map_or(StreamAt::Unknown, |entry| entry.stream_at),
                row: rows.get(c_name(symbol)).copied(),
            }
        })
        .collect()
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

/// Hooks call the real function with the six integer registers, so a
/// function with stack arguments can only be forwarded. Prototypes:
/// hip_runtime_api.h of ROCm 5.2 to 7.2.
fn kind(symbol: &str, entry: Option<&EntryPoint>, action: Action) -> Kind {
    match (action, entry) {
        (Action::Forward, _) => Kind::Forward,
        (Action::Gate, Some(entry)) => Kind::Command {
            size: match entry.class {
                EntryClass::Memcpy => copy_size(base(symbol)),
                _ => "Size::Whole",
            },
            counting: if entry.is_launch() {
                "Launch"
            } else {
                "Uncounted"
            },
        },
        (Action::Drain, _) => Kind::Hook(drain(symbol)),
        (Action::Hook, _) => Kind::Hook(hook(symbol)),
        (Action::Gate, None) => panic!("hip-actions.tsv: {symbol} is no entry point"),
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

/// What is complete when the function has returned.
fn drain(symbol: &str) -> &'static str {
    match base(symbol) {
        "hipDeviceSynchronize" | "hipCtxSynchronize" => "DeviceSync",
        "hipStreamSynchronize" | "hipStreamQuery" => "StreamSync",
        "hipEventSynchronize" | "hipEventQuery" => "EventSync",
        "hipMemcpyWithStream" => "CopyOnStream",
        // The direction is the argument in this register.
        "hipMemcpy" => "Copy(Direction::In(Register::Rcx))",
        "hipMemcpyToSymbol" | "hipMemcpyFromSymbol" => "Copy(Direction::In(Register::R8))",
        "hipMemcpyToArray" | "hipMemcpyFromArray" => "Copy(Direction::In(Register::R9))",
        "hipMemcpyDtoH" | "hipMemcpyHtoD" | "hipMemcpyAtoH" | "hipMemcpyHtoA" => {
            "Copy(Direction::Host)"
        }
        _ => panic!("hip-actions.tsv: nobody says what is complete after {symbol}"),
    }
}

/// What the function's answer tells.
fn hook(symbol: &str) -> &'static str {
    match base(symbol) {
        "hipEventRecord" | "hipEventRecordWithFlags" => "EventRecord",
        "hipEventDestroy" => "EventDestroy",
        "hipEventCreate" => "EventCreate",
        "hipEventCreateWithFlags" => "EventCreateWithFlags",
        "hipEventElapsedTime" => "EventElapsed",
        "hipStreamWaitEvent" => "StreamWaits",
        "hipLaunchHostFunc" => "HostFunction",
        "hipStreamAddCallback" => "Callback",
        "hipStreamCreate" | "hipExtStreamCreateWithCUMask" => "StreamCreate",
        "hipStreamCreateWithFlags" | "hipStreamCreateWithPriority" => "StreamCreateWithFlags",
        "hipStreamDestroy" => "StreamDestroy",
        "hipStreamBeginCapture" | "hipStreamBeginCaptureToGraph" => "BeginCapture",
        "hipStreamEndCapture" => "EndCapture",
        "hipGetProcAddress" | "hipGetDriverEntryPoint" => "ProcAddress",
        "hipDeviceReset" => "DeviceReset",
        "hipSetDevice" => "SetDevice",
        "hipCtxCreate" | "hipCtxDestroy" | "hipCtxPopCurrent" | "hipCtxPushCurrent"
        | "hipCtxSetCurrent" => "OtherDevice",
        _ => panic!("hip-actions.tsv: nobody says what {symbol} tells"),
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
