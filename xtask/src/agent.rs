//! A running agent, asked over its API socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use xsched_common::api::{Request, Response, Snapshot};
use xsched_common::run_dir::RunDir;

/// An agent that needs longer hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// One request to the agent of `run_dir`, over a connection of its own; what
/// it refuses is an error.
pub fn ask(run_dir: &Path, request: &Request) -> anyhow::Result<Response> {
    let socket = RunDir(run_dir.to_owned()).api_socket();
    let mut stream = UnixStream::connect(&socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("the agent does not answer")?;
    match serde_json::from_str(&line).with_context(|| format!("the agent answered {line:?}"))? {
        Response::Error(failure) => bail!("the agent refused {request:?}: {}", failure.message),
        response => Ok(response),
    }
}

/// What the agent of `run_dir` sees.
pub fn snapshot(run_dir: &Path) -> anyhow::Result<Snapshot> {
    match ask(run_dir, &Request::List)? {
        Response::Snapshot(snapshot) => Ok(*snapshot),
        other => bail!("the agent answered {other:?} instead of a snapshot"),
    }
}

/// Whether an agent serves `run_dir`.
pub fn serves(run_dir: &Path) -> bool {
    ask(run_dir, &Request::Hello).is_ok()
}
