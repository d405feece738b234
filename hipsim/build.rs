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
/// Rows of the real runtimes' dispatch tables since HIP 6.1.
const RUNTIME_TABLE: &str = "../xsched-common/data/hip-dispatch-table.tsv";
const COMPILER_TABLE: &str = "../xsched-common/data/hip-compiler-dispatch-table.tsv";
/// Exports that use the row of another name, as those of the real runtimes do.
const OTHER_ROWS: [(&str, &str); 3] = [
    (
        "_Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j",
        "hipExtModuleLaunchKernel",
    ),
    (
        "_Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_",
        "hipHccModuleLaunchKernel",
    ),
    ("hipChooseDeviceR0600", "hipChooseDevice"),
];
/// The old forms that have a row of their name but whose exports do not go through it.
const DIRECT: [&str; 1] = ["hipChooseDevice"];

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for table in [SYMBOLS, EXTRA, SIMULATED, RUNTIME_TABLE, COMPILER_TABLE] {
        println!("cargo::rerun-if-changed={}", root.join(table).display());
    }
    let symbols = pairs(&root.join(SYMBOLS));
    let seen = last_majors(&root.join(SYMBOLS));
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
    let rows = Rows {
        runtime: rows(&root.join(RUNTIME_TABLE), &symbols),
        compiler: rows(&root.join(COMPILER_TABLE), &symbols),
    };
    fs::write(
        out.join("exports.rs"),
        exports(&symbols, &extra, &bodies, &rows) + &seen,
    )
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

/// The newest major version of each symbol's real builds, from the table's third column; 255 for what only a source map
/// names, which no build has yet.
fn last_majors(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let majors = rows.map(|line| {
        let builds = line
            .split('\t')
            .nth(2)
            .unwrap_or_else(|| panic!("no builds in {line:?}"));
        let major = |build: &str| match build.split_once('.') {
            Some((major, _)) if !build.ends_with("-map") => major.parse::<u8>().ok(),
            _ => Some(u8::MAX),
        };
        let newest = builds.split(',').filter_map(major).max();
        newest
            .unwrap_or_else(|| panic!("no builds in {line:?}"))
            .to_string()
    });
    format!(
        "\n/// The newest major version that has each of them.\n\
         pub(crate) static LAST_MAJORS: [u8; COUNT] = [{}];\n",
        majors.collect::<Vec<_>>().join(", ")
    )
}

/// Symbols of the two dispatch tables in row order.
struct Rows {
    runtime: Vec<String>,
    compiler: Vec<String>,
}

impl Rows {
    /// The accessor of the table an export goes through and the byte offset of its row there.
    fn of(&self, symbol: &str) -> Option<(&'static str, usize)> {
        if DIRECT.contains(&symbol) {
            return None;
        }
        let name = OTHER_ROWS
            .iter()
            .find(|(export, _)| *export == symbol)
            .map_or(symbol, |(_, row)| *row);
        let offset = |rows: &[String]| {
            rows.iter()
                .position(|row| row == name)
                .map(|row| 8 + 8 * row)
        };
        offset(&self.runtime)
            .map(|at| ("hipsim_runtime_table", at))
            .or_else(|| offset(&self.compiler).map(|at| ("hipsim_compiler_table", at)))
    }
}

/// The functions of a table's rows, up to the first whose version node is not known. A table grows at its end, so the
/// rest is a table, too.
fn rows(path: &Path, symbols: &[(String, String)]) -> Vec<String> {
    let numbered = pairs(path).into_iter().enumerate();
    numbered
        .map(|(row, (index, symbol))| {
            assert_eq!(index, row.to_string(), "{}: {symbol}", path.display());
            symbol
        })
        .take_while(|name| symbols.iter().any(|(symbol, _)| symbol == name))
        .collect()
}

/// Positions in the symbol table of the functions of a dispatch table's rows.
fn positions(rows: &[String], symbols: &[(String, String)]) -> String {
    let mut list = String::new();
    for row in rows {
        let at = symbols.iter().position(|(symbol, _)| symbol == row);
        let at = at.unwrap_or_else(|| panic!("{row} is a dispatch row but no symbol of {SYMBOLS}"));
        write!(list, "{at}, ").expect("write to a string");
    }
    list
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
    rows: &Rows,
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
        // Two forms of the entry, 32 bytes each: `install` moves the second over the first for the SONAMEs whose real
        // runtimes have a dispatch table. The first begins with 8 bytes whose effect is nil, like the 5.x runtimes' entries.
        write!(
            asm,
            ".section .text.hipsim.export.{index},\"ax\",@progbits\n.p2align 6\n.type hipsim_export_{index},@function\n\
             .globl hipsim_export_{index}\nhipsim_export_{index}:\n.byte 0x55,0x48,0x89,0xe5,0x5d,0x0f,0x1f,0x00\n\
             jmp *{{table}}+{offset}(%rip)\n.p2align 5\nendbr64\n",
            offset = index * 8,
        )
        .expect("write to a string");
        match rows.of(symbol) {
            Some((accessor, row)) => write!(
                asm,
                "subq $8,%rsp\ncall {accessor}\nmovq {row}(%rax),%rax\naddq $8,%rsp\njmp *%rax\n"
            ),
            None => writeln!(asm, "jmp *{{table}}+{}(%rip)", index * 8),
        }
        .expect("write to a string");
        write!(
            asm,
            ".p2align 5\n.size hipsim_export_{index},.-hipsim_export_{index}\n\
             .symver hipsim_export_{index},{symbol}@@{node}\n"
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
         /// The functions themselves.\npub(crate) static DISPATCH: [AtomicPtr<()>; COUNT] = [\n{table}];\n\n\
         /// Which of them each row of the runtime's dispatch table names.\n\
         const RUNTIME_ROWS: [u16; {runtime_count}] = [{runtime}];\n\n\
         /// The same of the compiler's dispatch table.\n\
         const COMPILER_ROWS: [u16; {compiler_count}] = [{compiler}];\n\n\
         core::arch::global_asm!(r#\"\n{asm}\"#, table = sym DISPATCH, options(att_syntax));\n",
        runtime_count = rows.runtime.len(),
        runtime = positions(&rows.runtime, symbols),
        compiler_count = rows.compiler.len(),
        compiler = positions(&rows.compiler, symbols),
    )
}
