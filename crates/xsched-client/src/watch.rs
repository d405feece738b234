//! A subscription to snapshots that comes back by itself.

use std::time::Duration;

use tokio::sync::mpsc::Sender;
use xsched_common::api::{Request, Snapshot};

use super::{ANSWER_TIME, Connection, Endpoint, Error};

/// What happens on the connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The agent's state.
    Snapshot(Box<Snapshot>),
    /// The connection failed or did not come about.
    Lost {
        /// One line with the next step.
        error: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
}

/// The delay before the next attempt: doubles up to a limit, so that a
/// restarted agent is found soon and an absent one costs nothing.
#[derive(Debug)]
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(4);

    fn new() -> Backoff {
        Backoff(Backoff::FIRST)
    }

    fn next(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (delay * 2).min(Backoff::LONGEST);
        delay
    }
}

/// Delivers snapshots to `sink` every `interval`, connecting again whenever
/// the connection fails; ends when `sink` is closed.
pub async fn watch<M: From<LinkEvent>>(endpoint: Endpoint, interval: Duration, sink: Sender<M>) {
    let mut backoff = Backoff::new();
    while !sink.is_closed() {
        let error = match subscribe(&endpoint, interval, &sink, &mut backoff).await {
            Ok(()) => return,
            Err(error) => error.to_string(),
        };
        let retry_in = backoff.next();
        if sink
            .send(LinkEvent::Lost { error, retry_in }.into())
            .await
            .is_err()
        {
            return;
        }
        tokio::time::sleep(retry_in).await;
    }
}

/// One connection, until it fails or nobody listens any more.
async fn subscribe<M: From<LinkEvent>>(
    endpoint: &Endpoint,
    interval: Duration,
    sink: &Sender<M>,
    backoff: &mut Backoff,
) -> Result<(), Error> {
    let mut connection = Connection::open(endpoint).await?;
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    connection.send(&Request::Watch { interval_ms }).await?;
    let mut answer_timeout = ANSWER_TIME;
    loop {
        let snapshot = connection.snapshot(answer_timeout).await?;
        if sink
            .send(LinkEvent::Snapshot(Box::new(snapshot)).into())
            .await
            .is_err()
        {
            return Ok(());
        }
        *backoff = Backoff::new();
        answer_timeout = interval * 3 + ANSWER_TIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit() {
        let mut backoff = Backoff::new();
        let delays: Vec<u128> = (0..6).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 4000]);
    }
}
