//! The binding of every reference as ld.so would make it: the first object
//! of the scope whose definition satisfies the reference.

use std::collections::HashMap;

use xsched_host::elf::{Linkage, SlotKind, Strength, Symbol};

use crate::facts::bindings::{Binding, Target};
use crate::facts::mapped::{MappedObject, ObjectIndex, Role};
use crate::linker::{Origin, Reference, satisfies};

/// Definitions by name, then by object.
type Definitions<'a> = HashMap<&'a str, HashMap<ObjectIndex, Vec<&'a Symbol>>>;

/// All bindings of programs and libraries. `scope` says for each object
/// where its references are looked up, in order.
pub fn bind(
    objects: &[MappedObject],
    scope: impl Fn(ObjectIndex) -> Vec<ObjectIndex>,
) -> Vec<Binding> {
    let mut definitions: Definitions<'_> = HashMap::new();
    for (index, object) in objects.iter().enumerate() {
        for symbol in object.elf.symbols.values() {
            if symbol.linkage == Linkage::Defined {
                let by_object = definitions.entry(&symbol.name).or_default();
                by_object.entry(index).or_default().push(symbol);
            }
        }
    }
    let mut out = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        if !matches!(object.role, Role::Program | Role::Library) || object.elf.slots.is_empty() {
            continue;
        }
        let mut order = scope(index);
        if object.elf.flags.symbolic {
            order.insert(0, index);
        }
        for slot in &object.elf.slots {
            let Some(symbol) = object.elf.symbols.get(&slot.symbol) else {
                continue;
            };
            if !symbol.is_runtimes() {
                continue;
            }
            out.push(Binding {
                object: index,
                symbol: symbol.name.clone(),
                node: symbol.node().map(str::to_owned),
                via: slot.kind,
                slot: slot.address,
                target: match slot.kind {
                    SlotKind::Relative => Target::Object(index),
                    _ => target(&definitions, &order, symbol),
                },
            });
        }
    }
    out.sort_by(|a, b| {
        (a.object, &a.symbol, a.via, a.slot).cmp(&(b.object, &b.symbol, b.via, b.slot))
    });
    out
}

fn target(definitions: &Definitions<'_>, order: &[ObjectIndex], symbol: &Symbol) -> Target {
    let reference = Reference {
        // An object's reference to its own definition names its own node.
        node: symbol.node(),
        origin: Origin::Relocation,
    };
    let found = definitions.get(symbol.name.as_str()).and_then(|by_object| {
        order.iter().copied().find(|index| {
            by_object
                .get(index)
                .is_some_and(|own| satisfies(reference, own.iter().copied()))
        })
    });
    match (found, symbol.strength) {
        (Some(index), _) => Target::Object(index),
        (None, Strength::Weak) => Target::Nothing,
        (None, Strength::Strong) => Target::Unsatisfied,
    }
}
