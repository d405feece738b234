//! Addresses of the runtime's functions in the data of objects whose look-ups go
//! past a mapped shim.

use std::collections::HashMap;
use std::ops::Range;

use xsched_host::elf::{Linkage, word_at};

use super::bindings::{Binding, Memory, Target};
use super::calls::is_launch;
use super::mapped::{MappedObjects, ObjectIndex, Role};

/// Data that is looked through, bytes: of one object, and of all.
const MAX_DATA: u64 = 8 << 20;
const MAX_ALL: u64 = 64 << 20;

/// Addresses that are told of one object.
const MAX_HELD: usize = 64;

const WORD: usize = 8;

/// The address of a launch function of the runtime in an object's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose data.
    pub object: ObjectIndex,
    /// Where it lies in the process.
    pub at: u64,
    /// The function.
    pub symbol: String,
    /// Whose function it is.
    pub runtime: ObjectIndex,
}

/// Whether a look-up function is bound past the shim.
pub fn leads_past(mapped: &MappedObjects, binding: &Binding) -> bool {
    matches!(binding.target, Target::Object(to)
        if !matches!(mapped.objects[to].role, Role::Shim(_)) && to != binding.object)
}

/// Addresses of launch functions in the data of those objects whose look-ups
/// go past a mapped shim. `writable` are the process's writable mappings.
pub fn held(
    mapped: &MappedObjects,
    lookups: &[Binding],
    memory: &Memory,
    writable: &[Range<u64>],
) -> Vec<Held> {
    if mapped.shims().next().is_none() {
        return Vec::new();
    }
    let functions = functions(mapped);
    let mut objects: Vec<ObjectIndex> = lookups
        .iter()
        .filter(|binding| leads_past(mapped, binding))
        .map(|binding| binding.object)
        .collect();
    objects.dedup();
    let (mut out, mut left) = (Vec::new(), MAX_ALL);
    for index in objects {
        let span = &mapped.objects[index].span;
        let before = out.len();
        let first = writable.partition_point(|range| range.end <= span.start);
        for range in writable[first..]
            .iter()
            .take_while(|range| range.start < span.end)
        {
            let (start, end) = (range.start.max(span.start), range.end.min(span.end));
            let len = (end - start).min(MAX_DATA).min(left);
            left -= len;
            let Some(bytes) = memory.bytes(start, len as usize) else {
                continue;
            };
            for at in (0..bytes.len()).step_by(WORD) {
                let function = word_at(&bytes, at).and_then(|word| functions.get(&word));
                if let Some(&(runtime, symbol)) = function
                    && out.len() - before < MAX_HELD
                {
                    out.push(Held {
                        object: index,
                        at: start + at as u64,
                        symbol: symbol.to_owned(),
                        runtime,
                    });
                }
            }
        }
    }
    out
}

/// The launch functions of all mapped runtimes by address.
fn functions(mapped: &MappedObjects) -> HashMap<u64, (ObjectIndex, &str)> {
    let objects = mapped.objects.iter().enumerate();
    objects
        .filter(|(_, o)| matches!(o.role, Role::Runtime(_)))
        .flat_map(|(index, o)| {
            let symbols = o.elf.symbols.values();
            let launches = symbols.filter(|s| s.linkage == Linkage::Defined && is_launch(&s.name));
            launches.map(move |s| (o.base.wrapping_add(s.value), (index, s.name.as_str())))
        })
        .collect()
}
