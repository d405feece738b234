//! The platforms that tasks run on: what is built for each, and its simulated runtime.

use std::path::{Path, PathBuf};

use xsched_common::platform::Platform as Name;

use crate::build::Built;

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
            Platform::Hip => &["hipsim", "xsched-shim"],
            Platform::Cuda => &["hipsim", "cudasim", "xsched-shim-cuda"],
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

    /// Lays its simulated runtime out in `dir`, for LD_LIBRARY_PATH.
    ///
    /// # Errors
    /// A library is missing or cannot be written.
    pub fn install(self, built: &Built, dir: &Path) -> anyhow::Result<()> {
        let hipsim = built.file("libhipsim.so");
        match self {
            Platform::Hip => {
                hipsim::install::install(&hipsim, dir)?;
                let [smi, _] = smisim::NAMES;
                smisim::install(&built.file("libsmisim.so"), dir, smi)?;
            }
            Platform::Cuda => {
                let hip = dir.join("hip");
                hipsim::install::install(&hipsim, &hip)?;
                cudasim::install::install(&built.file("libcudasim.so"), &hip, dir)?;
                let [_, nvml] = smisim::NAMES;
                smisim::install(&built.file("libsmisim.so"), dir, nvml)?;
            }
        }
        Ok(())
    }
}
