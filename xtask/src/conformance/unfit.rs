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

/// What is no simulated runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Real {
    /// AMD's HIP runtime, on the simulated HSA library.
    Version(Version),
    /// The driver that `--driver` names, on a GPU.
    Driver,
}

impl Real {
    /// As the list names it: as `--runtime` does, or `driver`.
    fn named(name: &str) -> Result<Real, String> {
        match name {
            "driver" => Ok(Real::Driver),
            _ => Version::from_str(name, false).map(Real::Version),
        }
    }
}

/// Reads the list (`conformance/unfit.tsv`: case, runtimes, what happens) for one runtime; why, by case.
///
/// # Errors
/// The file cannot be read, or a line has other columns.
pub fn read(file: &Path, real: Real) -> anyhow::Result<HashMap<String, String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text, real).with_context(|| format!("{}", file.display()))
}

fn parse(text: &str, real: Real) -> anyhow::Result<HashMap<String, String>> {
    let mut unfit = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [case, runtimes, why] = columns[..] else {
            anyhow::bail!("three columns expected in {line:?}");
        };
        ensure!(!why.is_empty(), "no reason for {case}");
        let mut of = Vec::new();
        for name in runtimes.split(',') {
            let named = Real::named(name);
            of.push(named.map_err(|error| anyhow::anyhow!("{case}: {name}: {error}"))?);
        }
        if of.contains(&real) {
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
        let text = "# why\na\treal-6.4\tends\nb\treal-6.4,real-7.2\thangs\nc\tdriver\tends\n";
        let of = |real| {
            let mut cases: Vec<_> = parse(text, real).expect("lines").into_keys().collect();
            cases.sort();
            cases
        };
        assert_eq!(of(Real::Version(Version::Six)), ["a", "b"]);
        assert_eq!(of(Real::Version(Version::Seven)), ["b"]);
        assert_eq!(of(Real::Driver), ["c"]);
        let six = Real::Version(Version::Six);
        assert!(parse("a\treal-6.4\n", six).is_err());
        assert!(parse("a\treal-6.4\t\n", six).is_err());
        for name in ["real-6", "real", "real-6.4.3", ""] {
            let line = format!("a\t{name}\tends\n");
            assert!(parse(&line, six).is_err(), "{name:?} is no runtime's name");
        }
        assert!(parse("a\treal-6.4\tends\na\treal-6.4\tends\n", six).is_err());
    }
}
