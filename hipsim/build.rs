//! Generates the exports: a version script with empty nodes, and one assembly entry per symbol of the runtime's ABI.
//!
//! Symbols get their node from `.symver` inside the object, not from the script: rustc passes its own script that makes
//! everything it does not know local, and a second script that lists symbols loses against it without a message.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const SYMBOLS: &str = "../xsched-common/data/hip-symbol-versions.tsv";
const EXTRA: &str = "data/extra-symbol-versions.tsv";
const SIMULATED: &str = "data/simulated.tsv";

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for table in [SYMBOLS, EXTRA, SIMULATED] {
        println!("cargo::rerun-if-changed={}", root.join(table).display());
    }
    let symbols = pairs(&root.join(SYMBOLS));
    let extra = pairs(&root.join(EXTRA));
    let bodies: BTreeMap<String, String> = pairs(&root.join(SIMULATED)).into_iter().collect();
    for name in bodies.keys() {
        assert!(
            symbols.iter().any(|(symbol, _)| symbol == name),
            "{SIMULATED} names {name}, which is no symbol of {SYMBOLS}"
        );
    }

    let script = out.join("nodes.map");
    fs::write(&script, version_script(symbols.iter().chain(&extra)))
        .expect("write the version script");
    fs::write(out.join("exports.rs"), exports(&symbols, &extra, &bodies))
        .expect("write the exports");
    println!(
        "cargo::rustc-cdylib-link-arg=-Wl,--version-script={}",
        script.display()
    );
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libamdhip64.so.5");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // The engine's thread runs this code until the process ends, whoever calls dlclose.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

/// The first two columns of a table; `#` starts a comment line.
fn pairs(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let mut columns = line.split('\t');
            match (columns.next(), columns.next()) {
                (Some(first), Some(second)) => (first.to_owned(), second.to_owned()),
                _ => panic!("{}: two columns expected in {line:?}", path.display()),
            }
        })
        .collect()
}

fn version_script<'a>(symbols: impl Iterator<Item = &'a (String, String)>) -> String {
    let mut nodes: Vec<&str> = Vec::new();
    for (_, node) in symbols {
        if !nodes.contains(&node.as_str()) {
            nodes.push(node);
        }
    }
    let mut script = String::new();
    let mut parent = String::new();
    for node in nodes {
        writeln!(script, "{node} {{ }}{parent};").expect("write to a string");
        parent = format!(" {node}");
    }
    script
}

fn exports(
    symbols: &[(String, String)],
    extra: &[(String, String)],
    bodies: &BTreeMap<String, String>,
) -> String {
    let count = symbols.len();
    let mut names = String::new();
    let mut table = String::new();
    let mut asm = String::new();
    for (index, (symbol, node)) in symbols.iter().enumerate() {
        let body = bodies
            .get(symbol)
            .map_or("support::not_supported", String::as_str);
        writeln!(names, "    {symbol:?},").expect("write to a string");
        writeln!(table, "    AtomicPtr::new(crate::api::{body} as *mut ()),")
            .expect("write to a string");
        // 8 bytes of prologue whose effect is nil, then the jump: `install` rewrites these 8 bytes for SONAMEs whose real
        // runtimes begin their functions in another way.
        write!(
            asm,
            ".section .text.hipsim.export.{index},\"ax\",@progbits\n.p2align 4\n.type hipsim_export_{index},@function\n\
             .globl hipsim_export_{index}\nhipsim_export_{index}:\n.byte 0x55,0x48,0x89,0xe5,0x5d,0x0f,0x1f,0x00\n\
             jmp *{{table}}+{offset}(%rip)\n.size hipsim_export_{index},.-hipsim_export_{index}\n\
             .symver hipsim_export_{index},{symbol}@@{node}\n",
            offset = index * 8,
        )
        .expect("write to a string");
    }
    for (position, (symbol, node)) in extra.iter().enumerate() {
        let index = symbols.iter().position(|(name, _)| name == symbol);
        let index = index
            .unwrap_or_else(|| panic!("{EXTRA} names {symbol}, which is no symbol of {SYMBOLS}"));
        write!(
            asm,
            ".section .text.hipsim.export.{index}\n.globl hipsim_extra_{position}\n\
             .type hipsim_extra_{position},@function\n.set hipsim_extra_{position},hipsim_export_{index}\n\
             .symver hipsim_extra_{position},{symbol}@{node}\n"
        )
        .expect("write to a string");
    }
    asm.push_str(".section .data.rel.ro.hipsim,\"aw\",@progbits\n.p2align 3\n");
    asm.push_str(".globl hipsim_export_table\n.hidden hipsim_export_table\nhipsim_export_table:\n");
    for index in 0..count {
        writeln!(asm, ".quad hipsim_export_{index}").expect("write to a string");
    }
    asm.push_str(".section .text.hipsim.trace,\"ax\",@progbits\n.p2align 4\n");
    asm.push_str(".globl hipsim_trace_thunks\n.hidden hipsim_trace_thunks\nhipsim_trace_thunks:\n");
    for index in 0..count {
        writeln!(asm, ".p2align 4\npushq ${index}\njmp hipsim_trace_common")
            .expect("write to a string");
    }
    asm.push_str(".section .text\n");
    format!(
        "/// Number of functions in the ABI.\npub(crate) const COUNT: usize = {count};\n\n\
         /// Their names, in table order.\npub(crate) static NAMES: [&str; COUNT] = [\n{names}];\n\n\
         /// What each export jumps to.\npub(crate) static DISPATCH: [AtomicPtr<()>; COUNT] = [\n{table}];\n\n\
         core::arch::global_asm!(r#\"\n{asm}\"#, table = sym DISPATCH, options(att_syntax));\n"
    )
}
