//! Turns `data/*.tsv` into the static tables of `src/platform/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

/// The platforms: variant of `Platform`, and how its files begin.
const PLATFORMS: [(&str, &str); 2] = [("Hip", "hip"), ("Cuda", "cuda")];

const COLUMNS: usize = 11;

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let data = Path::new(&root).join("data");
    let mut entries = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    let mut dispatch = String::new();
    for (platform, prefix) in PLATFORMS {
        let file = |name: &str| data.join(format!("{prefix}-{name}.tsv"));
        // Not every runtime has a dispatch table or version nodes.
        let table = |name: &str| match file(name) {
            file if file.exists() => rows(&file),
            _ => Vec::new(),
        };
        let dispatched: Vec<String> = table("dispatch-table").into_iter().map(second).collect();
        for row in rows(&file("entry-points")) {
            let symbol = row[0].clone();
            let row = entry_point(platform, &row, &dispatched);
            assert!(
                entries.insert(symbol.clone(), row).is_none(),
                "{symbol} twice"
            );
        }
        for row in table("symbol-versions") {
            nodes.insert(row[0].clone(), row[1].clone());
        }
        writeln!(
            dispatch,
            "/// The functions of the platform's dispatch table, by row.\n\
             static {}_DISPATCH_ROWS: &[&str] = &{dispatched:?};",
            prefix.to_uppercase()
        )
        .expect("writing to a string");
    }

    let mut out = String::from(
        "/// Every platform's entry points, sorted by symbol.\n\
         pub const ENTRY_POINTS: &[EntryPoint] = &[\n",
    );
    out.extend(entries.into_values());
    out += "];\n\n/// Every symbol that real runtimes export, with its version node; sorted by symbol.\n";
    out += "pub static SYMBOL_NODES: &[(&str, &str)] = &[\n";
    for (symbol, node) in nodes {
        writeln!(out, "    ({symbol:?}, {node:?}),").expect("writing to a string");
    }
    out += "];\n";
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("platforms.rs");
    fs::write(&target, out + &dispatch).expect("OUT_DIR is writable");
}

fn rows(file: &Path) -> Vec<Vec<String>> {
    println!("cargo::rerun-if-changed={}", file.display());
    fs::read_to_string(file)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn second(row: Vec<String>) -> String {
    row.into_iter().nth(1).expect("a row has two columns")
}

/// A row as an `EntryPoint`.
fn entry_point(platform: &str, row: &[String], dispatched: &[String]) -> String {
    let columns: Vec<&str> = row.iter().map(String::as_str).collect();
    let &[
        symbol,
        class,
        action,
        effect,
        stream_at,
        size_at,
        default_stream,
        polled,
        completion,
        node,
        _note,
    ] = &columns[..]
    else {
        panic!("{symbol}: not {COLUMNS} columns", symbol = columns[0]);
    };
    let wrong = |what: &str, found: &str| -> ! { panic!("{symbol}: no {what}: {found:?}") };
    let class = match class {
        "launch" | "callback" | "memcpy" | "memset" | "alloc" | "sync" | "event" | "stream"
        | "graph" | "device" | "other" => capitalised(class),
        other => wrong("class", other),
    };
    let action = match action {
        "-" => "None".to_owned(),
        "gate" | "drain" | "hook" | "forward" => format!("Some(Action::{})", capitalised(action)),
        other => wrong("action", other),
    };
    let default_stream = match default_stream {
        "-" => "None",
        "legacy" => "Legacy",
        "per-thread" => "PerThread",
        "implied" => "Implied",
        other => wrong("default stream", other),
    };
    let polled = match polled {
        "-" => false,
        "polled" => true,
        other => wrong("word for polled", other),
    };
    let node = match node {
        "?" | "-" => "None".to_owned(),
        node => format!("Some({node:?})"),
    };
    let name = c_name(symbol);
    let row = dispatched.iter().position(|row| row == name);
    format!(
        "    EntryPoint {{ platform: Platform::{platform}, symbol: {symbol:?}, \
         class: EntryClass::{class}, action: {action}, effect: {}, stream_at: {}, size_at: {}, \
         default_stream: DefaultStream::{default_stream}, polled: {polled}, completion: {}, \
         node: {node}, row: {row:?} }},\n",
        effect_of(effect).unwrap_or_else(|| wrong("effect", effect)),
        argument(stream_at).unwrap_or_else(|| wrong("place of a stream", stream_at)),
        size(size_at).unwrap_or_else(|| wrong("place of a size", size_at)),
        completion_of(completion).unwrap_or_else(|| wrong("completion", completion)),
    )
}

/// The C twin of a mangled function (`_Z3foo...` -> `foo`), which shares its
/// row of the dispatch table; other names are their own.
fn c_name(symbol: &str) -> &str {
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

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn register(text: &str) -> Option<String> {
    let known = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"].contains(&text);
    known.then(|| format!("Register::{}", capitalised(text)))
}

/// `-`, `rdi`, `sp+16` or `rdi->32`.
fn argument(text: &str) -> Option<String> {
    if text == "-" {
        return Some("ArgumentAt::Nowhere".into());
    }
    if let Some(offset) = text.strip_prefix("sp+") {
        let offset: u16 = offset.parse().ok()?;
        return Some(format!("ArgumentAt::Stack({offset})"));
    }
    Some(match text.split_once("->") {
        Some((base, offset)) => {
            let offset: u16 = offset.parse().ok()?;
            format!("ArgumentAt::Field({}, {offset})", register(base)?)
        }
        None => format!("ArgumentAt::Register({})", register(text)?),
    })
}

/// `-`, `rdx` or `r8*r9`.
fn size(text: &str) -> Option<String> {
    if text == "-" {
        return Some("SizeAt::Nowhere".into());
    }
    Some(match text.split_once('*') {
        Some((a, b)) => format!("SizeAt::Product({}, {})", register(a)?, register(b)?),
        None => format!("SizeAt::Register({})", register(text)?),
    })
}

/// `NAME` or `NAME@WHERE`.
fn effect_of(text: &str) -> Option<String> {
    let (name, at) = match text.split_once('@') {
        Some((name, at)) => (name, Some(at)),
        None => (text, None),
    };
    let of = match (name, at) {
        ("-", None) => "Nothing".to_owned(),
        ("event-forget", Some(event)) => format!("EventForget({})", register(event)?),
        ("event-create", None) => "EventCreate(None)".to_owned(),
        ("event-create", Some(flags)) => format!("EventCreate(Some({}))", register(flags)?),
        ("stream-create", at) => {
            let kind = match at {
                None => "Blocking".to_owned(),
                Some("independent") => "Independent".to_owned(),
                Some(flags) => format!("Flags({})", register(flags)?),
            };
            format!("StreamCreate(StreamKind::{kind})")
        }
        ("context-gone", Some(context)) => format!("ContextGone({})", register(context)?),
        ("device-gone", Some(device)) => format!("DeviceGone({})", register(device)?),
        (
            "event-record" | "event-elapsed" | "stream-wait" | "host-function" | "stream-callback"
            | "stream-destroy" | "capture-begin" | "capture-end" | "look-up" | "device-set"
            | "device-change" | "device-reset",
            None,
        ) => name.split('-').map(capitalised).collect(),
        _ => return None,
    };
    Some(format!("Effect::{of}"))
}

/// `-`, `callback`, `query:SCOPE`, `return:SCOPE`, `return:SCOPE?` or
/// `return:SCOPE?REGISTER`.
fn completion_of(text: &str) -> Option<String> {
    let of = match text.split_once(':') {
        None if text == "-" => "Silent".to_owned(),
        None if text == "callback" => "Callback".to_owned(),
        Some(("query", of)) => format!("Query({})", scope(of)?),
        Some(("return", of)) => match of.split_once('?') {
            None => format!("Return({}, Direction::Any)", scope(of)?),
            Some((of, "")) => format!("Return({}, Direction::Unread)", scope(of)?),
            Some((of, at)) => format!("Return({}, Direction::At({}))", scope(of)?, register(at)?),
        },
        _ => return None,
    };
    Some(format!("Completion::{of}"))
}

fn scope(text: &str) -> Option<String> {
    let of = match text.split_once('@') {
        None => match text {
            "device" | "stream" | "context" => capitalised(text),
            _ => return None,
        },
        Some(("event", event)) => format!("Event({})", register(event)?),
        Some(("device", context)) => format!("DeviceOf({})", register(context)?),
        Some(("events", both)) => {
            let (first, second) = both.split_once(',')?;
            format!("Events({}, {})", register(first)?, register(second)?)
        }
        Some(_) => return None,
    };
    Some(format!("Scope::{of}"))
}
