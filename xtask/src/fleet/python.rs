//! Python's packages in a folder of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{self, target};
use crate::progress::note;

/// The interpreter of an environment that has these packages, of versions that were tried; `imports` show that it is whole.
pub fn with(name: &str, packages: &[&str], imports: &str) -> anyhow::Result<PathBuf> {
    let environment = target().join("fleet").join(name);
    let python = environment.join("bin/python");
    if imports_them(&python, imports) {
        return Ok(python);
    }
    note(&format!(
        "installing {} into target/fleet",
        packages.join(", ")
    ));
    build::run(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
    )?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    build::run(pip.args(packages))?;
    Ok(python)
}

fn imports_them(python: &Path, imports: &str) -> bool {
    let mut check = Command::new(python);
    check.args(["-c", &format!("import {imports}")]);
    check.output().is_ok_and(|out| out.status.success())
}
