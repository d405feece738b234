//! The platforms that tasks run on: what is built for each, and its simulated runtime.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use xsched_common::platform::Platform as Name;

use crate::build::Built;

const HIPSIM: &str = "libhipsim.so";
const CUDASIM: &str = "libcudasim.so";
const SMISIM: &str = "libsmisim.so";

/// Whose programs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// AMD's HIP.
    #[default]
    Hip,
    /// NVIDIA's CUDA, at the driver's interface.
    Cuda,
}

impl Platform {
    /// The packages with its shim and its simulated runtime.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Platform::Hip => &["hipsim", "smisim", "xsched-shim"],
            Platform::Cuda => &["hipsim", "smisim", "cudasim", "xsched-shim-cuda"],
        }
    }

    /// What the names of its sample programs begin with.
    pub fn samples(self) -> &'static str {
        match self {
            Platform::Hip => "hipsim",
            Platform::Cuda => "cudasim",
        }
    }

    /// Its shim, as built.
    pub fn shim(self, built: &Built) -> PathBuf {
        let name = match self {
            Platform::Hip => Name::Hip,
            Platform::Cuda => Name::Cuda,
        };
        built.file(name.names().shim)
    }

    /// What its simulated runtime is laid out from, as built: all that [`Platform::install`] takes.
    pub fn libraries(self) -> &'static [&'static str] {
        match self {
            Platform::Hip => &[HIPSIM, SMISIM],
            Platform::Cuda => &[HIPSIM, SMISIM, CUDASIM],
        }
    }

    /// Lays its simulated runtime out in `dir`, for LD_LIBRARY_PATH.
    ///
    /// # Errors
    /// A library is missing or cannot be written.
    pub fn install(self, built: &Built, dir: &Path) -> anyhow::Result<()> {
        for name in self.libraries() {
            let file = built.file(name);
            ensure!(file.exists(), "{} is missing", file.display());
        }
        let [hipsim, smi] = [HIPSIM, SMISIM].map(|name| built.file(name));
        let [amd, nvidia] = smisim::NAMES;
        match self {
            Platform::Hip => {
                hipsim::install::install(&hipsim, dir)?;
                smisim::install(&smi, dir, amd)?;
            }
            Platform::Cuda => {
                let hip = dir.join("hip");
                hipsim::install::install(&hipsim, &hip)?;
                cudasim::install::install(&built.file(CUDASIM), &hip, dir)?;
                smisim::install(&smi, dir, nvidia)?;
            }
        }
        Ok(())
    }
}
