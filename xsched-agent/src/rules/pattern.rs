//! Text that rules compare with: globs, and regular expressions behind
//! `re:`.

use std::ffi::OsStr;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// Marks a regular expression.
const REGEX_PREFIX: &str = "re:";

/// What a text must look like.
///
/// A glob covers the whole text: `*` stands for anything (slashes too), `?`
/// for one character, `[ab]` and `{this,that}` for alternatives. What begins
/// with `re:` is a regular expression that may be found anywhere in the text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Glob(Box<GlobMatcher>),
    Regex(Regex),
}

/// A text that is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It would match nothing, or everything, by accident.
    #[error("an empty pattern: use \"*\" for anything")]
    Empty,
    /// A glob that cannot be read.
    #[error("not a glob: {0}")]
    Glob(String),
    /// A regular expression that cannot be read, or is too large.
    #[error("not a regular expression: {0}")]
    Regex(String),
}

impl std::str::FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Pattern, BadPattern> {
        let kind = match text.strip_prefix(REGEX_PREFIX) {
            None if text.is_empty() => return Err(BadPattern::Empty),
            None => GlobBuilder::new(text)
                .literal_separator(false)
                .backslash_escape(true)
                .build()
                .map(|glob| Kind::Glob(Box::new(glob.compile_matcher())))
                .map_err(|e| BadPattern::Glob(e.kind().to_string()))?,
            Some("") => return Err(BadPattern::Empty),
            Some(regex) => Regex::new(regex).map(Kind::Regex).map_err(|e| {
                // The crate draws the place on lines of its own; one line says it.
                let text = e.to_string();
                let last = text.lines().last().unwrap_or_default();
                BadPattern::Regex(last.trim_start_matches("error: ").to_owned())
            })?,
        };
        Ok(Pattern {
            text: text.to_owned(),
            kind,
        })
    }
}

impl Pattern {
    /// Whether `text` looks like this.
    pub fn matches(&self, text: &OsStr) -> bool {
        match &self.kind {
            Kind::Glob(glob) => glob.is_match(Path::new(text)),
            Kind::Regex(regex) => regex.is_match(&text.to_string_lossy()),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names folders: then it is meant for whole paths.
    pub fn has_slash(&self) -> bool {
        self.text.contains('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        pattern.matches(OsStr::new(text))
    }

    #[test]
    fn globs_cover_the_whole_text_and_regexes_a_part() {
        assert!(matches("python3*", "python3.11") && !matches("python3", "python3.11"));
        assert!(matches("/opt/*/bin/{serve,infer}", "/opt/a/b/bin/infer"));
        assert!(matches("re:^vllm@[0-9]+", "vllm@7.service"));
        assert!(matches("re:serve", "/home/x/serve.py"));
        assert!(!matches("re:^serve$", "serve.py"));
        assert!(matches("[ab]?", "bx") && !matches("[ab]?", "cx"));
    }

    #[test]
    fn mistakes_are_named_in_one_line() {
        for bad in ["", "re:", "re:(", "[a", "{a", "re:\\"] {
            let error = bad.parse::<Pattern>().expect_err(bad).to_string();
            assert!(!error.contains('\n') && error.len() > 10, "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error(pattern in "\\PC{0,40}", text in "\\PC{0,40}") {
            if let Ok(pattern) = pattern.parse::<Pattern>() {
                let _ = pattern.matches(OsStr::new(&text));
            }
        }
    }
}
