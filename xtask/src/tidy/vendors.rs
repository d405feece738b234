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
    counts
        .into_iter()
        .map(|(room, count)| Finding::new("vendor", room, count, what.to_owned()))
        .collect()
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
