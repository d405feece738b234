//! What is allowed for now: rule, place and count, one a line.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::Finding;

/// The list in `known.tsv`.
pub struct Known<'t> {
    counts: BTreeMap<(&'t str, &'t str), usize>,
}

impl<'t> Known<'t> {
    /// # Errors
    /// A line that is neither a comment nor three fields with a number.
    pub fn parse(text: &'t str) -> anyhow::Result<Known<'t>> {
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(rule), Some(place), Some(count)) =
                (fields.next(), fields.next(), fields.next())
            else {
                anyhow::bail!("known.tsv: not rule, place and count: {line:?}");
            };
            let count = count
                .parse()
                .with_context(|| format!("known.tsv: not a count: {line:?}"))?;
            counts.insert((rule, place), count);
        }
        Ok(Known { counts })
    }

    pub fn allows(&self, rule: &str, place: &str) -> usize {
        self.counts.get(&(rule, place)).copied().unwrap_or(0)
    }

    /// Lines that nothing in the tree needs any more.
    pub fn gone(&self, findings: &[Finding]) -> Vec<Finding> {
        let is_found = |rule: &str, place: &str| {
            findings
                .iter()
                .any(|finding| finding.rule == rule && finding.place == place)
        };
        self.counts
            .keys()
            .filter(|(rule, place)| !is_found(rule, place))
            .map(|(rule, place)| {
                let what = format!("{rule} is mended there: take its line out of known.tsv");
                Finding::new("known", *place, 1, what)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_fields_and_a_line_without_a_fault_must_go() {
        let known = Known::parse("# why\nlength\ta.rs\t600\n").expect("fields");
        assert_eq!(known.allows("length", "a.rs"), 600);
        assert_eq!(known.allows("length", "b.rs"), 0);
        let found = [Finding::new("length", "a.rs", 550, String::new())];
        assert!(known.gone(&found).is_empty());
        assert!(known.gone(&[])[0].fails());
        assert!(Known::parse("length\ta.rs\n").is_err());
        assert!(Known::parse("length\ta.rs\tmany\n").is_err());
    }
}
