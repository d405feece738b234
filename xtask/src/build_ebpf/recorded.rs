//! prebuilt/toolchain.json: what the prebuilt object was built from and with.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::toolchain::Toolchain;

/// What decides the object's bytes beside these sources.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// `rustc --version`, with the commit.
    pub rustc: String,
    /// LLVM of that rustc.
    pub llvm: String,
    /// `bpf-linker --version`.
    pub bpf_linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, LLVM {}, {}", self.rustc, self.llvm, self.bpf_linker)
    }
}

/// The content of toolchain.json.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// Programs that built the object.
    pub toolchain: Versions,
    /// Over the files that the object is made of, in [`SOURCES`] order.
    pub source_sha256: String,
    /// Over the object.
    pub object_sha256: String,
}

/// Every file of the workspace that goes into the object.
const SOURCES: [&str; 26] = [
    "xsched-ebpf/Cargo.toml",
    "xsched-ebpf/src/main.rs",
    "xsched-ebpf/src/bursts.rs",
    "xsched-ebpf/src/counts.rs",
    "xsched-ebpf/src/entry.rs",
    "xsched-ebpf/src/lifecycle.rs",
    "xsched-ebpf/src/maps.rs",
    "xsched-ebpf/src/recording.rs",
    "xsched-ebpf/src/route.rs",
    "xsched-ebpf/src/runtime_call.rs",
    "xsched-ebpf/src/shim_call.rs",
    "xsched-common/build.rs",
    "xsched-common/src/bpf.rs",
    "xsched-common/src/buckets.rs",
    "xsched-common/src/platform/cuda.rs",
    "xsched-common/src/platform/entry_point.rs",
    "xsched-common/src/platform/hip.rs",
    "xsched-common/src/platform/mod.rs",
    "xsched-common/src/platform/names.rs",
    "xsched-common/src/platform/place.rs",
    "xsched-common/src/units.rs",
    "xsched-common/data/cuda-entry-points.tsv",
    "xsched-common/data/cuda-versions.tsv",
    "xsched-common/data/hip-dispatch-table.tsv",
    "xsched-common/data/hip-entry-points.tsv",
    "xsched-common/data/hip-symbol-versions.tsv",
];

const FILE: &str = "toolchain.json";

impl Recorded {
    /// What an object built now is recorded as.
    pub fn of(root: &Path, toolchain: &Toolchain, object: &[u8]) -> anyhow::Result<Recorded> {
        Ok(Recorded {
            toolchain: toolchain.versions()?,
            source_sha256: hash_sources(root)?,
            object_sha256: hex(&Sha256::digest(object)),
        })
    }

    /// The record beside the prebuilt object.
    pub fn read(prebuilt: &Path) -> anyhow::Result<Recorded> {
        let path = prebuilt.join(FILE);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes it there.
    pub fn write(&self, prebuilt: &Path) -> anyhow::Result<()> {
        let path = prebuilt.join(FILE);
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn hash_sources(root: &Path) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    for name in SOURCES {
        let path = root.join(name);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Names and lengths too, so that text cannot move between files.
        hash.update(format!("{name}\0{}\0", text.len()));
        hash.update(text);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::root;

    #[test]
    fn every_source_of_the_programs_is_listed() {
        let root = root();
        for entry in fs::read_dir(root.join("xsched-ebpf/src")).expect("sources") {
            let name = entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8");
            let path = format!("xsched-ebpf/src/{name}");
            assert!(SOURCES.contains(&path.as_str()), "{path} is not in SOURCES");
        }
    }

    /// Needs no BPF toolchain, so every test run finds a forgotten rebuild.
    #[test]
    fn the_prebuilt_object_is_up_to_date() {
        let root = root();
        let prebuilt = root.join("xsched-ebpf/prebuilt");
        let recorded = Recorded::read(&prebuilt).expect("recorded");
        let object = fs::read(prebuilt.join("xsched.bpf.o")).expect("object");
        assert_eq!(recorded.object_sha256, hex(&Sha256::digest(object)));
        assert_eq!(
            recorded.source_sha256,
            hash_sources(&root).expect("sources"),
            "run `cargo xtask build-ebpf` and commit xsched-ebpf/prebuilt"
        );
    }
}
