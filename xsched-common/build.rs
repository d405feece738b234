//! Turns `data/*.tsv` into the static tables of `hip.rs`.

use std::fmt::Write as _;
use std::{env, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let data = Path::new(&root).join("data");
    let entries = data.join("hip-entry-points.tsv");
    let symbols = data.join("hip-symbol-versions.tsv");
    for file in [&entries, &symbols] {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    let mut out = String::new();
    let mut rows = rows(&entries);
    rows.sort();
    out += "/// Sorted by symbol.\npub static ENTRY_POINTS: &[EntryPoint] = &[\n";
    for row in &rows {
        let [symbol, class, stream_at, node] = &row[..4] else {
            panic!("{}: a row has fewer than four columns", entries.display());
        };
        writeln!(
            out,
            "    EntryPoint {{ symbol: {symbol:?}, class: EntryClass::{}, stream_at: {}, node: {node:?} }},",
            capitalised(class),
            place(stream_at),
        )
        .expect("writing to a string");
    }
    out +=
        "];\n\n/// Every symbol real runtimes export, with its version node; sorted by symbol.\n";
    out += "pub static SYMBOL_NODES: &[(&str, &str)] = &[\n";
    let mut rows = self::rows(&symbols);
    rows.sort();
    for row in &rows {
        writeln!(out, "    ({:?}, {:?}),", row[0], row[1]).expect("writing to a string");
    }
    out += "];\n";
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("hip_tables.rs");
    fs::write(&target, out).expect("OUT_DIR is writable");
}

fn rows(file: &Path) -> Vec<Vec<String>> {
    fs::read_to_string(file)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// `-`, `rdi`, `sp+16` or `rdi->32` as a `StreamAt`.
fn place(text: &str) -> String {
    if text == "-" {
        return "StreamAt::Unknown".into();
    }
    if let Some(offset) = text.strip_prefix("sp+") {
        return format!("StreamAt::Stack({offset})");
    }
    match text.split_once("->") {
        Some((register, offset)) => {
            format!(
                "StreamAt::Field(Register::{}, {offset})",
                capitalised(register)
            )
        }
        None => format!("StreamAt::Register(Register::{})", capitalised(text)),
    }
}
