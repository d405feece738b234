//! What the shim does when a program calls a function of the runtime, from
//! `data/hip-actions.tsv`: what is exported and what is gated is said there
//! alone.

/// What the shim does at an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks the gate, then jumps to the runtime.
    Gate,
    /// Calls the runtime; that it returns tells that earlier work is complete.
    Drain,
    /// Calls the runtime and learns from what it answers.
    Hook,
    /// Jumps to the runtime.
    Forward,
}

impl Action {
    fn from_name(name: &str) -> Option<Action> {
        match name {
            "gate" => Some(Action::Gate),
            "drain" => Some(Action::Drain),
            "hook" => Some(Action::Hook),
            "forward" => Some(Action::Forward),
            _ => None,
        }
    }
}

/// Every function that the shim exports, sorted by name.
pub fn exported() -> impl Iterator<Item = (&'static str, Action)> {
    rows().filter_map(|row| {
        let (symbol, action) = row.split_once('\t')?;
        Some((symbol, Action::from_name(action)?))
    })
}

/// What the shim does at `symbol`; `None` if it does not export it.
pub fn action(symbol: &str) -> Option<Action> {
    exported().find_map(|(name, action)| (name == symbol).then_some(action))
}

fn rows() -> impl Iterator<Item = &'static str> {
    let table = include_str!("../data/hip-actions.tsv");
    table.lines().filter(|line| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hip::{ENTRY_POINTS, EntryClass, entry_point};

    #[test]
    fn every_row_is_read_and_the_table_is_sorted() {
        assert_eq!(exported().count(), rows().count());
        assert!(exported().map(|(symbol, _)| symbol).is_sorted());
        assert_eq!(action("hipLaunchKernel"), Some(Action::Gate));
        assert_eq!(action("hipMemcpy"), Some(Action::Drain));
        assert_eq!(action("hipMalloc"), None);
    }

    #[test]
    fn everything_that_enqueues_kernels_or_sets_memory_is_gated() {
        for entry in ENTRY_POINTS {
            if entry.is_launch() || entry.class == EntryClass::Memset {
                assert_eq!(action(entry.symbol), Some(Action::Gate), "{}", entry.symbol);
            }
        }
    }

    #[test]
    fn no_wait_query_allocation_or_host_function_is_gated() {
        for (symbol, _) in exported().filter(|(_, action)| *action == Action::Gate) {
            let (_, entry) = entry_point(symbol).expect("a gated function is an entry point");
            let may = matches!(
                entry.class,
                EntryClass::Launch | EntryClass::Memcpy | EntryClass::Memset | EntryClass::Graph
            );
            assert!(may, "{symbol}");
        }
    }
}
