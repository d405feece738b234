//! Terms end to end: a real agent with a file, real processes, and every
//! source of class, weight and target.

mod common;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Agent, FakeClient, agent_command, wait_for};
use serde_json::Value;
use xsched_common::units::{Class, Nanos};

/// A process that does nothing; killed at the end.
struct Idle(Child);

impl Idle {
    /// With an argument that rules can match; `sleep` adds them up.
    fn start(mark: &str) -> Idle {
        Idle::spawn(Command::new("sleep").args(["600", mark]))
    }

    fn spawn(command: &mut Command) -> Idle {
        Idle(command.stdin(Stdio::null()).spawn().expect("it starts"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process whose parent may be gone.
struct Orphan(u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.cast_signed()).expect("a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// An agent with a file of its own.
struct Configured {
    agent: Agent,
    file: PathBuf,
}

impl Configured {
    fn start(text: &str) -> Configured {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("xsched.toml");
        std::fs::write(&file, text).expect("writes");
        Configured {
            agent: start_in(dir, &file),
            file,
        }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("writes");
    }

    fn hang_up(&self) {
        let pid = rustix::process::Pid::from_raw(self.agent.child.id().cast_signed());
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::HUP)
            .expect("it runs");
    }

    fn explain(&self, pid: u32) -> Value {
        self.ask(&format!(r#"{{"op":"explain","pid":{pid}}}"#))
    }

    fn ask(&self, line: &str) -> Value {
        let answer = self.agent.ask_raw(line);
        assert_ne!(answer["type"], "error", "{line}: {answer}");
        answer
    }

    /// Waits until a process has a class, and says what it is explained by.
    fn wait_for_class(&self, pid: u32, class: Class) -> String {
        let mut last = Value::Null;
        wait_for(&format!("process {pid} is {class}"), || {
            last = self.explain(pid);
            last["settled"]["class"] == class.name()
        });
        applied(&last)
    }
}

fn start_in(dir: tempfile::TempDir, file: &Path) -> Agent {
    let file = file.to_str().expect("text").to_owned();
    Agent::start_in_with(dir, &["--no-bpf", "--config", &file])
}

/// The source that won.
fn applied(explanation: &Value) -> String {
    let steps = explanation["steps"].as_array().expect("steps");
    let first = steps.iter().find(|step| step["applied"] == true);
    first.expect("something applies")["source"]
        .as_str()
        .expect("text")
        .to_owned()
}

fn step<'v>(explanation: &'v Value, source: &str) -> &'v Value {
    let steps = explanation["steps"].as_array().expect("steps");
    let named = |step: &&Value| {
        let text = step["source"].as_str().expect("text");
        text.starts_with(source)
    };
    steps
        .iter()
        .find(named)
        .unwrap_or_else(|| panic!("no step {source}: {explanation}"))
}

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
    let run = |terms: &[&str]| {
        let mut command = agent_command();
        command
            .arg("run")
            .args(terms)
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
    // It is judged as `run` until it has become the program and joins anew,
    // is reloaded, or, as here, is first looked at.
    wait_until_asleep(plain.pid());
    let source = configured.wait_for_class(plain.pid(), Class::Low);
    assert!(source.starts_with("rule \"first\""), "{source}");
}

/// Waits until the process has become sleep(1): before that it is a copy of
/// its parent, arguments and all.
fn wait_until_asleep(pid: u32) {
    wait_for("it is sleep", || {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == "sleep")
    });
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
    for &pid in &pids {
        wait_until_asleep(pid);
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

#[test]
fn a_joined_process_follows_the_file_and_a_bad_one_changes_nothing() {
    let rule = |class: &str| {
        format!("[[rule]]\nname = \"me\"\nmatch = {{ exe = \"terms-*\" }}\nclass = \"{class}\"\n")
    };
    let configured = Configured::start(&rule("high"));
    let client = FakeClient::join(&configured.agent.run_dir);
    let class = || {
        client
            .control()
            .class
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    wait_for("the rule applies", || class() == Class::High as u32);

    configured.write(&rule("low"));
    configured.hang_up();
    wait_for("the new file applies", || class() == Class::Low as u32);

    configured.write(&rule("lowest"));
    configured.hang_up();
    let events = || configured.ask(r#"{"op":"list"}"#)["events"].clone();
    wait_for("the bad file is noted", || {
        let events = events();
        let events = events.as_array().expect("events");
        events.iter().any(|event| {
            let text = event["text"].as_str().expect("text");
            event["kind"] == "configuration" && text.contains("xsched.toml:4:9: error: ")
        })
    });
    assert_eq!(class(), Class::Low as u32);
    let reload = configured.agent.cli(&["config", "reload"]);
    assert_eq!(reload.status.code(), Some(2));
    let message = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(message.contains("xsched.toml:4:9: error: "), "{message}");

    configured.write(&rule("realtime"));
    let reload = configured.agent.cli(&["config", "reload", "--json"]);
    assert!(reload.status.success());
    let reloaded: Value = serde_json::from_slice(&reload.stdout).expect("JSON");
    assert_eq!(
        (&reloaded["rules"], &reloaded["changed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        class(),
        Class::Realtime as u32,
        "in force when the answer comes"
    );
    let rows = || configured.ask(r#"{"op":"list"}"#)["processes"].clone();
    wait_for("the snapshot says so", || {
        rows()[0]["terms_from"] == "rule \"me\"" && rows()[0]["class"] == "realtime"
    });
}

#[test]
fn environment_and_reload_reach_modes_and_passthrough() {
    let configured = Configured::start(
        "[[rule]]\nname = \"gold\"\nmatch = { env = { TIER = \"gold*\" } }\nweight = 500\n",
    );
    let gold = Idle::spawn(Command::new("sleep").arg("600").env("TIER", "golden"));
    let lead = Idle::spawn(Command::new("sleep").arg("600").env("TIER", "lead"));
    wait_for("it is gold", || {
        configured.explain(gold.pid())["settled"]["weight"] == 500
    });
    let explained = configured.explain(lead.pid());
    assert_eq!(explained["settled"]["weight"], 100);
    assert!(
        !explained.to_string().contains("lead"),
        "environments are not told: {explained}"
    );

    let client = FakeClient::join(&configured.agent.run_dir);
    let passes = || client.control().passthrough.passes(b"librocfft.so.0");
    assert!(!passes());
    configured.write("[passthrough]\nlibraries = [\"librocfft\"]\n");
    configured.ask(r#"{"op":"reload"}"#);
    wait_for("the client is told", passes);
    let mode = configured
        .agent
        .cli(&["mode", "--device", "0000:03:00.0", "off", "--json"]);
    let set: Value = serde_json::from_slice(&mode.stdout).expect("JSON");
    assert_eq!(
        (&set["device"], &set["mode"]),
        (&"0000:03:00.0".into(), &"off".into())
    );
    let bad = configured.ask_any(r#"{"op":"set_mode","device":"device 0","mode":"off"}"#);
    assert_eq!(bad["code"], "bad_value");
}

impl Configured {
    fn ask_any(&self, line: &str) -> Value {
        self.agent.ask_raw(line)
    }
}

#[test]
fn what_was_given_by_hand_survives_the_agent_and_the_giver() {
    let configured = Configured::start("");
    let Configured { agent, file } = configured;
    // A launcher that is gone when the agent comes back.
    let mut launcher = Command::new("sh")
        .args(["-c", "sleep 600 & echo $!; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let orphan = {
        use std::io::BufRead as _;
        let mut line = String::new();
        let mut out = std::io::BufReader::new(launcher.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("reads");
        Orphan(line.trim().parse().expect("a pid"))
    };
    let me = std::process::id();
    let ancestor = launcher.id();
    for line in [
        format!(r#"{{"op":"set","pid":{me},"class":"high","weight":7}}"#),
        format!(r#"{{"op":"set","pid":{ancestor},"class":"low","way":"run"}}"#),
    ] {
        assert_eq!(agent.ask_raw(&line)["type"], "settled");
    }
    let explain =
        |agent: &Agent| agent.ask_raw(&format!(r#"{{"op":"explain","pid":{}}}"#, orphan.0));
    let inherited = format!("inherited from {ancestor} (run)");
    assert_eq!(applied(&explain(&agent)), inherited);
    let _client = FakeClient::join(&agent.run_dir);
    let dir = agent.kill();
    launcher.kill().expect("kill");
    launcher.wait().expect("wait");

    let agent = start_in(dir, &file);
    let again = FakeClient::join(&agent.run_dir);
    let class = || {
        again
            .control()
            .class
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    wait_for("it has its class again", || class() == Class::High as u32);
    assert_eq!(
        applied(&explain(&agent)),
        inherited,
        "from the dead, over a restart"
    );
    let explained = agent.ask_raw(&format!(r#"{{"op":"explain","pid":{me}}}"#));
    assert_eq!(explained["settled"]["weight"], 7);
    assert!(
        step(&explained, "set by hand")["because"]
            .to_string()
            .contains("uid 0")
    );
    let kept = agent.run_dir.0.join("terms.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&kept).expect("kept"));
    assert_eq!(mode & 0o777, 0o600);

    // Damaged, the file costs what it kept and nothing else.
    let dir = agent.kill();
    std::fs::write(&kept, b"{\"version\":1,\"boot_id\":[").expect("writes");
    let agent = start_in(dir, &file);
    let client = FakeClient::join(&agent.run_dir);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let class = client
        .control()
        .class
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(class, Class::Normal as u32);
}

/// As docs/POLICIES.md says.
#[test]
fn the_directory_and_its_files_have_the_documented_modes() {
    let configured = Configured::start("");
    let me = std::process::id();
    configured.ask(&format!(r#"{{"op":"set","pid":{me},"class":"low"}}"#));
    let directory = &configured.agent.run_dir.0;
    let mode = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).expect("it is there");
        std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777
    };
    assert_eq!(mode(directory), 0o755);
    let mut found: Vec<(String, u32)> = std::fs::read_dir(directory)
        .expect("lists")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, mode(&path))
        })
        .collect();
    found.sort();
    let expected = [
        ("agent.lock", 0o644),
        ("agent.sock", 0o666),
        ("api.sock", 0o666),
        ("terms.json", 0o600),
    ];
    let expected: Vec<(String, u32)> = expected.map(|(name, mode)| (name.into(), mode)).into();
    assert_eq!(found, expected);
}

/// A user other than root, in these groups besides its own.
struct User<'a> {
    agent: &'a Agent,
    groups: &'a str,
}

const NOBODY: u32 = 65_534;

impl User<'_> {
    /// A subcommand of the agent, as this user.
    fn command(&self, arguments: &[&str]) -> Command {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.agent.dir.path(), open).expect("opens the directory");
        // The build folder may be closed to others.
        let copy = self.agent.dir.path().join("xsched-agent");
        if !copy.exists() {
            std::fs::copy(agent_command().get_program(), &copy).expect("copies");
        }
        let id = NOBODY.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id, "--groups", self.groups])
            .arg(&copy)
            .args(arguments)
            .env("XSCHED_RUN_DIR", &self.agent.run_dir.0);
        command
    }

    /// Runs a subcommand of the agent; its exit code and what it said.
    fn cli(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(arguments);
        let out: Output = command.output().expect("setpriv (util-linux) runs");
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    fn may(&self, arguments: &[&str]) {
        let (code, said) = self.cli(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }

    /// Returns the message.
    fn may_not(&self, arguments: &[&str]) -> String {
        let (code, said) = self.cli(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains("root") || said.contains("another user"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "one clear line: {said}");
        said
    }
}

#[test]
fn users_lower_their_own_and_the_group_does_anything() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    // Group 1 is daemon wherever there are users and groups.
    let configured = Configured::start("[authorise]\ngroup = \"daemon\"\n");
    let user = User {
        agent: &configured.agent,
        groups: "7",
    };
    let member = User {
        agent: &configured.agent,
        groups: "7,1",
    };
    let theirs = Idle::spawn(Command::new("sleep").arg("600").uid(NOBODY).gid(NOBODY));
    let foreign = Idle::start("5");
    let (pid, foreign) = (theirs.pid().to_string(), foreign.pid().to_string());

    user.may(&["set", "--pid", &pid, "--class", "low", "--weight", "50"]);
    user.may(&["set", "--pid", &pid, "--class", "normal"]);
    user.may_not(&["set", "--pid", &pid, "--class", "high"]);
    user.may_not(&["set", "--pid", &pid, "--weight", "101"]);
    user.may_not(&["set", "--pid", &pid, "--slo", "30ms"]);
    user.may(&["set", "--pid", &pid, "--slo", "none"]);
    user.may(&["suspend", "--pid", &pid, "--timeout", "30s"]);
    user.may(&["resume", "--pid", &pid]);
    user.may(&["explain", "--pid", &pid]);
    user.may_not(&["boost", "--pid", &pid, "--for", "30s"]);
    user.may_not(&["mode", "off"]);
    user.may_not(&["config", "reload"]);
    user.may_not(&["set", "--pid", &foreign, "--class", "low"]);
    user.may_not(&["suspend", "--pid", &foreign, "--timeout", "30s"]);
    user.may_not(&["explain", "--pid", &foreign]);

    let suspend = format!(r#"{{"op":"suspend","pid":{pid},"timeout_ms":60000}}"#);
    assert_eq!(configured.ask(&suspend)["hold"]["hold"], "suspended");
    let said = user.may_not(&["resume", "--pid", &pid]);
    assert!(said.contains("suspended by uid 0 (pid "), "{said}");
    user.may_not(&["suspend", "--pid", &pid, "--timeout", "10ms"]);

    member.may(&["resume", "--pid", &pid]);
    member.may(&[
        "set", "--pid", &foreign, "--class", "realtime", "--slo", "5ms",
    ]);
    member.may(&["boost", "--pid", &foreign, "--for", "10s"]);
    member.may(&["mode", "share"]);
    member.may(&["config", "reload"]);

    let row = |event: &Value| {
        let actor = event["actor"].as_str().unwrap_or_default();
        (event["kind"].clone(), actor.to_owned())
    };
    wait_for("refusals and changes are noted with their actors", || {
        let events = configured.ask(r#"{"op":"list"}"#)["events"].clone();
        let rows: Vec<_> = events.as_array().expect("events").iter().map(row).collect();
        let by_user = |kind: &str| {
            rows.iter().any(|(of, actor)| {
                of == kind
                    && actor.starts_with("uid 65534 (pid ")
                    && actor.ends_with(", xsched-agent)")
            })
        };
        by_user("refused") && by_user("changed") && by_user("configuration")
    });
}

/// A thousand changes at once, then a hundred a second: beyond that a user is
/// told when to ask again, and nobody else notices.
#[test]
fn a_flood_of_changes_is_told_to_wait() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    let configured = Configured::start("");
    let user = User {
        agent: &configured.agent,
        groups: "7",
    };
    let theirs = Idle::spawn(Command::new("sleep").arg("600").uid(NOBODY).gid(NOBODY));
    let pid = theirs.pid();
    let mut proxy = user
        .command(&["proxy"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("setpriv (util-linux) runs");
    // Nothing to change: what a request costs the agent does not matter here.
    let empty = format!("{{\"op\":\"set\",\"pid\":{pid}}}\n");
    let requests = 3000;
    let mut to = proxy.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut to, empty.repeat(requests).as_bytes()).expect("writes");
        to
    });
    use std::io::BufRead as _;
    let out = std::io::BufReader::new(proxy.stdout.take().expect("piped"));
    let answers: Vec<Value> = out
        .lines()
        .take(requests)
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), requests);
    let busy: Vec<&Value> = answers.iter().filter(|a| a["code"] == "busy").collect();
    let heard = answers.iter().filter(|a| a["code"] == "bad_value").count();
    assert!(heard >= 1024, "{heard}");
    assert_eq!(heard + busy.len(), requests);
    let hint = busy.first().expect("too many")["retry_after_ms"].as_u64();
    assert!(hint.is_some_and(|ms| (1..=10).contains(&ms)), "{hint:?}");
    assert!(answers[..1024].iter().all(|a| a["code"] == "bad_value"));

    // Others go on, and so does this user at the pace: its tools wait.
    configured.ask(&format!(r#"{{"op":"set","pid":{pid},"class":"high"}}"#));
    user.may(&["set", "--pid", &pid.to_string(), "--class", "low"]);
    assert_eq!(configured.explain(pid)["settled"]["class"], "low");
    drop(writer.join().expect("written"));
    proxy.wait().expect("ends with its input");
}

/// A boost of a launcher is everybody's below it, and a suspension by one
/// user is not another's to end.
#[test]
fn nobody_ends_a_hold_that_is_an_ancestor_s_and_not_their_own() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    let configured = Configured::start("");
    let user = User {
        agent: &configured.agent,
        groups: "7",
    };
    let drop_rights = "setpriv --reuid 65534 --regid 65534 --clear-groups sleep 600";
    let mut launcher = Idle::spawn(
        Command::new("sh")
            .args(["-c", &format!("{drop_rights} & echo $!; wait")])
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    let out = launcher.0.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    let child = Orphan(line.trim().parse().expect("a pid"));
    let (parent, pid) = (launcher.pid(), child.0.to_string());
    // Known while it still ran as root, it is judged as who it is now.
    let explain = format!(r#"{{"op":"explain","pid":{pid}}}"#);
    configured.ask(&explain);
    wait_for("the child has dropped its rights", || {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|dir| dir.uid() == NOBODY)
    });
    user.may(&["set", "--pid", &pid, "--class", "low"]);
    assert_eq!(configured.ask(&explain)["settled"]["class"], "low");

    let boost = format!(r#"{{"op":"boost","pid":{parent},"duration_ms":60000}}"#);
    assert_eq!(configured.ask(&boost)["hold"]["hold"], "boosted");
    let said = user.may_not(&["resume", "--pid", &pid]);
    assert!(said.contains("boosted by uid 0 (pid "), "{said}");
    let explain = format!(r#"{{"op":"explain","pid":{parent}}}"#);
    assert_eq!(
        configured.ask(&explain)["settled"]["hold"]["hold"],
        "boosted"
    );
    // One's own is one's own, beside that.
    user.may(&["suspend", "--pid", &pid, "--timeout", "30s"]);
    user.may(&["resume", "--pid", &pid]);
    assert_eq!(
        configured.ask(&explain)["settled"]["hold"]["hold"],
        "boosted"
    );
}

#[test]
fn holds_end_by_themselves() {
    let configured = Configured::start("");
    let process = Idle::start("1");
    let pid = process.pid();
    for (op, field, hold) in [
        ("boost", "duration_ms", "boosted"),
        ("suspend", "timeout_ms", "suspended"),
    ] {
        let line = format!(r#"{{"op":"{op}","pid":{pid},"{field}":200}}"#);
        let settled = configured.ask(&line);
        assert_eq!(settled["hold"]["hold"], hold);
        let remaining = settled["hold"]["remaining_ns"].as_u64().expect("a time");
        assert!(remaining <= 200_000_000, "{remaining}");
        wait_for("it has ended", || {
            configured.explain(pid)["settled"]["hold"] == Value::Null
        });
        for bad in [0, 9, 3_600_001] {
            let line = format!(r#"{{"op":"{op}","pid":{pid},"{field}":{bad}}}"#);
            assert_eq!(configured.ask_any(&line)["code"], "bad_value", "{bad}");
        }
    }
    for line in [
        format!(r#"{{"op":"set","pid":{pid}}}"#),
        format!(r#"{{"op":"set","pid":{pid},"slo_p99_ns":18446744073709551615}}"#),
    ] {
        assert_eq!(configured.ask_any(&line)["code"], "bad_value", "{line}");
    }
    for line in [
        format!(r#"{{"op":"set","pid":{pid},"weight":0}}"#),
        format!(r#"{{"op":"set","pid":{pid},"weight":10001}}"#),
        r#"{"op":"set","pid":-1,"class":"low"}"#.to_owned(),
    ] {
        assert_eq!(configured.ask_any(&line)["code"], "malformed", "{line}");
    }
    let gone = r#"{"op":"explain","pid":4294967295}"#;
    assert_eq!(configured.ask_any(gone)["code"], "no_such_process");
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

#[test]
fn the_file_is_checked_before_it_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("xsched.toml");
    let check = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).expect("writes");
        let path = file.to_str().expect("text");
        let out = agent_command()
            .args(["config", "check", path])
            .args(arguments)
            .output()
            .expect("runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let (code, said) = check(
        "[[rule]]\nname = \"a\"\nmatch = { user = 0 }\nclas = \"low\"\n",
        &[],
    );
    assert_eq!(code, Some(1));
    assert!(
        said.contains("xsched.toml:4:1: error: unknown key `clas`: did you mean `class`?"),
        "{said}"
    );
    let (code, said) = check("[sharing]\nmode = 1\n", &["--json"]);
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(
        (
            &report["problems"][0]["line"],
            &report["problems"][0]["column"]
        ),
        (&2.into(), &8.into())
    );
    let example = agent_command()
        .args(["config", "example"])
        .output()
        .expect("runs");
    let (code, said) = check(&String::from_utf8_lossy(&example.stdout), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("fine, 2 rules\n"), "{said}");
    let missing = agent_command()
        .args(["config", "check", "/no/such/file"])
        .output()
        .expect("runs");
    assert_eq!(missing.status.code(), Some(2));

    std::fs::write(&file, "mode = 1\n").expect("writes");
    let refused = agent_command()
        .args(["--no-bpf", "--config"])
        .arg(&file)
        .env("XSCHED_RUN_DIR", dir.path().join("run"))
        .output()
        .expect("runs");
    assert_eq!(
        refused.status.code(),
        Some(2),
        "an agent does not start on a bad file"
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("xsched.toml:1:1: error: unknown key `mode`"),
        "{said}"
    );
}
