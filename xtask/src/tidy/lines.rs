//! How much there is to read: lines outside of tests, by room.

use std::collections::BTreeMap;

use super::Source;
use super::rooms::{place_of, room_of};

/// Lines of Rust by `crate/src/room`, or by the file's folder where it is no
/// module. Modules of tests and what serves tests, examples and benchmarks
/// only are not counted.
pub fn count(sources: &[Source]) -> BTreeMap<String, usize> {
    let of_tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    let mut lines = BTreeMap::new();
    for source in sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let is_test = source.is_test() || of_tests.iter().any(|module| stem == module);
        if source.is_rust() && !is_test {
            let room = match room_of(&source.path) {
                Some((crate_, room)) => place_of(crate_, room),
                None => source
                    .path
                    .rsplit_once('/')
                    .map_or("", |(dir, _)| dir)
                    .to_owned(),
            };
            *lines.entry(room).or_default() += source.code().lines().count();
        }
    }
    lines
}

/// Modules that a file has for its tests only, as paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let (dir, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let dir = match file {
        "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let parts = source.text.split("#[cfg(test)]\nmod ").skip(1);
    parts
        .filter_map(|part| part.split_once(';'))
        .filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .map(|(name, _)| format!("{dir}/{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_not_counted() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let counted = count(&[
            source("p/src/lib.rs", "mod a;\n#[cfg(test)]\nmod fixture;\n"),
            source("p/src/fixture.rs", "1\n"),
            source("p/src/a/mod.rs", "1\n2\n\n#[cfg(test)]\nmod tests {\n}\n"),
            source("p/src/a/b.rs", "1\n"),
            source("p/tests/c.rs", "1\n"),
            source("p/README.md", "1\n"),
        ]);
        let expected = [("p/src".to_owned(), 3), ("p/src/a".to_owned(), 3)];
        assert_eq!(counted, expected.into());
    }
}
