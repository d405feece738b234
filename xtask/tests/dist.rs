//! `cargo xtask dist`: what is in the package, and that it installs, works and
//! goes. In a directory by `dpkg --root`, without the programs it depends on;
//! `cargo xtask dist --verify` does the same in a whole minimal system.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The package of Debian's form.
fn dist(out: &Path, more: &[&str]) -> PathBuf {
    let made = dist_all(out, more);
    let is_deb = |file: &&PathBuf| file.extension().is_some_and(|ending| ending == "deb");
    made.iter().find(is_deb).expect("a package").clone()
}

/// Everything that was made.
fn dist_all(out: &Path, more: &[&str]) -> Vec<PathBuf> {
    let out = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["dist", "--compression", "none", "--profile", "dev", "--out"])
        .arg(out)
        .args(more)
        .output()
        .expect("runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let said = String::from_utf8(out.stdout).expect("UTF-8");
    said.lines().map(PathBuf::from).collect()
}

fn succeed(command: &mut Command) -> String {
    let out = command.output().expect("starts");
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{command:?}: {error}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// Killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_package_is_whole_installs_works_and_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = dist_all(dir.path(), &[]);
    let package = of_ending(&made, "deb").to_owned();
    contents(&package);
    let again = tempfile::tempdir().expect("a directory");
    let second = dist_all(again.path(), &[]);
    assert_eq!(made.len(), 4, "deb, rpm, tarball and sums: {made:?}");
    for (one, other) in made.iter().zip(&second) {
        let same = fs::read(one).expect("made") == fs::read(other).expect("made");
        assert!(
            same,
            "the same binaries give the same bytes: {}",
            one.display()
        );
    }
    let sums = again.path().join("SHA256SUMS");
    succeed(
        Command::new("sha256sum")
            .arg("--check")
            .arg(sums)
            .current_dir(again.path()),
    );
    same_files(&second);
    wheel(&second, again.path());

    let root = dir.path().join("root");
    let dpkg = |arguments: &[&str], package: Option<&Path>| {
        let mut command = Command::new("dpkg");
        command
            .arg(format!("--root={}", root.display()))
            .args([
                "--force-not-root",
                "--force-script-chrootless",
                "--force-depends",
            ])
            .args(arguments)
            .args(package);
        succeed(&mut command)
    };
    for made in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        fs::create_dir_all(root.join(made)).expect("a directory");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("a file");
    dpkg(&["--install"], Some(&package));
    use_it(&root, dir.path());
    let newer = dist(again.path(), &["--formats", "deb", "--revision", "2"]);
    let config = root.join("etc/xsched/xsched.toml");
    fs::write(&config, "[defaults]\nclass = \"low\"\n").expect("a user's");
    dpkg(&["--force-confold", "--install"], Some(&newer));
    let installed = dpkg(&["--status", "xsched"], None);
    assert!(installed.contains("Version: 0.1.0-2\n"), "{installed}");
    let kept = fs::read_to_string(&config).expect("a file");
    assert!(
        kept.contains("class = \"low\""),
        "an upgrade keeps what a user wrote"
    );
    let files = dpkg(&["--listfiles", "xsched"], None);
    dpkg(&["--remove", "xsched"], None);
    assert!(
        root.join("etc/xsched/xsched.toml").exists(),
        "a user's file"
    );
    assert!(!root.join("usr/bin/xsched-agent").exists());
    dpkg(&["--purge", "xsched"], None);
    for file in files.lines().filter(|file| *file != "/.") {
        let there = root.join(file.trim_start_matches('/'));
        assert!(!there.is_file(), "{file} is left behind");
    }
    assert!(!root.join("etc/xsched").exists() && !root.join("usr/lib/xsched").exists());
}

fn of_ending<'m>(made: &'m [PathBuf], ending: &str) -> &'m Path {
    let is_it = |file: &&PathBuf| file.extension().is_some_and(|found| found == ending);
    made.iter().find(is_it).expect("made")
}

/// All three hold the same files, and RPM installs, upgrades and removes them.
fn same_files(made: &[PathBuf]) {
    let sorted = |text: String, cut: usize| -> Vec<String> {
        let mut names: Vec<String> = text
            .lines()
            .filter(|name| !name.ends_with('/') && !name.is_empty())
            .map(|name| name[cut..].to_owned())
            .collect();
        names.sort();
        names
    };
    let tar = sorted(
        succeed(
            Command::new("tar")
                .arg("--list")
                .arg("--file")
                .arg(of_ending(made, "tar")),
        ),
        1,
    );
    let deb = succeed(
        Command::new("sh")
            .args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar --list"])
            .arg(of_ending(made, "deb")),
    );
    assert_eq!(sorted(deb, 1), tar);
    let rpm = of_ending(made, "rpm");
    let root = tempfile::tempdir().expect("a directory");
    let in_root = |arguments: &[&str], package: Option<&Path>| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(root.path()).args(arguments);
        if arguments[0] != "--query" {
            // Scripts run only where systemd does, and the system of the test is
            // not RPM's.
            command.args(["--nodeps", "--noscripts"]);
        }
        succeed(command.args(package))
    };
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: only root installs an RPM package into a folder");
        return;
    }
    in_root(&["--install"], Some(rpm));
    let listed = in_root(&["--query", "--list", "xsched"], None);
    for file in &tar {
        assert!(
            listed.contains(file.as_str()),
            "{file} is not in the RPM package"
        );
        assert!(root.path().join(&file[1..]).exists(), "{file}");
    }
    let scripts = in_root(&["--query", "--scripts", "xsched"], None);
    assert!(
        scripts.contains("systemctl try-restart xsched-agent.service"),
        "{scripts}"
    );
    let out = tempfile::tempdir().expect("a directory");
    let newer = dist_all(out.path(), &["--formats", "rpm", "--revision", "2"]);
    in_root(&["--upgrade"], Some(of_ending(&newer, "rpm")));
    assert_eq!(
        in_root(&["--query", "xsched"], None).trim(),
        "xsched-0.1.0-2.x86_64"
    );
    in_root(&["--erase", "xsched"], None);
    for file in &tar {
        assert!(
            !root.path().join(&file[1..]).exists(),
            "{file} is left behind"
        );
    }
}

/// The Python package, in an environment with nothing else.
fn wheel(made: &[PathBuf], dir: &Path) {
    let tar = of_ending(made, "tar");
    let file = "usr/share/xsched/python/xsched-0.1.0-py3-none-any.whl";
    succeed(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(tar)
            .arg("--directory")
            .arg(dir)
            .arg(format!("./{file}")),
    );
    let environment = dir.join("python");
    let venv = Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment)
        .output();
    if !venv.is_ok_and(|out| out.status.success()) {
        println!("LEFT OUT: python3 has no venv here (apt-get install python3-venv)");
        return;
    }
    let python = environment.join("bin/python");
    succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-index"])
            .arg(dir.join(file)),
    );
    let used = succeed(
        Command::new(&python)
            .args([
                "-c",
                "import xsched; print(xsched.__name__, xsched.__file__)",
            ])
            .current_dir("/"),
    );
    assert!(
        used.starts_with("xsched ") && used.contains("site-packages"),
        "{used}"
    );
}

fn contents(package: &Path) {
    let list = succeed(Command::new("dpkg-deb").arg("--contents").arg(package));
    let files: BTreeMap<&str, &str> = list
        .lines()
        .filter_map(|line| Some((line.split_whitespace().nth(5)?, line)))
        .collect();
    for (file, mode) in [
        ("./usr/bin/xsched-agent", "-rwxr-xr-x root/root"),
        ("./usr/bin/xtop", "-rwxr-xr-x root/root"),
        ("./usr/bin/xsched-pods", "-rwxr-xr-x root/root"),
        (
            "./usr/share/xsched/deploy/slurm/prolog.sh",
            "-rwxr-xr-x root/root",
        ),
        (
            "./usr/share/xsched/deploy/kubernetes/xsched/templates/daemonset.yaml",
            "-rw-r--r-- root/root",
        ),
        ("./usr/lib/xsched/libxsched_shim.so", "-rw-r--r-- root/root"),
        (
            "./usr/lib/xsched/libxsched_shim_cuda.so",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/lib/systemd/system/xsched-agent.service",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/lib/systemd/system/xsched-agent.socket",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/lib/systemd/system/xsched-agent-api.socket",
            "-rw-r--r-- root/root",
        ),
        ("./etc/xsched/xsched.toml", "-rw-r--r-- root/root"),
        (
            "./usr/share/xsched/prometheus/xsched.rules.yml",
            "-rw-r--r-- root/root",
        ),
        ("./usr/include/xsched.h", "-rw-r--r-- root/root"),
        (
            "./usr/share/xsched/python/xsched-0.1.0-py3-none-any.whl",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/share/xsched/grafana/xsched.json",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/share/man/man1/xsched-agent.1.gz",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/share/man/man1/xsched-agent-run.1.gz",
            "-rw-r--r-- root/root",
        ),
        ("./usr/share/man/man1/xtop.1.gz", "-rw-r--r-- root/root"),
        (
            "./usr/share/bash-completion/completions/xtop",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/share/zsh/vendor-completions/_xsched-agent",
            "-rw-r--r-- root/root",
        ),
        (
            "./usr/share/fish/vendor_completions.d/xsched-agent.fish",
            "-rw-r--r-- root/root",
        ),
        ("./usr/share/doc/xsched/copyright", "-rw-r--r-- root/root"),
        (
            "./usr/share/doc/xsched/changelog.gz",
            "-rw-r--r-- root/root",
        ),
        ("./usr/share/doc/xsched/PROTOCOL.md", "-rw-r--r-- root/root"),
    ] {
        let line = files
            .get(file)
            .unwrap_or_else(|| panic!("{file} is missing"));
        assert!(line.starts_with(mode), "{line}");
    }
    let no_links = files.keys().all(|file| !file.contains(".wants/"));
    assert!(no_links, "the unit is disabled");
    let control = succeed(Command::new("dpkg-deb").arg("--field").arg(package));
    assert!(control.contains("Depends: libc6 (>= 2."), "{control}");
}

fn use_it(root: &Path, dir: &Path) {
    // The agent makes none outside of /run.
    let made = std::fs::DirBuilder::new()
        .mode(0o755)
        .create(dir.join("run"));
    made.expect("the agent's directory");
    let agent = root.join("usr/bin/xsched-agent");
    let at_home = |command: &mut Command| -> Output {
        command
            .env("XSCHED_RUN_DIR", dir.join("run"))
            .output()
            .expect("starts")
    };
    let config = root.join("etc/xsched/xsched.toml");
    let checked = at_home(
        Command::new(&agent)
            .args(["config", "check", "--json"])
            .arg(config),
    );
    let said: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(
        (&said["ok"], &said["rules"]),
        (&true.into(), &0.into()),
        "{said}"
    );

    let _agent = Running(
        Command::new(&agent)
            .arg("--no-bpf")
            .env("XSCHED_RUN_DIR", dir.join("run"))
            .stderr(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    wait_for("the agent serves", || dir.join("run/api.sock").exists());
    let built = Path::new(env!("CARGO_BIN_EXE_xtask"))
        .ancestors()
        .nth(2)
        .expect("target")
        .join("debug");
    let hip = dir.join("hip");
    hipsim::install::install(&built.join("libhipsim.so"), &hip).expect("installs");
    // No XSCHED_SHIM: the shim is found where the package puts it.
    let batch = Running(
        Command::new(&agent)
            .args(["run", "--class", "low", "--"])
            .arg(built.join("hipsim-batch"))
            .env_remove("XSCHED_SHIM")
            .env("XSCHED_RUN_DIR", dir.join("run"))
            .env("HIPSIM_DEVICE", dir.join("device"))
            .env("LD_LIBRARY_PATH", &hip)
            .stdout(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    let pid = batch.0.id().to_string();
    wait_for("the program has joined", || {
        let out =
            at_home(Command::new(root.join("usr/bin/xtop")).args(["--once", "--format", "json"]));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.contains(&format!("\"pid\":{pid},")) && text.contains("\"joined\"")
    });
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let shim = root.join("usr/lib/xsched/libxsched_shim.so");
    assert!(maps.contains(shim.to_str().expect("UTF-8")), "{maps}");
}

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
