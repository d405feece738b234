//! Who may change whose class.

use xsched_common::units::Class;

use crate::control::Peer;

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

/// A change of class that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The process.
    pub pid: u32,
    /// Its user.
    pub owner: u32,
    /// The class it has.
    pub from: Class,
    /// The class asked for.
    pub to: Class,
}

/// Root and the agent's own user may do everything; everybody may lower
/// their own processes. `peer` comes from the kernel, never from a message.
pub fn may_change(peer: Peer, agent_uid: u32, change: Change) -> Result<(), Refusal> {
    if peer.uid == 0 || peer.uid == agent_uid {
        return Ok(());
    }
    if peer.uid != change.owner {
        return Err(Refusal::Foreign { pid: change.pid });
    }
    if change.to > change.from {
        return Err(Refusal::Raise {
            from: change.from,
            to: change.to,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_lower_their_own_and_nothing_else() {
        let change = |owner, from, to| Change {
            pid: 5,
            owner,
            from,
            to,
        };
        let ask = |uid, change| may_change(Peer { pid: 9, uid }, 0, change);
        assert_eq!(ask(0, change(1000, Class::Low, Class::Realtime)), Ok(()));
        assert_eq!(ask(1000, change(1000, Class::Normal, Class::Low)), Ok(()));
        assert_eq!(
            ask(1000, change(1000, Class::Normal, Class::High)),
            Err(Refusal::Raise {
                from: Class::Normal,
                to: Class::High
            })
        );
        assert_eq!(
            ask(1001, change(1000, Class::Normal, Class::Low)),
            Err(Refusal::Foreign { pid: 5 })
        );
        let own_agent = may_change(
            Peer { pid: 9, uid: 1000 },
            1000,
            change(1000, Class::Low, Class::High),
        );
        assert_eq!(own_agent, Ok(()));
    }
}
