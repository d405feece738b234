//! The files that git tracks, and where the tests in them begin.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A tracked file.
pub struct Source {
    /// From the top of the tree.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_document(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the whole file serves tests, benchmarks or examples.
    pub fn is_test(&self) -> bool {
        let inside = |folder: &str| self.path.split('/').any(|part| part == folder);
        let folders = ["tests", "testing", "fuzz", "examples", "benches"];
        folders.into_iter().any(inside)
            || self.path.starts_with("crates/xsched-testkit/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/fixture.rs")
    }

    /// The text without its module of tests.
    pub fn code(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod tests");
        &self.text[..end.unwrap_or(self.text.len())]
    }
}

/// Every tracked file that is text.
pub fn all(root: &Path) -> anyhow::Result<Vec<Source>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    ensure!(
        listed.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let mut sources = Vec::new();
    for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        // A file that is tracked and just deleted, or no text.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(sources)
}
