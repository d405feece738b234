//! References that lead past a mapped shim, each with its explanation.

pub mod absence;
pub mod lookups;

use xsched_host::elf::versioned_name;

use crate::facts::Facts;
use crate::facts::bindings::{Binding, Target};
use crate::facts::calls::is_launch;
use crate::facts::mapped::Contents;
use crate::linker::{Explanation, Origin, Reference, explain};

/// One reference that leads past the shim.
#[derive(Clone, Debug)]
pub struct Bypass<'a> {
    /// The reference.
    pub binding: &'a Binding,
    /// Why.
    pub explanation: Explanation,
    /// Whether it already leads there.
    pub state: State,
}

/// Whether a bypass has happened or is certain to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot holds an address in the runtime.
    Bound,
    /// The slot is bound at the first call, and the linker's rules leave only
    /// the runtime.
    Predicted,
}

/// All of them; none when no shim is mapped. A function that the shim leaves
/// to the runtime on purpose is no bypass, unless it launches kernels.
pub fn find(facts: &Facts) -> Vec<Bypass<'_>> {
    // Without the shim's symbols nothing can be said about what it lacks.
    let known = facts
        .mapped
        .shims()
        .all(|(o, _)| o.contents == Contents::Read);
    if facts.shim().is_none() || !known {
        return Vec::new();
    }
    let definitions = facts.shim_definitions();
    let scopes = facts.scopes();
    facts
        .bindings
        .iter()
        .filter_map(|binding| {
            let definitions = definitions
                .get(binding.symbol.as_str())
                .map_or(&[][..], Vec::as_slice);
            if definitions.is_empty() && !is_launch(&binding.symbol) {
                return None;
            }
            let state = match binding.target {
                Target::Object(to) if facts.returns_to_shim(to, &binding.symbol) => return None,
                Target::Object(to) if facts.is_runtime(to) => State::Bound,
                Target::Unresolved => State::Predicted,
                _ => return None,
            };
            let reference = Reference {
                node: binding.node.as_deref(),
                origin: Origin::Relocation,
            };
            let explanation = explain(reference, definitions, scopes.of(binding.object));
            if state == State::Predicted && matches!(explanation, Explanation::Remaining(_)) {
                return None;
            }
            Some(Bypass {
                binding,
                explanation,
                state,
            })
        })
        .collect()
}

impl Bypass<'_> {
    /// Whether launches escape by it now.
    pub fn lets_launches_escape(&self) -> bool {
        self.state == State::Bound && is_launch(&self.binding.symbol)
    }

    /// The slot and where it leads, as a line of evidence.
    pub fn evidence(&self, facts: &Facts) -> String {
        let Binding {
            object,
            symbol,
            node,
            via,
            slot,
            target,
        } = self.binding;
        let leads = match target {
            Target::Object(to) => format!("leads to {}", facts.object(*to).path),
            _ => "is not bound yet; the linker's rules leave only the runtime".to_owned(),
        };
        format!(
            "{}: {} {slot:#x} of {} {leads}",
            facts.object(*object).path,
            via.name(),
            versioned_name(symbol, node.as_deref()),
        )
    }
}
