//! The list of libraries (`conformance/stack/libraries.tsv`).

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;

use crate::real_runtime::Version;

/// What the library does not do the same each time, without the shim either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Varies {
    /// It does all the same.
    #[default]
    Nothing,
    /// The host's waits.
    Waits,
}

/// A library, and what its program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Library {
    /// As its makers write it.
    pub name: String,
    /// Debian's packages, the library's own first.
    pub packages: Vec<String>,
    /// Wheels with versions, the library's own first; a program in C has none.
    pub wheels: Vec<String>,
    /// What a program in C is linked with.
    pub link: Vec<String>,
    /// Variables and their values; here and in `link` folders have names ([`Libraries::placed`]).
    ///
    /// [`Libraries::placed`]: crate::real_runtime::libraries::Libraries::placed
    pub settings: Vec<(String, String)>,
    /// What is not compared.
    pub varies: Varies,
    /// Why it is not run.
    pub left_out: Option<String>,
}

impl Library {
    /// The program's file name.
    pub fn program(&self) -> String {
        let end = if self.wheels.is_empty() { "c" } else { "py" };
        format!("{}.{end}", self.name.to_lowercase())
    }
}

/// Reads those of one runtime.
///
/// # Errors
/// The file cannot be read, or a line is not as the others.
pub fn read(file: &Path, version: Version) -> anyhow::Result<Vec<Library>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text, version).with_context(|| format!("{}", file.display()))
}

fn parse(text: &str, version: Version) -> anyhow::Result<Vec<Library>> {
    let mut libraries = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (name, runtime, rest, left_out) = match columns[..] {
            [name, runtime, why] => (name, runtime, ["-"; 5], Some(why.to_owned())),
            [name, runtime, packages, wheels, link, settings, varies] => {
                let rest = [packages, wheels, link, settings, varies];
                (name, runtime, rest, None)
            }
            _ => anyhow::bail!("seven columns expected in {line:?}, or three"),
        };
        let [packages, wheels, link, settings, varies] = rest;
        let words = |column: &str| -> Vec<String> {
            let words = column.split_whitespace().filter(|word| *word != "-");
            words.map(str::to_owned).collect()
        };
        let settings = words(settings).into_iter().map(|setting| {
            let pair = setting
                .split_once('=')
                .with_context(|| format!("{setting:?} is no NAME=VALUE"))?;
            anyhow::Ok((pair.0.to_owned(), pair.1.to_owned()))
        });
        let library = Library {
            name: name.to_owned(),
            packages: words(packages),
            wheels: words(wheels),
            link: words(link),
            settings: settings.collect::<Result<_, _>>()?,
            varies: match varies {
                "-" => Varies::Nothing,
                "waits" => Varies::Waits,
                other => anyhow::bail!("{name}: {other:?} is not known to vary"),
            },
            left_out,
        };
        let is_had = !library.packages.is_empty() || !library.wheels.is_empty();
        ensure!(
            is_had || library.left_out.is_some(),
            "{name} comes from nowhere"
        );
        let named = Version::from_str(runtime, false)
            .map_err(|error| anyhow::anyhow!("{name}: {runtime}: {error}"))?;
        if named == version {
            libraries.push(library);
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_library_of_one_runtime() {
        let text = "# x\nrocX\treal-7.2\ta b\t-\t-l:x\tA=1 B=2\t-\nY\treal-6.4\t-\ty==1\t-\t-\twaits\n\
                    Z\treal-6.4\tnobody has it\n";
        let seven = parse(text, Version::Seven).expect("lines");
        assert_eq!(seven.len(), 1);
        assert_eq!(seven[0].program(), "rocx.c");
        assert_eq!(seven[0].packages, ["a", "b"]);
        assert_eq!(seven[0].settings.len(), 2);
        let six = parse(text, Version::Six).expect("lines");
        assert_eq!(six[0].program(), "y.py");
        assert_eq!((six[0].varies, &six[0].left_out), (Varies::Waits, &None));
        assert_eq!(six[1].left_out.as_deref(), Some("nobody has it"));
        for line in [
            "a\treal-7.2\n",
            "a\treal\tb\t-\t-\t-\t-\n",
            "a\treal-7.2\t-\t-\t-\t-\t-\n",
            "a\treal-7.2\tb\t-\t-\t-\tall\n",
        ] {
            assert!(parse(line, Version::Seven).is_err(), "{line:?}");
        }
    }

    #[test]
    fn every_library_has_its_program() {
        let folder = crate::build::root().join("conformance/stack");
        for version in Version::ALL {
            let libraries = read(&folder.join("libraries.tsv"), version).expect("the list");
            for library in libraries.iter().filter(|it| it.left_out.is_none()) {
                assert!(folder.join(library.program()).exists(), "{}", library.name);
            }
        }
    }
}
