//! A real agent in a directory of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use xsched_common::api::{Change, Request, Response};
use xsched_common::gate::GateMode;
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;

use super::{DEADLINE, FakeClient, built, client, wait_for};

/// The built `xsched-agent`.
pub fn agent_command() -> Command {
    Command::new(built("xsched-agent"))
}

/// The directory of an agent in a test's own: agents make none there.
pub fn make_run_dir(dir: &tempfile::TempDir) -> RunDir {
    use std::os::unix::fs::DirBuilderExt as _;
    let run_dir = RunDir(dir.path().join("run"));
    let made = std::fs::DirBuilder::new().mode(0o755).create(&run_dir.0);
    assert!(made.is_ok() || run_dir.0.is_dir(), "{made:?}");
    run_dir
}

/// A running agent; killed when it goes out of scope.
pub struct Agent {
    /// Its process.
    pub child: Child,
    /// Where its sockets are.
    pub run_dir: RunDir,
    /// Where that and what else is its own is.
    pub dir: tempfile::TempDir,
}

impl Agent {
    /// Starts one without probes and waits until it serves.
    pub fn start() -> Agent {
        Agent::start_in(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Starts one with probes, which fails where BPF does.
    pub fn start_observing() -> Agent {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let agent = Agent::spawn(dir, &[]);
        wait_for(
            "BPF works (run as root; XSCHED_TEST_NO_BPF=1 leaves these tests out)",
            || {
                let snapshot = agent.ask_raw(r#"{"op":"list"}"#);
                snapshot["agent"]["bpf"]["available"] == true
            },
        );
        agent
    }

    /// Starts one without probes and with further arguments.
    pub fn start_with(arguments: &[&str]) -> Agent {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Agent::spawn(dir, &[&["--no-bpf"], arguments].concat())
    }

    /// One without a minimum share: what is held back stays so but for the
    /// shim's trickle. Launches that take no time slip through by the
    /// thousand in a grant of the usual one.
    pub fn start_without_min_share() -> Agent {
        Agent::start_in_without_min_share(tempfile::tempdir().expect("a temporary directory"))
    }

    /// The same in a directory that an earlier agent may have used.
    pub fn start_in_without_min_share(dir: tempfile::TempDir) -> Agent {
        let file = dir.path().join("strict.toml");
        std::fs::write(&file, "[sharing]\nmin_share_percent = 0\n").expect("writes");
        let file = file.to_str().expect("text").to_owned();
        Agent::spawn(dir, &["--no-bpf", "--config", &file])
    }

    /// Without probes, in a directory that an earlier agent may have used.
    pub fn start_in(dir: tempfile::TempDir) -> Agent {
        Agent::spawn(dir, &["--no-bpf"])
    }

    /// As [`Agent::start_in`], with arguments of the test's own.
    pub fn start_in_with(dir: tempfile::TempDir, arguments: &[&str]) -> Agent {
        Agent::spawn(dir, arguments)
    }

    /// As [`Agent::start_in`], with no more than so many descriptors.
    pub fn start_with_descriptors(dir: tempfile::TempDir, limit: u32) -> Agent {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
            .arg(built("xsched-agent"));
        Agent::spawn_as(command, dir, &["--no-bpf"], Stdio::null())
    }

    /// One whose heap has room to spare: a small allocation that fails ends
    /// any program in Rust, so only what is mapped can be refused to it.
    pub fn start_with_heap() -> Agent {
        let mut command = agent_command();
        command.env(
            "GLIBC_TUNABLES",
            "glibc.malloc.arena_max=1:glibc.malloc.top_pad=16777216",
        );
        let dir = tempfile::tempdir().expect("a temporary directory");
        Agent::spawn_as(command, dir, &["--no-bpf"], Stdio::null())
    }

    /// Without probes; it finds libraries of vendors in this folder, which tell
    /// of the simulated device there.
    pub fn start_with_libraries(folder: &Path) -> Agent {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = agent_command();
        command
            .env("LD_LIBRARY_PATH", folder)
            .env("HIPSIM_DEVICE", folder.join("device"));
        Agent::spawn_as(command, dir, &["--no-bpf"], Stdio::null())
    }

    /// One whose log goes into a pipe that nobody reads: `child.stderr`.
    pub fn start_unread() -> Agent {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Agent::spawn_as(agent_command(), dir, &["--no-bpf"], Stdio::piped())
    }

    /// Without probes; also the file that its log goes to.
    pub fn start_logging(arguments: &[&str]) -> (Agent, std::path::PathBuf) {
        Agent::start_logging_in(tempfile::tempdir().expect("a directory"), arguments)
    }

    /// The same in a directory of the test's choice.
    pub fn start_logging_in(
        dir: tempfile::TempDir,
        arguments: &[&str],
    ) -> (Agent, std::path::PathBuf) {
        let log = dir.path().join("log");
        let file = std::fs::File::create(&log).expect("a file");
        let arguments = [&["--no-bpf"], arguments].concat();
        let agent = Agent::spawn_as(agent_command(), dir, &arguments, file.into());
        (agent, log)
    }

    fn spawn(dir: tempfile::TempDir, arguments: &[&str]) -> Agent {
        Agent::spawn_as(agent_command(), dir, arguments, Stdio::null())
    }

    fn spawn_as(
        mut command: Command,
        dir: tempfile::TempDir,
        arguments: &[&str],
        stderr: Stdio,
    ) -> Agent {
        let run_dir = make_run_dir(&dir);
        let child = command
            .args(arguments)
            .env("XSCHED_RUN_DIR", &run_dir.0)
            // An empty file: the machine's own must not matter.
            .env("XSCHED_CONFIG", "/dev/null")
            .stderr(stderr)
            .spawn()
            .expect("the agent starts");
        let agent = Agent {
            child,
            run_dir,
            dir,
        };
        wait_for("the agent serves", || {
            UnixStream::connect(agent.run_dir.api_socket()).is_ok()
        });
        agent
    }

    /// One request, one response, over a connection of its own.
    pub fn ask(&self, request: &Request) -> Response {
        let line = serde_json::to_string(request).expect("serialises");
        serde_json::from_value(self.ask_raw(&line)).expect("a response")
    }

    /// Any line.
    pub fn ask_raw(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.run_dir.api_socket()).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        match stream.write_all(format!("{line}\n").as_bytes()) {
            // It was turned away before this: the answer that says so is there.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            sent => sent.expect("sends"),
        }
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .expect("answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// The processes of the latest snapshot.
    pub fn rows(&self) -> Vec<Value> {
        match self.ask_raw(r#"{"op":"list"}"#)["processes"].take() {
            Value::Array(rows) => rows,
            other => panic!("no rows: {other}"),
        }
    }

    /// A process's row; null while it has none.
    pub fn row(&self, pid: u32) -> Value {
        let mut rows = self.rows().into_iter();
        rows.find(|row| row["pid"] == pid).unwrap_or_default()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        // Once it answers it has opened what it needs for itself.
        self.ask_raw(r#"{"op":"list"}"#);
        let fds = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(fds).expect("it runs").count()
    }

    /// Runs a subcommand against this agent.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        agent_command()
            .args(arguments)
            .env("XSCHED_RUN_DIR", &self.run_dir.0)
            .output()
            .expect("the command runs")
    }

    /// kill -9, leaving its directory.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
        // Agent has a Drop; move the directory out by replacing it.
        std::mem::replace(
            &mut self.dir,
            tempfile::tempdir().expect("a temporary directory"),
        )
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to an agent's joining socket.
pub fn connect(run_dir: &RunDir) -> OwnedFd {
    client::connect(run_dir).expect("connects")
}

impl FakeClient {
    /// Joins, on the first device of the shim's fake runtime.
    pub fn join(run_dir: &RunDir) -> FakeClient {
        let client = FakeClient::join_silently(run_dir);
        client.introduce();
        client
    }

    /// Joins, and says nothing of its devices yet.
    pub fn join_silently(run_dir: &RunDir) -> FakeClient {
        FakeClient::try_join(run_dir).expect("joins")
    }

    /// As shims did that do not ring once they have mapped their pages.
    pub fn join_unheard(run_dir: &RunDir) -> FakeClient {
        FakeClient::try_join_unheard(run_dir).expect("joins")
    }

    /// Waits until the gate is in a mode that `wanted` accepts.
    pub fn wait_for_mode(&self, what: &str, wanted: impl Fn(GateMode) -> bool) {
        wait_for(&format!("{what} (now {:?})", self.mode()), || {
            wanted(self.mode())
        });
    }
}

/// Gives a process a class, as root.
pub fn set_class(agent: &Agent, pid: u32, class: Class) {
    match agent.ask(&Request::Set(Change {
        pid,
        class: Some(class),
        ..Change::default()
    })) {
        Response::Settled(settled) => assert_eq!(settled.class, class),
        other => panic!("{other:?}"),
    }
}
