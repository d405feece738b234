//! Whether the process shares its device through a server.

use std::io;

use xsched_common::platform::names::Server;
use xsched_host::unix_sockets::{self, State};

use super::mapped::{MappedObjects, Role};

/// A process that shares its device through a server, or is meant to.
#[derive(Clone, Debug)]
pub struct ServerUse {
    /// Which.
    pub server: &'static Server,
    /// Where its sockets are, as the process names the place.
    pub directory: String,
    /// Whether the process's variable names it.
    pub named: bool,
    /// What limits the process to a part of the device.
    pub share: Option<String>,
    /// How far the process has come.
    pub connection: Connection,
}

/// What is known of the server's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The process has a connection to the server.
    Made,
    /// The server listens; the process has none.
    NotMade,
    /// Nobody listens there.
    NoServer,
    /// The kernel does not tell.
    Unseen(String),
}

impl ServerUse {
    /// Of a process that maps a runtime which has such a server; `None` where
    /// neither the process nor the machine knows of one.
    pub fn of(
        pid: u32,
        mapped: &MappedObjects,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<ServerUse> {
        let server = mapped.runtimes().find_map(|object| match object.role {
            Role::Runtime(platform) => platform.names().server.as_ref(),
            _ => None,
        })?;
        let named = variable(server.variable).filter(|directory| !directory.is_empty());
        let is_named = named.is_some();
        let directory = named.unwrap_or_else(|| server.directory.to_owned());
        let connection = connection(pid, &directory, server)
            .unwrap_or_else(|e| Connection::Unseen(e.to_string()));
        let is_there = matches!(connection, Connection::Made | Connection::NotMade);
        (is_named || is_there).then(|| ServerUse {
            server,
            directory,
            named: is_named,
            share: variable(server.share),
            connection,
        })
    }
}

/// A connection that was accepted has the path of the socket that listens.
fn connection(pid: u32, directory: &str, server: &Server) -> io::Result<Connection> {
    let directory = directory.trim_end_matches('/').as_bytes();
    let sockets = unix_sockets::named(|path| {
        let rest = path.strip_prefix(directory);
        rest.is_some_and(|rest| rest.first() == Some(&b'/') && !rest[1..].contains(&b'/'))
    })?;
    let name = server.socket.as_bytes();
    let listens = sockets
        .iter()
        .any(|socket| socket.state == State::Listening && socket.path.ends_with(name));
    let own = unix_sockets::of_process(pid);
    let is_its = |peer: &u32| own.contains(peer);
    Ok(
        if sockets.iter().filter_map(|s| s.peer.as_ref()).any(is_its) {
            Connection::Made
        } else if listens {
            Connection::NotMade
        } else {
            Connection::NoServer
        },
    )
}
