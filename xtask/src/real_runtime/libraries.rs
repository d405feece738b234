//! Libraries above a runtime: Debian's packages in a folder of their own, wheels in a virtual environment, each fetched once.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::unpack::{self, SUITES};
use super::{LIBRARIES, Version, cache};
use crate::build;
use crate::debian::{self, Debian};
use crate::progress::note;

/// Libraries that are packaged under another number than wheels ask for, and have what these call there.
const RENAMED: [(Version, &str, &str); 4] = [
    (Version::Seven, "librocm_smi64.so.1", "librocm_smi64.so.7"),
    (Version::Six, "librocm_smi64.so.7", "librocm_smi64.so.1"),
    (Version::Six, "libamd_comgr.so.2", "libamd_comgr.so.3"),
    (Version::Six, "libhipblaslt.so.0", "libhipblaslt.so.1"),
];

/// Before the name of a package that comes without what it needs, which would be another runtime, into a folder of its own:
/// others are linked with newer ones.
const ALONE: char = '+';
const APART: &str = "alone";

/// Names of what is done already, one file each.
const DONE: &str = ".done";

/// Where all is that was fetched for one runtime.
pub struct Libraries {
    version: Version,
    folder: PathBuf,
    environment: PathBuf,
}

impl Libraries {
    /// Those of a runtime; the folder is made.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn of(version: Version) -> anyhow::Result<Self> {
        let folder = cache().join(format!("libraries-{version}"));
        let environment = cache().join(format!("python-{version}"));
        fs::create_dir_all(folder.join(DONE))?;
        fs::create_dir_all(folder.join(LIBRARIES))?;
        Ok(Self {
            version,
            folder,
            environment,
        })
    }

    /// The runtime's name for the linker.
    pub fn soname(&self) -> &'static str {
        self.version.soname()
    }

    /// The folder of shared libraries.
    pub fn shared(&self) -> PathBuf {
        self.folder.join(LIBRARIES)
    }

    /// What programs take for an installation of ROCm.
    pub fn prefix(&self) -> PathBuf {
        self.folder.join("usr")
    }

    /// A text with the folders that it names by `{prefix}`, and by `{alone}` for libraries that came without what they need.
    pub fn placed(&self, text: &str) -> String {
        let alone = self.folder.join(APART).join(LIBRARIES);
        let text = text.replace("{prefix}", &self.prefix().to_string_lossy());
        text.replace("{alone}", &alone.to_string_lossy())
    }

    /// The folder where programs keep what they compile.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn home(&self) -> anyhow::Result<PathBuf> {
        let home = self.folder.join("home");
        fs::create_dir_all(&home)?;
        Ok(home)
    }

    /// The environment's Python.
    pub fn python(&self) -> PathBuf {
        self.environment.join("bin/python")
    }

    /// Fetches Debian's packages and what they need beyond the runtime; the first one's version. One with [`ALONE`] before
    /// its name comes without what it needs.
    ///
    /// # Errors
    /// One is not to be had. What was unpacked until then stays, whole, for the next time.
    pub fn add_packages(&self, packages: &[&str]) -> anyhow::Result<String> {
        let done = self.folder.join(DONE);
        let names = packages
            .iter()
            .map(|package| package.trim_start_matches(ALONE));
        let names: Vec<&str> = names.collect();
        let versions: Option<Vec<String>> = names
            .iter()
            .map(|package| fs::read_to_string(done.join(package)).ok())
            .collect();
        if let Some(first) = versions.as_ref().and_then(|versions| versions.first()) {
            return Ok(first.clone());
        }
        let lists = cache().join("debian");
        fs::create_dir_all(&lists)?;
        let _lock = debian::lock(&lists.join("unpack.lock"))?;
        let debian = Debian::open(&lists, &SUITES, &[])?;
        let release = self.version.release();
        let runtime = format!(
            "{}={}",
            release.package,
            unpack::find_version(&debian, &release)?
        );
        let with_runtime = std::slice::from_ref(&runtime);
        let below: HashSet<String> = unpack::needed(&debian, release.suite, with_runtime)?
            .into_iter()
            .map(|needed| needed.name)
            .collect();
        let (alone, whole): (Vec<&str>, Vec<&str>) = packages
            .iter()
            .partition(|package| package.starts_with(ALONE));
        let mut wanted: Vec<String> = whole.into_iter().map(str::to_owned).collect();
        wanted.push(runtime);
        let files = unpack::download(&debian, release.suite, &wanted, &below, &lists)?;
        let files = files.into_iter();
        let mut files: Vec<_> = files
            .map(|(needed, file)| (self.folder.clone(), needed, file))
            .collect();
        for package in alone {
            let package = package.trim_start_matches(ALONE);
            let (needed, file) = unpack::download_alone(&debian, release.suite, package, &lists)?;
            files.push((self.folder.join(APART), needed, file));
        }
        for (to, needed, file) in &files {
            let mark = done.join(&needed.name);
            if !mark.exists() {
                note(&format!("unpacking {} {}", needed.name, needed.version));
                unpack::extract(file, to)?;
                fs::write(mark, &needed.version)?;
            }
        }
        let first = names.first().context("no package is asked for")?;
        fs::read_to_string(done.join(first)).with_context(|| format!("{first} was not unpacked"))
    }

    /// Installs wheels from PyPI into the environment, by exact versions.
    ///
    /// # Errors
    /// No Python with venv, no network, no such wheel for this Python.
    pub fn add_wheels(&self, wheels: &[&str]) -> anyhow::Result<()> {
        let mark = self.folder.join(DONE).join(wheels.join("+"));
        if mark.exists() {
            return Ok(());
        }
        let _lock = debian::lock(&cache().join("python.lock"))?;
        if !self.python().exists() {
            let mut python = Command::new("python3");
            build::run(python.args(["-m", "venv"]).arg(&self.environment))
                .context("python3-venv is needed")?;
        }
        note(&format!("installing {} from PyPI", wheels.join(" ")));
        let out = Command::new(self.python())
            .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
            .arg("--disable-pip-version-check")
            .args(wheels)
            .output()?;
        let said = String::from_utf8_lossy(&out.stderr);
        let last = said.lines().last().unwrap_or("no word of pip's");
        ensure!(out.status.success(), "pip: {last}");
        Ok(fs::write(mark, "")?)
    }

    /// Builds stand-ins (`FILE.so.N.c`) of libraries that nobody packages, but for those that are there, into `to`.
    ///
    /// # Errors
    /// A source cannot be compiled.
    pub fn stand_in(&self, sources: &Path, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        let folders = [self.shared(), self.version.folder().join(LIBRARIES)];
        let is_there = |name: &str| folders.iter().any(|folder| folder.join(name).exists());
        let renamed = RENAMED.iter().filter(|(of, ..)| *of == self.version);
        for (_, asked, packaged) in renamed {
            if is_there(packaged) && !is_there(asked) {
                symlink(packaged, to.join(asked))?;
            }
        }
        let map = to.join("nodes.map");
        fs::write(&map, "ROCTRACER_4.0 { };\n")?;
        for source in fs::read_dir(sources)? {
            let source = source?.path();
            let Some(name) = source.file_stem() else {
                continue;
            };
            if self.shared().join(name).exists() {
                continue;
            }
            let mut cc = Command::new("cc");
            cc.args(["-shared", "-fPIC", "-O1"]).arg(&source);
            cc.arg(format!("-Wl,-soname,{}", name.display()));
            cc.arg(format!("-Wl,--version-script={}", map.display()));
            build::run(cc.arg("-o").arg(to.join(name)))?;
        }
        Ok(())
    }
}
