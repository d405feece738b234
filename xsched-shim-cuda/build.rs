//! Generates the exports from the table of entry points: a line for each, with its index and where it leads.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use xsched_common::platform::{Action, ENTRY_POINTS, EntryPoint, Platform};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let exports: Vec<&EntryPoint> = ENTRY_POINTS
        .iter()
        .filter(|entry| entry.platform == Platform::Cuda && entry.action.is_some())
        .collect();
    let mut text = String::from("exports! {\n");
    for (index, export) in exports.iter().enumerate() {
        writeln!(text, "    {index} {} {};", export.symbol, body(export))
            .expect("writing to a string");
    }
    text += "}\n";
    fs::write(out.join("exports.rs"), text).expect("OUT_DIR is writable");
    // Somebody may open and close the library instead of preloading it: handlers at exit and threads at the gate are in it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

fn body(export: &EntryPoint) -> &'static str {
    match export.action {
        Some(Action::Gate) => "command",
        Some(Action::Drain | Action::Hook) => "hook",
        Some(Action::Forward) | None => "forward",
    }
}
