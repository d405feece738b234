//! Class groups end to end: a real agent, the real shim, a program with threads
//! of which one matters.

use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::Value;
use xsched_common::gate::GateMode;
use xsched_common::handshake::{Hello, Origin, Part, Wish};
use xsched_common::page::QueuePriority;
use xsched_common::units::Class;
use xsched_testkit::machine::{Machine, Program};
use xsched_testkit::{Agent, FakeClient, agent_command, built, wait_for};

/// A machine whose agent goes by `config`.
fn machine(config: &str) -> Machine {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("xsched.toml");
    std::fs::write(&file, config).expect("writes");
    let machine = Machine::with(Agent::start_with(&[
        "--config",
        file.to_str().expect("UTF-8"),
    ]));
    drop(dir);
    machine
}

fn threads(machine: &Machine, arguments: &[&str]) -> Program {
    let mut command = agent_command();
    command
        .args(["run", "--"])
        .arg(built("hipsim-threads"))
        .args(arguments);
    Program(machine.at_home(&mut command).spawn().expect("starts"))
}

/// What a program prints at its end.
fn finish(program: Program) -> Value {
    use std::io::Read as _;
    let mut program = program;
    let mut text = String::new();
    let mut out = program.0.stdout.take().expect("piped");
    out.read_to_string(&mut text).expect("reads");
    assert!(program.0.wait().expect("ends").success(), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

const RULE: &str = r#"
[[rule]]
name = "trainers that serve"
match = { exe = "hipsim-threads" }
[[rule.thread]]
match = { thread = "train*" }
class = "low"
"#;

/// Its row once it has a group of that class.
fn group(machine: &Machine, program: &Program) -> Value {
    let has_group = |row: &Value| {
        let groups = row["groups"].as_array();
        groups.is_some_and(|groups| !groups.is_empty() && groups[0]["commands"].as_u64() > Some(50))
    };
    machine.row("a group at work", program.pid(), has_group)
}

fn p50(result: &Value) -> f64 {
    result["p50_ns"].as_f64().expect("a number")
}

/// Nothing in the program: a rule tells its threads by their names.
#[test]
fn a_rule_puts_threads_below_the_others_of_their_process() {
    let machine = machine(RULE);
    let alone = finish(threads(&machine, &["--threads", "1", "--duration", "1s"]));
    let native = finish(threads(&machine, &["--threads", "8", "--duration", "1s"]));
    let ruled = ["--threads", "8", "--duration", "3s", "--by", "name"];
    let program = threads(&machine, &ruled);
    let row = group(&machine, &program);
    let group = &row["groups"][0];
    assert_eq!(
        (&group["class"], &group["wish"], &group["origin"]),
        (&"low".into(), &"low".into(), &"rule".into())
    );
    assert_eq!(row["class"], "normal", "{row}");
    let listed = machine.agent.cli(&["ps"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("  threads") && listed.contains("rule"),
        "{listed}"
    );
    let ruled = finish(program);
    assert!(
        p50(&ruled) < 0.5 * p50(&native),
        "{ruled}, without a rule {native}, alone {alone}"
    );
    assert!(ruled["other_kernels"].as_u64() > Some(0), "{ruled}");
}

/// The program says so itself; by default it may lower, and not raise.
#[test]
fn a_hint_puts_threads_below_the_others_of_their_process() {
    let machine = machine("");
    let native = finish(threads(&machine, &["--threads", "8", "--duration", "1s"]));
    let program = threads(
        &machine,
        &["--threads", "8", "--duration", "3s", "--by", "hint"],
    );
    let row = group(&machine, &program);
    assert_eq!(row["groups"][0]["origin"], "hint", "{row}");
    let hinted = finish(program);
    assert!(p50(&hinted) < 0.5 * p50(&native), "{hinted}, {native}");
}

/// No shim asks for long then, and one that does gets what its process has.
#[test]
fn a_hint_does_nothing_where_hints_are_off() {
    let machine = machine("[defaults]\nhints = \"off\"\n");
    let program = threads(
        &machine,
        &["--threads", "4", "--duration", "20s", "--by", "hint"],
    );
    // Until it is told, a shim may have asked: its group is left alone then.
    let launches = |row: &Value| row["launches"].as_u64().unwrap_or(0);
    let commands = |row: &Value| row["groups"][0]["commands"].as_u64().unwrap_or(0);
    let row = machine.row("it is at work", program.pid(), |row| launches(row) > 1000);
    let later = machine.row("it goes on", program.pid(), |later| {
        launches(later) > launches(&row) + 1000
    });
    assert_eq!(commands(&later), commands(&row), "{later}");
    drop(program);
    let run_dir = &machine.agent.run_dir;
    let _process = FakeClient::join(run_dir);
    let wish = Wish {
        class: Class::Low,
        origin: Origin::Hint,
    };
    let hello = Hello::new(std::process::id()).of(Part::Group(wish));
    let threads = FakeClient::try_join_with(run_dir, hello).expect("joins");
    threads.ring().expect("rings");
    threads.introduce();
    threads.become_active();
    let shown = |row: &Value| row["groups"].as_array().is_some_and(|all| all.len() == 1);
    let row = machine.row("it has a group", std::process::id(), shown);
    let group = &row["groups"][0];
    assert_eq!(
        (&group["class"], &group["wish"]),
        (&"normal".into(), &"low".into())
    );
    let listed = String::from_utf8_lossy(&machine.agent.cli(&["ps"]).stdout).into_owned();
    assert!(listed.contains("wants low"), "{listed}");
}

/// What is set on the process moves its groups along, and a group ends with it.
#[test]
fn groups_follow_their_process() {
    let machine = machine("");
    let arguments = ["--threads", "4", "--duration", "20s", "--by", "hint"];
    let program = threads(&machine, &arguments);
    let pid = program.pid();
    group(&machine, &program);
    let set = machine
        .agent
        .cli(&["set", "--pid", &pid.to_string(), "--class", "high"]);
    assert!(set.status.success(), "{set:?}");
    machine.row("the process is raised, its group is not", pid, |row| {
        row["class"] == "high" && row["groups"][0]["class"] == "low"
    });
    let suspended = machine
        .agent
        .cli(&["suspend", "--pid", &pid.to_string(), "--timeout", "10s"]);
    assert!(suspended.status.success(), "{suspended:?}");
    machine.row("all of it is suspended", pid, |row| {
        row["gate"]["state"] == "closed" && row["groups"][0]["gate"]["state"] == "closed"
    });
    drop(program);
    let end = Instant::now() + Duration::from_secs(10);
    while machine.agent.row(pid).is_object() {
        assert!(Instant::now() < end, "it is gone");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A C compiler is needed, as for the samples.
fn compiled(machine: &Machine, name: &str, source: &str) -> std::path::PathBuf {
    let (from, to) = (
        machine.dir.path().join(format!("{name}.c")),
        machine.dir.path().join(name),
    );
    std::fs::write(&from, source).expect("writes");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = Command::new("cc")
        .args(["-O1", "-pthread", "-I"])
        .arg(root.join("hipsim/include"))
        .arg("-I")
        .arg(root.join("crates/xsched-hint/include"))
        .arg(&from)
        .arg("-o")
        .arg(&to)
        .arg(machine.runtime().join("libamdhip64.so.5"))
        .arg("-ldl")
        .status();
    assert!(done.expect("a C compiler").success());
    to
}

/// A thread that is renamed while it works is in another group from its next
/// launch on, and one that takes its hint back in none.
#[test]
fn threads_change_groups_while_they_work() {
    let machine = machine(&RULE.replace("hipsim-threads", "renamed"));
    let source = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "hipsim.h"
#include "xsched.h"
static hipFunction_t spin;
static void launch(void) {
    uint64_t ns = 20000;
    void *params[] = {&ns};
    for (int i = 0; i < 20; i++) if (hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, NULL, params, NULL)) exit(3);
    if (hipDeviceSynchronize()) exit(3);
}
static int after(const char *what, int expected) {
    for (int i = 0; i < 500; i++) {
        launch();
        if (xsched_get_status().thread_class == expected) return 0;
        usleep(10000);
    }
    printf("%s: class %d, not %d\n", what, xsched_get_status().thread_class, expected);
    return 1;
}
int main(void) {
    hipModule_t module;
    if (hipsimLoadModule(&module) || hipModuleGetFunction(&spin, module, "hipsim_spin")) return 2;
    int wrong = after("as it began", XSCHED_NORMAL);
    pthread_setname_np(pthread_self(), "train-1");
    wrong |= after("renamed", XSCHED_LOW);
    pthread_setname_np(pthread_self(), "other");
    wrong |= after("renamed again", XSCHED_NORMAL);
    xsched_thread_class(XSCHED_LOW);
    wrong |= after("by its hint", XSCHED_LOW);
    wrong |= xsched_thread_class(XSCHED_HIGH) != XSCHED_LOW;
    wrong |= after("a hint does not raise", XSCHED_NORMAL);
    xsched_thread_class(XSCHED_NONE);
    wrong |= after("it took the hint back", XSCHED_NORMAL);
    xsched_burst_begin();
    launch();
    launch();
    xsched_burst_end();
    printf("%s\n", wrong ? "wrong" : "right");
    return wrong;
}
"#;
    let program = compiled(&machine, "renamed", source);
    let mut command = agent_command();
    command.args(["run", "--"]).arg(&program);
    let out = machine.at_home(&mut command).output().expect("runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said == "right\n", "{said} {out:?}");
}

/// Marks make of fifty bursts one request.
#[test]
fn marks_say_what_a_request_is() {
    let machine = machine("");
    let source = r#"
#include <stdlib.h>
#include <unistd.h>
#include "hipsim.h"
#include "xsched.h"
int main(void) {
    hipModule_t module;
    hipFunction_t spin;
    if (hipsimLoadModule(&module) || hipModuleGetFunction(&spin, module, "hipsim_spin")) return 2;
    uint64_t ns = 100000;
    void *params[] = {&ns};
    for (;;) {
        xsched_burst_begin();
        for (int i = 0; i < 50; i++) {
            if (hipModuleLaunchKernel(spin, 1, 1, 1, 64, 1, 1, 0, NULL, params, NULL)) exit(3);
            if (hipDeviceSynchronize()) exit(3);
        }
        xsched_burst_end();
        usleep(1000);
    }
}
"#;
    let program = compiled(&machine, "marked", source);
    let mut command = agent_command();
    command.args(["run", "--"]).arg(&program);
    let program = machine.spawn(&mut command);
    let row = machine.row("requests", program.pid(), |row| {
        row["burst"]["count"].as_u64() > Some(100)
    });
    let p50 = row["burst"]["p50_ns"].as_f64().expect("a number");
    assert!(p50 > 4e6, "50 times 100 us: {row}");
}

/// Whoever says that a rule wants it, or only wants it, gets what its process has.
#[test]
fn a_client_gets_no_class_by_asking_for_it() {
    let machine = machine("");
    let run_dir = &machine.agent.run_dir;
    let process = FakeClient::join(run_dir);
    let of = |class, origin| {
        let hello = Hello::new(std::process::id()).of(Part::Group(Wish { class, origin }));
        let client = FakeClient::try_join_with(run_dir, hello).expect("joins");
        client.ring().expect("rings");
        client.introduce();
        client
    };
    let class = |client: &FakeClient| client.control().class.load(SeqCst);
    let high = of(Class::Realtime, Origin::Hint);
    let ruled = of(Class::High, Origin::Rule);
    let low = of(Class::Low, Origin::Hint);
    let end = Instant::now() + Duration::from_secs(10);
    while class(&low) != Class::Low as u32 {
        assert!(Instant::now() < end, "a lower one it gets");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    for client in [&process, &high, &ruled] {
        assert_eq!(class(client), Class::Normal as u32);
    }
    // The lowest of them is held back beside the others of its process.
    process.become_active();
    low.wait_for_mode("closed", |mode| mode == GateMode::Closed);
    assert_ne!(high.mode(), GateMode::Closed, "an equal");
}

/// As whoever sets a process aside expects: by hand outranks rules.
#[test]
fn what_is_set_by_hand_holds_for_threads_that_a_rule_raises() {
    let machine = machine(
        "[[rule]]\nname = \"servers\"\nmatch = { user = \"root\" }\n\
         [[rule.thread]]\nmatch = { thread = \"serve*\" }\nclass = \"high\"\n",
    );
    let run_dir = &machine.agent.run_dir;
    let process = FakeClient::join(run_dir);
    let wish = Wish {
        class: Class::High,
        origin: Origin::Rule,
    };
    let hello = Hello::new(std::process::id()).of(Part::Group(wish));
    let threads = FakeClient::try_join_with(run_dir, hello).expect("joins");
    threads.ring().expect("rings");
    let pid = std::process::id().to_string();
    let has = |what: &str, own: Class, theirs: Class| {
        wait_for(what, || {
            let class = |client: &FakeClient| client.control().class.load(SeqCst);
            (class(&process), class(&threads)) == (own as u32, theirs as u32)
        });
    };
    let cli = |arguments: &[&str]| {
        let out = machine.agent.cli(arguments);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    has("the rule raises its threads", Class::Normal, Class::High);
    cli(&["set", "--pid", &pid, "--class", "low"]);
    has("it is low, all of it", Class::Low, Class::Low);
    let why = cli(&["explain", "--pid", &pid]);
    assert!(why.contains("none above low"), "{why}");
    cli(&["set", "--pid", &pid, "--class", "high"]);
    has("it is high, and so are they", Class::High, Class::High);
    cli(&["unset", "--pid", &pid]);
    has("the rule counts again", Class::Normal, Class::High);
    // Its own class stays, but not what its threads may have: their shim asks anew.
    let generation = || process.control().threads.generation();
    let before = generation();
    cli(&["set", "--pid", &pid, "--class", "normal"]);
    has("nor are its threads above", Class::Normal, Class::Normal);
    assert_ne!(generation(), before);
}

/// Off unless the file says otherwise.
#[test]
fn hardware_queues_get_the_priority_of_their_class() {
    let priority = |client: &FakeClient| {
        let raw = client.control().queue_priority.load(SeqCst);
        QueuePriority::from_raw(raw)
    };
    let pid = std::process::id().to_string();
    let file = "[platform.amd]\nqueue_priority = \"by-class\"\n";
    for (config, expected) in [
        ("", [QueuePriority::Leave; 2]),
        (file, [QueuePriority::Low, QueuePriority::High]),
    ] {
        let machine = machine(config);
        let process = FakeClient::join(&machine.agent.run_dir);
        for (class, expected) in ["low", "realtime"].iter().zip(expected) {
            let set = ["set", "--pid", &pid, "--class", class];
            assert!(machine.agent.cli(&set).status.success());
            let raw = |class: &str| class.parse::<Class>().expect("a class") as u32;
            wait_for("its class", || {
                process.control().class.load(SeqCst) == raw(class)
            });
            wait_for("its queues' priority", || priority(&process) == expected);
        }
    }
    let file = file.replace("by-class", "always");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("xsched.toml");
    std::fs::write(&path, file).expect("writes");
    let mut check = agent_command();
    check.args(["config", "check"]).arg(&path);
    let out = check.output().expect("runs");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        !out.status.success() && said.contains("queue_priority"),
        "{said}"
    );
}

/// A block of docs/HINTS.md.
fn example(language: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/HINTS.md")).expect("reads");
    let begin = format!("```{language}\n");
    let (_, rest) = text.split_once(&begin).expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Runs a command without the shim and with it.
fn run_both_ways(machine: &Machine, command: &[&std::ffi::OsStr]) -> [String; 2] {
    let said = |command: &mut Command| {
        let out = machine.at_home(command).output().expect("starts");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let package = root.join("python/src");
    let (program, arguments) = command.split_first().expect("a program");
    let mut native = Command::new(program);
    native.args(arguments).env("PYTHONPATH", &package);
    let mut ours = agent_command();
    ours.args(["run", "--"])
        .args(command)
        .env("PYTHONPATH", &package);
    [said(&mut native), said(&mut ours)]
}

/// The examples of the document do what it says, with the shim and without. That
/// in Rust is a test of its crate.
#[test]
fn the_examples_run() {
    let machine = machine("");
    let both = [
        "without the shim\n".to_owned(),
        "under the shim\n".to_owned(),
    ];
    let program = compiled(&machine, "example", &example("c"));
    assert_eq!(run_both_ways(&machine, &[program.as_os_str()]), both);

    let (source, program) = (
        machine.dir.path().join("example.cpp"),
        machine.dir.path().join("example-cpp"),
    );
    std::fs::write(&source, example("cpp")).expect("writes");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = Command::new("c++")
        .args(["-std=c++11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root.join("crates/xsched-hint/include"))
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .arg("-ldl")
        .status();
    assert!(done.expect("a C++ compiler").success());
    run_both_ways(&machine, &[program.as_os_str()]);

    let script = machine.dir.path().join("example.py");
    std::fs::write(&script, example("python")).expect("writes");
    let command = ["python3".as_ref(), script.as_os_str()];
    assert_eq!(run_both_ways(&machine, &command), both);
}
