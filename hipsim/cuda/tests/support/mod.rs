//! The installed simulator, and programs on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The folder with `libcuda.so.1`.
pub fn driver() -> &'static Path {
    static DRIVER: OnceLock<TempDir> = OnceLock::new();
    DRIVER
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let hip = dir.path().join("hip");
            let exe = std::env::current_exe().expect("the test has a path");
            let built = |name: &str| {
                let beside = exe.with_file_name(name);
                // Of a dependency cargo leaves the library one folder up.
                let above = exe
                    .parent()
                    .and_then(Path::parent)
                    .map(|dir| dir.join(name));
                let found = [Some(beside), above]
                    .into_iter()
                    .flatten()
                    .find(|f| f.exists());
                found.unwrap_or_else(|| panic!("{name} was not built: cargo build -p hipsim"))
            };
            hipsim::install::install(&built("libhipsim.so"), &hip).expect("hipsim");
            cudasim::install::install(&built("libcudasim.so"), &hip, dir.path()).expect("cudasim");
            dir
        })
        .path()
}

/// A program of `tests/c`, compiled against the simulator and what else is named.
pub fn compiled(name: &str, out: &Path, more: &[&OsStr]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
    let program = out.join(name);
    let status = Command::new("cc")
        .args(["-O1", "-g", "-Wall", "-Werror", "-pthread"])
        .arg(source)
        .arg("-o")
        .arg(&program)
        .args(more)
        .status()
        .expect("a C compiler is installed");
    assert!(status.success(), "cc {name}");
    program
}

/// Runs a program on a device of its own.
pub fn run(program: &Path, libraries: &[&Path], arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths = std::env::join_paths(libraries).expect("paths without colons");
    Command::new(program)
        .args(arguments)
        .env("LD_LIBRARY_PATH", paths)
        .env("HIPSIM_DEVICE", dir.path().join("device"))
        .output()
        .expect("it starts")
}

/// What a program printed; it must have succeeded.
pub fn printed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
