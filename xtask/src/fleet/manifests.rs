//! The chart as Helm renders it, and Kubernetes's own schemas.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;

use super::Figures;
use crate::build::{self, root, target};
use crate::progress::note;

/// Helm's library as a wheel, and the schemas; versions that were tried.
const PACKAGES: [&str; 2] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let venv = target().join("fleet/python");
    let python = venv.join("bin/python");
    if !installed(&python) {
        note("installing Helm's library and Kubernetes's schemas into target/fleet (400 MB)");
        build::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        build::run(pip.args(PACKAGES))?;
    }
    note("rendering, linting and validating the chart");
    let script = root().join("deploy/kubernetes/validate.py");
    let out = Command::new(&python).arg(script).output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    let error = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "the manifests are not valid: {said}{error}"
    );
    figures.read(&said);
    Ok(())
}

fn installed(python: &Path) -> bool {
    let mut check = Command::new(python);
    check.args(["-c", "import helm_python, kubernetes_validate"]);
    check.output().is_ok_and(|out| out.status.success())
}
