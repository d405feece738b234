//! Building the workspace's own parts, and finding what was built.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// How the parts are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As tests use them.
    Dev,
    /// As users and benchmarks use them.
    Release,
}

/// What the build left behind.
pub struct Built {
    /// The profile's folder below target.
    pub dir: PathBuf,
}

impl Built {
    /// A program or library, by file name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The workspace this program was built from; of one that was carried to
/// another machine with it, the folder above `target`.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = manifest.parent().unwrap_or(manifest);
    let exe = std::env::current_exe().unwrap_or_default();
    match (built.is_dir(), exe.ancestors().nth(3)) {
        (false, Some(carried)) => carried.to_owned(),
        _ => built.to_owned(),
    }
}

/// A new folder among the temporary ones, which stays: everybody may look into
/// it, since programs of other users do, and nobody else can have made it, since
/// programs and libraries are run from it.
pub fn scratch(what: &str) -> std::io::Result<PathBuf> {
    let mode = std::fs::Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new()
        .prefix(&format!("xsched-{what}-"))
        .permissions(mode)
        .tempdir()?;
    Ok(dir.keep())
}

/// Cargo as it started us, or the one in PATH.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command that explains itself on the terminal; a failure names it.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = format!("{command:?}").replace('"', "");
    let status = command
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// Set for tests: what they run is built already. Cargo enables features by
/// what is built together, so to build less than everything is another build,
/// which would replace programs that other tests run.
pub const BUILT: &str = "XTASK_BUILT";

/// Builds everything that `cargo test --workspace` runs, as it would.
pub fn all_targets() -> anyhow::Result<()> {
    run(cargo().args(["build", "--quiet", "--workspace", "--all-targets"]))
}

/// Builds every part that runs.
pub fn all(profile: Profile) -> anyhow::Result<Built> {
    packages(profile, &[])
}

/// Builds these packages; all that run if none is named.
pub fn packages(profile: Profile, names: &[&str]) -> anyhow::Result<Built> {
    let mut command = cargo();
    command.args(["build", "--quiet"]);
    command.args(names.iter().flat_map(|name| ["--package", name]));
    let dir = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    if profile == Profile::Release || std::env::var_os(BUILT).is_none() {
        run(&mut command)?;
    }
    Ok(Built {
        dir: target().join(dir),
    })
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}
