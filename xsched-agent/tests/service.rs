//! Under a service manager: sockets handed down, notifications, the units.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use xsched_common::handshake::HelloResult;
use xsched_common::run_dir::RunDir;
use xsched_testkit::{DEADLINE, FakeClient, agent_command, make_run_dir};

/// The units as they are installed.
fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd")
}

/// Kills its process at the end.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a pid");
        kill_process(pid, signal).expect("a signal");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What systemd would listen for.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(dir: &Path) -> Manager {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).expect("binds");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Manager { socket, path }
    }

    /// The next message that is not a watchdog's.
    fn hears(&self) -> String {
        loop {
            let message = self.any();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn any(&self) -> String {
        let mut bytes = [0; 256];
        let len = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    }
}

#[test]
fn readiness_life_and_end_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let manager = Manager::new(dir.path());
    let run_dir = make_run_dir(&dir);
    let mut agent = Running(
        agent_command()
            .arg("--no-bpf")
            .env("XSCHED_RUN_DIR", &run_dir.0)
            .env("NOTIFY_SOCKET", &manager.path)
            .env("WATCHDOG_USEC", "400000")
            .stderr(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    assert_eq!(manager.hears(), "READY=1");
    assert!(UnixStream::connect(run_dir.api_socket()).is_ok());
    assert_eq!(
        FakeClient::join(&run_dir).reply.verdict,
        HelloResult::Accepted
    );
    for _ in 0..3 {
        assert_eq!(manager.any(), "WATCHDOG=1");
    }
    agent.signal(Signal::TERM);
    assert_eq!(manager.hears(), "STOPPING=1");
    assert!(agent.0.wait().expect("ends").success());
}

/// Hands `sockets` down as the descriptors from 3 on, by name.
fn with_sockets(command: &mut Command, sockets: &[(&OwnedFd, &str)]) {
    let names: Vec<&str> = sockets.iter().map(|(_, name)| *name).collect();
    let from: Vec<i32> = sockets.iter().map(|(fd, _)| fd.as_raw_fd()).collect();
    // LISTEN_PID must be the process's own number: a shell knows it.
    let mut script = String::from("export LISTEN_PID=$$; exec \"$0\" \"$@\"");
    script.insert_str(0, &format!("export LISTEN_FDS={};", from.len()));
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let env: Vec<_> = command
        .get_envs()
        .filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())))
        .collect();
    *command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(program)
        .args(arguments)
        .envs(env)
        .env("LISTEN_FDNAMES", names.join(":"));
    // SAFETY: fcntl and dup2 only; the descriptors stay open in the parent.
    unsafe {
        command.pre_exec(move || {
            // Out of the way first: 3 may be one of them.
            let mut high = [-1; 4];
            for (to, fd) in high.iter_mut().zip(&from) {
                *to = libc::fcntl(*fd, libc::F_DUPFD, 100);
            }
            for (place, fd) in (3..).zip(&high[..from.len()]) {
                libc::dup2(*fd, place);
                libc::close(*fd);
            }
            Ok(())
        });
    }
}

fn joining_socket(path: &Path) -> OwnedFd {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket");
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).expect("a path")).expect("binds");
    rustix::net::listen(&socket, 16).expect("listens");
    socket
}

#[test]
fn sockets_handed_down_are_served_and_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let run_dir = RunDir(dir.path().join("run"));
    std::fs::create_dir(&run_dir.0).expect("a directory");
    let join = joining_socket(&run_dir.join_socket());
    let api = OwnedFd::from(UnixListener::bind(run_dir.api_socket()).expect("binds"));
    let start = || {
        let mut command = agent_command();
        command.arg("--no-bpf").env("XSCHED_RUN_DIR", &run_dir.0);
        with_sockets(&mut command, &[(&api, "api"), (&join, "join")]);
        Running(command.stderr(Stdio::null()).spawn().expect("starts"))
    };
    // Who knocks before it runs is heard when it does.
    let early = UnixStream::connect(run_dir.api_socket()).expect("connects");
    for _ in 0..2 {
        let mut agent = start();
        assert_eq!(
            FakeClient::join(&run_dir).reply.verdict,
            HelloResult::Accepted
        );
        agent.signal(Signal::TERM);
        assert!(agent.0.wait().expect("ends").success());
        assert!(run_dir.join_socket().exists() && run_dir.api_socket().exists());
    }
    drop(early);
}

#[test]
fn sockets_that_make_no_sense_are_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let stream = OwnedFd::from(UnixListener::bind(dir.path().join("s")).expect("binds"));
    let file = OwnedFd::from(tempfile::tempfile().expect("a file"));
    for (sockets, says) in [
        (&[(&stream, "join")][..], "use ListenSequentialPacket="),
        (&[(&file, "api")][..], "use ListenStream="),
        (&[(&stream, "xsched-agent.socket")][..], "must be `join`"),
        (
            &[(&stream, "api"), (&stream, "api")][..],
            "two sockets named `api`",
        ),
    ] {
        let mut command = agent_command();
        command.arg("--no-bpf").env("XSCHED_RUN_DIR", dir.path());
        with_sockets(&mut command, sockets);
        let out = command.output().expect("runs");
        assert_eq!(out.status.code(), Some(2));
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            error.contains(says) && error.lines().count() == 1,
            "{error}"
        );
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("LEFT OUT: {program} is not installed");
    }
    found
}

/// The units in `dir`, with what a test needs in place of what an
/// installation has.
fn adapted(dir: &Path, replacements: &[(&str, &str)]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(units()).expect("the units") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if !name.to_string_lossy().starts_with("xsched-agent") {
            continue;
        }
        let mut text = std::fs::read_to_string(&path).expect("text");
        for (from, to) in replacements {
            text = text.replace(from, to);
        }
        std::fs::write(dir.join(name), text).expect("writes");
        out.push(dir.join(name));
    }
    out
}

#[test]
fn systemd_accepts_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let program = env!("CARGO_BIN_EXE_xsched-agent");
    let files = adapted(dir.path(), &[("/usr/bin/xsched-agent", program)]);
    assert_eq!(files.len(), 3);
    let out = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&files)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&out.stderr);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("xsched"))
        .collect();
    assert!(out.status.success() && ours.is_empty(), "{said}");
}

/// A real systemd, as a user's manager in namespaces of its own, starts the
/// agent when somebody knocks, again when it dies or hangs, and stops it.
#[test]
fn a_real_systemd_starts_restarts_and_stops_it() {
    const SYSTEMD: &str = "/lib/systemd/systemd";
    if !has("systemd-analyze") || !has("unshare") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: namespaces for a systemd of our own need root");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let unit_dir = dir.path().join("config/systemd/user");
    std::fs::create_dir_all(&unit_dir).expect("a directory");
    let probes = std::env::var_os("XSCHED_TEST_NO_BPF").is_none();
    if !probes {
        eprintln!("LEFT OUT: whether probes work under the unit's hardening (XSCHED_TEST_NO_BPF)");
    }
    let program = format!(
        "{}{}\nEnvironment=XSCHED_RUN_DIR=%t/xsched",
        env!("CARGO_BIN_EXE_xsched-agent"),
        if probes { "" } else { " --no-bpf" }
    );
    adapted(
        &unit_dir,
        &[
            ("/usr/bin/xsched-agent", &program),
            ("/run/xsched", "%t/xsched"),
            ("WatchdogSec=5s", "WatchdogSec=500ms"),
            // A user's manager has no device to hide /dev/kmsg behind.
            ("ProtectKernelLogs=yes", ""),
        ],
    );
    let script = dir.path().join("script");
    std::fs::write(&script, SCRIPT).expect("writes");
    let out = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["timeout", "60", "sh", "-eu"])
        .arg(&script)
        .env("HOME", dir.path())
        .env("XDG_CONFIG_HOME", dir.path().join("config"))
        .env("SYSTEMD", SYSTEMD)
        .env("PROBES", if probes { "yes" } else { "" })
        .env("AGENT", env!("CARGO_BIN_EXE_xsched-agent"))
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .output()
        .expect("runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    if out.status.code() == Some(77) {
        eprintln!("LEFT OUT: no systemd can run here: {said}");
        return;
    }
    assert!(out.status.success() && said.contains("stopped\n"), "{said}");
}

const SCRIPT: &str = r#"
mount -t tmpfs none /run
# Without this directory systemd thinks that it is not one.
mkdir -p /run/systemd/system
export XDG_RUNTIME_DIR=/run/own
mkdir -m 700 $XDG_RUNTIME_DIR
export XSCHED_RUN_DIR=$XDG_RUNTIME_DIR/xsched
"$SYSTEMD" --user --log-target=console > /run/log 2>&1 &
i=0
until systemctl --user list-units > /run/units 2>&1; do
    i=$((i + 1))
    [ $i -lt 100 ] || { cat /run/log /run/units; exit 77; }
    sleep 0.1
done
unit() { systemctl --user "$@"; }
fail() { echo "$1"; unit status xsched-agent.service xsched-agent.socket --no-pager; cat /run/log; exit 1; }
pid() { unit show --property MainPID --value xsched-agent.service; }
# Until another process than $1 serves.
another() {
    i=0
    while now=$(pid); [ "$now" = 0 ] || [ "$now" = "$1" ] || ! "$AGENT" ps > /run/ps 2>&1; do
        i=$((i + 1)); [ $i -lt 200 ] || fail "no other agent than $1"
        sleep 0.05
    done
}
unit start xsched-agent.socket xsched-agent-api.socket
[ "$(unit is-active xsched-agent.service)" = inactive ] || fail "runs unasked"
"$AGENT" ps || fail "nobody answers a knock"
[ "$(unit is-active xsched-agent.service)" = active ] || fail "not active"
i=0
until [ -z "$PROBES" ] || "$AGENT" ps --json | grep -q '"available":true'; do
    i=$((i + 1)); [ $i -lt 100 ] || { "$AGENT" ps --json; fail "no probes under the hardening"; }
    sleep 0.1
done
echo activated
first=$(pid)
unit reload xsched-agent.service || fail "no reload"
sleep 0.2
[ "$(pid)" = $first ] && "$AGENT" ps > /dev/null || fail "a reload ended it"
kill -KILL $first
"$AGENT" ps || fail "a restart is seen"
another $first
echo restarted
second=$(pid)
kill -STOP $second
another $second
echo watched
unit stop xsched-agent.service
# The sockets stay and would start it again: they stop, too.
[ "$(unit show --property Result --value xsched-agent.service)" = success ] || fail "no clean stop"
unit stop xsched-agent.socket xsched-agent-api.socket
[ ! -e $XSCHED_RUN_DIR/agent.sock ] || fail "a socket is left"
unit start xsched-agent.service
"$AGENT" ps || fail "does not serve without the sockets' units"
unit stop xsched-agent.service
echo stopped
"#;

#[test]
fn a_watchdog_is_not_told_when_nobody_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let manager = Manager::new(dir.path());
    let _agent = Running(
        agent_command()
            .arg("--no-bpf")
            .env("XSCHED_RUN_DIR", &make_run_dir(&dir).0)
            .env("NOTIFY_SOCKET", &manager.path)
            .stderr(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    assert_eq!(manager.hears(), "READY=1");
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
}
