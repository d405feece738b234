//! What the command line says to users' slips.

use std::process::{Command, Output};

use xsched_testkit::{Agent, agent_command};

fn error_of(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// As a shell does it: what is wrong with the program alone, and 127 or 126.
#[test]
fn a_program_that_is_not_there_is_said_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not a program").expect("writes");
    let run = |program: &str| {
        agent_command()
            .args(["run", "--class", "low", "--shim"])
            .arg(&plain)
            .args(["--", program])
            // No agent, which is worth a word where the program is there.
            .env("XSCHED_RUN_DIR", dir.path())
            .output()
            .expect("runs")
    };
    for missing in ["no-such-program", "/no/such/program", "./no-such"] {
        let out = run(missing);
        assert_eq!(out.status.code(), Some(127), "{}", error_of(&out));
        let expected =
            format!("xsched-agent: there is no program {missing}: check its name and PATH\n");
        assert_eq!(error_of(&out), expected);
    }
    let out = run(plain.to_str().expect("text"));
    assert_eq!(out.status.code(), Some(126), "{}", error_of(&out));
    assert!(
        error_of(&out).contains("cannot start"),
        "{}",
        error_of(&out)
    );
}

/// Whatever kind of value: what it is, and an example; no words of a parser's.
#[test]
fn values_that_cannot_be_read_are_told_with_an_example() {
    for (arguments, expected) in [
        (
            &["set", "--pid", "abc", "--class", "low"][..],
            "a process has a number, as 4242",
        ),
        (
            &["explain", "--pid", "0"],
            "a process has a number, as 4242",
        ),
        (
            &["diagnose", "--pid", "1x"],
            "a process has a number, as 4242",
        ),
        (
            &["record", "-o", "/dev/null", "--pid", "0"],
            "a process has a number, as 4242",
        ),
        (
            &["boost", "--pid", "1", "--for", "soon"],
            "write it as 2s, 500ms or plain seconds",
        ),
        (
            &["suspend", "--pid", "1", "--timeout", "1 parsec"],
            "write it as 2s, 500ms or plain seconds",
        ),
        (
            &["diagnose", "--pid", "1", "--duration", "x"],
            "write it as 2s, 500ms or plain seconds",
        ),
        (
            &["record", "-o", "/dev/null", "--duration", "x"],
            "write it as 2s, 500ms or plain seconds",
        ),
        (
            &["record", "-o", "/dev/null", "--duration", "0"],
            "more than no time",
        ),
        (
            &["set", "--pid", "1", "--slo", "fast"],
            "write it as \"30ms\"",
        ),
        (&["set", "--pid", "1", "--class", "urgent"], "or default"),
        (&["mode", "--device", "3", "off"], "PCI address"),
        (&["--overhead-budget", "x"], "a percentage from 0.1 to 100"),
        (
            &["--metrics-processes", "many"],
            "a whole number from 0 to 1000, as 20",
        ),
    ] {
        let out = agent_command().args(arguments).output().expect("runs");
        let said = error_of(&out);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        for raw in [
            "invalid digit",
            "invalid float",
            "expected u",
            "out of range integral",
        ] {
            assert!(!said.contains(raw), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_trace_that_cannot_be_made_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().to_str().expect("text");
    for (path, expected) in [
        (
            format!("{folder}/no/trace.pftrace"),
            "its folder does not exist",
        ),
        (folder.to_owned(), "that is a folder: name a file in it"),
    ] {
        let out = agent_command()
            .args(["record", "-o", &path])
            .output()
            .expect("runs");
        let said = error_of(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        let beginning = format!("xsched-agent: cannot create {path}: ");
        assert!(
            said.starts_with(&beginning) && said.contains(expected),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn the_directory_of_sockets_is_absolute_and_made_in_few_places() {
    let dir = tempfile::tempdir().expect("a directory");
    for arguments in [
        &["--no-bpf"][..],
        &["ps"],
        &["set", "--pid", "1", "--class", "low"],
    ] {
        let out = agent_command()
            .args(arguments)
            .env("XSCHED_RUN_DIR", "run")
            .current_dir(dir.path())
            .output()
            .expect("runs");
        let said = error_of(&out);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(
            said.contains("XSCHED_RUN_DIR=run is a relative path: begin it with a slash"),
            "{said}"
        );
    }
    assert!(!dir.path().join("run").exists());
    let missing = dir.path().join("missing");
    let out = agent_command()
        .arg("--no-bpf")
        .env("XSCHED_RUN_DIR", &missing)
        .env("XSCHED_CONFIG", "/dev/null")
        .output()
        .expect("runs");
    let said = error_of(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("there is no directory ") && said.contains("`mkdir -m 755 "),
        "{said}"
    );
    assert!(!missing.exists());
}

/// What the command line and `mode` set is in force, so it is shown.
#[test]
fn settings_in_force_are_shown_whatever_they_come_from() {
    let agent = Agent::start_with(&["--overhead-budget", "5", "--passthrough", "librocfft"]);
    assert!(agent.cli(&["mode", "share"]).status.success());
    let show = |arguments: &[&str]| {
        let out = agent.cli(arguments);
        assert!(out.status.success(), "{}", error_of(&out));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let shown = show(&["config", "show"]);
    for line in [
        "# by the agent's command line: observe, overhead_budget_percent, passthrough",
        "observe = false",
        "overhead_budget_percent = 5.0",
        "libraries = [\"librocfft\"]",
        "mode = \"share\"",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json = show(&["config", "show", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["sharing"]["mode"], "share");
    assert_eq!(json["command_line"][1], "overhead_budget_percent");
    // A file by itself, and options before the command.
    let file = show(&["config", "show", "/dev/null"]);
    assert!(file.contains("overhead_budget_percent = 1.0"), "{file}");
    let planned = show(&["--overhead-budget", "3", "config", "show"]);
    assert!(
        planned.contains("overhead_budget_percent = 3.0"),
        "{planned}"
    );
}

/// Nobody is told what cannot help: root not to become root, others not that
/// they see what they do not see.
#[test]
fn what_is_missing_is_told_as_the_user_can_mend_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can act as another user");
        return;
    }
    // The build folder may be closed to others.
    let dir = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("chmod");
    let copy = dir.path().join("xsched-agent");
    xsched_testkit::copy_program(agent_command().get_program(), &copy);
    let check = |rights: &[&str]| -> serde_json::Value {
        let mut command = Command::new("setpriv");
        command.args(rights).arg(&copy).args(["check", "--json"]);
        command.env("XSCHED_RUN_DIR", dir.path());
        let out = command.output().expect("setpriv (util-linux) runs");
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", error_of(&out)))
    };
    let row = |checks: &serde_json::Value, name: &str| {
        let mut rows = checks["checks"].as_array().expect("rows").iter();
        rows.find(|row| row["name"] == name)
            .cloned()
            .expect("a row")
    };
    let user = check(&["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let processes = row(&user, "processes");
    assert_eq!(processes["state"], "missing", "{processes}");
    assert!(
        processes["fix"]
            .as_str()
            .expect("a fix")
            .starts_with("root (sudo), or ")
    );
    assert_eq!(row(&user, "agent")["fix"], "sudo xsched-agent");
    // Root of a container without capabilities.
    let root = check(&["--bounding-set", "-all", "--inh-caps", "-all"]);
    assert_eq!(row(&root, "agent")["fix"], "xsched-agent");
    for row in root["checks"].as_array().expect("rows") {
        let fix = row["fix"].as_str().unwrap_or_default();
        assert!(!fix.contains("sudo") && !fix.starts_with("root"), "{row}");
        let found = row["found"].as_str().unwrap_or_default();
        assert!(!found.contains("run this as root"), "{row}");
    }
}
