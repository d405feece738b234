//! The words that messages, help and documents use without explaining them
//! each have a row in the glossary.

use super::{Finding, Source};

const PATH: &str = "docs/GLOSSARY.md";

const TERMS: &[&str] = &[
    "burst", "bypass", "cap", "class", "client", "doorbell", "drained", "fence", "gate", "K",
    "lease", "linger", "shim", "T", "target", "trickle",
];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let text = sources
        .iter()
        .find(|source| source.path == PATH)
        .map_or("", |source| &source.text);
    let defined: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|words| words.split(", "))
        .collect();
    TERMS
        .iter()
        .filter(|term| !defined.contains(term))
        .map(|term| Finding::new("glossary", PATH, 1, format!("no row for \"{term}\"")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_without_a_row_is_found() {
        let text = TERMS[1..]
            .iter()
            .map(|term| format!("| {term} | it is |\n"));
        let glossary = Source {
            path: PATH.to_owned(),
            text: text.collect(),
        };
        let found = check(&[glossary]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains(TERMS[0]));
    }
}
