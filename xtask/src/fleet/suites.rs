//! The figures that the normal tests print.

use std::ffi::OsStr;

use anyhow::ensure;

use super::Figures;
use crate::build;
use crate::progress::note;

/// Package, target and the tests' names.
const SUITES: [(&str, &str, &str); 3] = [
    ("xsched-pods", "watch", ""),
    ("xsched-agent", "terms", "clusters::"),
    ("xsched-agent", "outputs", "a_thousand_pods"),
];

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    for (package, target, name) in SUITES {
        suite(package, target, name, &[], figures)?;
    }
    Ok(())
}

/// Runs these tests and takes their figures.
pub fn suite(
    package: &str,
    target: &str,
    name: &str,
    settings: &[(&str, &OsStr)],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    note(&format!("{package}: {target} {name}"));
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--package", package, "--test", target]);
    cargo.args(["--", "--nocapture", "--test-threads=1", name]);
    let out = cargo.envs(settings.iter().copied()).output()?;
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{package}: {target} failed:\n{said}");
    figures.read(&said);
    Ok(())
}
