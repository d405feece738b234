//! The words that messages, help and documents use without explaining them
//! each have a heading in the glossary.

use super::{Finding, Source};

const PATH: &str = "docs/GLOSSARY.md";

const TERMS: &[&str] = &[
    "burst",
    "bypass",
    "cap",
    "class",
    "doorbell",
    "drain",
    "fence",
    "gate",
    "in flight",
    "K",
    "lease",
    "linger",
    "shim",
    "T",
    "target",
    "trickle",
];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let text = sources
        .iter()
        .find(|source| source.path == PATH)
        .map_or("", |source| &source.text);
    TERMS
        .iter()
        .filter(|term| !text.lines().any(|line| line == format!("## {term}")))
        .map(|term| Finding::new("glossary", PATH, 1, format!("no heading \"## {term}\"")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_without_a_heading_is_found() {
        let text = TERMS[1..]
            .iter()
            .map(|term| format!("## {term}\n\nIt is.\n"));
        let glossary = Source {
            path: PATH.to_owned(),
            text: text.collect(),
        };
        let found = check(&[glossary]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains(TERMS[0]));
    }
}
