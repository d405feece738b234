//! What a real GPU has to do with it: its results in the repository, and a
//! run on one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::build;

/// Figures of docs/results that were measured on a real GPU.
pub struct Real {
    /// The file's name.
    pub file: String,
    pub device: String,
    pub metrics: Vec<Figure>,
}

/// One of them.
pub struct Figure {
    pub name: String,
    pub unit: String,
    pub value: f64,
    pub bound: f64,
    pub ok: bool,
    pub detail: String,
}

/// The latest results of `gpu-bench`.
pub fn of_docs() -> Option<Real> {
    let folder = build::root().join("docs/results");
    let is = |name: &str| name.starts_with("gpu-") && !name.contains("raw");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is(name))
        .collect();
    names.sort();
    let file = names.pop()?;
    let text = fs::read_to_string(folder.join(&file)).ok()?;
    let parsed: Value = serde_json::from_str(&text).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metrics = parsed["metrics"].as_array()?.iter().filter_map(|metric| {
        Some(Figure {
            name: text(&metric["name"]),
            unit: text(&metric["unit"]),
            value: metric["value"].as_f64()?,
            bound: metric["bound"].as_f64()?,
            ok: metric["ok"].as_bool()?,
            detail: text(&metric["detail"]),
        })
    });
    Some(Real {
        device: text(&parsed["device"]),
        metrics: metrics.collect(),
        file,
    })
}

/// What the report calls the device of a runtime.
pub fn device(runtime: &Path) -> anyhow::Result<String> {
    let file = fs::canonicalize(runtime)
        .with_context(|| format!("cannot find the runtime {}", runtime.display()))?;
    Ok(format!("real ({})", file.display()))
}

/// The runtime under the name that the samples ask for, and the kernel for
/// it: replays launch one that takes as long as they say.
pub fn install(runtime: &Path, dir: &Path) -> anyhow::Result<()> {
    let file = fs::canonicalize(runtime)?;
    let folder = file.parent().context("a folder")?;
    fs::create_dir_all(dir)?;
    // Its own libraries lie beside it.
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(name) = path
            .file_name()
            .filter(|name| is_library(name.as_encoded_bytes()))
        {
            let _ = std::os::unix::fs::symlink(&path, dir.join(name));
        }
    }
    let wanted = dir.join("libamdhip64.so.5");
    if !wanted.exists() {
        std::os::unix::fs::symlink(&file, &wanted)?;
    }
    let code = kernel(dir)?;
    // SAFETY: nothing else runs in this process yet.
    unsafe { std::env::set_var("HIPSIM_CODE", &code) };
    Ok(())
}

fn is_library(name: &[u8]) -> bool {
    name.windows(3).any(|part| part == b".so")
}

/// Compiled by the machine's hipcc for its GPU.
fn kernel(dir: &Path) -> anyhow::Result<PathBuf> {
    let source = dir.join("spin.hip");
    fs::write(&source, KERNEL)?;
    let code = dir.join("spin.co");
    let status = Command::new("hipcc")
        .args(["--genco", "-O2", "-o"])
        .args([&code, &source])
        .status()
        .context("cannot start hipcc: it compiles the kernel that takes its time")?;
    ensure!(status.success(), "hipcc does not compile the kernel");
    Ok(code)
}

/// Counts the GPU's constant clock of 100 MHz.
const KERNEL: &str = r#"#include <hip/hip_runtime.h>
extern "C" __global__ void hipsim_spin(unsigned long long ns) {
    unsigned long long start = wall_clock64();
    while ((wall_clock64() - start) * 10 < ns) {}
}
"#;
