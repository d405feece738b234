//! Cases that a real runtime does not survive natively: there is nothing to compare, so they are left out there. Each must go
//! on failing, so that the list does not outlive its reasons, but for those that it ends now and then only: their reason
//! begins with "sometimes".

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;

use crate::real_runtime::Version;

/// Begins the reason of a case that the runtime ends now and then only.
pub const SOMETIMES: &str = "sometimes";

/// Reads the list (`conformance/unfit.tsv`: case, runtimes, what happens) for one runtime; why, by case.
///
/// # Errors
/// The file cannot be read, or a line has other columns.
pub fn read(file: &Path, version: Version) -> anyhow::Result<HashMap<String, String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text, version).with_context(|| format!("{}", file.display()))
}

fn parse(text: &str, version: Version) -> anyhow::Result<HashMap<String, String>> {
    let mut unfit = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [case, runtimes, why] = columns[..] else {
            anyhow::bail!("three columns expected in {line:?}");
        };
        ensure!(!why.is_empty(), "no reason for {case}");
        let mut versions = Vec::new();
        for name in runtimes.split(',') {
            let named = Version::from_str(name, false);
            versions.push(named.map_err(|error| anyhow::anyhow!("{case}: {name}: {error}"))?);
        }
        if versions.contains(&version) {
            let former = unfit.insert(case.to_owned(), why.to_owned());
            ensure!(former.is_none(), "{case} is there twice");
        }
    }
    Ok(unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_the_runtimes_it_names() {
        let text = "# why\na\treal-6.4\tends\nb\treal-6.4,real-7.2\thangs\n";
        let of = |version| {
            let mut cases: Vec<_> = parse(text, version).expect("lines").into_keys().collect();
            cases.sort();
            cases
        };
        assert_eq!(of(Version::Six), ["a", "b"]);
        assert_eq!(of(Version::Seven), ["b"]);
        assert!(parse("a\treal-6.4\n", Version::Six).is_err());
        assert!(parse("a\treal-6.4\t\n", Version::Six).is_err());
        for name in ["real-6", "real", "real-6.4.3", ""] {
            let line = format!("a\t{name}\tends\n");
            assert!(
                parse(&line, Version::Six).is_err(),
                "{name:?} is no runtime's name"
            );
        }
        assert!(parse("a\treal-6.4\tends\na\treal-6.4\tends\n", Version::Six).is_err());
    }
}
