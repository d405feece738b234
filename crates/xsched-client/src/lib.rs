//! The agent's API, seen from a client: where the agent is, a connection to it,
//! lines on that, requests and answers.

pub mod blocking;
mod endpoint;
mod error;
pub mod filter;
mod line;
mod watch;

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use xsched_common::api::{Failure, Request, Response, Snapshot};

use endpoint::Runner;

pub use endpoint::{Endpoint, Proxy};
pub use error::{Answered, Error, start_agent};
pub use line::LineError;
pub use watch::{LinkEvent, watch};

/// How long the agent may take for an answer that is due at once.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long an examination may take beyond its observation: it reads a whole
/// address space and sets probes.
const DIAGNOSIS_TIME: Duration = Duration::from_secs(30);

/// A connection to the agent.
pub struct Connection {
    reader: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    runner: Option<Runner>,
    answered: Answered,
    /// Added to the time for the first answer.
    extra_timeout: Duration,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Connection");
        f.field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the agent at `endpoint`.
    pub async fn open(endpoint: &Endpoint) -> Result<Connection, Error> {
        let ends = endpoint.open().await?;
        Ok(Connection {
            reader: BufReader::with_capacity(64 << 10, ends.from),
            writer: ends.to,
            runner: ends.runner,
            answered: Answered::No,
            extra_timeout: endpoint.extra_timeout(),
        })
    }

    /// Sends one request.
    pub async fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(|e| Error::Malformed(e.to_string()))?;
        line.push(b'\n');
        let written = async {
            self.writer.write_all(&line).await?;
            self.writer.flush().await
        };
        let answer_timeout = ANSWER_TIME + self.extra_timeout;
        match timeout(answer_timeout, written).await {
            Err(_) => Err(Error::Silent(answer_timeout)),
            Ok(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Err(self.closed().await),
            Ok(other) => other.map_err(Error::Io),
        }
    }

    /// Receives one response within `time`.
    pub async fn receive(&mut self, answer_timeout: Duration) -> Result<Response, Error> {
        let answer_timeout = match self.answered {
            Answered::Yes => answer_timeout,
            Answered::No => answer_timeout + self.extra_timeout,
        };
        let line = match timeout(answer_timeout, line::read(&mut self.reader)).await {
            Err(_) => return Err(Error::Silent(answer_timeout)),
            Ok(Err(LineError::Closed)) => return Err(self.closed().await),
            Ok(line) => line?,
        };
        let response =
            serde_json::from_slice(&line).map_err(|e| Error::Malformed(e.to_string()))?;
        self.answered = Answered::Yes;
        Ok(response)
    }

    /// Receives a snapshot within `time`.
    pub async fn snapshot(&mut self, answer_timeout: Duration) -> Result<Snapshot, Error> {
        match self.receive(answer_timeout).await? {
            Response::Snapshot(snapshot) => Ok(*snapshot),
            Response::Error(failure) => Err(Error::Refused(failure)),
            _ => Err(Error::another_answer()),
        }
    }

    async fn closed(&mut self) -> Error {
        match &mut self.runner {
            Some(runner) => runner.ended(self.answered).await,
            None => Error::Closed,
        }
    }
}

/// The longest that an agent is asked again which says that this user only has
/// to wait, and the longest time in between: a launcher that starts thousands
/// should not see some of them fail.
const WAITING: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Asks for one thing, on a connection of its own so that it never waits
/// behind snapshots.
///
/// # Errors
/// There is no answer, or a refusal, with the next step.
pub async fn ask(endpoint: &Endpoint, request: &Request) -> Result<Response, Error> {
    let until = Instant::now() + WAITING;
    loop {
        match ask_once(endpoint, request).await? {
            Response::Error(Failure {
                retry_after_ms: Some(wait),
                ..
            }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(wait).min(LONGEST_WAIT)).await;
            }
            // What an agent says to a request that it does not know.
            Response::Error(failure) if failure.code == "malformed" => {
                return Err(Error::Unknown(failure.message));
            }
            Response::Error(failure) => return Err(Error::Refused(failure)),
            response => return Ok(response),
        }
    }
}

async fn ask_once(endpoint: &Endpoint, request: &Request) -> Result<Response, Error> {
    let mut connection = Connection::open(endpoint).await?;
    // Whoever is turned away is told why and hung up on, perhaps before this
    // is sent: the answer is there all the same.
    let sent = connection.send(request).await;
    if let Err(silent @ Error::Silent(_)) = sent {
        return Err(silent);
    }
    let answer_timeout = match request {
        Request::Diagnose { duration_ms, .. } => {
            Duration::from_millis(*duration_ms) + DIAGNOSIS_TIME
        }
        _ => ANSWER_TIME,
    };
    let received = connection.receive(answer_timeout).await;
    received.or_else(|e| sent.and(Err(e)))
}
