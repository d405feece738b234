//! Debian's package lists in a folder of our own: other releases than the machine's, found and downloaded. Nothing is
//! installed, and the machine's own lists stay as they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::progress::note;

/// Package lists are good for so long.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Commands that the machine runs after its own updates and installations: these are none of them. The machine's proxies and
/// the like hold here too, so its settings are read first, and this last.
const SETTINGS: &str = "\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Install::Pre-Invoke;
#clear APT::Install::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
";

/// How apt says that an archive "does not have" or "no longer has" such a suite. That stays so for longer than a day.
const NO_SUITE: &str = " a Release file";

/// What keyring signs them all; without it apt's own are asked.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The lists.
pub struct Debian {
    dir: PathBuf,
    /// What apt could not reach.
    pub unreachable: Vec<String>,
}

impl Debian {
    /// Reads the package lists of these suites, at most once a day; `secured` are those with updates from the archive for
    /// security.
    ///
    /// # Errors
    /// No Debian source in apt's settings, no apt.
    pub fn open(dir: &Path, suites: &[&str], secured: &[&str]) -> anyhow::Result<Debian> {
        let mut debian = Debian {
            dir: dir.to_owned(),
            unreachable: Vec::new(),
        };
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("apt.conf"), SETTINGS)?;
        let _lock = lock(&dir.join("lists.lock"))?;
        let listed = dir.join("listed");
        let age = fs::metadata(&listed).and_then(|data| data.modified());
        if age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < FRESH)) {
            let unreachable = fs::read_to_string(&listed)?;
            debian.unreachable = unreachable.lines().map(str::to_owned).collect();
            return Ok(debian);
        }
        note("reading Debian's package lists (half a minute, once a day)");
        fs::write(
            dir.join("sources.list"),
            sources(&mirrors()?, suites, secured),
        )?;
        let out = debian.apt("apt-get").args(["update", "-q"]).output()?;
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        debian.unreachable = failures(&said);
        // apt fails where a suite is gone, and does not where it has no network.
        let is_done = out.status.success() || !debian.unreachable.is_empty();
        if is_done && is_lasting(&debian.unreachable) {
            fs::write(&listed, debian.unreachable.join("\n"))?;
        }
        Ok(debian)
    }

    /// A command of apt's, on these lists.
    pub fn apt(&self, tool: &str) -> Command {
        // Private lists, sources and cache; no translations and no catalogues.
        let settings = [
            format!("Dir::State::Lists={}", self.dir.join("lists").display()),
            format!("Dir::Cache={}", self.dir.join("cache").display()),
            format!(
                "Dir::Etc::sourcelist={}",
                self.dir.join("sources.list").display()
            ),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // As if nothing were installed: what a package needs is all its own.
            format!("Dir::State::status={}", self.dir.join("status").display()),
            "Debug::NoLocking=1".to_owned(),
            // The folder may be closed to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new(tool);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command.arg("-c").arg(self.dir.join("apt.conf"));
        for setting in settings {
            command.args(["-o", &setting]);
        }
        command
    }
}

/// Waits until no other process has this lock; it is let go with the file.
///
/// # Errors
/// The file cannot be made.
pub fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Whether what failed will fail for a day: what a network without connection leaves out is asked for again.
fn is_lasting(failures: &[String]) -> bool {
    failures.iter().all(|line| line.contains(NO_SUITE))
}

/// Where this machine gets its Debian packages, and their security updates.
struct Mirrors {
    main: String,
    security: Option<String>,
}

fn mirrors() -> anyhow::Result<Mirrors> {
    let out = Command::new("apt-get")
        .args(["indextargets", "--format"])
        .args(["$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages"])
        .output()
        .context("cannot start apt-get, which is asked for Debian's packages")?;
    let text = String::from_utf8_lossy(&out.stdout);
    choose_mirrors(&text)
}

fn choose_mirrors(text: &str) -> anyhow::Result<Mirrors> {
    let (mut main, mut security) = (None, None);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("Debian"), Some(suite), Some(uri)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        match suite.ends_with("-security") {
            true => security.get_or_insert(uri.to_owned()),
            false => main.get_or_insert(uri.to_owned()),
        };
    }
    let Some(main) = main else {
        bail!(
            "apt has no Debian source here (`apt-get indextargets`, after `apt-get update`): run this on \
             Debian"
        );
    };
    Ok(Mirrors { main, security })
}

fn sources(mirrors: &Mirrors, suites: &[&str], secured: &[&str]) -> String {
    let options = match Path::new(KEYRING).exists() {
        true => format!("[signed-by={KEYRING} arch=amd64]"),
        false => "[arch=amd64]".to_owned(),
    };
    let mut text = String::new();
    for suite in suites {
        text += &format!("deb {options} {} {suite} main\n", mirrors.main);
    }
    if let Some(security) = &mirrors.security {
        for suite in secured {
            text += &format!("deb {options} {security} {suite}-security main\n");
        }
    }
    text
}

/// apt's own words for what it could not reach.
fn failures(said: &str) -> Vec<String> {
    said.lines()
        .filter(|line| line.starts_with("E: ") || line.starts_with("W: Failed"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_mirrors_are_used() {
        let text = "Debian bookworm http://mirror.example/debian/\n\
                    Other bookworm http://other.example/\n\
                    Debian bookworm-updates http://mirror.example/debian/\n\
                    Debian bookworm-security http://mirror.example/security/\n";
        let mirrors = choose_mirrors(text).expect("mirrors");
        assert_eq!(mirrors.main, "http://mirror.example/debian/");
        let list = sources(&mirrors, &["trixie", "sid"], &["trixie"]);
        assert!(
            list.contains("http://mirror.example/debian/ sid main\n"),
            "{list}"
        );
        assert!(list.contains("http://mirror.example/security/ trixie-security main\n"));
        assert!(!list.contains("sid-security"), "{list}");
        assert!(choose_mirrors("Ubuntu noble http://mirror.example/\n").is_err());
    }

    #[test]
    fn what_apt_could_not_reach_is_kept() {
        let said =
            "Get:1 x\nE: The repository 'x bullseye Release' does not have a Release file.\nN: y\n";
        assert_eq!(failures(said).len(), 1);
        assert!(is_lasting(&failures(said)), "a suite that is gone");
        let said = "W: Failed to fetch http://mirror.example/sid  Temporary failure resolving 'mirror.example'\n";
        assert!(!is_lasting(&failures(said)), "no network");
    }

    #[test]
    fn the_machines_hooks_do_not_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        let hooks = "APT::Update::Post-Invoke { \"touch /hook\"; };\nAPT::Update::Post-Invoke-Success { \"touch /hook\"; };\n\
                     Acquire::http::Proxy \"http://proxy.example\";\n";
        fs::write(&theirs, hooks).expect("written");
        fs::write(&ours, SETTINGS).expect("written");
        let out = Command::new("apt-config")
            .env("APT_CONFIG", &theirs)
            .arg("-c")
            .arg(&ours)
            .arg("dump")
            .output();
        let Ok(out) = out else {
            println!("LEFT OUT: apt is not here");
            return;
        };
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(!said.contains("touch /hook"), "{said}");
        assert!(said.contains("http://proxy.example"), "{said}");
    }
}
