//! Look-ups that go past a mapped shim: an object whose reference to dlsym
//! leads to the C library although the shim has one.
//!
//! A library that is opened with RTLD_DEEPBIND finds the C library's dlsym
//! before the shim's, and with it the runtime's functions. No reference to the
//! runtime tells of that; the slot of dlsym does, and the addresses in the
//! library's own data ([`crate::facts::held`]).

use crate::facts::Facts;
use crate::facts::bindings::Binding;
use crate::facts::held::leads_past;
use crate::facts::mapped::Contents;
use crate::linker::{Explanation, Origin, Reference, explain};

/// A look-up function that is bound past the shim.
#[derive(Clone, Debug)]
pub struct Lookup<'a> {
    /// The reference.
    pub binding: &'a Binding,
    /// Why.
    pub explanation: Explanation,
}

/// All of them; none when no shim is mapped that answers look-ups.
pub fn past_the_shim(facts: &Facts) -> Vec<Lookup<'_>> {
    let mut shims = facts.mapped.shims();
    let known = shims.all(|(o, _)| o.contents == Contents::Read);
    let definitions = facts.shim_definitions();
    if !known || !definitions.contains_key("dlsym") {
        return Vec::new();
    }
    let scopes = facts.scopes();
    let found = facts
        .lookups
        .iter()
        .filter(|binding| leads_past(&facts.mapped, binding));
    found
        .filter_map(|binding| {
            let reference = Reference {
                node: binding.node.as_deref(),
                origin: Origin::Relocation,
            };
            let definitions = definitions.get(binding.symbol.as_str())?;
            Some(Lookup {
                binding,
                explanation: explain(reference, definitions, scopes.of(binding.object)),
            })
        })
        .collect()
}
