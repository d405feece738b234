//! Who may change whose class.

use xsched_common::units::Class;

use crate::control::{Peer, Right};

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else's process.
    #[error("process {pid} belongs to another user: only root may change its class (sudo)")]
    Foreign {
        /// The process.
        pid: u32,
    },
    /// One's own process, upwards.
    #[error("only root may raise a class ({from} to {to}): use sudo, or ask for a lower class")]
    Raise {
        /// The class it has.
        from: Class,
        /// The class asked for.
        to: Class,
    },
}

/// What `peer` may do to the class of a process of `owner`: root and the
/// agent's own user everything, everybody lower their own. `peer` comes from
/// the kernel, never from a message.
pub fn right(peer: Peer, agent_uid: u32, pid: u32, owner: u32) -> Result<Right, Refusal> {
    if peer.uid == 0 || peer.uid == agent_uid {
        Ok(Right::Set)
    } else if peer.uid == owner {
        Ok(Right::Lower)
    } else {
        Err(Refusal::Foreign { pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_lower_their_own_and_nothing_else() {
        let ask = |uid, agent_uid, owner| right(Peer { pid: 9, uid }, agent_uid, 5, owner);
        assert_eq!(ask(0, 0, 1000), Ok(Right::Set));
        assert_eq!(ask(1000, 0, 1000), Ok(Right::Lower));
        assert_eq!(ask(1001, 0, 1000), Err(Refusal::Foreign { pid: 5 }));
        assert_eq!(ask(1000, 0, 0), Err(Refusal::Foreign { pid: 5 }));
        assert_eq!(ask(1000, 1000, 1000), Ok(Right::Set), "its own agent");
    }
}
