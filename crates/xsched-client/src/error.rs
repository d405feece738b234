//! Why there is no answer, with the next step.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xsched_common::api::Failure;

use super::LineError;

/// Why there is no answer, with the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there.
    #[error("no agent at {}: start it with `{}`, or name its directory (XSCHED_RUN_DIR) or socket (xtop --socket)", path.display(), start_agent())]
    NoAgent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The socket is not ours to use.
    #[error("no permission for {}: use sudo, or name another agent's directory (XSCHED_RUN_DIR) or socket (xtop --socket)", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// Any other failure to connect.
    #[error(
        "cannot connect to {}: {source}; set XSCHED_RUN_DIR to the agent's directory (its name at most 96 \
         bytes long)",
        path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The command that leads to the agent cannot be run.
    #[error("cannot run `{command}`: {source}; install it, or name another with --command")]
    NotStarted {
        /// As the user may run it.
        command: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The command ended without an answer.
    #[error("{}", ended(command, status, said))]
    CommandEnded {
        /// As the user may run it.
        command: String,
        /// How it ended: `exit status 255`; none while it cannot be told.
        status: Option<i32>,
        /// The last line on its standard error.
        said: String,
        /// Whether the agent had answered before.
        answered: Answered,
    },
    /// The agent went away.
    #[error("the agent closed the connection: see its log, or start it with `sudo xsched-agent`")]
    Closed,
    /// Reading or writing failed.
    #[error("connection to the agent failed: {0}; try again")]
    Io(io::Error),
    /// The answer is no answer of this API.
    #[error(
        "not understood what the agent sent ({0}): this program and xsched-agent must be of one version"
    )]
    Malformed(String),
    /// The agent refused.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The agent is of a version that has no such request.
    #[error("this agent cannot do that ({0}): install the xsched-agent of this program's version")]
    Unknown(String),
    /// The agent is connected and silent.
    #[error("the agent did not answer within {} s: see its log", .0.as_secs())]
    Silent(Duration),
}

/// Whether a connection has brought an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It has.
    Yes,
    /// Not yet.
    No,
}

/// How to start the machine's agent from here.
pub fn start_agent() -> &'static str {
    match rustix::process::geteuid().is_root() {
        true => "xsched-agent",
        false => "sudo xsched-agent",
    }
}

impl Error {
    /// Why there is no connection to the socket at `path`.
    pub fn to_connect(path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::ConnectionRefused => Error::NoAgent { path },
            io::ErrorKind::PermissionDenied => Error::NotPermitted { path },
            _ => Error::Connect { path, source },
        }
    }

    pub(super) fn another_answer() -> Error {
        Error::Malformed("an answer to another request".into())
    }

    /// Whether no connection came about at all.
    pub fn is_connect(&self) -> bool {
        match self {
            Error::NoAgent { .. }
            | Error::NotPermitted { .. }
            | Error::Connect { .. }
            | Error::NotStarted { .. } => true,
            Error::CommandEnded { answered, .. } => *answered == Answered::No,
            Error::Closed
            | Error::Io(_)
            | Error::Malformed(_)
            | Error::Refused(_)
            | Error::Unknown(_)
            | Error::Silent(_) => false,
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

/// What the end of a command means and what to do. 127 is a shell's status
/// for a missing program (POSIX, 2.8.2), 255 ssh's own for a connection that
/// failed (ssh(1)).
fn ended(command: &str, status: &Option<i32>, said: &str) -> String {
    let is_ssh = command.starts_with("ssh ");
    let (what, next) = match status {
        Some(127) => (
            "found no such program".to_owned(),
            "install xsched-agent there, or name its path with --command",
        ),
        Some(255) if is_ssh => (
            "could not connect".to_owned(),
            "try it in a shell: it must ask for nothing",
        ),
        Some(status) => (
            format!("ended with status {status}"),
            "try it in a shell; an agent must run there",
        ),
        None => (
            "closed the connection".to_owned(),
            "try it in a shell; an agent must run there",
        ),
    };
    match said {
        "" => format!("`{command}` {what}: {next}"),
        said => format!("`{command}` {what} ({said}): {next}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_command_names_the_next_step() {
        let proxy = "ssh gpu7 xsched-agent proxy";
        let said = |status, line| ended(proxy, &status, line);
        assert_eq!(
            said(Some(255), "ssh: connect to host gpu7 port 22: timed out"),
            "`ssh gpu7 xsched-agent proxy` could not connect (ssh: connect to host gpu7 port 22: \
             timed out): try it in a shell: it must ask for nothing"
        );
        assert!(said(Some(127), "").contains("install xsched-agent there"));
        assert!(said(Some(2), "no agent").contains("status 2 (no agent): try it"));
        assert!(ended("nsenter x", &Some(255), "").contains("ended with status 255"));
    }
}
