//! `cargo xtask build-ebpf`: builds the BPF programs, or checks that the
//! prebuilt object comes from these sources.
//!
//! The object is checked in so that users need no BPF toolchain. The build is
//! reproducible: the same sources and the same toolchain give the same bytes
//! in any directory.

mod layout;
mod recorded;
mod toolchain;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use layout::Layout;
use recorded::Recorded;
use toolchain::Toolchain;

use crate::build::root;

/// Build the BPF programs into xsched-ebpf/prebuilt.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rebuild, and fail unless the prebuilt object comes from these sources
    #[arg(long)]
    check: bool,
}

impl Args {
    /// As with `--check`.
    pub fn check() -> Args {
        Args { check: true }
    }
}

/// Whether it can be built with what is installed.
pub fn can_build() -> bool {
    Toolchain::is_here()
}

/// Runs the task.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let root = root();
    let prebuilt = root.join("xsched-ebpf/prebuilt");
    let object = prebuilt.join("xsched.bpf.o");
    let recorded = Recorded::read(&prebuilt);
    let toolchain = Toolchain::find_or_install(recorded.as_ref().ok())?;
    println!("building with {toolchain}");
    let built = build(&root, &toolchain)?;
    let now = Recorded::of(&root, &toolchain, &built)?;
    if args.check {
        return check(&object, &built, &recorded?, &now);
    }
    fs::create_dir_all(&prebuilt)?;
    fs::write(&object, &built).with_context(|| format!("cannot write {}", object.display()))?;
    now.write(&prebuilt)?;
    println!(
        "{}: {} bytes, sha256 {}",
        object.display(),
        built.len(),
        now.object_sha256
    );
    Ok(())
}

/// The object, built from `root` below target/bpf (a different toolchain than
/// the host's, hence a different target directory).
fn build(root: &Path, toolchain: &Toolchain) -> anyhow::Result<Vec<u8>> {
    let target_dir = root.join("target/bpf");
    let remapped = [
        (root.to_owned(), "xsched"),
        (toolchain.cargo_home.clone(), "cargo"),
        (toolchain.sysroot.clone(), "rust"),
    ];
    let flags: Vec<String> = remapped
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect();
    let mut cargo = Command::new(&toolchain.cargo);
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", "xsched-ebpf"])
        .args(["--target", "bpfel-unknown-none", "-Zbuild-std=core"])
        // BPF programs cannot unwind or call across objects: everything is
        // one unit.
        .args(["--config", "profile.release.lto=true"])
        .args(["--config", "profile.release.panic=\"abort\""])
        .args(["--config", "profile.release.codegen-units=1"])
        .args(["--config", "profile.release.debug=false"])
        .arg("--target-dir")
        .arg(&target_dir)
        // -Zbuild-std on a toolchain that is not a nightly.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", &toolchain.rustc)
        .env("PATH", &toolchain.path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    for inherited in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(inherited);
    }
    let status = cargo
        .status()
        .with_context(|| format!("cannot run {}", toolchain.cargo.display()))?;
    if !status.success() {
        bail!("the BPF programs do not build with {toolchain} ({status})");
    }
    let built = target_dir.join("bpfel-unknown-none/release/xsched-ebpf");
    fs::read(&built).with_context(|| format!("cannot read {}", built.display()))
}

/// Bit for bit under the recorded toolchain; under another one the generated
/// code may differ, so programs, maps and a load stand in for it.
fn check(object: &Path, built: &[u8], recorded: &Recorded, now: &Recorded) -> anyhow::Result<()> {
    let stored = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let rebuild = "run `cargo xtask build-ebpf` and commit xsched-ebpf/prebuilt";
    if recorded.source_sha256 != now.source_sha256 {
        bail!("the prebuilt object was built from other sources: {rebuild}");
    }
    if recorded.toolchain == now.toolchain {
        if stored != built {
            bail!(
                "the prebuilt object differs from what these sources give under the same \
                 toolchain: {rebuild}"
            );
        }
        println!("the prebuilt object comes from these sources, bit for bit");
        return Ok(());
    }
    println!(
        "the prebuilt object was built with {}, this machine has {}: comparing programs and maps \
         instead of bytes",
        recorded.toolchain, now.toolchain
    );
    let (stored_layout, built_layout) = (Layout::parse(&stored)?, Layout::parse(built)?);
    if stored_layout != built_layout {
        bail!(
            "the prebuilt object has other programs or maps than these sources give: {rebuild}\n\
             prebuilt: {stored_layout:?}\nbuilt: {built_layout:?}"
        );
    }
    for (name, bytes) in [("prebuilt", stored.as_slice()), ("built", built)] {
        layout::load(bytes).with_context(|| format!("the kernel refuses the {name} object"))?;
    }
    println!("same programs and maps, and the kernel accepts both objects");
    Ok(())
}
