//! Where the agent is: behind a socket, or behind a command's standard input
//! and output.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::{ANSWER_TIME, Answered, Error};

/// How long an ended command may take to be reaped.
const REAP_TIME: Duration = Duration::from_secs(1);

/// Time between two attempts to take a place in a full queue.
const CROWDED: Duration = Duration::from_millis(10);

/// The most that is kept of a command's last words, bytes.
const MAX_SAID: usize = 512;

/// Where the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Its API socket on this machine.
    Socket(PathBuf),
    /// A command that passes the socket on, as `xsched-agent proxy` does.
    Command(Proxy),
}

/// A command that passes the agent's socket on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    program: String,
    arguments: Vec<String>,
    /// As the user may run it.
    shown: String,
}

impl Proxy {
    /// `xsched-agent proxy` on another machine. ssh must not ask for anything:
    /// the terminal is the screen's.
    pub fn ssh(host: &str) -> Proxy {
        let options = ["-T", "-oBatchMode=yes", "-oServerAliveInterval=5"];
        let remote = ["--", host, "xsched-agent", "proxy"];
        Proxy {
            program: "ssh".into(),
            arguments: options.iter().chain(&remote).map(|&s| s.into()).collect(),
            shown: format!("ssh {host} xsched-agent proxy"),
        }
    }

    /// A command line, for the shell.
    pub fn shell(line: &str) -> Proxy {
        Proxy {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), line.into()],
            shown: line.into(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Socket(path) => path.display().fmt(f),
            Endpoint::Command(proxy) => write!(f, "`{}`", proxy.shown),
        }
    }
}

/// The two ends of an open connection, and what holds it open.
pub(super) struct Ends {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) runner: Option<Runner>,
}

impl Endpoint {
    /// Connects.
    pub(super) async fn open(&self) -> Result<Ends, Error> {
        match self {
            Endpoint::Socket(path) => {
                let stream = connect(path)
                    .await
                    .map_err(|e| Error::to_connect(path, e))?;
                let (from, to) = stream.into_split();
                Ok(Ends {
                    from: Box::new(from),
                    to: Box::new(to),
                    runner: None,
                })
            }
            Endpoint::Command(proxy) => proxy.start(),
        }
    }

    /// How much longer than a socket's an answer may take: a connection to
    /// another machine comes first.
    pub(super) fn extra_timeout(&self) -> Duration {
        match self {
            Endpoint::Socket(_) => Duration::ZERO,
            Endpoint::Command(_) => Duration::from_secs(10),
        }
    }
}

/// Waits for room where many wait to be accepted: without waiting, the kernel
/// refuses whoever comes then (unix(7), EAGAIN).
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let until = Instant::now() + ANSWER_TIME;
    loop {
        match UnixStream::connect(path).await {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                tokio::time::sleep(CROWDED).await;
            }
            connected => return connected,
        }
    }
}

impl Proxy {
    fn start(&self) -> Result<Ends, Error> {
        let failed = |source| Error::NotStarted {
            command: self.shown.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let parts = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(to), Some(from), Some(stderr)) = parts else {
            return Err(failed(io::Error::other("no pipes")));
        };
        let said = Arc::default();
        tokio::spawn(listen(stderr, Arc::clone(&said)));
        Ok(Ends {
            from: Box::new(from),
            to: Box::new(to),
            runner: Some(Runner {
                child,
                said,
                command: self.shown.clone(),
            }),
        })
    }
}

/// Keeps the last line of what a command says, so that it never blocks on it.
async fn listen(stderr: ChildStderr, said: Arc<Mutex<String>>) {
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut stderr).take(MAX_SAID as u64);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            *said.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}

/// A running command; dropping it ends it.
#[derive(Debug)]
pub(super) struct Runner {
    child: Child,
    said: Arc<Mutex<String>>,
    command: String,
}

impl Runner {
    /// What the end of its output means.
    pub(super) async fn ended(&mut self, answered: Answered) -> Error {
        let status = timeout(REAP_TIME, self.child.wait()).await;
        // Its last words are read by another task.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Error::CommandEnded {
            command: self.command.clone(),
            status: status.ok().and_then(Result::ok).and_then(|s| s.code()),
            said: said.clone(),
            answered,
        }
    }
}
