//! The process's work reaches the device through a server that it shares with
//! others.

use xsched_common::api::Severity;

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::server::{Connection, ServerUse};

pub const CHECK: Check = Check {
    code: "sharing-server",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let ServerUse {
        server,
        directory,
        named,
        share,
        connection,
    } = facts.environment.server.as_ref()?;
    let title = server.title;
    let (what, seen) = match connection {
        Connection::Made => (
            format!("the process is a client of {title}"),
            format!("one of its sockets is connected to a socket in {directory}"),
        ),
        Connection::NotMade if *named => (
            format!("the process is to be a client of {title} and has not connected yet"),
            format!("{title} listens in {directory}; no socket of the process is connected to it"),
        ),
        // A server of the machine that the process has nothing to do with.
        Connection::NotMade => return None,
        Connection::NoServer => (
            format!("the process is to be a client of {title}, of which none is seen"),
            format!(
                "no socket listens in {directory}, as far as the agent's network namespace goes"
            ),
        ),
        Connection::Unseen(why) => (
            format!("the process is to be a client of {title}"),
            format!("not seen: whether it is connected: {why}"),
        ),
    };
    let mut evidence = vec![seen];
    if *named {
        evidence.push(format!(
            "it was started with {}={directory}",
            server.variable
        ));
    }
    if let Some(share) = share {
        evidence.push(format!("it was started with {}={share}", server.share));
    }
    Some(Details {
        severity: Severity::Info,
        title: format!("{what}: kernels of several clients run at the same time"),
        evidence,
        effect: None,
        fix: format!(
            "nothing: launches pass the gate before they reach {title}, so classes hold; what the \
             device's own time slices would do between processes does not hold between clients of \
             {title}"
        ),
    })
}
