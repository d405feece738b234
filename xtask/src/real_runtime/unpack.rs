//! From packages to a folder of libraries.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::{LIBRARIES, Release};
use crate::build;
use crate::debian::{self, Debian};
use crate::progress::note;

/// Suites that have the runtimes.
pub const SUITES: [&str; 2] = ["sid", "experimental"];
/// Packages that are needed by the letter only: the library that is simulated here, and what compiles host programs.
const LEFT: [&str; 2] = ["libhsa-runtime64-1", "libclang-common-"];

/// Begins the extension of a folder that is being filled.
const FRESH: &str = "new-";

/// Unpacks a release into `folder`, completely or not at all.
///
/// # Errors
/// A package is not to be had, or has another version.
pub fn unpack(release: &Release, folder: &Path, lists: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(lists)?;
    // One at a time: what another process downloads and unpacks is taken from it.
    let _lock = debian::lock(&lists.join("unpack.lock"))?;
    if folder.join(LIBRARIES).join(release.soname).exists() {
        return Ok(());
    }
    remove_left(folder)?;
    let debian = Debian::open(lists, &SUITES, &[])?;
    let version = find_version(&debian, release)?;
    let package = format!("{}={version}", release.package);
    let packages = download(&debian, release.suite, &[package], &HashSet::new(), lists)?;
    let fresh = folder.with_extension(format!("{FRESH}{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    let all = packages
        .iter()
        .try_for_each(|(_, package)| extract(package, &fresh));
    let done = all.and_then(|()| Ok(fs::rename(&fresh, folder)?));
    if done.is_err() {
        // Nothing half unpacked; the first failure is the one to tell.
        let _ = fs::remove_dir_all(&fresh);
    }
    done
}

/// Puts a package's files into a folder.
///
/// # Errors
/// No dpkg-deb, or a damaged package.
pub fn extract(package: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut unpack = Command::new("dpkg-deb");
    build::run(unpack.arg("--extract").arg(package).arg(folder))
}

/// Removes what was not finished: the folder without the runtime, and those of processes that were killed.
fn remove_left(folder: &Path) -> anyhow::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let stem = Path::new(&*name).with_extension(FRESH);
    let unfinished = stem.to_string_lossy().into_owned();
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found == name || found.starts_with(&unfinished) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The package's version. The archive moves on: another release may import functions that are not simulated.
pub fn find_version(debian: &Debian, release: &Release) -> anyhow::Result<String> {
    let out = debian
        .apt("apt-cache")
        .args(["madison", release.package])
        .output()
        .context("cannot start apt-cache")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let found: Vec<&str> = text.lines().filter_map(version_of).collect();
    choose(&found, release, &debian.unreachable)
}

/// The release among the versions that were found; `unreachable` are archives that did not answer.
fn choose(found: &[&str], release: &Release, unreachable: &[String]) -> anyhow::Result<String> {
    if let Some(version) = found
        .iter()
        .find(|version| is_release(version, release.number))
    {
        return Ok((*version).to_owned());
    }
    match (found, unreachable) {
        ([], [first, ..]) => bail!(
            "{} is not to be had without a network ({first})",
            release.package
        ),
        ([], []) => bail!(
            "Debian's {} has no package {}",
            SUITES.join(" and "),
            release.package
        ),
        (others, _) => bail!(
            "Debian has {} {} now, and {} is what is known here: compare its imports with hipsim/hsa/data/functions.tsv, \
             then add it to xtask/src/real_runtime/mod.rs",
            release.package,
            others.join(", "),
            release.number
        ),
    }
}

/// Whether a package's version is of this release: Debian's own part follows after a dash or a plus.
fn is_release(version: &str, number: &str) -> bool {
    version
        .strip_prefix(number)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '+']))
}

/// The version of a line of `apt-cache madison`: `package | version | source`.
fn version_of(line: &str) -> Option<&str> {
    let version = line.split('|').nth(1)?.trim();
    (!line.trim_end().ends_with("Sources")).then_some(version)
}

/// What apt would install for these packages (`name` or `name=version`), but for what is left by the letter.
///
/// # Errors
/// One is not to be had, or only in another version.
pub fn needed(debian: &Debian, suite: &str, packages: &[String]) -> anyhow::Result<Vec<Needed>> {
    let out = install(debian, suite, packages)
        .arg("--simulate")
        .output()?;
    let asked = packages.join(" ");
    ensure!(
        out.status.success(),
        "apt finds no way to install {asked}: {}",
        one_line(&out.stderr)
    );
    let listed = String::from_utf8_lossy(&out.stdout).into_owned();
    let needed: Vec<Needed> = listed.lines().filter_map(Needed::of).collect();
    for package in packages {
        let is_it = |found: &Needed| match package.split_once('=') {
            Some((name, version)) => found.name == name && found.version == version,
            None => found.name == *package,
        };
        ensure!(
            needed.iter().any(is_it),
            "apt would not install {package}: {}",
            one_line(&out.stdout)
        );
    }
    let is_left = |needed: &Needed| LEFT.iter().any(|left| needed.name.starts_with(left));
    Ok(needed
        .into_iter()
        .filter(|needed| !is_left(needed))
        .collect())
}

fn install(debian: &Debian, suite: &str, packages: &[String]) -> Command {
    let mut apt = debian.apt("apt-get");
    apt.args(["install", "-y", "-q", "--no-install-recommends"]);
    apt.args(["-t", suite]).args(packages);
    apt
}

/// The files of the packages and of all that they need, but for those named in `without`.
///
/// # Errors
/// As [`needed`]; no network; a file is not what Debian's lists say.
pub fn download(
    debian: &Debian,
    suite: &str,
    packages: &[String],
    without: &HashSet<String>,
    lists: &Path,
) -> anyhow::Result<Vec<(Needed, PathBuf)>> {
    let mut wanted = needed(debian, suite, packages)?;
    wanted.retain(|needed| !without.contains(&needed.name));
    let package = packages.join(" ");
    note(&format!("downloading {package} and what it needs"));
    let archives = lists.join("cache/archives");
    let sums = sums(debian, &wanted)?;
    // What lies there from before is taken only if it is whole and the archive's.
    for needed in &wanted {
        let file = archives.join(needed.file());
        if file.exists() && !needed.is_whole(&file, &sums)? {
            fs::remove_file(&file)?;
        }
    }
    let out = install(debian, suite, packages)
        .arg("--download-only")
        .output()?;
    ensure!(
        out.status.success(),
        "apt cannot download {package}: {}",
        one_line(&out.stderr)
    );
    let mut files = Vec::new();
    for needed in wanted {
        let file = archives.join(needed.file());
        ensure!(file.exists(), "apt has put no {}", file.display());
        ensure!(
            needed.is_whole(&file, &sums)?,
            "{} is not what Debian's lists say (SHA256); remove it and try again",
            file.display()
        );
        files.push((needed, file));
    }
    Ok(files)
}

/// The file of a package of the suite without what it depends on, which would be another runtime.
///
/// # Errors
/// No network; the suite has no such package; a file is not what Debian's lists say.
pub fn download_alone(
    debian: &Debian,
    suite: &str,
    package: &str,
    lists: &Path,
) -> anyhow::Result<(Needed, PathBuf)> {
    let mut show = debian.apt("apt-cache");
    show.args(["show", "--no-all-versions", "-t", suite, package]);
    let listed = String::from_utf8_lossy(&show.output()?.stdout).into_owned();
    let found = Needed::of_paragraph(&listed);
    let needed = found.with_context(|| format!("Debian's {suite} has no package {package}"))?;
    let file = lists.join("cache/archives").join(needed.file());
    let sums = read_sums(&listed);
    if !file.exists() {
        note(&format!("downloading {package} alone"));
        let mut get = debian.apt("apt-get");
        get.args(["download", "-qq", "-t", suite, package]);
        build::run(get.current_dir(lists.join("cache/archives")))?;
    }
    ensure!(
        needed.is_whole(&file, &sums)?,
        "{} is not what Debian's lists say (SHA256); remove it and try again",
        file.display()
    );
    Ok((needed, file))
}

/// SHA256 of packages by name and version, as Debian's signed lists say.
fn sums(debian: &Debian, packages: &[Needed]) -> anyhow::Result<HashMap<(String, String), String>> {
    let asked = packages
        .iter()
        .map(|needed| format!("{}={}", needed.name, needed.version));
    let out = debian.apt("apt-cache").arg("show").args(asked).output()?;
    Ok(read_sums(&String::from_utf8_lossy(&out.stdout)))
}

/// A field of a paragraph of the lists, by its name with the colon.
fn field(paragraph: &str, name: &str) -> Option<String> {
    let value = paragraph.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim().to_owned())
}

fn read_sums(text: &str) -> HashMap<(String, String), String> {
    let paragraphs = text.split("\n\n").filter_map(|paragraph| {
        let key = (field(paragraph, "Package:")?, field(paragraph, "Version:")?);
        Some((key, field(paragraph, "SHA256:")?))
    });
    paragraphs.collect()
}

/// What a program said, in one line.
fn one_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// A package that apt would install.
#[derive(Debug, PartialEq, Eq)]
pub struct Needed {
    pub name: String,
    pub version: String,
    architecture: String,
}

impl Needed {
    /// From a line of `apt-get --simulate`: `Inst name (version origin [architecture])`.
    fn of(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
        let (version, rest) = rest.split_once(' ')?;
        let architecture = rest.split_once('[')?.1.split(']').next()?;
        Some(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        })
    }

    /// From the first paragraph of `apt-cache show`.
    fn of_paragraph(listed: &str) -> Option<Self> {
        let paragraph = listed.split("\n\n").next()?;
        Some(Self {
            name: field(paragraph, "Package:")?,
            version: field(paragraph, "Version:")?,
            architecture: field(paragraph, "Architecture:")?,
        })
    }

    /// The name under which apt keeps it.
    fn file(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// Whether the file is what the lists say of this package.
    fn is_whole(
        &self,
        file: &Path,
        sums: &HashMap<(String, String), String>,
    ) -> anyhow::Result<bool> {
        let wanted = sums.get(&(self.name.clone(), self.version.clone()));
        let wanted = wanted.with_context(|| {
            format!(
                "Debian's lists have no SHA256 of {} {}",
                self.name, self.version
            )
        })?;
        let found = Sha256::digest(fs::read(file)?);
        let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(found == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lines_are_read() {
        let line = "Inst libllvm22 (1:22.1.8-3 Debian:unstable [amd64]) []";
        let needed = Needed::of(line).expect("a package");
        assert_eq!(needed.file(), "libllvm22_1%3a22.1.8-3_amd64.deb");
        assert_eq!(needed.version, "1:22.1.8-3");
        assert_eq!(Needed::of("Reading package lists..."), None);
        let listed = "Package: a\nArchitecture: amd64\nVersion: 5-3+b1\n\nPackage: b\n";
        let alone = Needed::of_paragraph(listed).expect("a package");
        assert_eq!(alone.file(), "a_5-3+b1_amd64.deb");
        assert_eq!(Needed::of_paragraph(""), None);
        let line = " libamdhip64-7 | 7.2.4-1~exp2 | http://mirror.example/debian experimental/main amd64 Packages";
        assert_eq!(version_of(line), Some("7.2.4-1~exp2"));
        assert_eq!(one_line(b"E: one\n\n  W: two\n"), "E: one; W: two");
    }

    #[test]
    fn a_release_is_its_number_not_what_begins_like_it() {
        assert!(is_release("7.2.4-1~exp2", "7.2.4"));
        assert!(is_release("7.2.4+dfsg-1", "7.2.4"));
        assert!(!is_release("7.2.40-1", "7.2.4"));
        assert!(!is_release("7.2.4~rc1-1", "7.2.4"));
        assert!(!is_release("7.2.5-1", "7.2.4"));
    }

    /// One line each, which says what to do.
    #[test]
    fn a_runtime_newer_than_the_list_is_named_with_the_next_step() {
        let release = Release {
            number: "7.2.4",
            package: "libamdhip64-7",
            suite: "experimental",
            soname: "libamdhip64.so.7",
        };
        let refused = |found: &[&str], unreachable: &[String]| {
            let refused = choose(found, &release, unreachable).expect_err("it is not there");
            let line = format!("{refused:#}");
            assert!(!line.contains('\n'), "{line}");
            line
        };
        let newer = refused(&["7.3.0-1", "7.2.40-1"], &[]);
        for part in [
            "Debian has libamdhip64-7 7.3.0-1, 7.2.40-1 now",
            "7.2.4 is what is known here",
            "functions.tsv",
            "then add it to xtask/src/real_runtime/mod.rs",
        ] {
            assert!(newer.contains(part), "{newer}");
        }
        let offline = refused(&[], &["deb.debian.org".to_owned()]);
        assert!(offline.contains("without a network"), "{offline}");
        assert!(refused(&[], &[]).contains("has no package libamdhip64-7"));
        let found = choose(&["7.3.0-1", "7.2.4-1~exp2"], &release, &[]);
        assert_eq!(found.expect("the release"), "7.2.4-1~exp2");
    }

    #[test]
    fn a_file_must_be_what_the_lists_say() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a.deb");
        fs::write(&file, "abc").expect("written");
        let text = "Package: a\nVersion: 1:2-3\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\n\
                    Package: a\nVersion: 4\nSHA256: 00\n";
        let sums = read_sums(text);
        let needed = |version: &str| Needed {
            name: "a".to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
        };
        assert!(needed("1:2-3").is_whole(&file, &sums).expect("listed"));
        assert!(!needed("4").is_whole(&file, &sums).expect("listed"));
        assert!(needed("5").is_whole(&file, &sums).is_err());
    }

    #[test]
    fn what_the_killed_left_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("real-7.2.4");
        for name in ["real-7.2.4", "real-7.2.new-12", "real-6.4.3", "debian"] {
            fs::create_dir_all(dir.path().join(name).join("usr")).expect("made");
        }
        assert_eq!(
            folder.with_extension("new-12"),
            dir.path().join("real-7.2.new-12")
        );
        remove_left(&folder).expect("removed");
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["debian", "real-6.4.3"]);
    }
}
