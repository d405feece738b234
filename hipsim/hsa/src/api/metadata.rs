//! What a code object tells of its kernels' arguments: the note that compilers write into it (LLVM, "User Guide for AMDGPU
//! Backend", code object V3 metadata and later), in MessagePack.
//!
//! The note may be anything: what is not as described tells nothing.

use std::collections::HashMap;

use simdevice::known::{Argument, ArgumentKind};

/// Levels of lists and maps that are followed; the note has five.
const DEPTH: u32 = 16;

/// The explicit arguments of each kernel, by the symbol of its descriptor.
pub fn arguments(note: &[u8]) -> HashMap<String, Vec<Argument>> {
    let mut kernels = HashMap::new();
    let Some(root) = Value::read(&mut Bytes(note), DEPTH) else {
        return kernels;
    };
    for kernel in root
        .get("amdhsa.kernels")
        .map(Value::list)
        .unwrap_or_default()
    {
        if let Some((symbol, arguments)) = kernel.get(".symbol").zip(kernel_arguments(kernel))
            && let Value::Text(symbol) = symbol
        {
            kernels.insert((*symbol).to_owned(), arguments);
        }
    }
    kernels
}

/// Without those that the compiler adds, which are named `hidden_*`. A kernel without arguments may have no list.
fn kernel_arguments(kernel: &Value<'_>) -> Option<Vec<Argument>> {
    let list = kernel.get(".args").map(Value::list).unwrap_or_default();
    let mut arguments = Vec::new();
    for argument in list {
        let kind = match argument.get(".value_kind")? {
            Value::Text(kind) if kind.starts_with("hidden_") => continue,
            Value::Text("global_buffer" | "dynamic_shared_pointer") => ArgumentKind::Pointer,
            _ => ArgumentKind::Bytes,
        };
        let number = |name| match argument.get(name)? {
            Value::Number(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        arguments.push(Argument {
            offset: number(".offset")?,
            size: number(".size")?,
            kind,
        });
    }
    Some(arguments)
}

/// MessagePack, as much of it as the note uses.
#[derive(Debug)]
enum Value<'n> {
    Number(u64),
    Text(&'n str),
    List(Vec<Value<'n>>),
    Map(Vec<(Value<'n>, Value<'n>)>),
    /// Of another type.
    Other,
}

impl<'n> Value<'n> {
    fn read(bytes: &mut Bytes<'n>, depth: u32) -> Option<Self> {
        let kind = bytes.number(1)? as u8;
        Some(match kind {
            0x00..=0x7f => Self::Number(u64::from(kind)),
            0x80..=0x8f => Self::map(bytes, u64::from(kind & 15), depth)?,
            0x90..=0x9f => Self::elements(bytes, u64::from(kind & 15), depth)?,
            0xa0..=0xbf => Self::text(bytes, u64::from(kind & 31))?,
            // Nothing, false, true; negative numbers.
            0xc0..=0xc3 | 0xe0..=0xff => Self::Other,
            0xc4..=0xc6 => {
                let length = bytes.number(1 << (kind - 0xc4))?;
                bytes.take(length)?;
                Self::Other
            }
            0xc7..=0xc9 => {
                let length = bytes.number(1 << (kind - 0xc7))?;
                bytes.take(length.checked_add(1)?)?;
                Self::Other
            }
            0xca => bytes.take(4).map(|_| Self::Other)?,
            0xcb => bytes.take(8).map(|_| Self::Other)?,
            0xcc..=0xcf => Self::Number(bytes.number(1 << (kind - 0xcc))?),
            0xd0..=0xd3 => bytes.take(1 << (kind - 0xd0)).map(|_| Self::Other)?,
            0xd4..=0xd8 => bytes.take(1 + (1 << (kind - 0xd4))).map(|_| Self::Other)?,
            0xd9..=0xdb => {
                let length = bytes.number(1 << (kind - 0xd9))?;
                Self::text(bytes, length)?
            }
            0xdc | 0xdd => {
                let length = bytes.number(2 << (kind - 0xdc))?;
                Self::elements(bytes, length, depth)?
            }
            0xde | 0xdf => {
                let length = bytes.number(2 << (kind - 0xde))?;
                Self::map(bytes, length, depth)?
            }
        })
    }

    fn text(bytes: &mut Bytes<'n>, length: u64) -> Option<Self> {
        std::str::from_utf8(bytes.take(length)?)
            .ok()
            .map(Self::Text)
    }

    fn elements(bytes: &mut Bytes<'n>, length: u64, depth: u32) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        // An element takes a byte at least, so a list ends with its bytes, whatever length it claims.
        let elements = (0..length).map(|_| Self::read(bytes, depth));
        elements.collect::<Option<_>>().map(Self::List)
    }

    fn map(bytes: &mut Bytes<'n>, length: u64, depth: u32) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let entries =
            (0..length).map(|_| Some((Self::read(bytes, depth)?, Self::read(bytes, depth)?)));
        entries.collect::<Option<_>>().map(Self::Map)
    }

    fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let is_meant = |key: &Self| matches!(key, Self::Text(key) if *key == name);
        let entry = entries.iter().find(|(key, _)| is_meant(key));
        entry.map(|(_, value)| value)
    }

    fn list(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }
}

/// What is left to read.
struct Bytes<'n>(&'n [u8]);

impl<'n> Bytes<'n> {
    fn take(&mut self, length: u64) -> Option<&'n [u8]> {
        let (taken, left) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = left;
        Some(taken)
    }

    /// Of so many bytes, at most eight, the most significant first.
    fn number(&mut self, length: u64) -> Option<u64> {
        let bytes = self.take(length)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"amdhsa.kernels": [{".symbol": "a.kd", ".args": [{...}, hidden]}]}` with the short forms that compilers write.
    fn note() -> Vec<u8> {
        let mut note = b"\x81\xaeamdhsa.kernels\x91\x82\xa7.symbol\xa4a.kd\xa5.args\x92".to_vec();
        note.extend_from_slice(b"\x83\xa7.offset\x08\xa5.size\x04\xab.value_kind\xadglobal_buffer");
        note.extend_from_slice(
            b"\x83\xa7.offset\x10\xa5.size\x08\xab.value_kind\xb6hidden_global_offset_x",
        );
        note
    }

    #[test]
    fn explicit_arguments_are_found() {
        let found = arguments(&note());
        let expected = Argument {
            offset: 8,
            size: 4,
            kind: ArgumentKind::Pointer,
        };
        assert_eq!(found["a.kd"], [expected]);
    }

    #[test]
    fn a_broken_note_tells_nothing() {
        let whole = note();
        for length in 0..whole.len() {
            assert!(arguments(&whole[..length]).is_empty(), "{length}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut broken = whole.clone();
                broken[at] = byte;
                arguments(&broken);
            }
        }
        assert!(arguments(&[0x91; 1000]).is_empty(), "too deep");
        assert!(arguments(b"\xdf\xff\xff\xff\xff").is_empty());
    }
}
