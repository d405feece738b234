//! What an epoll event is about.

use rustix::event::epoll;
use xsched_policy::ClientId;

/// Packed into the 64 bits of data of an event. Numbers are never used again,
/// so an event of something that is gone finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Orders,
    Doorbell(ClientId),
    /// Of a pending connection or a client: who it is may have changed since.
    Connection(ClientId),
    Death(ClientId),
}

impl Token {
    pub fn pack(self) -> epoll::EventData {
        let (kind, id) = match self {
            Token::Listener => (0, 0),
            Token::Orders => (1, 0),
            Token::Doorbell(id) => (2, id.0),
            Token::Connection(id) => (3, id.0),
            Token::Death(id) => (4, id.0),
        };
        epoll::EventData::new_u64(id << 3 | kind)
    }

    pub fn unpack(data: epoll::EventData) -> Token {
        let raw = data.u64();
        let id = raw >> 3;
        match raw & 7 {
            0 => Token::Listener,
            1 => Token::Orders,
            2 => Token::Doorbell(ClientId(id)),
            3 => Token::Connection(ClientId(id)),
            _ => Token::Death(ClientId(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for token in [
            Token::Listener,
            Token::Orders,
            Token::Doorbell(ClientId(1 << 40)),
            Token::Connection(ClientId(2)),
            Token::Death(ClientId(3)),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
