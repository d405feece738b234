//! The agent's API socket, seen from a client.

mod line;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use xsched_common::api::{Change, Diagnosis, Failure, Request, Response, Settled, Snapshot};
use xsched_common::units::Class;

pub use line::LineError;
pub use watch::{LinkEvent, watch};

/// How long the agent may take for an answer that is due at once.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long an examination may take beyond its observation: it reads a whole
/// address space and sets probes.
const DIAGNOSIS_TIME: Duration = Duration::from_secs(30);

/// Why there is no answer, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there.
    #[error("no agent at {}: start it with `sudo xsched-agent`", path.display())]
    NoAgent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The socket is not ours to use.
    #[error("no permission for {}: run xtop with sudo", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// Any other failure to connect.
    #[error("cannot connect to {}: {source}; name the agent's socket with --socket", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent went away.
    #[error("the agent closed the connection: see its log, or start it with `sudo xsched-agent`")]
    Closed,
    /// Reading or writing failed.
    #[error("connection to the agent failed: {0}; start xtop again")]
    Io(io::Error),
    /// The answer is no answer of this API.
    #[error(
        "not understood what the agent sent ({0}): xtop and xsched-agent must be of one version"
    )]
    Malformed(String),
    /// The agent refused.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The agent is connected and silent.
    #[error("the agent did not answer within {} s: see its log", .0.as_secs())]
    Silent(Duration),
}

impl Error {
    /// Whether no connection came about at all.
    pub fn is_connect(&self) -> bool {
        match self {
            Error::NoAgent { .. } | Error::NotPermitted { .. } | Error::Connect { .. } => true,
            Error::Closed
            | Error::Io(_)
            | Error::Malformed(_)
            | Error::Refused(_)
            | Error::Silent(_) => false,
        }
    }
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    /// Connects to the socket at `path`.
    pub async fn open(path: &Path) -> Result<Connection, Error> {
        let stream = UnixStream::connect(path).await.map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Error::NoAgent { path }
                }
                io::ErrorKind::PermissionDenied => Error::NotPermitted { path },
                _ => Error::Connect { path, source },
            }
        })?;
        let (reader, writer) = stream.into_split();
        Ok(Connection {
            reader: BufReader::with_capacity(64 << 10, reader),
            writer,
        })
    }

    /// Sends one request.
    pub async fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(|e| Error::Malformed(e.to_string()))?;
        line.push(b'\n');
        match self.writer.write_all(&line).await {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Error::Closed),
            other => other.map_err(Error::Io),
        }
    }

    /// Receives one response within `patience`.
    pub async fn receive(&mut self, patience: Duration) -> Result<Response, Error> {
        let line = timeout(patience, line::read(&mut self.reader))
            .await
            .map_err(|_| Error::Silent(patience))??;
        serde_json::from_slice(&line).map_err(|e| Error::Malformed(e.to_string()))
    }

    /// Receives a snapshot within `patience`.
    pub async fn snapshot(&mut self, patience: Duration) -> Result<Snapshot, Error> {
        match self.receive(patience).await? {
            Response::Snapshot(snapshot) => Ok(*snapshot),
            Response::Error(failure) => Err(Error::Refused(failure)),
            _ => Err(unasked()),
        }
    }
}

impl From<LineError> for Error {
    fn from(error: LineError) -> Error {
        match error {
            LineError::Closed => Error::Closed,
            LineError::TooLong => Error::Malformed(error.to_string()),
            LineError::Io(e) if e.kind() == io::ErrorKind::ConnectionReset => Error::Closed,
            LineError::Io(e) => Error::Io(e),
        }
    }
}

/// Changes a process's class, on a connection of its own so that it never
/// waits behind snapshots.
pub async fn set(path: &Path, pid: u32, class: Class) -> Result<Settled, Error> {
    let mut connection = Connection::open(path).await?;
    let change = Change {
        pid,
        class: Some(class),
        ..Change::default()
    };
    connection.send(&Request::Set(change)).await?;
    match connection.receive(ANSWER_TIME).await? {
        Response::Settled(settled) => Ok(settled),
        Response::Error(failure) => Err(Error::Refused(failure)),
        _ => Err(unasked()),
    }
}

/// Has a process examined, its calls observed for `duration`.
pub async fn diagnose(path: &Path, pid: u32, duration: Duration) -> Result<Diagnosis, Error> {
    let mut connection = Connection::open(path).await?;
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    connection
        .send(&Request::Diagnose { pid, duration_ms })
        .await?;
    match connection.receive(duration + DIAGNOSIS_TIME).await? {
        Response::Diagnosis(diagnosis) => Ok(diagnosis),
        Response::Error(failure) => Err(Error::Refused(failure)),
        _ => Err(unasked()),
    }
}

fn unasked() -> Error {
    Error::Malformed("an answer to another request".into())
}
