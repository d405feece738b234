//! What a program computes is the same with and without the shim.

use crate::support;

use std::time::Duration;

use support::agent::{Agent, Manner};
use support::scripted::ScriptedProgram;
use support::{Preload, bin, program, run, stdout_of};

#[test]
fn arguments_stack_and_errors_are_the_callers() {
    let nowhere = tempfile::tempdir().expect("a directory");
    stdout_of(&mut program("args", Preload::Nothing, nowhere.path()));
    stdout_of(&mut program("args", Preload::Shim, nowhere.path()));
    let agent = Agent::start();
    // Joining gives up after 50 ms, which a busy machine can take.
    for _ in 0..20 {
        stdout_of(&mut program("args", Preload::Shim, agent.dir()));
        if agent.joined() > 0 {
            return;
        }
    }
    panic!("it never joined");
}

#[test]
fn without_an_agent_everything_runs_and_nothing_is_said() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let output = run(&mut program("args", Preload::Shim, nowhere.path()));
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let verbose = run(program("args", Preload::Shim, nowhere.path()).env("XSCHED_VERBOSE", "1"));
    let said = String::from_utf8(verbose.stderr).expect("UTF-8");
    assert!(said.contains("running unscheduled: no agent"), "{said}");
    assert!(said.contains("XSCHED_PASSTHROUGH_LIBS not set"), "{said}");
}

#[test]
fn switched_off_it_does_not_even_join() {
    let agent = Agent::start();
    let mut scripted =
        ScriptedProgram::start_with(Preload::Shim, agent.dir(), &[("XSCHED_DISABLE", "1")]);
    scripted.run("launch 100 0");
    scripted.run("fork 3 0");
    scripted.run("sync");
    assert_eq!(agent.joined(), 0);
    assert_eq!(scripted.stat("launches"), 100);
}

#[test]
fn passed_libraries_are_counted_but_not_gated() {
    use xsched_common::gate::GateMode;
    let agent = Agent::start();
    let env = [("XSCHED_PASSTHROUGH_LIBS", "libfoo, scrip")];
    let mut scripted = ScriptedProgram::start_with(Preload::Shim, agent.dir(), &env);
    scripted.run("launch 1 0");
    let client = agent.client(0);
    client.set(0, GateMode::Closed);
    assert!(scripted.run("launch 50 0") < Duration::from_millis(10));
    assert_eq!(client.status().launch_totals().by_route, [0, 51]);
}

#[test]
fn the_agent_may_let_libraries_pass_and_change_its_mind() {
    use xsched_common::gate::GateMode;
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let client = agent.client(0);
    client.set(0, GateMode::Closed);
    let gated = Duration::from_millis(14);
    assert!(scripted.run("launch 1 0") >= gated);
    let list = &client.page().passthrough;
    list.set(&["libfoo", "scrip"]).expect("room");
    // The change is heard of at the gate, by a launch that still waits.
    assert!(scripted.run("launch 1 0") >= gated);
    assert!(scripted.run("launch 50 0") < Duration::from_millis(10));
    list.set(&["libfoo"]).expect("room");
    // And by the next launch that passes.
    scripted.run("launch 1 0");
    assert!(scripted.run("launch 1 0") >= gated);
    assert_eq!(client.status().launch_totals().by_route, [4, 51]);
}

#[test]
fn the_agent_may_turn_its_lists_round_and_name_functions() {
    use xsched_common::gate::GateMode;
    use xsched_common::page::ListMeaning::{OnlyGated, Passes};
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 1 0");
    let client = agent.client(0);
    client.set(0, GateMode::Closed);
    let gated = Duration::from_millis(14);
    let (list, scope) = (&client.page().passthrough, &client.page().scope);
    let set_only = |names: &[&str]| {
        scope.set_libraries(OnlyGated);
        list.set(names).expect("room");
    };
    set_only(&["libtorch"]);
    scripted.run("launch 1 0");
    assert!(scripted.run("launch 50 0") < Duration::from_millis(10));
    set_only(&["scrip"]);
    scripted.run("launch 1 0");
    assert!(scripted.run("launch 1 0") >= gated);
    set_only(&[]);
    assert!(
        scripted.run("launch 1 0") >= gated,
        "no list: everything is gated"
    );

    // Functions are asked about at the gate: no launch is too late or early.
    scope
        .set_apis(Passes, &["hipMemsetAsync", "hipLaunchKernel"])
        .expect("room");
    let routes = || client.status().launch_totals().by_route;
    let [gated_before, passed_before] = routes();
    assert!(scripted.run("launch 50 0") < Duration::from_millis(10));
    scope
        .set_apis(OnlyGated, &["hipMemsetAsync"])
        .expect("room");
    assert!(scripted.run("launch 50 0") < Duration::from_millis(10));
    assert_eq!(routes(), [gated_before, passed_before + 100]);
    client.set(0, GateMode::Open);
    scripted.run("launch 5 0");
    assert_eq!(routes(), [gated_before + 5, passed_before + 100]);
    client.set(0, GateMode::Closed);
    // Nothing in flight, so that no guard but the trickle lets anything pass.
    scripted.run("sync");
    scope
        .set_apis(OnlyGated, &["hipLaunchKernel"])
        .expect("room");
    assert!(scripted.run("launch 1 0") >= gated);
    scope.set_apis::<&str>(Passes, &[]).expect("room");
    scripted.run("sync");
    assert!(scripted.run("launch 1 0") >= gated);
}

#[test]
fn bad_agents_are_reported_once_and_ignored() {
    for (manner, words) in [
        (Manner::OtherAbi, "install the same xsched version"),
        (Manner::Unsealed, "not sealed"),
    ] {
        let agent = Agent::start_with(manner);
        let output = run(&mut program("args", Preload::Shim, agent.dir()));
        assert!(output.status.success());
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(words), "{said}");
    }
    let mute = Agent::start_with(Manner::Mute);
    let mut scripted = ScriptedProgram::start(mute.dir());
    let first = scripted.run("launch 1 0");
    assert!(first < Duration::from_millis(200), "{first:?}");
    let next = scripted.run("launch 100 0");
    assert!(next < Duration::from_millis(40), "{next:?}");
}

#[test]
fn every_way_of_looking_up_reaches_the_shim() {
    let agent = Agent::start();
    let runtime = bin().join("libamdhip64.so.5");
    let out = stdout_of(
        program("handles", Preload::Shim, agent.dir())
            .arg(&runtime)
            .arg("5"),
    );
    let expected = [
        "dlsym libxsched_shim.so",
        "dlvsym libxsched_shim.so",
        "hipGetProcAddress libxsched_shim.so",
        "default libxsched_shim.so",
        "done",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    let totals = agent.client(0).status().launch_totals();
    assert_eq!(totals.total(), 4 + 5);
}

#[test]
fn look_ups_are_plain_without_the_shim_or_switched_off() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let runtime = bin().join("libamdhip64.so.5");
    let expected =
        "dlsym libamdhip64.so.5\ndlvsym libamdhip64.so.5\nhipGetProcAddress libamdhip64.so.5\n";
    let native = stdout_of(program("handles", Preload::Nothing, nowhere.path()).arg(&runtime));
    assert!(native.starts_with(expected), "{native}");
    let off = stdout_of(
        program("handles", Preload::Shim, nowhere.path())
            .arg(&runtime)
            .env("XSCHED_DISABLE", "1"),
    );
    assert!(off.starts_with(expected), "{off}");
}

#[test]
fn a_list_that_changes_brings_no_system_call() {
    let agent = Agent::start();
    let mut quiet = program("quiet", Preload::Shim, agent.dir());
    let mut quiet = quiet.arg("100").spawn().expect("it starts");
    // It sleeps before its filter begins.
    let client = agent.client(0);
    let list = &client.page().passthrough;
    list.set(&["libfoo"]).expect("room");
    assert_eq!(quiet.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_open_path_makes_no_system_call() {
    let agent = Agent::start();
    stdout_of(program("quiet", Preload::Shim, agent.dir()).arg("100"));
    assert_eq!(agent.joined(), 1);
    let client = agent.client(0);
    assert_eq!(client.status().launch_totals().total(), 3 + 100 * 100);
    assert_eq!(client.status().bursts.counts().total(), 3 + 100);
    // The filter bites.
    let output = run(program("quiet", Preload::Shim, agent.dir()).args(["1", "x"]));
    assert_eq!(output.status.code(), Some(100 + libc::SYS_getppid as i32));
}
