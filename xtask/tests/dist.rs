//! `cargo xtask dist`: what is in the package, and that it installs, works and
//! goes. In a directory by `dpkg --root`, without the programs it depends on;
//! `cargo xtask dist --verify` does the same in a whole minimal system.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn dist(out: &Path) -> std::path::PathBuf {
    let out = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["dist", "--compression", "none", "--profile", "dev", "--out"])
        .arg(out)
        .output()
        .expect("runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).expect("UTF-8").trim().into()
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
    let package = dist(dir.path());
    contents(&package);
    let again = tempfile::tempdir().expect("a directory");
    assert!(
        fs::read(&package).expect("a package") == fs::read(dist(again.path())).expect("a package"),
        "the same binaries give the same package"
    );

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

fn contents(package: &Path) {
    let list = succeed(Command::new("dpkg-deb").arg("--contents").arg(package));
    let files: BTreeMap<&str, &str> = list
        .lines()
        .filter_map(|line| Some((line.split_whitespace().nth(5)?, line)))
        .collect();
    for (file, mode) in [
        ("./usr/bin/xsched-agent", "-rwxr-xr-x root/root"),
        ("./usr/bin/xtop", "-rwxr-xr-x root/root"),
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
