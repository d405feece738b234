//! Generates the exports from the table of entry points: the linker's version
//! script, and an assembly trampoline per symbol.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use xsched_common::platform::{Action, ENTRY_POINTS, EntryPoint, Platform};

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let exports: Vec<&EntryPoint> = ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Hip && entry.action.is_some())
        .collect();

    let script = out.join("versions.map");
    fs::write(&script, version_script(&exports)).expect("OUT_DIR is writable");
    // Only the preload library: test programs must not carry HIP's versions.
    println!(
        "cargo::rustc-cdylib-link-arg=-Wl,--version-script={}",
        script.display()
    );
    // Somebody may open and close the library instead of preloading it:
    // handlers at exit, strict mode's table and threads at the gate are in it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    fs::write(out.join("trampolines.s"), trampolines(&exports)).expect("OUT_DIR is writable");
}

/// The nodes, empty: the symbols are put into them by `.symver`. A script
/// that listed the symbols would be overruled by rustc's own script, which
/// makes everything it does not know local.
fn version_script(exports: &[&EntryPoint]) -> String {
    let mut nodes: Vec<_> = exports.iter().map(|e| node(e)).collect();
    nodes.sort_by_key(|node| version_numbers(node));
    nodes.dedup();
    let mut out = String::new();
    let mut parent = "";
    for node in nodes {
        writeln!(out, "{node} {{ }} {parent};").expect("writing to a string");
        parent = node;
    }
    out
}

fn node(export: &EntryPoint) -> &'static str {
    export.node.expect("what is exported has a node")
}

/// `hip_7.14` sorts after `hip_7.2`.
fn version_numbers(node: &str) -> Vec<u32> {
    node.trim_start_matches("hip_")
        .split('.')
        .map(|part| part.parse().expect("nodes are hip_MAJOR.MINOR"))
        .collect()
}

/// Each trampoline starts with a 5-byte NOP, which Linux 6.18 and later
/// patch into a call for a uprobe, and is aligned to 16 because a NOP that
/// straddles a page is not patched. Behind it is a jump to the next
/// instruction: our own probes sit there, because a patched NOP kills forked
/// children (see `lifecycle/fork.rs`), and the kernel emulates a jump where
/// it would single-step a `mov`. The trampoline passes its index in r11, which
/// belongs to nobody between a call and its function (System V psABI 3.2.1).
///
/// What is gated or hooked has a second trampoline for strict mode: it stands
/// in the runtime's dispatch table and passes the index behind all exports'.
fn trampolines(exports: &[&EntryPoint]) -> String {
    let mut out = String::new();
    for (index, export) in exports.iter().enumerate() {
        let body = body(export);
        let (symbol, node) = (export.symbol, node(export));
        write!(
            out,
            "    .section .text.xsched.{symbol},\"ax\",@progbits\n\
             \x20   .p2align 5\n\
             \x20   .globl xsched_export_{index}\n\
             \x20   .type xsched_export_{index}, @function\n\
             xsched_export_{index}:\n\
             \x20   .cfi_startproc\n\
             \x20   .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n\
             \x20   .byte 0xeb, 0x00\n\
             \x20   mov r11d, {index}\n\
             \x20   jmp {body}\n\
             \x20   .cfi_endproc\n\
             \x20   .size xsched_export_{index}, . - xsched_export_{index}\n\
             \x20   .symver xsched_export_{index}, {symbol}@@{node}\n"
        )
        .expect("writing to a string");
    }
    out += "    .section .data.rel.ro.xsched_export_addresses,\"aw\",@progbits\n\
            \x20   .p2align 3\n\
            \x20   .globl xsched_export_addresses\n\
            \x20   .hidden xsched_export_addresses\n\
            xsched_export_addresses:\n";
    for index in 0..exports.len() {
        writeln!(out, "    .quad xsched_export_{index}").expect("writing to a string");
    }
    for (index, export) in exports.iter().enumerate().filter(|(_, e)| is_tabled(e)) {
        let body = body(export);
        write!(
            out,
            "    .section .text.xsched_table,\"ax\",@progbits\n\
             \x20   .p2align 4\n\
             xsched_table_{index}:\n\
             \x20   .cfi_startproc\n\
             \x20   mov r11d, {behind}\n\
             \x20   jmp {body}\n\
             \x20   .cfi_endproc\n",
            behind = exports.len() + index,
        )
        .expect("writing to a string");
    }
    out += "    .section .data.rel.ro.xsched_table_addresses,\"aw\",@progbits\n\
            \x20   .p2align 3\n\
            \x20   .globl xsched_table_addresses\n\
            \x20   .hidden xsched_table_addresses\n\
            xsched_table_addresses:\n";
    for (index, export) in exports.iter().enumerate() {
        if is_tabled(export) {
            writeln!(out, "    .quad xsched_table_{index}").expect("writing to a string");
        } else {
            out += "    .quad 0\n";
        }
    }
    out += "    .text\n";
    out
}

fn is_tabled(export: &EntryPoint) -> bool {
    export.row.is_some() && export.action != Some(Action::Forward)
}

/// Operands of the `global_asm!` that takes the text in.
fn body(export: &EntryPoint) -> &'static str {
    match export.action {
        Some(Action::Gate) => "{command}",
        Some(Action::Drain | Action::Hook) => "{hook}",
        Some(Action::Forward) | None => "{forward}",
    }
}
