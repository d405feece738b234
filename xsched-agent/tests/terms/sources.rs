//! Where attributes come from, and which source counts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use xsched_common::units::{Class, Nanos};
use xsched_testkit::agent_command;

use crate::fixture::{Configured, Idle, Orphan, applied, step, wait_until_it_is};

const BY_ARGUMENT: &str = r#"
[[rule]]
name = "first"
match = { exe = "sleep", arg = "1" }
class = "low"
weight = 300

[[rule]]
name = "second"
match = { exe = "sleep", arg = ["1", "2"] }
class = "high"
p99_ms = 30

[[rule]]
name = "shells"
match = { exe = ["sh", "dash", "bash"], arg = "*lineage*" }
class = "low"
"#;

#[test]
fn each_source_outranks_the_next() {
    let configured = Configured::start(BY_ARGUMENT);
    let (one, two, other) = (Idle::start("1"), Idle::start("2"), Idle::start("3"));

    let source = configured.wait_for_class(one.pid(), Class::Low);
    assert!(
        source.starts_with("rule \"first\" (") && source.ends_with("xsched.toml:2)"),
        "{source}"
    );
    let explained = configured.explain(one.pid());
    assert_eq!(explained["settled"]["weight"], 300);
    assert_eq!(
        explained["settled"]["slo_p99_ns"],
        Value::Null,
        "the first rule only"
    );
    let second = step(&explained, "rule \"second\"");
    assert_eq!(second["because"], "matches, but rule \"first\" comes first");
    assert_eq!(second["applied"], false);

    configured.wait_for_class(two.pid(), Class::High);
    let explained = configured.explain(two.pid());
    assert_eq!(explained["settled"]["slo_p99_ns"], Nanos::from_millis(30).0);
    assert_eq!(explained["settled"]["joined"], false);
    assert_eq!(
        step(&explained, "rule \"first\"")["because"],
        "no argument is 1"
    );

    assert_eq!(
        configured.wait_for_class(other.pid(), Class::Normal),
        "defaults"
    );

    let pid = one.pid();
    configured.ask(&format!(
        r#"{{"op":"set","pid":{pid},"class":"high","way":"run"}}"#
    ));
    assert_eq!(configured.wait_for_class(pid, Class::High), "run");
    assert_eq!(
        configured.explain(pid)["settled"]["weight"],
        300,
        "the rule's still"
    );
    configured.ask(&format!(r#"{{"op":"set","pid":{pid},"class":"realtime"}}"#));
    assert_eq!(
        configured.wait_for_class(pid, Class::Realtime),
        "set by hand"
    );
    let run = format!(r#"{{"op":"set","pid":{pid},"class":"low","way":"run"}}"#);
    assert_eq!(
        configured.ask(&run)["class"],
        "realtime",
        "set outranks run"
    );
    let boost = format!(r#"{{"op":"boost","pid":{pid},"duration_ms":60000}}"#);
    assert_eq!(configured.ask(&boost)["hold"]["hold"], "boosted");
    assert_eq!(applied(&configured.explain(pid)), "boost");
    let resume = format!(r#"{{"op":"resume","pid":{pid}}}"#);
    assert_eq!(configured.ask(&resume)["hold"], Value::Null);
}

/// `run` replaces itself by the program, so the pid is the child's.
#[test]
fn run_gives_terms_to_the_program_that_it_becomes() {
    let configured = Configured::start(BY_ARGUMENT);
    // Any library can be preloaded; the shim may not be built.
    let maps = std::fs::read_to_string("/proc/self/maps").expect("my maps");
    let mapped = |line: &str| line.split_ascii_whitespace().nth(5).map(str::to_owned);
    let mut files = maps.lines().filter_map(mapped);
    let library = files.find(|path| path.contains("libc.so")).expect("libc");
    let run = |attr: &[&str]| {
        let mut command = agent_command();
        command
            .arg("run")
            .args(attr)
            .args(["--shim", &library, "--", "sleep", "600", "1"])
            .env("XSCHED_RUN_DIR", &configured.agent.run_dir.0);
        Idle::spawn(&mut command)
    };
    let plain = run(&[]);
    let high = run(&["--class", "high", "--weight", "7", "--slo", "20ms"]);
    assert_eq!(configured.wait_for_class(high.pid(), Class::High), "run");
    let settled = configured.explain(high.pid())["settled"].clone();
    assert_eq!(
        (&settled["weight"], &settled["slo_p99_ns"]),
        (&7.into(), &20_000_000.into())
    );
    // It is evaluated as `run` until it has become the program and joins anew,
    // is reloaded, or, as here, is first looked at.
    wait_until_it_is(plain.pid(), "sleep");
    let source = configured.wait_for_class(plain.pid(), Class::Low);
    assert!(source.starts_with("rule \"first\""), "{source}");
}

#[test]
fn children_inherit_until_a_rule_names_them() {
    let configured = Configured::start(BY_ARGUMENT);
    let parent = Idle::spawn(
        Command::new("sh")
            .args([
                "-c",
                "sleep 600 3 & echo $!; sleep 600 2 & echo $!; wait",
                "lineage",
            ])
            .stdout(Stdio::piped()),
    );
    let mut parent = parent;
    let pids: Vec<u32> = {
        use std::io::BufRead as _;
        let out = std::io::BufReader::new(parent.0.stdout.take().expect("piped"));
        let lines = out.lines().take(2);
        lines
            .map(|line| line.expect("a line").parse().expect("a pid"))
            .collect()
    };
    let _children: Vec<Orphan> = pids.iter().copied().map(Orphan).collect();
    for child in &pids {
        wait_until_it_is(*child, "sleep");
    }
    let shell = parent.pid();
    let source = configured.wait_for_class(pids[0], Class::Low);
    assert_eq!(source, format!("inherited from {shell} (rule \"shells\")"));
    configured.wait_for_class(pids[1], Class::High);
    configured.ask(&format!(
        r#"{{"op":"set","pid":{shell},"class":"realtime"}}"#
    ));
    let source = configured.wait_for_class(pids[0], Class::Realtime);
    assert_eq!(source, format!("inherited from {shell} (set by hand)"));
    configured.wait_for_class(pids[1], Class::High);
}

/// A control group named as Docker names a container's.
struct Container(PathBuf);

impl Container {
    const ID: &'static str = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8";

    /// `None` where this test may not make control groups.
    fn make() -> Option<Container> {
        ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"]
            .iter()
            .find_map(|root| {
                let folder = Path::new(root).join(format!("docker-{}.scope", Container::ID));
                let made = std::fs::create_dir(&folder);
                let there = made.is_ok() || folder.exists();
                (there && folder.join("cgroup.procs").exists()).then_some(Container(folder))
            })
    }

    fn hold(&self, pid: u32) -> std::io::Result<()> {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn containers_are_told_by_their_control_groups() {
    let Some(container) = Container::make() else {
        eprintln!("LEFT OUT: no control group can be made here");
        return;
    };
    let configured = Configured::start(
        "[[rule]]\nname = \"by id\"\nmatch = { container = \"4f1a2b3c4d5e\", unit = \"docker-*.scope\" }\n\
         class = \"high\"\n",
    );
    let inside = Idle::start("1");
    if let Err(e) = container.hold(inside.pid()) {
        eprintln!("LEFT OUT: no process can be moved to a control group here: {e}");
        return;
    }
    let source = configured.wait_for_class(inside.pid(), Class::High);
    assert!(source.starts_with("rule \"by id\""), "{source}");
    let outside = Idle::start("1");
    let explained = configured.explain(outside.pid());
    let because = step(&explained, "rule \"by id\"")["because"].to_string();
    assert!(because.contains("unit"), "{because}");
}
