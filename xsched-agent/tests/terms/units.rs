//! Units and containers count where root made them, on the machine's own
//! control groups: users name theirs as they like.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use xsched_common::units::Class;
use xsched_testkit::wait_for;

use crate::fixture::{Configured, Idle, step};

/// A user that nobody is.
const USER: u32 = 65_011;
const ID: &str = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8";

const RULES: &str = r#"
[[rule]]
name = "serving"
match = { unit = "xsched-test-serve.service" }
class = "high"
p99_ms = 30
[[rule]]
name = "box"
match = { container = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8" }
class = "realtime"
[[rule]]
name = "path"
match = { cgroup = "*xsched-test-serve*" }
class = "high"
[[rule]]
name = "own"
match = { user_unit = "xsched-test-own.service" }
class = "low"
"#;

/// The machine's tree of version 2; `None` where this test cannot use it.
pub fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    let found = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, path) = (mount.next()?, mount.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(path))
    });
    let usable = rustix::process::geteuid().is_root()
        && found.as_deref().is_some_and(|top| {
            let probe = top.join("xsched-test-probe");
            fs::create_dir(&probe).is_ok() && fs::remove_dir(&probe).is_ok()
        });
    if !usable {
        eprintln!("LEFT OUT: this test makes control groups of version 2, as root");
    }
    found.filter(|_| usable)
}

/// Control groups that are removed at the end, with all that are in them.
pub struct Tree {
    pub top: PathBuf,
    pub made: Vec<PathBuf>,
}

impl Tree {
    pub fn make(&mut self, path: &str, owner: u32) {
        let mut directory = self.top.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            directory.push(name);
            if fs::create_dir(&directory).is_ok() {
                self.made.push(directory.clone());
            }
        }
        for file in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            // Version 1 has other files.
            let file = directory.join(file);
            if file.exists() {
                chown(file, Some(owner), Some(owner)).expect("root may");
            }
        }
    }

    /// What systemd makes for a user, below a control group of its own.
    fn make_manager(&mut self, slice: &str) -> String {
        let manager = format!("{slice}/user@{USER}.service");
        self.make(slice, 0);
        self.make(&manager, USER);
        manager
    }

    /// A process of the user's; it goes by itself to where it was not put.
    fn start(&mut self, put_into: &str, goes_to: &str) -> Idle {
        let put = self.top.join(put_into.trim_start_matches('/'));
        let goes = self.top.join(goes_to.trim_start_matches('/'));
        let drop_rights = format!(
            "setpriv --reuid {USER} --regid {USER} --clear-groups sh -c \
             'mkdir -p \"$0\"; echo $$ > \"$0/cgroup.procs\"; exec sleep 600' \"$1\""
        );
        let idle = Idle::spawn(
            Command::new("sh")
                .args([
                    "-c",
                    &format!("echo $$ > \"$0/cgroup.procs\"; exec {drop_rights}"),
                ])
                .arg(&put)
                .arg(&goes)
                .stderr(Stdio::null()),
        );
        self.made.push(goes.clone());
        let pid = idle.pid();
        let expected = format!("0::{goes_to}\n");
        wait_for(&format!("process {pid} is in {goes_to}"), || {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            groups.ends_with(&expected) && comm == "sleep\n"
        });
        idle
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.made.sort_by_key(|path| path.components().count());
        for path in self.made.iter().rev() {
            // Its processes are killed, and not all of them gone yet.
            for _ in 0..200 {
                match fs::remove_dir(path) {
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn because<'v>(explained: &'v Value, rule: &str) -> &'v str {
    let step = step(explained, &format!("rule \"{rule}\""));
    step["because"].as_str().expect("text")
}

/// What `systemd-run --user --unit=...` and a rootless container do.
#[test]
fn a_user_takes_no_class_by_naming_a_control_group() {
    let Some(top) = unified() else { return };
    let configured = Configured::start(RULES);
    let mut tree = Tree {
        top,
        made: Vec::new(),
    };
    let manager = tree.make_manager("/xsched-test-a.slice");
    let init = format!("{manager}/init.scope");
    tree.make(&init, USER);
    for name in ["xsched-test-serve.service", &format!("docker-{ID}.scope")] {
        let process = tree.start(&init, &format!("{manager}/{name}"));
        let explained = configured.explain(process.pid());
        assert_eq!(explained["settled"]["class"], "normal", "{explained}");
        assert_eq!(explained["settled"]["slo_p99_ns"], Value::Null);
        let why = because(&explained, "serving").to_owned() + because(&explained, "box");
        let whose = format!("user {USER} makes the control groups there");
        assert!(why.contains(&whose), "{why}");
    }
    // The key for it, which any user can satisfy.
    let own = tree.start(&init, &format!("{manager}/xsched-test-own.service"));
    assert_eq!(
        configured
            .wait_for_class(own.pid(), Class::Low)
            .split('(')
            .next(),
        Some("rule \"own\" ")
    );
}

/// The same names where root gave them; and below, where a container did.
#[test]
fn the_same_names_count_where_root_made_them() {
    let Some(top) = unified() else { return };
    let configured = Configured::start(RULES);
    let mut tree = Tree {
        top,
        made: Vec::new(),
    };
    let container = format!("/xsched-test-b.slice/docker-{ID}.scope");
    let inside = format!("{container}/xsched-test-serve.service");
    let unit = "/xsched-test-b.slice/xsched-test-serve.service";
    let delegated = format!("{unit}/sub");
    for path in ["/xsched-test-b.slice", unit, &container, &inside] {
        tree.make(path, 0);
    }
    let serving = tree.start(unit, unit);
    configured.wait_for_class(serving.pid(), Class::High);
    let boxed = tree.start(&container, &container);
    configured.wait_for_class(boxed.pid(), Class::Realtime);
    // A container's inner units are not the machine's, root or not.
    let inner = tree.start(&inside, &inside);
    configured.wait_for_class(inner.pid(), Class::Realtime);
    let why = configured.explain(inner.pid());
    let why = because(&why, "serving");
    assert!(
        why.contains("the container makes its own control groups"),
        "{why}"
    );
    // What a service was given to divide keeps the service's name.
    drop(serving);
    tree.make(unit, USER);
    let below = tree.start(unit, &delegated);
    configured.wait_for_class(below.pid(), Class::High);
}

/// A process that moves all the time is evaluated by what it cannot leave.
#[test]
fn moving_while_it_is_looked_at_gains_nothing() {
    let Some(top) = unified() else { return };
    let configured = Configured::start(RULES);
    let mut tree = Tree {
        top: top.clone(),
        made: Vec::new(),
    };
    let manager = tree.make_manager("/xsched-test-c.slice");
    let places = ["a", "xsched-test-serve.service"].map(|name| format!("{manager}/{name}"));
    for place in &places {
        tree.make(place, USER);
    }
    let mover = tree.start(&places[0], &places[0]);
    let pid = mover.pid();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let doors = places.map(|place| door(&top, &place));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for door in &doors {
                    fs::write(door, pid.to_string()).expect("moves");
                }
            }
        });
        let seen: Vec<Value> = (0..100).map(|_| configured.explain(pid)).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for explained in seen {
            assert_eq!(explained["settled"]["class"], "normal", "{explained}");
        }
    });
}

fn door(top: &Path, place: &str) -> PathBuf {
    top.join(place.trim_start_matches('/')).join("cgroup.procs")
}
