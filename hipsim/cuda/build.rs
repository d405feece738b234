//! Generates the exports from the table of CUDA's entry points and from `data/simulated.tsv`: for each function its trampoline,
//! what runs behind it, and what name and version it is looked up by.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use xsched_common::platform::{ArgumentAt, DefaultStream, ENTRY_POINTS, EntryPoint, Platform};

const SIMULATED: &str = "data/simulated.tsv";
const VERSIONS: &str = "../../xsched-common/data/cuda-versions.tsv";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for file in ["build.rs", SIMULATED, VERSIONS] {
        println!("cargo::rerun-if-changed={file}");
    }
    let bodies = pairs(&root.join(SIMULATED));
    let versions = pairs(&root.join(VERSIONS));
    let entries: Vec<&EntryPoint> = ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Cuda)
        .collect();
    for symbol in bodies.keys() {
        assert!(
            entries.iter().any(|entry| entry.symbol == symbol),
            "{SIMULATED} names {symbol}, which is no function of the table"
        );
    }

    let (mut exports, mut table, mut look_ups) = (String::new(), String::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let symbol = entry.symbol;
        let (body, place) = match bodies.get(symbol) {
            Some(body) => (Some(body), "plain".to_owned()),
            None => twin_of(symbol)
                .and_then(|base| bodies.get(base))
                .map_or((None, "plain".to_owned()), |body| {
                    (Some(body), own_stream(entry))
                }),
        };
        writeln!(exports, "    {index} {symbol} {place};").expect("writing to a string");
        let body = match body.map(String::as_str) {
            None => "Body::Missing".to_owned(),
            Some(body) => match (body.strip_prefix("hip:"), body.strip_prefix("early:")) {
                (Some(name), _) => format!("Body::Hip(c{name:?})"),
                (_, Some(path)) => format!("Body::Early(crate::{path} as *const ())"),
                _ => format!("Body::Own(crate::{body} as *const ())"),
            },
        };
        writeln!(table, "    {body},").expect("writing to a string");
        let since = &versions[symbol];
        let per_thread = twin_of(symbol).is_some();
        look_ups.push((base_of(symbol), since.clone(), per_thread, index));
    }
    look_ups.sort();
    let mut text = format!(
        "pub(crate) const COUNT: usize = {};\n\nexports! {{\n{exports}}}\n\n\
         static BODIES: [Body; COUNT] = [\n{table}];\n\n\
         /// By name, with the version since which there is each, sorted by name.\n\
         static LOOK_UPS: &[LookUp] = &[\n",
        entries.len(),
    );
    for (name, since, per_thread, index) in look_ups {
        let stream = if per_thread { "PerThread" } else { "Legacy" };
        writeln!(
            text,
            "    LookUp {{ name: {name:?}, since: {since}, stream: Default::{stream}, index: {index} }},"
        )
        .expect("writing to a string");
    }
    text += "];\n";
    fs::write(out.join("exports.rs"), text).expect("OUT_DIR is writable");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // The simulator's own references to its exports never go to a preloaded library.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

/// The function whose twin for the per-thread default stream this is.
fn twin_of(symbol: &str) -> Option<&str> {
    symbol
        .strip_suffix("_ptsz")
        .or_else(|| symbol.strip_suffix("_ptds"))
}

/// The name that all versions of a function are looked up by.
fn base_of(symbol: &str) -> &str {
    let plain = twin_of(symbol).unwrap_or(symbol);
    match plain.rsplit_once("_v") {
        Some((base, version)) if version.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => plain,
    }
}

/// How a twin puts the calling thread's stream in the place of a null one.
fn own_stream(entry: &EntryPoint) -> String {
    assert_eq!(entry.default_stream, DefaultStream::PerThread);
    match entry.stream_at {
        ArgumentAt::Register(register) => format!("{register:?}").to_lowercase(),
        ArgumentAt::Stack(offset) => format!("stack {offset}"),
        place => panic!("{}: give it a body, its stream is {place:?}", entry.symbol),
    }
}

/// The first two columns of a table; `#` starts a comment line.
fn pairs(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            match (columns.next(), columns.next()) {
                (Some(first), Some(second)) => (first, second),
                _ => panic!("{}: two columns expected in {line:?}", path.display()),
            }
        })
        .collect()
}
