//! Joining: the two messages a client and the agent exchange, once.
//!
//! Over the seqpacket socket [`crate::run_dir`] names: the client sends a
//! [`Hello`]; the agent answers with a [`Reply`] that carries, when it
//! accepts, three descriptors (SCM_RIGHTS): the control page, the status
//! page and the doorbell (an eventfd), in this order. The client maps both
//! pages and rings once: from then on (or a second after the reply, for
//! clients older than this rule) nobody can map the status page for writing
//! any more, and the agent reads it. The connection then stays open without
//! traffic: its end tells each side that the other is gone. Who the client is comes from the kernel (SO_PEERCRED), never from
//! the message.

use crate::units::Class;
use crate::{ABI, Abi};

/// Descriptors that come with an accepting [`Reply`].
pub const REPLY_FDS: usize = 3;

const HELLO_MAGIC: u32 = u32::from_le_bytes(*b"xshi");
const REPLY_MAGIC: u32 = u32::from_le_bytes(*b"xsre");

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The client's ABI.
    pub abi: Abi,
    /// Its process id in its own namespace; for people.
    pub pid: u32,
    /// Size of the control page it expects, bytes.
    pub control_size: u32,
    /// Size of the status page it expects, bytes.
    pub status_size: u32,
    /// Of which part of its process it is. Since ABI 1.6.
    pub part: Part,
}

/// What a client is of its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it that is in no group.
    #[default]
    Process,
    /// A class group: threads and streams that want a class of their own.
    Group(Wish),
}

/// A class that somebody in a process wants for threads or streams. The agent
/// decides whether they get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Which.
    pub class: Class,
    /// Whose wish it is.
    pub origin: Origin,
}

/// Whose word a [`Wish`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// The program's own.
    Hint = 0,
    /// A rule's, by a thread's name; anybody may say so, and the agent looks the
    /// rule up.
    Rule = 1,
}

impl Wish {
    /// As a word that is never zero.
    pub const fn to_raw(self) -> u32 {
        (self.origin as u32) << 8 | (self.class as u32 + 1)
    }

    /// Out of [`Wish::to_raw`]; `None` for zero and for what is no wish.
    pub const fn from_raw(raw: u32) -> Option<Wish> {
        let origin = match raw >> 8 {
            0 => Origin::Hint,
            1 => Origin::Rule,
            _ => return None,
        };
        match (raw as u8).checked_sub(1) {
            None => None,
            Some(class) => match Class::from_raw(class) {
                Some(class) => Some(Wish { class, origin }),
                None => None,
            },
        }
    }
}

impl Part {
    const fn to_raw(self) -> u32 {
        match self {
            Part::Process => 0,
            Part::Group(wish) => wish.to_raw(),
        }
    }

    const fn from_raw(raw: u32) -> Result<Part, Malformed> {
        match (raw, Wish::from_raw(raw)) {
            (0, _) => Ok(Part::Process),
            (_, Some(wish)) => Ok(Part::Group(wish)),
            (_, None) => Err(Malformed),
        }
    }
}

/// How the agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HelloResult {
    /// Joined; three descriptors follow.
    Accepted = 0,
    /// The ABIs do not understand each other: run as native and say so.
    AbiMismatch = 1,
    /// The agent has no room (clients, memory, descriptors): try later.
    Busy = 2,
}

/// What the agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The agent's ABI.
    pub abi: Abi,
    /// Whether the client has joined.
    pub verdict: HelloResult,
    /// Changes with every start of the agent.
    pub epoch: u64,
    /// The client's number within the epoch.
    pub client_id: u64,
}

/// Bytes of a [`Hello`] on the wire.
pub const HELLO_LEN: usize = 24;
/// Bytes of a [`Reply`] on the wire.
pub const REPLY_LEN: usize = 32;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a joining message")
    }
}

impl core::error::Error for Malformed {}

impl Hello {
    /// The hello of this version of the shim.
    pub const fn new(pid: u32) -> Hello {
        Hello {
            abi: ABI,
            pid,
            control_size: size_of::<crate::page::ControlPage>() as u32,
            status_size: size_of::<crate::page::StatusPage>() as u32,
            part: Part::Process,
        }
    }

    /// The same of a part of the process.
    pub const fn of(self, part: Part) -> Hello {
        Hello { part, ..self }
    }

    /// As bytes, little-endian.
    pub fn encode(self) -> [u8; HELLO_LEN] {
        let mut out = [0; HELLO_LEN];
        put32(&mut out, 0, HELLO_MAGIC);
        put16(&mut out, 4, self.abi.major);
        put16(&mut out, 6, self.abi.minor);
        put32(&mut out, 8, self.pid);
        put32(&mut out, 12, self.control_size);
        put32(&mut out, 16, self.status_size);
        put32(&mut out, 20, self.part.to_raw());
        out
    }

    /// From the bytes of one packet. Longer packets are newer versions' and
    /// are read as far as this version knows them.
    pub fn decode(bytes: &[u8]) -> Result<Hello, Malformed> {
        if bytes.len() < HELLO_LEN || get32(bytes, 0) != HELLO_MAGIC {
            return Err(Malformed);
        }
        Ok(Hello {
            abi: abi_at(bytes, 4),
            pid: get32(bytes, 8),
            control_size: get32(bytes, 12),
            status_size: get32(bytes, 16),
            // Zero before ABI 1.6.
            part: Part::from_raw(get32(bytes, 20))?,
        })
    }
}

impl Reply {
    /// As bytes, little-endian.
    pub fn encode(self) -> [u8; REPLY_LEN] {
        let mut out = [0; REPLY_LEN];
        put32(&mut out, 0, REPLY_MAGIC);
        put16(&mut out, 4, self.abi.major);
        put16(&mut out, 6, self.abi.minor);
        put32(&mut out, 8, self.verdict as u32);
        out[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        out[24..32].copy_from_slice(&self.client_id.to_le_bytes());
        out
    }

    /// From the bytes of one packet. A verdict this version does not know
    /// is no acceptance, so it reads as [`HelloResult::Busy`].
    pub fn decode(bytes: &[u8]) -> Result<Reply, Malformed> {
        if bytes.len() < REPLY_LEN || get32(bytes, 0) != REPLY_MAGIC {
            return Err(Malformed);
        }
        Ok(Reply {
            abi: abi_at(bytes, 4),
            verdict: match get32(bytes, 8) {
                0 => HelloResult::Accepted,
                1 => HelloResult::AbiMismatch,
                _ => HelloResult::Busy,
            },
            epoch: get64(bytes, 16),
            client_id: get64(bytes, 24),
        })
    }
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put16(out: &mut [u8], at: usize, value: u16) {
    out[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

// The callers have checked the length of the whole message.
fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(bytes, at))
}

fn get64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}

fn abi_at(bytes: &[u8], at: usize) -> Abi {
    Abi {
        major: u16::from_le_bytes(get(bytes, at)),
        minor: u16::from_le_bytes(get(bytes, at + 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_round_trip() {
        let group = |class, origin| Part::Group(Wish { class, origin });
        for part in [
            Part::Process,
            group(Class::Low, Origin::Hint),
            group(Class::Realtime, Origin::Rule),
        ] {
            let hello = Hello::new(42).of(part);
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
        let mut strange = Hello::new(42).encode();
        strange[20] = 99;
        assert_eq!(Hello::decode(&strange), Err(Malformed), "no such part");
        for verdict in [
            HelloResult::Accepted,
            HelloResult::AbiMismatch,
            HelloResult::Busy,
        ] {
            let reply = Reply {
                abi: ABI,
                verdict,
                epoch: 7,
                client_id: u64::MAX,
            };
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Hello::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }

        #[test]
        fn a_cut_message_is_refused(len in 0..HELLO_LEN) {
            prop_assert_eq!(Hello::decode(&Hello::new(1).encode()[..len]), Err(Malformed));
        }
    }
}
