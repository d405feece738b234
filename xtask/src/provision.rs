//! What the tests and benchmarks need beyond Rust: real HIP software,
//! bpftrace and a systemd, from Debian's or Ubuntu's packages.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::build::run;

/// A package and a file that shows it is there.
struct Need {
    package: &'static str,
    file: &'static str,
    what: &'static str,
}

const COMPILER: Need = Need {
    package: "gcc",
    file: "/usr/bin/cc",
    what: "a C compiler",
};

const TESTS: &[Need] = &[
    COMPILER,
    Need {
        package: "hipcc",
        file: "/usr/bin/hipcc",
        what: "compiles real HIP programs",
    },
    Need {
        package: "libamdhip64-dev",
        file: "/usr/include/hip/hip_runtime.h",
        what: "HIP headers",
    },
    Need {
        package: "librocrand-dev",
        file: "/usr/include/rocrand/rocrand.h",
        what: "rocRAND: a real library that launches kernels",
    },
    Need {
        package: "systemd",
        file: "/usr/bin/systemd-analyze",
        what: "runs the agent's units",
    },
    Need {
        package: "prometheus",
        file: "/usr/bin/promtool",
        what: "promtool checks metrics and alert rules",
    },
    Need {
        package: "cpio",
        file: "/usr/bin/cpio",
        what: "reads an archive that `test --kernels` makes",
    },
    Need {
        package: "musl-tools",
        file: "/usr/bin/musl-gcc",
        what: "programs of another C library under the shim",
    },
    Need {
        package: "rpm",
        file: "/usr/bin/rpmbuild",
        what: "builds and installs the RPM package",
    },
    Need {
        package: "python3",
        file: "/usr/bin/python3",
        what: "runs the example of docs/PROTOCOL.md, and ctypes for diagnose",
    },
];

const BENCHMARKS: &[Need] = &[
    COMPILER,
    Need {
        package: "bpftrace",
        file: "/usr/bin/bpftrace",
        what: "what the observer is compared with",
    },
];

const PACKAGES: &[Need] = &[
    Need {
        package: "debootstrap",
        file: "/usr/sbin/debootstrap",
        what: "makes the minimal system that the package is tried in",
    },
    Need {
        package: "rpm",
        file: "/usr/bin/rpmbuild",
        what: "builds and installs the RPM package",
    },
];

const KERNELS: &[Need] = &[
    COMPILER,
    Need {
        package: "qemu-system-x86",
        file: "/usr/bin/qemu-system-x86_64",
        what: "runs other kernels",
    },
];

/// Provides what the tests need.
pub fn ensure() -> anyhow::Result<()> {
    provide(TESTS, "the tests")
}

/// Provides what the benchmarks need that compare us with others.
pub fn ensure_benchmarks() -> anyhow::Result<()> {
    provide(BENCHMARKS, "the benchmark")
}

/// Provides what packages are verified with.
pub fn ensure_verified_packages() -> anyhow::Result<()> {
    provide(PACKAGES, "dist --verify")
}

/// Provides what the test of other kernels needs.
pub fn ensure_kernels() -> anyhow::Result<()> {
    provide(KERNELS, "the test of other kernels")
}

/// Installs what is missing if we may, else says how.
fn provide(needs: &[Need], whose: &str) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .filter(|need| !Path::new(need.file).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let install = format!(
        "apt-get install --no-install-recommends -y {}",
        packages.join(" ")
    );
    for need in &missing {
        eprintln!("missing: {} ({})", need.package, need.what);
    }
    if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "{} missing for {whose}: run `sudo {install}` (Debian/Ubuntu), then this again",
            packages.join(", ")
        );
    }
    eprintln!("installing them: {install}");
    let quiet = ["-qq", "-o=Dpkg::Use-Pty=0"];
    run(Command::new("apt-get").args(quiet).arg("update"))?;
    run(Command::new("apt-get")
        .args(quiet)
        .args(["install", "--no-install-recommends", "-y"])
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether we may install packages and set probes.
pub fn is_root() -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}
