//! The user's own keys and colours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ratatui::style::Color;
use serde::Deserialize;

use crate::input::{Keymap, KeymapError};
use crate::theme::{Palette, Role};

/// The longest file that is read, bytes.
const MAX_FILE: u64 = 64 << 10;

/// What the file says; what it leaves out stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The colours to begin with.
    pub palette: Option<Palette>,
    /// Single colours instead of the palette's.
    pub colours: Vec<(Role, Color)>,
    /// What the keys do.
    pub keys: Keymap,
}

/// The file's form.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Form {
    theme: Option<String>,
    colours: BTreeMap<String, String>,
    keys: BTreeMap<String, Vec<String>>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct Error {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("longer than {MAX_FILE} bytes")]
    TooLong,
    #[error("{0}")]
    Syntax(String),
    #[error("no theme '{name}': use one of {}", names_of_palettes())]
    NoTheme { name: String },
    #[error("no colour '{name}' can be set: use one of {}", Role::names())]
    NoRole { name: String },
    #[error("{0} = '{1}' is no colour: write a name like red, a number to 255 or #rrggbb")]
    NoColour(String, String),
    #[error(transparent)]
    Keys(#[from] KeymapError),
}

fn names_of_palettes() -> String {
    let names = Palette::value_variants().iter().filter_map(|palette| {
        let value = palette.to_possible_value()?;
        Some(value.get_name().to_owned())
    });
    names.collect::<Vec<_>>().join(", ")
}

/// `$XDG_CONFIG_HOME/xsched/xtop.toml`, in `~/.config` by default (XDG Base
/// Directory Specification: relative paths are ignored).
pub fn default_path() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || Some(absolute("HOME")?.join(".config"));
    let base = absolute("XDG_CONFIG_HOME").or_else(home)?;
    Some(base.join("xsched/xtop.toml"))
}

/// Reads the file at `path`, or the default one if there is one.
pub fn load(path: Option<&Path>) -> Result<Config, Error> {
    let default = default_path();
    let (path, asked) = match (path, &default) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path.as_path(), false),
        (None, None) => return Ok(Config::default()),
    };
    let error = |cause| Error {
        path: path.to_owned(),
        cause,
    };
    match read(path) {
        Err(Cause::Read(e)) if e.kind() == io::ErrorKind::NotFound && !asked => {
            Ok(Config::default())
        }
        text => text.and_then(|text| parse(&text)).map_err(error),
    }
}

fn read(path: &Path) -> Result<String, Cause> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(Cause::TooLong),
        false => Ok(text),
    }
}

fn parse(text: &str) -> Result<Config, Cause> {
    // The parser's message takes several lines; the first says where.
    let one_line = |e: toml::de::Error| {
        let line = e
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        Cause::Syntax(format!("line {line}: {}", e.message()))
    };
    let form: Form = toml::from_str(text).map_err(one_line)?;
    let palette = match form.theme {
        None => None,
        Some(name) => match Palette::from_str(&name, false) {
            Ok(palette) => Some(palette),
            Err(_) => return Err(Cause::NoTheme { name }),
        },
    };
    let colour = |(name, value): (String, String)| {
        let role = Role::from_name(&name).ok_or_else(|| Cause::NoRole { name: name.clone() })?;
        match value.parse::<Color>() {
            Ok(colour) => Ok((role, colour)),
            Err(_) => Err(Cause::NoColour(name, value)),
        }
    };
    Ok(Config {
        palette,
        colours: form
            .colours
            .into_iter()
            .map(colour)
            .collect::<Result<_, _>>()?,
        keys: Keymap::with(&form.keys)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_documentation_is_valid() {
        let readme = include_str!("../README.md");
        let example = readme
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("an example");
        let config = parse(example).expect("valid");
        assert!(config.palette.is_some() && !config.colours.is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| parse(text).expect_err(text).to_string();
        assert!(error("theme = 'pink'").contains("no theme 'pink': use one of dark, light"));
        assert!(error("[keys]\nquit = 'q'").starts_with("line 2:"));
        assert!(error("[keys]\nquid = ['q']").contains("no action 'quid'"));
        assert!(error("[colours]\nworse = 'red'").contains("no colour 'worse'"));
        assert!(error("[colours]\nbad = 'rot'").contains("bad = 'rot' is no colour"));
        assert!(error("colour = 1").contains("unknown field"));
        assert!(parse("").is_ok());
    }

    #[test]
    fn only_the_file_that_was_asked_for_must_exist() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("xtop.toml");
        assert!(load(Some(&path)).is_err());
        std::fs::write(&path, "#".repeat(100_000)).expect("writes");
        let error = load(Some(&path)).expect_err("too long");
        assert!(error.to_string().ends_with("longer than 65536 bytes"));
    }
}
