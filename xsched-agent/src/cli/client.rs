//! A short conversation with the agent.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use xsched_agent::config::Effective;
use xsched_agent::text::{or_root, start_agent};
use xsched_common::api::{
    Explanation, Failure, InForce, MAX_LINE, ModeSet, Reloaded, Request, Response, Settled,
    Snapshot,
};
use xsched_common::run_dir::RunDir;

/// How long the agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves the socket.
    #[error("no agent at {}: start it with `{}`, or set XSCHED_RUN_DIR", .path.display(), start_agent())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody serves it, perhaps, and not for us.
    #[error("cannot connect to {}: {source}; set XSCHED_RUN_DIR to the agent's directory (its name at most 96 bytes long){}", .path.display(), or_root())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent at {} did not answer: {source}", .path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The agent says no.
    #[error("{message}")]
    Refused {
        /// Stable code.
        code: String,
        /// What, and what to do next.
        message: String,
    },
}

/// One snapshot.
pub fn list(run_dir: &RunDir) -> Result<Snapshot, ClientError> {
    match ask(run_dir, &Request::List)? {
        Response::Snapshot(snapshot) => Ok(*snapshot),
        other => Err(unexpected(run_dir, &other)),
    }
}

/// Changes what holds for a process.
pub fn settle(run_dir: &RunDir, request: &Request) -> Result<Settled, ClientError> {
    match ask(run_dir, request)? {
        Response::Settled(settled) => Ok(settled),
        other => Err(unexpected(run_dir, &other)),
    }
}

/// Where a process's terms come from.
pub fn explain(run_dir: &RunDir, request: &Request) -> Result<Explanation, ClientError> {
    match ask(run_dir, request)? {
        Response::Explanation(explanation) => Ok(explanation),
        other => Err(unexpected(run_dir, &other)),
    }
}

/// Changes how devices are shared.
pub fn set_mode(run_dir: &RunDir, request: &Request) -> Result<ModeSet, ClientError> {
    match ask(run_dir, request)? {
        Response::ModeSet(set) => Ok(set),
        other => Err(unexpected(run_dir, &other)),
    }
}

/// Reads the configuration again.
pub fn reload(run_dir: &RunDir) -> Result<Reloaded, ClientError> {
    match ask(run_dir, &Request::Reload)? {
        Response::Reloaded(reloaded) => Ok(reloaded),
        other => Err(unexpected(run_dir, &other)),
    }
}

/// Every setting in force.
pub fn settings(run_dir: &RunDir) -> Result<Effective, ClientError> {
    match ask(run_dir, &Request::Settings)? {
        Response::Settings(InForce { settings }) => {
            serde_json::from_value(settings).map_err(|e| ClientError::NoAnswer {
                path: run_dir.api_socket(),
                source: io::Error::other(e),
            })
        }
        other => Err(unexpected(run_dir, &other)),
    }
}

fn unexpected(run_dir: &RunDir, response: &Response) -> ClientError {
    match response {
        Response::Error(failure) => ClientError::Refused {
            code: failure.code.clone(),
            message: failure.message.clone(),
        },
        _ => ClientError::NoAnswer {
            path: run_dir.api_socket(),
            source: io::Error::other("it answered something else; are both of one version?"),
        },
    }
}

/// A connection to the API socket.
pub fn connect(run_dir: &RunDir) -> Result<UnixStream, ClientError> {
    let path = run_dir.api_socket();
    UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => ClientError::NoAgent { path, source },
        _ => ClientError::Unreachable { path, source },
    })
}

/// Snapshots, one every `interval_ms`, until the agent ends.
pub fn watch(
    run_dir: &RunDir,
    interval_ms: u64,
) -> Result<impl Iterator<Item = Result<Snapshot, ClientError>>, ClientError> {
    let stream = connect(run_dir)?;
    let no_answer = {
        let path = run_dir.api_socket();
        move |source| ClientError::NoAnswer {
            path: path.clone(),
            source,
        }
    };
    // The agent is silent for up to the interval.
    let patience = TIMEOUT + Duration::from_millis(interval_ms);
    stream
        .set_read_timeout(Some(patience))
        .and_then(|()| send(&stream, &Request::Watch { interval_ms }))
        .map_err(&no_answer)?;
    let mut from = BufReader::new(stream);
    let run_dir = run_dir.clone();
    Ok(std::iter::from_fn(move || {
        Some(match receive(&mut from) {
            Ok(Response::Snapshot(snapshot)) => Ok(*snapshot),
            Ok(other) => Err(unexpected(&run_dir, &other)),
            Err(source) => Err(no_answer(source)),
        })
    }))
}

/// Asks again, for a while, where the agent says that this user only has to
/// wait: a launcher that starts thousands should not see some of them fail.
fn ask(run_dir: &RunDir, request: &Request) -> Result<Response, ClientError> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let stream = connect(run_dir)?;
        let response = converse(stream, request).map_err(|source| ClientError::NoAnswer {
            path: run_dir.api_socket(),
            source,
        })?;
        match response {
            Response::Error(Failure {
                retry_after_ms: Some(wait),
                ..
            }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(wait.min(1000)));
            }
            response => return Ok(response),
        }
    }
}

fn converse(stream: UnixStream, request: &Request) -> io::Result<Response> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // Whoever is turned away is told why and hung up on, perhaps before this
    // is sent: the answer is there all the same.
    let sent = send(&stream, request);
    let received = receive(&mut BufReader::new(stream));
    received.or_else(|e| sent.and(Err(e)))
}

fn send(mut to: &UnixStream, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    to.write_all(&line)
}

fn receive(from: &mut impl io::BufRead) -> io::Result<Response> {
    let mut answer = Vec::new();
    from.take(MAX_LINE as u64).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it ended the connection",
        ));
    }
    serde_json::from_slice(&answer).map_err(io::Error::other)
}
