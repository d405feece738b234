//! Kernels from Debian's packages: found, downloaded and unpacked into the
//! target folder. Nothing is installed, and the machine's own package lists
//! stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::debian::Debian;
use crate::progress::note;

/// Where Debian keeps kernels, from old to new; archives drop them one day.
const SUITES: [&str; 6] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "sid",
];
/// Those of [`SUITES`] that get updates from the archive for security.
const SECURED: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// Which kernel is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest of a series, such as 6.1.
    Series(u32, u32),
    /// The newest of all.
    Newest,
}

impl Wanted {
    /// What is tried without being asked: one too old, one for each way of
    /// attaching probes that Debian supports, and the newest.
    pub const USUAL: [Wanted; 4] = [
        Wanted::Series(5, 10),
        Wanted::Series(6, 1),
        Wanted::Series(6, 12),
        Wanted::Newest,
    ];

    fn takes(self, package: &Package) -> bool {
        match self {
            Wanted::Newest => true,
            Wanted::Series(major, minor) => package.version.starts_with(&[major, minor]),
        }
    }
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        if text == "newest" {
            return Ok(Wanted::Newest);
        }
        let series = text.split_once('.').and_then(|(major, minor)| {
            Some(Wanted::Series(major.parse().ok()?, minor.parse().ok()?))
        });
        series.ok_or_else(|| "a series such as 6.1, or newest".to_owned())
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Series(major, minor) => write!(f, "{major}.{minor}"),
            Wanted::Newest => write!(f, "newest"),
        }
    }
}

/// A package that has a kernel's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The numbers of its release, for comparing.
    version: Vec<u32>,
}

impl Package {
    /// By its name: `linux-image-RELEASE-amd64`, and from 7.0 on
    /// `linux-binary-...`, since then the other only depends on it.
    fn named(name: &str) -> Option<Package> {
        let release = ["linux-image-", "linux-binary-"]
            .iter()
            .find_map(|kind| name.strip_prefix(kind))?;
        let release = release.strip_suffix("-amd64")?;
        let plain = release.starts_with(|c: char| c.is_ascii_digit())
            && !["cloud", "rt", "dbg", "unsigned"]
                .iter()
                .any(|flavour| release.contains(flavour));
        let numbers = release.split(|c: char| !c.is_ascii_digit());
        let version: Vec<u32> = numbers.filter_map(|n| n.parse().ok()).collect();
        // "linux-image-6.1-amd64" names the series and has no kernel.
        (plain && version.len() > 2).then(|| Package {
            name: name.to_owned(),
            version,
        })
    }
}

/// The newest package that is wanted. Of two names for one kernel the one
/// that holds it, which sorts first.
pub fn choose(names: &str, wanted: Wanted) -> Option<Package> {
    let mut packages: Vec<Package> = names
        .lines()
        .filter_map(Package::named)
        .filter(|package| wanted.takes(package))
        .collect();
    packages.sort_by(|a, b| (&b.version, &a.name).cmp(&(&a.version, &b.name)));
    packages.into_iter().next()
}

/// Debian's packages, in a corner of their own.
pub struct Archive {
    dir: PathBuf,
    debian: Debian,
    names: String,
}

impl Archive {
    /// Reads the package lists of all suites, at most once a day.
    ///
    /// # Errors
    /// No Debian source in apt's settings, no apt.
    pub fn open(dir: &Path) -> anyhow::Result<Archive> {
        let debian = Debian::open(dir, &SUITES, &SECURED)?;
        let names = debian
            .apt("apt-cache")
            .args(["pkgnames", "linux-"])
            .output()?;
        Ok(Archive {
            dir: dir.to_owned(),
            debian,
            names: String::from_utf8_lossy(&names.stdout).into_owned(),
        })
    }

    /// What apt could not reach.
    pub fn unreachable(&self) -> &[String] {
        &self.debian.unreachable
    }

    /// The package for it.
    ///
    /// # Errors
    /// None has it, and what could not be asked.
    pub fn find(&self, wanted: Wanted) -> anyhow::Result<Package> {
        choose(&self.names, wanted).with_context(|| {
            let asked = match self.unreachable() {
                [] => SUITES.join(", "),
                missing => format!("{}; not reached: {}", SUITES.join(", "), missing.join("; ")),
            };
            format!("no package has a kernel {wanted} (suites {asked})")
        })
    }

    /// The kernel's image out of the package, which is downloaded unless it
    /// was before.
    ///
    /// # Errors
    /// No connection, or a package of another form.
    pub fn image(&self, package: &Package) -> anyhow::Result<PathBuf> {
        let image = self.dir.join(format!("{}.vmlinuz", package.name));
        if image.exists() {
            return Ok(image);
        }
        note(&format!("downloading {}", package.name));
        let debs = self.dir.join("debs");
        let out = self
            .debian
            .apt("apt-get")
            .args(["download", "-q", &package.name])
            .current_dir(&debs)
            .output()?;
        ensure!(
            out.status.success(),
            "cannot download {}: {}",
            package.name,
            String::from_utf8_lossy(&out.stderr).trim()
        );
        let prefix = format!("{}_", package.name);
        let deb = fs::read_dir(&debs)?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .with_context(|| format!("apt has put no {} into {}", package.name, debs.display()))?
            .path();
        let bytes = extract(&deb)?;
        let fresh = image.with_extension("new");
        fs::write(&fresh, bytes)?;
        fs::rename(&fresh, &image)?;
        fs::remove_file(&deb)?;
        Ok(image)
    }
}

/// The kernel in a package, without the hundreds of megabytes of modules.
fn extract(deb: &Path) -> anyhow::Result<Vec<u8>> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let files = unpack.stdout.take().context("dpkg-deb has no output")?;
    let found = Command::new("tar")
        .args(["--extract", "--to-stdout", "--wildcards", "*/vmlinuz*"])
        .stdin(files)
        .output()
        .context("cannot start tar")?;
    let unpacked = unpack.wait()?;
    ensure!(
        unpacked.success() && found.status.success() && !found.stdout.is_empty(),
        "{} holds no kernel where Debian's packages have it: {}",
        deb.display(),
        String::from_utf8_lossy(&found.stderr).trim()
    );
    Ok(found.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "\
linux-image-6.1-amd64
linux-image-amd64
linux-image-6.1.0-9-amd64
linux-image-6.1.0-57-amd64
linux-image-6.1.0-0.deb11.52-amd64
linux-image-6.1.0-58-cloud-amd64
linux-image-6.1.0-59-rt-amd64
linux-image-6.1.0-60-amd64-dbg
linux-image-6.1.0-61-amd64-unsigned
linux-image-6.12.95+deb12-amd64
linux-image-6.12.118+deb13-amd64
linux-image-7.3.4+deb13-amd64
linux-binary-7.3.4+deb13-amd64
linux-modules-7.3.9+deb13-amd64
linux-headers-9.9.9-amd64
linux-image-6.1.0-57-arm64
";

    fn chosen(wanted: &str) -> Option<String> {
        let wanted = wanted.parse().expect("a kernel");
        choose(NAMES, wanted).map(|package| package.name)
    }

    #[test]
    fn the_newest_plain_kernel_of_a_series_is_chosen() {
        assert_eq!(chosen("6.1").as_deref(), Some("linux-image-6.1.0-57-amd64"));
        // By number, not by letter: 118 is above 95, and 6.12 is not 6.1.
        let newer = Some("linux-image-6.12.118+deb13-amd64");
        assert_eq!(chosen("6.12").as_deref(), newer);
        assert_eq!(chosen("5.10"), None);
    }

    #[test]
    fn the_package_that_holds_the_kernel_is_chosen() {
        let holds_it = Some("linux-binary-7.3.4+deb13-amd64");
        assert_eq!(chosen("newest").as_deref(), holds_it);
        assert_eq!(chosen("7.3").as_deref(), holds_it);
    }

    #[test]
    fn a_series_is_two_numbers() {
        assert_eq!("6.12".parse(), Ok(Wanted::Series(6, 12)));
        assert_eq!("newest".parse(), Ok(Wanted::Newest));
        for bad in ["6", "6.x", "", "6.1.2"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
    }
}
