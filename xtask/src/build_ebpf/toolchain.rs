//! Finding, or installing, a compiler that can build for BPF: a rustc with
//! the sources of its library, and bpf-linker against the same LLVM.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::recorded::{Recorded, Versions};

const BPF_LINKER_VERSION: &str = "0.13.0";

/// Debian's packages: `rustc-web` is a current rustc in stable releases.
const RUST_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// A rustc with library sources, and the programs around it.
pub struct Toolchain {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub sysroot: PathBuf,
    pub cargo_home: PathBuf,
    /// PATH in which bpf-linker is found.
    pub path: OsString,
    version: String,
    llvm: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.rustc.display())
    }
}

impl Toolchain {
    /// Whether one is complete.
    pub fn is_here() -> bool {
        let found = Toolchain::candidates();
        found.iter().any(|it| it.linker_version().is_ok())
    }

    /// The recorded toolchain if it is here, else any; installs what is
    /// missing where that is possible.
    pub fn find_or_install(recorded: Option<&Recorded>) -> anyhow::Result<Toolchain> {
        let mut found = Toolchain::candidates();
        if found.is_empty() {
            install_packages(&RUST_PACKAGES).context(
                "no rustc with library sources: `rustup toolchain install nightly --component \
                 rust-src`",
            )?;
            found = Toolchain::candidates();
        }
        let exact = found
            .iter()
            .position(|t| recorded.is_some_and(|r| r.toolchain.rustc == t.version));
        if found.is_empty() {
            bail!("rustc with library sources is missing even after its installation");
        }
        let toolchain = found.swap_remove(exact.unwrap_or(0));
        toolchain.ensure_linker()?;
        Ok(toolchain)
    }

    fn candidates() -> Vec<Toolchain> {
        let nightly = output("rustup", &["which", "--toolchain", "nightly", "rustc"]).ok();
        nightly
            .map(PathBuf::from)
            .into_iter()
            .chain([PathBuf::from("/usr/bin/rustc")])
            .filter_map(|rustc| Toolchain::at(rustc).ok())
            .collect()
    }

    fn at(rustc: PathBuf) -> anyhow::Result<Toolchain> {
        let verbose = output(&rustc, &["--version", "--verbose"])?;
        let sysroot = PathBuf::from(output(&rustc, &["--print", "sysroot"])?);
        if !sysroot
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
        {
            bail!("{} has no library sources", rustc.display());
        }
        let llvm = verbose
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))
            .context("rustc does not name its LLVM")?;
        // A nightly's cargo knows its library's layout; Debian's rustc comes
        // without one, and the calling cargo will do.
        let beside = rustc.with_file_name("cargo");
        let cargo = if beside.exists() {
            beside
        } else {
            std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
        };
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
            .context("neither CARGO_HOME nor HOME is set")?;
        let mut path = vec![cargo_home.join("bin")];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        Ok(Toolchain {
            version: verbose.lines().next().unwrap_or_default().to_owned(),
            llvm: llvm.to_owned(),
            path: std::env::join_paths(path)?,
            rustc,
            cargo,
            sysroot,
            cargo_home,
        })
    }

    /// For toolchain.json.
    pub fn versions(&self) -> anyhow::Result<Versions> {
        Ok(Versions {
            rustc: self.version.clone(),
            llvm: self.llvm.clone(),
            bpf_linker: self.linker_version()?,
        })
    }

    fn linker_version(&self) -> anyhow::Result<String> {
        let linker = std::env::split_paths(&self.path)
            .map(|dir| dir.join("bpf-linker"))
            .find(|file| file.exists())
            .context("bpf-linker is not in PATH")?;
        output(&linker, &["--version"])
    }

    /// bpf-linker reads rustc's LLVM bitcode, so it must be linked with an
    /// LLVM of the same major version.
    fn ensure_linker(&self) -> anyhow::Result<()> {
        if self.linker_version().is_ok() {
            return Ok(());
        }
        let major = self.llvm.split('.').next().unwrap_or_default();
        let prefix = format!("/usr/lib/llvm-{major}");
        if !Path::new(&prefix).join("include/llvm-c").exists() {
            install_packages(&[
                &format!("llvm-{major}-dev"),
                &format!("clang-{major}"),
                &format!("libclang-rt-{major}-dev"),
                &format!("libpolly-{major}-dev"),
                "zlib1g-dev",
                "libzstd-dev",
            ])?;
        }
        println!("installing bpf-linker {BPF_LINKER_VERSION}");
        let status = Command::new("cargo")
            .args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION])
            .args(["--locked", "--no-default-features", "--features"])
            .arg(format!("llvm-{major}"))
            .env("LLVM_PREFIX", &prefix)
            .status()
            .context("cannot run cargo install")?;
        if !status.success() {
            bail!(
                "bpf-linker does not install: LLVM_PREFIX={prefix} cargo install bpf-linker \
                 --version {BPF_LINKER_VERSION} --no-default-features --features llvm-{major}"
            );
        }
        Ok(())
    }
}

/// Installs Debian packages when this is root on Debian or Ubuntu, else fails
/// with the command that does.
fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let command = format!("apt-get install -y {}", packages.join(" "));
    let root = output("id", &["-u"]).is_ok_and(|uid| uid == "0");
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing packages; on Debian or Ubuntu: `sudo {command}`");
    }
    println!("{command}");
    let status = Command::new("apt-get")
        .args(["install", "-y"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("`{command}` failed ({status}); try `apt-get update` first");
    }
    Ok(())
}

/// A program's standard output without the last newline.
fn output(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> anyhow::Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        // Ask that very program, not what a directory override says.
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", program.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
