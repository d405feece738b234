//! Generates the exports from `data/functions.tsv`: a version script with an empty node, and an assembly entry per function.
//!
//! As in hipsim, symbols get their node from `.symver` inside the object: rustc passes its own script that makes everything
//! it does not know local, and a second script that lists symbols loses against it without a message.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

const FUNCTIONS: &str = "data/functions.tsv";
const NODE: &str = "ROCR_1";

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let table = root.join(FUNCTIONS);
    println!("cargo::rerun-if-changed={}", table.display());
    let text = fs::read_to_string(&table).unwrap_or_else(|e| panic!("{}: {e}", table.display()));
    let script = out.join("node.map");
    fs::write(&script, format!("{NODE} {{ }};\n")).expect("write the version script");
    fs::write(out.join("exports.rs"), exports(&text)).expect("write the exports");
    for argument in [
        &*format!("--version-script={}", script.display()),
        "-soname,libhsa-runtime64.so.1",
        "-Bsymbolic",
        // The library's threads run this code until the process ends, whoever calls dlclose.
        "-z,nodelete",
    ] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
}

fn exports(table: &str) -> String {
    let (mut names, mut asm, mut operands) = (String::new(), String::new(), String::new());
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for (index, row) in rows.enumerate() {
        let columns: Vec<&str> = row.split('\t').collect();
        let [symbol, _, body] = columns[..] else {
            panic!("{FUNCTIONS}: three columns expected in {row:?}");
        };
        writeln!(names, "    {symbol:?},").expect("write to a string");
        let target = match body {
            "-" => format!("movl ${index}, %edi\njmp {{missing}}"),
            body => {
                writeln!(operands, "    body_{index} = sym crate::api::{body},").expect("write");
                format!("jmp {{body_{index}}}")
            }
        };
        write!(
            asm,
            ".section .text.hsasim.export.{index},\"ax\",@progbits\n.p2align 4\n.type hsasim_export_{index},@function\n\
             .globl hsasim_export_{index}\nhsasim_export_{index}:\nendbr64\n{target}\n\
             .size hsasim_export_{index},.-hsasim_export_{index}\n.symver hsasim_export_{index},{symbol}@@{NODE}\n"
        )
        .expect("write to a string");
        count = index + 1;
    }
    asm.push_str(".section .text\n");
    format!(
        "/// Names of all functions, in the table's order.\npub(crate) static NAMES: [&str; {count}] = [\n{names}];\n\n\
         core::arch::global_asm!(\n    r#\"\n{asm}\"#,\n{operands}    missing = sym crate::api::refused::missing,\n    options(att_syntax)\n);\n"
    )
}
