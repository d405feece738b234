//! Vendors' names belong to platform folders.

use std::collections::BTreeMap;

use super::rooms::{place_of, room_of};
use super::{Finding, Source};

/// Words that name a vendor, its runtime or its files; found at the start of
/// a word, so `hipLaunchKernel` counts and `ship` does not.
const NAMES: &[&str] = &["hip", "cuda", "amd", "nvidia", "rocm", "kfd"];

/// Words that begin like one and name something else: our simulator and
/// Debian's name of the architecture.
const OTHERS: &[&str] = &["hipsim", "amd64"];

/// Crates that are a platform, or build and measure one.
const PLATFORMS: &[&str] = &["hipsim/", "conformance/", "xtask/"];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut counts = BTreeMap::<String, usize>::new();
    for source in sources {
        let is_platform = PLATFORMS
            .iter()
            .any(|crate_| source.path.starts_with(crate_))
            || source.path.split('/').any(|part| {
                let part = part.strip_suffix(".rs").unwrap_or(part);
                part == "platform" || NAMES.contains(&part)
            });
        if !source.is_rust() || source.is_test() || is_platform {
            continue;
        }
        let Some((crate_, room)) = room_of(&source.path) else {
            continue;
        };
        let count = source.code().lines().map(names_in).sum::<usize>();
        if count > 0 {
            *counts.entry(place_of(crate_, room)).or_default() += count;
        }
    }
    let what = "names of vendors outside platform folders: say it in the platform's table";
    let mut findings: Vec<Finding> = counts
        .into_iter()
        .map(|(room, count)| Finding::new("vendor", room, count, what.to_owned()))
        .collect();
    findings.extend(sources.iter().filter_map(decisions));
    findings
}

/// What compares a text with another.
const COMPARES: &[&str] = &[
    "=>",
    "==",
    "!=",
    "matches!",
    "contains(",
    "starts_with(",
    "ends_with(",
    "strip_",
];

/// Lines that tell a vendor's functions by their names. The tables decide
/// what a function is; only who tells names apart reads them, and a platform's
/// own folder decides nothing either.
fn decisions(source: &Source) -> Option<Finding> {
    let reads_tables = source.path.starts_with("xsched-common/src/platform/");
    let is_platform = PLATFORMS
        .iter()
        .any(|crate_| source.path.starts_with(crate_));
    if !source.is_rust() || source.is_test() || reads_tables || is_platform {
        return None;
    }
    let is_decision = |line: &&str| {
        let code = line.split("//").next().unwrap_or_default();
        names_a_function(code) && COMPARES.iter().any(|compares| code.contains(compares))
    };
    let count = source.code().lines().filter(is_decision).count();
    let what = "tells functions of a vendor by their names: give the table a column";
    (count > 0).then(|| Finding::new("decision", &*source.path, count, what.to_owned()))
}

/// Whether a line has a literal that is, or begins like, a function's name.
fn names_a_function(line: &str) -> bool {
    ["\"hip", "\"__hip", "\"cu", "\"_spt"].iter().any(|begin| {
        line.match_indices(begin).any(|(at, _)| {
            let next = line[at + begin.len()..].chars().next();
            *begin == "\"_spt" || next.is_some_and(|c| c.is_ascii_uppercase() || c == '"')
        })
    })
}

fn names_in(line: &str) -> usize {
    let line = line.to_lowercase();
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| NAMES.iter().any(|name| word.starts_with(name)))
        .filter(|word| !OTHERS.iter().any(|other| word.starts_with(other)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_by_a_functions_name_is_found() {
        let found = |path: &str, text: &str| {
            let source = Source {
                path: path.into(),
                text: text.into(),
            };
            decisions(&source).map_or(0, |finding| finding.count)
        };
        let text = "match symbol {\n    \"hipMemcpyAsync\" | \"b\" => 1,\n}\n\
                    if name.ends_with(\"_spt\") {}\n// \"hipX\" => no code\n\
                    call(\"hipGetDevice\");\nlet custom = \"custom\" == x;";
        assert_eq!(found("p/src/hip/a.rs", text), 2);
        assert_eq!(found("xsched-common/src/platform/names.rs", text), 0);
        assert_eq!(found("p/tests/a.rs", text), 0);
    }

    #[test]
    fn names_are_counted_at_the_start_of_words() {
        assert_eq!(
            names_in("let hip_x = hipLaunchKernel(relationship, HIP);"),
            3
        );
        assert_eq!(names_in("hipsim on amd64, a ship"), 0);
        let found = check(&[
            Source {
                path: "a/src/b/c.rs".into(),
                text: "hip\n#[cfg(test)]\nmod tests { hip }".into(),
            },
            Source {
                path: "a/src/platform/hip.rs".into(),
                text: "hip".into(),
            },
            Source {
                path: "a/tests/b.rs".into(),
                text: "hip".into(),
            },
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].place, found[0].count), ("a/src/b", 1));
    }
}
