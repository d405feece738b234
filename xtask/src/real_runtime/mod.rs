//! AMD's own HIP runtimes from Debian's packages, on the simulated HSA library.
//!
//! They are unpacked with their own C library into a folder beside the build; nothing on the machine changes. Programs run on
//! one in a mount namespace of their own, where its libraries lie over the machine's ([`enter`]).

mod enter;
mod kfd;
pub mod libraries;
pub mod on;
mod unpack;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::build;

pub use enter::{Above, enter};

/// Options of `provision`.
#[derive(clap::Args)]
pub struct Args {
    /// What to provide
    #[arg(value_enum)]
    what: What,
    /// Which versions; all by default
    #[arg(long, value_enum)]
    runtime: Vec<Version>,
}

/// What `provision` provides.
#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// AMD's HIP runtimes with their C library, from Debian's packages (about 100 MB of downloads and 300 MB on disk each)
    RealRuntime,
}

/// A runtime that is known here: `hipsim/hsa/data/functions.tsv` lists what it imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// AMD's 6.4.3
    #[value(name = "real-6.4")]
    Six,
    /// AMD's 7.2.4
    #[value(name = "real-7.2")]
    Seven,
}

/// Where a version is to be had.
struct Release {
    number: &'static str,
    package: &'static str,
    /// Debian's suite that has it.
    suite: &'static str,
    soname: &'static str,
}

impl Version {
    /// All.
    pub const ALL: [Version; 2] = [Version::Six, Version::Seven];

    fn release(self) -> Release {
        match self {
            Version::Six => Release {
                number: "6.4.3",
                package: "libamdhip64-6",
                suite: "sid",
                soname: "libamdhip64.so.6",
            },
            Version::Seven => Release {
                number: "7.2.4",
                package: "libamdhip64-7",
                suite: "experimental",
                soname: "libamdhip64.so.7",
            },
        }
    }

    /// The name for the linker.
    pub fn soname(self) -> &'static str {
        self.release().soname
    }

    /// The folder with its libraries.
    fn folder(self) -> PathBuf {
        cache().join(self.to_string())
    }

    /// Its libraries, if they were provided.
    pub fn libraries(self) -> Option<PathBuf> {
        let libraries = self.folder().join(LIBRARIES);
        libraries
            .join(self.release().soname)
            .exists()
            .then_some(libraries)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "real-{}", self.release().number)
    }
}

/// A version's runtime as programs find it once this process has gone there ([`enter`]).
pub fn machines(version: Version) -> PathBuf {
    Path::new("/").join(LIBRARIES).join(version.soname())
}

/// Where libraries are in Debian's packages for this machine.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Where everything is kept.
fn cache() -> PathBuf {
    build::target().join("real-runtime")
}

/// Provides what is asked for.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let What::RealRuntime = args.what;
    let versions = match args.runtime.as_slice() {
        [] => &Version::ALL,
        some => some,
    };
    for version in versions {
        let libraries = provide(*version)?;
        println!("{version}: {}", libraries.display());
    }
    Ok(())
}

/// The libraries of a version, unpacked unless they were before.
///
/// # Errors
/// No network and no cache, or the packages are of another version than is known here.
pub fn provide(version: Version) -> anyhow::Result<PathBuf> {
    if let Some(libraries) = version.libraries() {
        return Ok(libraries);
    }
    ensure!(
        cfg!(target_arch = "x86_64"),
        "{version} is to be had for x86-64 only"
    );
    unpack::unpack(
        &version.release(),
        &version.folder(),
        &cache().join("debian"),
    )
    .with_context(|| format!("cannot provide {version}"))?;
    version.libraries().with_context(|| {
        format!(
            "Debian's packages of {version} have no {}",
            version.release().soname
        )
    })
}
