//! Rooms are the libraries in `crates/` and the top-level modules of the other
//! crates. Data flows one way through them: no room needs one that needs it.
//! Between libraries cargo sees to that; inside of those in [`LAYERED`] their
//! modules are rooms as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Source};

type Rooms<'s> = BTreeMap<&'s str, BTreeSet<&'s str>>;

/// The folder of libraries, each of which is one room.
const LIBRARIES: &str = "crates";

/// Libraries through whose modules data flows one way, too. In the policy's
/// what is remembered of a client is made of what each rule remembers.
const LAYERED: &[&str] = &[
    "crates/xsched-client",
    "crates/xsched-diagnose",
    "crates/xsched-host",
    "crates/xsched-observe",
];

/// Where a room is, for people.
pub fn place_of(crate_: &str, room: &str) -> String {
    match crate_ {
        LIBRARIES => format!("{crate_}/{room}"),
        _ => format!("{crate_}/src/{room}"),
    }
}

/// The crate's folder and the room of a file of it; none for the crate's
/// root and for what is no module of it.
pub fn room_of(path: &str) -> Option<(&str, &str)> {
    let (crate_, inside) = path.split_once("/src/")?;
    if let Some((LIBRARIES, library)) = crate_.split_once('/') {
        return Some((LIBRARIES, library));
    }
    Some((crate_, module_of(inside)?))
}

/// The top-level module of a file below `src`.
fn module_of(inside: &str) -> Option<&str> {
    let module = inside.split('/').next()?;
    let module = module.strip_suffix(".rs").unwrap_or(module);
    (!matches!(module, "lib" | "main" | "bin")).then_some(module)
}

/// The same as [`room_of`] for circles.
fn floor_of(path: &str) -> Option<(&str, &str)> {
    match path.split_once("/src/") {
        Some((crate_, inside)) if LAYERED.contains(&crate_) => Some((crate_, module_of(inside)?)),
        _ => room_of(path),
    }
}

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut crates = BTreeMap::<&str, Rooms<'_>>::new();
    let files: Vec<_> = sources
        .iter()
        .filter(|source| source.is_rust() && !source.is_test())
        .filter_map(|source| Some((source, floor_of(&source.path)?)))
        .collect();
    for (_, (crate_, room)) in &files {
        crates.entry(crate_).or_default().entry(room).or_default();
    }
    for (source, (crate_, room)) in &files {
        let Some(rooms) = crates.get_mut(crate_) else {
            continue;
        };
        let names: BTreeSet<&str> = rooms.keys().copied().collect();
        let uses = uses_of(source, &names);
        if let Some(to) = rooms.get_mut(room) {
            to.extend(uses.into_iter().filter(|to| to != room));
        }
    }
    let mut findings = Vec::new();
    for (crate_, rooms) in &crates {
        findings.extend(circles(rooms).into_iter().map(|circle| {
            let arrows: Vec<String> = circle
                .iter()
                .flat_map(|from| {
                    let to = rooms[from].iter().filter(|to| circle.contains(*to));
                    to.map(move |to| format!("{from} -> {to}"))
                })
                .collect();
            let place: Vec<&str> = circle.into_iter().collect();
            Finding::new(
                "circle",
                format!("{crate_}: {}", place.join(", ")),
                1,
                format!("rooms that need each other: {}", arrows.join(", ")),
            )
        }));
    }
    findings
}

/// The rooms that a file names by `crate::` or by enough `super::`.
fn uses_of<'n>(source: &Source, names: &BTreeSet<&'n str>) -> BTreeSet<&'n str> {
    let inside = source
        .path
        .split_once("/src/")
        .map_or("", |(_, inside)| inside);
    let parts = inside.trim_end_matches(".rs").split('/');
    let depth = parts.filter(|part| *part != "mod").count();
    let root = "super::".repeat(depth);
    let mut used = BTreeSet::new();
    for line in source
        .code()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        for lead in ["crate::", &*root] {
            for (at, _) in line.match_indices(lead) {
                // A longer chain of `super::` is another module's.
                let is_inner = line[..at].ends_with("super::");
                let name = line[at + lead.len()..]
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next();
                if !is_inner && let Some(name) = name.and_then(|name| names.get(name)) {
                    used.insert(*name);
                }
            }
        }
    }
    used
}

/// Groups of rooms each of which reaches every other.
fn circles<'s>(rooms: &Rooms<'s>) -> Vec<BTreeSet<&'s str>> {
    let reach = |from: &'s str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(room) = next.pop() {
            for to in rooms.get(room).into_iter().flatten() {
                if seen.insert(*to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        rooms.keys().map(|room| (*room, reach(room))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for room in rooms.keys() {
        let circle: BTreeSet<&str> = reached[room]
            .iter()
            .copied()
            .filter(|other| reached[other].contains(room))
            .collect();
        if !circle.is_empty() && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_library_is_one_room_and_so_is_a_module_of_another_crate() {
        for (path, room) in [
            ("crates/a/src/lib.rs", Some(("crates", "a"))),
            ("crates/a/src/b/c.rs", Some(("crates", "a"))),
            ("crates/a/tests/b.rs", None),
            ("p/src/lib.rs", None),
            ("p/src/b/c.rs", Some(("p", "b"))),
        ] {
            assert_eq!(room_of(path), room, "{path}");
        }
        assert_eq!(place_of("crates", "a"), "crates/a");
        assert_eq!(place_of("p", "b"), "p/src/b");
    }

    #[test]
    fn rooms_that_need_each_other_are_a_circle() {
        let tree = [
            source("p/src/lib.rs", "mod a; mod b; mod c;"),
            source("p/src/a/mod.rs", "use crate::b::X;"),
            source("p/src/b.rs", "use super::c::Y;"),
            source(
                "p/src/c/d.rs",
                "use super::super::a::Z;\n// use crate::e::W;",
            ),
            source(
                "p/src/e.rs",
                "use crate::a::X;\n#[cfg(test)]\nmod tests { use crate::e; }",
            ),
            source("p/src/a/tests.rs", "use crate::e::W;"),
            source("crates/xsched-host/src/x.rs", "use crate::y::X;"),
            source("crates/xsched-host/src/y/z.rs", "use crate::x::Y;"),
            source("q/src/a.rs", "use crate::b::X;"),
            source("q/src/b.rs", "use xsched::a::X;"),
        ];
        let found = check(&tree);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].place, "crates/xsched-host: x, y");
        assert_eq!(found[1].place, "p: a, b, c");
        assert!(
            found[1].what.contains("a -> b, b -> c, c -> a"),
            "{found:?}"
        );
    }
}
