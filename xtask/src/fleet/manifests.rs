//! The chart as Helm renders it, and Kubernetes's own schemas.

use std::process::Command;

use anyhow::ensure;

use super::{Figures, python};
use crate::build::root;
use crate::progress::note;

/// Helm's library as a wheel, and the schemas (400 MB).
const PACKAGES: [&str; 2] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let python = python::with("python", &PACKAGES, "helm_python, kubernetes_validate")?;
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
