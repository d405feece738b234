//! Who may change what, and how often.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering::SeqCst;

use serde_json::Value;
use xsched_common::handshake::{Hello, Origin, Part, Wish};
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;
use xsched_testkit::{Agent, FakeClient, agent_command, copy_program, wait_for};

use crate::fixture::{Configured, Idle, Orphan, step, wait_until_it_is};

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
            copy_program(agent_command().get_program(), &copy);
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
    user.may(&["unset", "--pid", &pid]);
    user.may_not(&["unset", "--pid", &foreign]);
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
    // Known while it still ran as root, it is evaluated as who it is now.
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

const ROOTS: &str = "[[rule]]\nname = \"root's\"\nmatch = { user = \"root\" }\nclass = \"high\"\n";

/// Every login, cron job and service descends from a process of root's.
#[test]
fn what_a_rule_gives_root_is_not_inherited_by_other_users() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    let configured = Configured::start(ROOTS);
    let own = Idle::start("1");
    configured.wait_for_class(own.pid(), Class::High);
    let theirs = Idle::spawn(Command::new("sleep").arg("600").uid(NOBODY).gid(NOBODY));
    wait_until_it_is(theirs.pid(), "sleep");
    let explained = configured.explain(theirs.pid());
    assert_eq!(explained["settled"]["class"], "normal", "{explained}");
    // By hand it is inherited: root means this process and its children.
    let (me, set) = (
        std::process::id(),
        r#""op":"set","class":"realtime","way":"set""#,
    );
    configured.ask(&format!(r#"{{{set},"pid":{me}}}"#));
    configured.wait_for_class(theirs.pid(), Class::Realtime);
}

const WANTS_REALTIME: Part = Part::Group(Wish {
    class: Class::Realtime,
    origin: Origin::Hint,
});

/// This process, as that user.
fn join_as_nobody(configured: &Configured, part: Part) -> std::io::Result<FakeClient> {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(configured.agent.dir.path(), open).expect("opens the directory");
    let run_dir = configured.agent.run_dir.clone();
    let as_nobody = std::thread::spawn(move || {
        // SAFETY: no preconditions; changes this thread alone.
        let rc = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(rc, 0);
        join(&run_dir, part)
    });
    as_nobody.join().expect("no panic")
}

fn join(run_dir: &RunDir, part: Part) -> std::io::Result<FakeClient> {
    let hello = Hello::new(std::process::id()).of(part);
    let client = FakeClient::try_join_with(run_dir, hello)?;
    client.ring()?;
    Ok(client)
}

/// Threads and streams belong to a process that has joined, as the user who
/// joined: their pages outlive whatever program it executes later.
#[test]
fn nobody_joins_with_threads_of_a_process_that_is_not_joined_or_another_user_s() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    let configured = Configured::start(ROOTS);
    let run_dir = configured.agent.run_dir.clone();
    let said = |client: std::io::Result<FakeClient>| client.err().map(|e| e.to_string());
    let busy = Some("the agent says Busy".to_owned());
    assert_eq!(said(join_as_nobody(&configured, WANTS_REALTIME)), busy);
    assert_eq!(said(join(&run_dir, WANTS_REALTIME)), busy, "root's neither");
    let process = join(&run_dir, Part::Process).expect("joins");
    assert_eq!(said(join_as_nobody(&configured, WANTS_REALTIME)), busy);
    let threads = join(&run_dir, WANTS_REALTIME).expect("joins");
    configured.wait_for_class(std::process::id(), Class::High);
    wait_for("both have what the process has", || {
        let has = |client: &FakeClient| client.control().class.load(SeqCst) == Class::High as u32;
        has(&process) && has(&threads)
    });
}

/// As one that connects and then executes a program with the set-user-ID bit:
/// its number, start time and pidfd stay what they are.
#[test]
fn a_process_that_connected_as_another_user_is_not_evaluated_as_it_runs() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    let configured = Configured::start(ROOTS);
    let client = join_as_nobody(&configured, Part::Process).expect("joins");
    // The threads for which it asked while it was that user are that user's.
    let threads = join_as_nobody(&configured, WANTS_REALTIME).expect("joins");
    let me = std::process::id();
    let mut last = Value::Null;
    wait_for("it is joined and judged", || {
        last = configured.explain(me);
        last["settled"]["joined"] == true
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    last = configured.explain(me);
    assert_eq!(last["settled"]["class"], "normal", "{last}");
    let said = step(&last, "rule \"root's\"")["because"].to_string();
    assert!(
        said.contains("as another than the one that connected"),
        "{said}"
    );
    for client in [&client, &threads] {
        assert_eq!(client.control().class.load(SeqCst), Class::Normal as u32);
    }
    drop((client, threads));
    // One that connects as it runs has it.
    let client = FakeClient::try_join(&configured.agent.run_dir).expect("joins");
    configured.wait_for_class(me, Class::High);
    drop(client);
}
