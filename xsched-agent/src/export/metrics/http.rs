//! `GET /metrics`: few connections, one request each, a time limit on all.
//!
//! Anybody may connect and say nothing. A request that is complete is
//! answered at once, so whoever waits is still talking; of those the oldest
//! makes room.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::{Format, Sources};

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;

/// The longest that a connection lives: a client that does not ask, or does
/// not read, must not keep others out.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot serve metrics at {address}: {source}; choose another address with --metrics=ADDRESS:PORT"
)]
pub struct MetricsError {
    /// Where.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

/// A bound endpoint.
pub struct MetricsServer {
    listener: TcpListener,
}

impl MetricsServer {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The address is in use or not this machine's.
    pub async fn bind(address: SocketAddr) -> Result<MetricsServer, MetricsError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| MetricsError { address, source })?;
        if !address.ip().is_loopback() {
            warn!(
                "metrics at {address} can be read by everybody who can reach it: they name \
                 commands, pids and devices"
            );
        }
        Ok(MetricsServer { listener })
    }

    /// Where it listens, also when the port was left to the kernel.
    ///
    /// # Errors
    /// None in practice.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for as long as the future is polled.
    pub async fn serve(self, sources: Sources) -> Infallible {
        let mut open = VecDeque::<AbortHandle>::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    warn!("metrics: cannot accept: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() >= MAX_CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                oldest.abort();
            }
            let sources = sources.clone();
            let connection = tokio::spawn(async move {
                match tokio::time::timeout(TIME_LIMIT, serve_connection(stream, sources)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => debug!("metrics: a connection ended: {e}"),
                    Err(_) => debug!("metrics: a connection took longer than {TIME_LIMIT:?}"),
                }
            });
            open.push_back(connection.abort_handle());
        }
    }
}

async fn serve_connection(stream: TcpStream, sources: Sources) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &sources);
        async { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME_LIMIT)
        .max_buf_size(16 << 10)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET {
        let mut refusal = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "use GET\n".into());
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or("");
            let format = Format::of_accept(accept);
            match sources.scrape().render(format) {
                Ok(page) => respond(StatusCode::OK, format.content_type(), page),
                Err(e) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{e}\n")),
            }
        }
        "/" => respond(StatusCode::OK, TEXT, "xsched-agent: see /metrics\n".into()),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "see /metrics\n".into()),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
