//! The dynamic linker's rule for one reference and one definition, and what
//! it proves about a binding.
//!
//! This is glibc's `check_match` (elf/dl-lookup.c; the same from 2.35 to
//! 2.43), as a pure function: no process, no file.

use xsched_host::elf::{Symbol, Version};

/// A reference to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The version node it names, if it names one.
    pub node: Option<&'a str>,
    /// How it came to be.
    pub origin: Origin,
}

/// What asks for a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A relocation of an object.
    Relocation,
    /// A call of dlsym.
    Dlsym,
    /// A call of dlvsym, which accepts no unversioned definition.
    Dlvsym,
}

/// What ld.so does with one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the answer.
    Accepted,
    /// The answer unless the object has another default version too.
    AcceptedIfOnly,
    /// Passed over: it stands under another node.
    WrongNode,
    /// Passed over: hidden from references that name no node.
    Hidden,
    /// Passed over: unversioned, and the reference insists on a node.
    Unversioned,
}

/// The first node that an object defines has index 2 and counts as its base
/// for references without a version (dl-lookup.c: `< 3`).
const FIRST_OWN_NODE: u16 = 2;

/// glibc's rule. `version` is the definition's entry in DT_VERSYM, `None` if
/// its object has no such table.
pub fn check(reference: Reference<'_>, version: Option<&Version>) -> Outcome {
    let Some(version) = version else {
        return Outcome::Accepted;
    };
    match (reference.node, &version.node) {
        (Some(wanted), Some(node)) if wanted == node => Outcome::Accepted,
        (Some(_), Some(_)) => Outcome::WrongNode,
        (Some(_), None) if reference.origin == Origin::Dlvsym => Outcome::Unversioned,
        (Some(_), None) if version.hidden => Outcome::Hidden,
        (Some(_), None) => Outcome::Accepted,
        (None, _) => {
            let first_that_asks = match reference.origin {
                Origin::Relocation => FIRST_OWN_NODE + 1,
                Origin::Dlsym | Origin::Dlvsym => FIRST_OWN_NODE,
            };
            if version.index < first_that_asks {
                Outcome::Accepted
            } else if version.hidden {
                Outcome::Hidden
            } else {
                Outcome::AcceptedIfOnly
            }
        }
    }
}

/// Whether an object's `definitions` of the wanted name satisfy `reference`.
pub fn satisfies<'a>(
    reference: Reference<'_>,
    definitions: impl IntoIterator<Item = &'a Symbol>,
) -> bool {
    let mut only_candidates = 0;
    for definition in definitions {
        match check(reference, definition.version.as_ref()) {
            Outcome::Accepted => return true,
            Outcome::AcceptedIfOnly => only_candidates += 1,
            Outcome::WrongNode | Outcome::Hidden | Outcome::Unversioned => {}
        }
    }
    only_candidates == 1
}

/// What is known about the scope in which a reference was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// How the shim came into the process.
    pub shim: ShimEntry,
    /// How the referring object came into the process.
    pub object: ObjectEntry,
    /// Where the referring object is.
    pub place: NamespaceSide,
}

/// How a shim came into the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimEntry {
    /// LD_PRELOAD or /etc/ld.so.preload names it, so it precedes all
    /// libraries in the global scope.
    Preloaded,
    /// Neither names it: a library that the program needs or opened.
    Other,
}

/// How a referring object came into the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectEntry {
    /// With the program: the program itself or among what it needs.
    Startup,
    /// Opened later by dlopen.
    Opened,
}

/// Where a referring object is, seen from the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceSide {
    /// In the link namespace of the shim, by the linker's own lists, or
    /// because every file is mapped once: dlmopen maps anew what a library
    /// needs.
    WithShim,
    /// Some file is mapped several times, and the lists cannot be read.
    Unknown,
    /// In another namespace, by the linker's own lists.
    Apart,
}

/// Why a reference is bound to the runtime although a shim is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// The object is in a link namespace without the shim. Proven.
    OtherNamespace,
    /// The shim exports the name, but only under these nodes, none of which
    /// the reference accepts. Proven.
    WrongNode {
        /// The shim's nodes for the name.
        shim_nodes: Vec<String>,
    },
    /// The shim does not export the name. Proven.
    NotExported,
    /// The shim's export would have satisfied the reference, so it was not
    /// asked, or not first; these causes remain possible.
    Remaining(Vec<Cause>),
}

/// Compiled into ld.so; the first two are Debian's.
pub const STANDARD_DIRECTORIES: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// A cause that the files and the maps can neither prove nor exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// dlopen with RTLD_DEEPBIND.
    Deepbind,
    /// dlmopen.
    Namespace,
    /// The shim was opened later, after the slot was bound or outside the
    /// global scope.
    ShimNotFirst,
    /// The slot was changed after the linker had filled it.
    Patched,
}

impl Cause {
    /// Adds those of `more` that are not among `causes` yet.
    pub fn add_new(causes: &mut Vec<Cause>, more: &[Cause]) {
        for cause in more {
            if !causes.contains(cause) {
                causes.push(*cause);
            }
        }
    }

    /// The cause in words that complete "possible cause: ".
    pub const fn text(self) -> &'static str {
        match self {
            Cause::Deepbind => {
                "the library was opened with RTLD_DEEPBIND, which puts its own dependencies before \
                 the global scope and the shim in it"
            }
            Cause::Namespace => {
                "the library was opened by dlmopen into a link namespace without the shim \
                 (files are mapped twice, which only dlmopen does)"
            }
            Cause::ShimNotFirst => {
                "the shim was not preloaded (neither LD_PRELOAD nor /etc/ld.so.preload names it), so \
                 it is not first in the search order"
            }
            Cause::Patched => "something changed the slot after the linker had filled it",
        }
    }
}

/// Explains a binding to the runtime by the shim's definitions of the same
/// name and by what is known of the scope.
pub fn explain(reference: Reference<'_>, shim: &[&Symbol], scope: Scope) -> Explanation {
    if scope.place == NamespaceSide::Apart {
        return Explanation::OtherNamespace;
    }
    if shim.is_empty() {
        return Explanation::NotExported;
    }
    if !satisfies(reference, shim.iter().copied()) {
        let mut shim_nodes: Vec<String> = shim
            .iter()
            .map(|s| s.node().unwrap_or("(unversioned)").to_owned())
            .collect();
        shim_nodes.sort();
        shim_nodes.dedup();
        return Explanation::WrongNode { shim_nodes };
    }
    let mut causes = Vec::new();
    if scope.object == ObjectEntry::Opened {
        causes.push(Cause::Deepbind);
    }
    if scope.place == NamespaceSide::Unknown {
        causes.push(Cause::Namespace);
    }
    if scope.shim == ShimEntry::Other {
        causes.push(Cause::ShimNotFirst);
    }
    // Nothing rules out that code in the process rewrote a slot, but it is
    // worth a user's time only when the linker cannot have done it.
    if causes.is_empty() {
        causes.push(Cause::Patched);
    }
    Explanation::Remaining(causes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xsched_host::elf::{Linkage, Strength};

    const REFERENCE: Reference<'static> = Reference {
        node: Some("hip_4.2"),
        origin: Origin::Relocation,
    };
    const SCOPE: Scope = Scope {
        shim: ShimEntry::Preloaded,
        object: ObjectEntry::Startup,
        place: NamespaceSide::WithShim,
    };

    fn version(index: u16, node: Option<&str>) -> Version {
        Version {
            index,
            hidden: false,
            node: node.map(str::to_owned),
        }
    }

    fn definition(version: Option<Version>) -> Symbol {
        Symbol {
            index: 1,
            name: "hipLaunchKernel".into(),
            linkage: Linkage::Defined,
            is_function: true,
            strength: Strength::Strong,
            value: 0x1000,
            size: 16,
            version,
        }
    }

    #[test]
    fn an_object_without_a_version_table_satisfies_everything() {
        for node in [None, Some("hip_4.2")] {
            for origin in [Origin::Relocation, Origin::Dlsym, Origin::Dlvsym] {
                assert_eq!(check(Reference { node, origin }, None), Outcome::Accepted);
            }
        }
    }

    #[test]
    fn the_right_node_and_no_node_are_accepted_and_a_wrong_one_is_not() {
        let check = |v: Version| check(REFERENCE, Some(&v));
        assert_eq!(check(version(2, Some("hip_4.2"))), Outcome::Accepted);
        assert_eq!(check(version(1, None)), Outcome::Accepted);
        assert_eq!(check(version(2, Some("hip_5.1"))), Outcome::WrongNode);
        // A non-default definition (`name@node`) serves whoever names it.
        let hidden = Version {
            hidden: true,
            ..version(3, Some("hip_4.2"))
        };
        assert_eq!(check(hidden), Outcome::Accepted);
    }

    #[test]
    fn dlvsym_insists_on_a_node() {
        let dlvsym = Reference {
            origin: Origin::Dlvsym,
            ..REFERENCE
        };
        assert_eq!(check(dlvsym, Some(&version(1, None))), Outcome::Unversioned);
        assert_eq!(
            check(dlvsym, Some(&version(2, Some("hip_4.2")))),
            Outcome::Accepted
        );
    }

    #[test]
    fn references_without_a_version_take_the_default() {
        let bare = Reference {
            node: None,
            origin: Origin::Relocation,
        };
        let old = Version {
            hidden: true,
            ..version(3, Some("hip_4.2"))
        };
        let default = version(4, Some("hip_5.1"));
        assert_eq!(check(bare, Some(&old)), Outcome::Hidden);
        assert_eq!(check(bare, Some(&default)), Outcome::AcceptedIfOnly);
        assert_eq!(
            check(bare, Some(&version(2, Some("hip_4.2")))),
            Outcome::Accepted
        );
        let (old, default) = (definition(Some(old)), definition(Some(default)));
        assert!(satisfies(bare, [&old, &default]));
        assert!(!satisfies(bare, [&old]));
        assert!(!satisfies(bare, [&default, &default]));
    }

    #[test]
    fn proven_causes_come_before_possible_ones() {
        assert_eq!(explain(REFERENCE, &[], SCOPE), Explanation::NotExported);
        let wrong = definition(Some(version(2, Some("hip_99.0"))));
        assert_eq!(
            explain(REFERENCE, &[&wrong], SCOPE),
            Explanation::WrongNode {
                shim_nodes: vec!["hip_99.0".into()]
            }
        );
        let right = definition(Some(version(2, Some("hip_4.2"))));
        let remaining = |scope| explain(REFERENCE, &[&right], scope);
        assert_eq!(
            remaining(SCOPE),
            Explanation::Remaining(vec![Cause::Patched])
        );
        assert_eq!(
            remaining(Scope {
                object: ObjectEntry::Opened,
                ..SCOPE
            }),
            Explanation::Remaining(vec![Cause::Deepbind])
        );
        assert_eq!(
            remaining(Scope {
                place: NamespaceSide::Apart,
                ..SCOPE
            }),
            Explanation::OtherNamespace
        );
        assert_eq!(
            remaining(Scope {
                object: ObjectEntry::Opened,
                place: NamespaceSide::Unknown,
                shim: ShimEntry::Other,
            }),
            Explanation::Remaining(vec![Cause::Deepbind, Cause::Namespace, Cause::ShimNotFirst])
        );
    }

    proptest! {
        /// What makes versioned shims safe: whatever else an object exports,
        /// the right node always satisfies, and a set of wrong ones never does.
        #[test]
        fn only_the_right_node_matters(
            nodes in proptest::collection::vec((2u16..40, 0u8..17, any::<bool>()), 1..8),
            wanted in 0u8..17,
        ) {
            let node = |n: u8| format!("hip_{n}.0");
            let definitions: Vec<Symbol> = nodes
                .iter()
                .map(|&(index, n, hidden)| definition(Some(Version {
                    index,
                    hidden,
                    node: Some(node(n)),
                })))
                .collect();
            let wanted_node = node(wanted);
            let reference = Reference { node: Some(&wanted_node), origin: Origin::Relocation };
            prop_assert_eq!(
                satisfies(reference, &definitions),
                nodes.iter().any(|&(_, n, _)| n == wanted)
            );
        }
    }
}
