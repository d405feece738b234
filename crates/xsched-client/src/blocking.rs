//! For commands that ask, print and end.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use xsched_common::api::{
    Explanation, InForce, ModeSet, Reloaded, Request, Response, Settled, Slowness, Snapshot,
};

use super::{ANSWER_TIME, Connection, Endpoint, Error};

/// One snapshot.
///
/// # Errors
/// Of these functions: there is no such answer, and why.
pub fn list(agent: &Endpoint) -> Result<Snapshot, Error> {
    match ask(agent, &Request::List)? {
        Response::Snapshot(snapshot) => Ok(*snapshot),
        _ => Err(Error::another_answer()),
    }
}

/// Changes what holds for a process.
pub fn settle(agent: &Endpoint, request: &Request) -> Result<Settled, Error> {
    match ask(agent, request)? {
        Response::Settled(settled) => Ok(settled),
        _ => Err(Error::another_answer()),
    }
}

/// Where a process's attributes come from.
pub fn explain(agent: &Endpoint, request: &Request) -> Result<Explanation, Error> {
    match ask(agent, request)? {
        Response::Explanation(explanation) => Ok(explanation),
        _ => Err(Error::another_answer()),
    }
}

/// Where the time of a process's slow bursts went.
pub fn slow(agent: &Endpoint, request: &Request) -> Result<Slowness, Error> {
    match ask(agent, request)? {
        Response::Slow(slowness) => Ok(slowness),
        _ => Err(Error::another_answer()),
    }
}

/// Changes how devices are shared.
pub fn set_mode(agent: &Endpoint, request: &Request) -> Result<ModeSet, Error> {
    match ask(agent, request)? {
        Response::ModeSet(set) => Ok(set),
        _ => Err(Error::another_answer()),
    }
}

/// Reads the configuration again.
pub fn reload(agent: &Endpoint) -> Result<Reloaded, Error> {
    match ask(agent, &Request::Reload)? {
        Response::Reloaded(reloaded) => Ok(reloaded),
        _ => Err(Error::another_answer()),
    }
}

/// Every setting in force.
pub fn settings(agent: &Endpoint) -> Result<InForce, Error> {
    match ask(agent, &Request::Settings)? {
        Response::Settings(settings) => Ok(settings),
        _ => Err(Error::another_answer()),
    }
}

fn ask(agent: &Endpoint, request: &Request) -> Result<Response, Error> {
    runtime()?.block_on(super::ask(agent, request))
}

/// Snapshots, one every `interval`, until the agent ends.
pub fn watch(agent: &Endpoint, interval: Duration) -> Result<Snapshots, Error> {
    let runtime = runtime()?;
    let connection = runtime.block_on(async {
        let mut connection = Connection::open(agent).await?;
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        connection.send(&Request::Watch { interval_ms }).await?;
        Ok::<_, Error>(connection)
    })?;
    Ok(Snapshots {
        connection,
        runtime,
        // The agent is silent for up to the interval.
        answer_timeout: ANSWER_TIME + interval,
    })
}

/// What [`watch`] gives.
#[derive(Debug)]
pub struct Snapshots {
    // Ends before its runtime.
    connection: Connection,
    runtime: Runtime,
    answer_timeout: Duration,
}

impl Iterator for Snapshots {
    type Item = Result<Snapshot, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(
            self.runtime
                .block_on(self.connection.snapshot(self.answer_timeout)),
        )
    }
}

fn runtime() -> Result<Runtime, Error> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|e: io::Error| Error::Io(e))
}
