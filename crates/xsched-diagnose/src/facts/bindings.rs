//! Ground truth: where the calls of a live process lead, read from the slots
//! that its dynamic linker has filled.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use xsched_host::elf::{Linkage, Slot, SlotKind, Symbol};

use super::mapped::{MappedObject, MappedObjects, ObjectIndex, Role};

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A function in this object.
    Object(ObjectIndex),
    /// The importer's own PLT: the linker binds it at the first call.
    Unresolved,
    /// Zero: a weak reference that nothing satisfied.
    Nothing,
    /// Nothing satisfies this strong reference, so ld.so would end the
    /// program (predictions only).
    Unsatisfied,
    /// An address outside every object.
    Elsewhere(u64),
    /// The process's memory could not be read there.
    Unreadable,
}

/// One reference of an object to a function, and where it leads.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The importer.
    pub object: ObjectIndex,
    /// The function's name.
    pub symbol: String,
    /// The version node that the reference names.
    pub node: Option<String>,
    /// How the slot is filled.
    pub via: SlotKind,
    /// The slot's address in the process.
    pub slot: u64,
    /// Where it leads.
    pub target: Target,
}

/// The memory of a process, readable at any address.
///
/// /proc/PID/mem and not process_vm_readv: the open file stays tied to the
/// address space it was opened on, so a process that executes another
/// program or a reused pid reads as nothing instead of as wrong addresses.
pub struct Memory {
    file: File,
}

/// Slots that are at most this far apart are read together.
const MAX_GAP: u64 = 4096;
/// The longest single read.
const MAX_RUN: u64 = 256 << 10;

impl Memory {
    /// Opens it; needs the right to trace the process.
    pub fn open(pid: u32) -> std::io::Result<Memory> {
        Ok(Memory {
            file: File::open(format!("/proc/{pid}/mem"))?,
        })
    }

    /// The word at `address`, if it can be read.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, address).ok()?;
        Some(u64::from_le_bytes(word))
    }

    /// `len` bytes at `address`, if all can be read.
    pub fn bytes(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; len];
        self.file.read_exact_at(&mut out, address).ok()?;
        Some(out)
    }

    /// The words at `addresses`, which it sorts.
    fn words(&self, addresses: &mut [u64]) -> HashMap<u64, u64> {
        addresses.sort_unstable();
        let mut out = HashMap::new();
        let mut rest: &[u64] = addresses;
        while let Some(&start) = rest.first() {
            let mut count = 1;
            while let Some(&next) = rest.get(count) {
                if next - rest[count - 1] > MAX_GAP || next - start > MAX_RUN {
                    break;
                }
                count += 1;
            }
            let (run, after) = rest.split_at(count);
            self.read_run(run, &mut out);
            rest = after;
        }
        out
    }

    fn read_run(&self, run: &[u64], out: &mut HashMap<u64, u64>) {
        let (start, last) = (run[0], run[run.len() - 1]);
        let mut buffer = vec![0; (last - start) as usize + 8];
        if self.file.read_exact_at(&mut buffer, start).is_ok() {
            for &address in run {
                let at = (address - start) as usize;
                if let Some(word) = xsched_host::elf::word_at(&buffer, at) {
                    out.insert(address, word);
                }
            }
        } else if run.len() > 1 {
            // A hole somewhere in the run: every slot on its own.
            for address in run {
                self.read_run(std::slice::from_ref(address), out);
            }
        }
    }
}

/// The most that are read of one process; a large one has 30,000.
pub const MAX_BINDINGS: usize = 500_000;

/// Reads the slots of all programs and libraries. Runtimes and shims are
/// left out: that they call the runtime is their business.
pub fn read(mapped: &MappedObjects, memory: &Memory) -> Vec<Binding> {
    read_those(mapped, memory, Symbol::is_runtimes)
}

/// The same for the functions that look others up by name.
pub fn read_lookups(mapped: &MappedObjects, memory: &Memory) -> Vec<Binding> {
    read_those(mapped, memory, Symbol::looks_up)
}

fn read_those(mapped: &MappedObjects, memory: &Memory, which: fn(&Symbol) -> bool) -> Vec<Binding> {
    let mut addresses: Vec<u64> = slots(mapped, which)
        .map(|(_, object, slot)| at(object, slot))
        .collect();
    let words = memory.words(&mut addresses);
    let stubs = stubs(mapped);
    let mut out: Vec<Binding> = slots(mapped, which)
        .map(|(index, object, slot)| {
            let symbol = &object.elf.symbols[&slot.symbol];
            Binding {
                object: index,
                symbol: symbol.name.clone(),
                node: symbol.node().map(str::to_owned),
                via: slot.kind,
                slot: at(object, slot),
                target: match words.get(&at(object, slot)) {
                    Some(&value) => {
                        let value = value.wrapping_sub(slot.addend);
                        target(mapped, &words, &stubs, index, symbol, value)
                    }
                    None => Target::Unreadable,
                },
            }
        })
        .collect();
    out.sort_by(|a, b| {
        (a.object, &a.symbol, a.via, a.slot).cmp(&(b.object, &b.symbol, b.via, b.slot))
    });
    out
}

fn at(object: &MappedObject, slot: &Slot) -> u64 {
    object.base.wrapping_add(slot.address)
}

fn slots(
    mapped: &MappedObjects,
    which: fn(&Symbol) -> bool,
) -> impl Iterator<Item = (ObjectIndex, &MappedObject, &Slot)> {
    mapped
        .objects
        .iter()
        .enumerate()
        .filter(|(_, o)| matches!(o.role, Role::Program | Role::Library))
        .flat_map(|(index, object)| object.elf.slots.iter().map(move |s| (index, object, s)))
        .filter(move |(_, object, slot)| object.elf.symbols.get(&slot.symbol).is_some_and(which))
        .take(MAX_BINDINGS)
}

fn target(
    mapped: &MappedObjects,
    words: &HashMap<u64, u64>,
    stubs: &HashMap<u64, u64>,
    importer: ObjectIndex,
    symbol: &Symbol,
    value: u64,
) -> Target {
    if value == 0 {
        return Target::Nothing;
    }
    let Some(owner) = mapped.owner(value) else {
        return Target::Elsewhere(value);
    };
    if let Some(slot) = stubs.get(&value) {
        return match words.get(slot) {
            None => Target::Unreadable,
            Some(&value) => match mapped.owner(value) {
                Some(next) if next == owner => Target::Unresolved,
                Some(next) => Target::Object(next),
                None => Target::Elsewhere(value),
            },
        };
    }
    if owner == importer && symbol.linkage == Linkage::Imported {
        return Target::Unresolved;
    }
    Target::Object(owner)
}

/// PLT stubs that stand for a function in the whole process, with the jump
/// slot behind each: a program without PIE that takes a function's address
/// makes one (System V x86-64 ABI, "Function Addresses"). The calls go where
/// the slot leads.
fn stubs(mapped: &MappedObjects) -> HashMap<u64, u64> {
    let mut out = HashMap::new();
    for object in &mapped.objects {
        for slot in object
            .elf
            .slots
            .iter()
            .filter(|s| s.kind == SlotKind::JumpSlot)
        {
            if let Some(symbol) = object.elf.symbols.get(&slot.symbol)
                && symbol.linkage == Linkage::Imported
                && symbol.value != 0
            {
                out.insert(object.base.wrapping_add(symbol.value), at(object, slot));
            }
        }
    }
    out
}
