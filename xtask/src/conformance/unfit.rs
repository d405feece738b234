//! Cases that a real runtime does not survive natively: there is nothing to compare, so they are left out there. Each must go
//! on failing, so that the list does not outlive its reasons, but for those that it ends now and then only: their reason
//! begins with "sometimes". Where a setting of the runtime's own avoids its fault, cases run with that instead.

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
    read_with(file, |text| parse(text, real))
}

/// A setting of a runtime, for the cases whose names match.
pub struct Setting {
    /// A name, or with `*` at its end the beginning of names.
    case: String,
    /// The variable and its value.
    pub variable: (String, String),
}

impl Setting {
    /// Whether it is for this case.
    pub fn is_for(&self, case: &str) -> bool {
        match self.case.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => self.case == case,
        }
    }
}

/// Reads the settings (`conformance/settings.tsv`: case, runtimes, setting, why) for one runtime.
///
/// # Errors
/// The file cannot be read, or a line has other columns.
pub fn read_settings(file: &Path, real: Real) -> anyhow::Result<Vec<Setting>> {
    read_with(file, |text| parse_settings(text, real))
}

fn read_with<T>(file: &Path, parse: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| format!("{}", file.display()))
}

fn parse(text: &str, real: Real) -> anyhow::Result<HashMap<String, String>> {
    let mut unfit = HashMap::new();
    for [case, runtimes, why] in rows(text) {
        ensure!(!why.is_empty(), "no reason for {case:?}");
        if names(case, runtimes, real)? {
            let former = unfit.insert(case.to_owned(), why.to_owned());
            ensure!(former.is_none(), "{case} is there twice");
        }
    }
    Ok(unfit)
}

fn parse_settings(text: &str, real: Real) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for [case, runtimes, setting, why] in rows(text) {
        ensure!(!why.is_empty(), "no reason for {case:?}");
        let (name, value) = setting
            .split_once('=')
            .with_context(|| format!("{case}: {setting:?} is no NAME=VALUE"))?;
        if names(case, runtimes, real)? {
            settings.push(Setting {
                case: case.to_owned(),
                variable: (name.to_owned(), value.to_owned()),
            });
        }
    }
    Ok(settings)
}

/// Lines that are no comments, in columns; what a line lacks is empty, and what it has too much stays in the last.
fn rows<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.splitn(N, '\t');
            std::array::from_fn(|_| columns.next().unwrap_or_default())
        })
}

/// Whether a list of runtimes has this one.
fn names(case: &str, runtimes: &str, real: Real) -> anyhow::Result<bool> {
    let mut found = false;
    for name in runtimes.split(',') {
        let named = Real::named(name);
        found |= named.map_err(|error| anyhow::anyhow!("{case}: {name}: {error}"))? == real;
    }
    Ok(found)
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

    #[test]
    fn a_setting_is_for_names_or_beginnings_of_names() {
        let text = "r_*\treal-6.4\tA=1=2\twhy\ns\treal-7.2\tB=\twhy\n";
        let six = parse_settings(text, Real::Version(Version::Six)).expect("lines");
        assert_eq!(six.len(), 1);
        assert_eq!(six[0].variable, ("A".to_owned(), "1=2".to_owned()));
        assert!(six[0].is_for("r_1") && !six[0].is_for("s"));
        let seven = parse_settings(text, Real::Version(Version::Seven)).expect("lines");
        assert!(seven[0].is_for("s") && !seven[0].is_for("s2"));
        for line in [
            "a\treal-6.4\tA=1\n",
            "a\treal-6.4\tA\twhy\n",
            "a\treal\tA=1\twhy\n",
        ] {
            assert!(
                parse_settings(line, Real::Version(Version::Six)).is_err(),
                "{line:?}"
            );
        }
    }
}
