//! Lines to a peer.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use xsched_common::api::{Failure, Response};

/// A peer that does not read for this long is hung up on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that was not carried out.
pub(super) fn failure(code: &str, message: impl ToString) -> Response {
    Response::Error(Failure::new(code, message))
}

pub(super) fn encoded(response: &Response) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

pub(super) async fn send(to: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let line = encoded(response)?;
    tokio::time::timeout(WRITE_TIMEOUT, to.write_all(&line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
