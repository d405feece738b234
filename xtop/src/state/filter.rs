//! What the table leaves out.
//!
//! `word` `!word` `/regex/` `column:text` `column:/regex/` `column:=n`
//! `column:>n` `>=` `<` `<=` `!column:...` `column:-`; README.md documents it.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::cells::Value;
use super::row::Row;
use crate::column::Column;

/// The most memory that a regular expression may take, bytes.
const MAX_REGEX: usize = 1 << 20;

/// Terms that a row must all meet. Words are looked for in command, pid, user
/// and class, terms with a column in that alone; `!` turns a term round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Attr>);

#[derive(Clone, Debug, PartialEq)]
struct Attr {
    sense: Sense,
    /// None for anywhere.
    column: Option<Column>,
    test: Test,
}

/// Whether rows must meet a term or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Must,
    MustNot,
}

#[derive(Clone, Debug)]
enum Test {
    Contains(String),
    Matches(Regex),
    Unknown,
    Number(Comparison, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl PartialEq for Test {
    fn eq(&self, other: &Test) -> bool {
        match (self, other) {
            (Test::Contains(a), Test::Contains(b)) => a == b,
            (Test::Matches(a), Test::Matches(b)) => a.as_str() == b.as_str(),
            (Test::Unknown, Test::Unknown) => true,
            (Test::Number(a, n), Test::Number(b, m)) => a == b && n == m,
            _ => false,
        }
    }
}

/// Why a filter is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no such column.
    #[error("no column '{name}': use one of {}", Column::names())]
    NoColumn {
        /// What was asked for.
        name: String,
    },
    /// It is no regular expression.
    #[error("'{text}' is no regular expression: see docs.rs/regex, or drop the slashes")]
    NoRegex {
        /// What was written.
        text: String,
    },
    /// The value cannot be compared.
    #[error("'{text}' is no number: write 5000, 12.5%, 300us or 5ms")]
    NoNumber {
        /// What was asked for.
        text: String,
    },
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        text.split_whitespace()
            .map(term)
            .collect::<Result<_, _>>()
            .map(Filter)
    }
}

fn term(word: &str) -> Result<Attr, FilterError> {
    let (sense, word) = match word.strip_prefix('!') {
        Some(rest) => (Sense::MustNot, rest),
        None => (Sense::Must, word),
    };
    // A regular expression may hold colons.
    let (column, value) = match word.split_once(':') {
        Some((name, value)) if !word.starts_with('/') => {
            let column = Column::from_name(name).ok_or_else(|| FilterError::NoColumn {
                name: name.to_owned(),
            })?;
            (Some(column), value)
        }
        _ => (None, word),
    };
    let test = match (value, column) {
        ("-", Some(_)) => Test::Unknown,
        _ if value.starts_with('/') => Test::Matches(parse_regex(value)?),
        (_, Some(column)) if column.is_numeric() => parse_comparison(value)?,
        _ => Test::Contains(value.to_lowercase()),
    };
    Ok(Attr {
        sense,
        column,
        test,
    })
}

/// `/regex/`; the last slash may be missing while it is being typed.
fn parse_regex(text: &str) -> Result<Regex, FilterError> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    RegexBuilder::new(inner)
        .case_insensitive(true)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .build()
        .map_err(|_| FilterError::NoRegex {
            text: inner.to_owned(),
        })
}

fn parse_comparison(text: &str) -> Result<Test, FilterError> {
    let signs = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::Above),
        ("<", Comparison::Below),
        ("=", Comparison::Equal),
    ];
    let (comparison, number) = signs
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, text.strip_prefix(sign)?)))
        .unwrap_or((Comparison::Equal, text));
    match number {
        // While it is still being typed.
        "" => Ok(Test::Contains(String::new())),
        _ => Ok(Test::Number(comparison, parse_number(number)?)),
    }
}

/// A number in the units of [`Value::number`].
fn parse_number(text: &str) -> Result<f64, FilterError> {
    let lower = text.to_ascii_lowercase();
    let units = [
        ("%", 0.01),
        ("ns", 1.0),
        ("us", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("k", 1e3),
    ];
    let (digits, scale) = units
        .iter()
        .find_map(|&(unit, scale)| lower.strip_suffix(unit).map(|digits| (digits, scale)))
        .unwrap_or((&lower, 1.0));
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number * scale),
        _ => Err(FilterError::NoNumber {
            text: text.to_owned(),
        }),
    }
}

impl Filter {
    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `row` passes.
    pub fn admits(&self, row: &Row) -> bool {
        self.0.iter().all(|term| term.admits(row))
    }
}

impl Attr {
    fn admits(&self, row: &Row) -> bool {
        let met = match self.column {
            Some(column) => self.test.admits(&column.value(row)),
            None => [Column::Command, Column::Pid, Column::User, Column::Class]
                .into_iter()
                .any(|column| self.test.admits(&column.value(row))),
        };
        met == (self.sense == Sense::Must)
    }
}

impl Test {
    fn admits(&self, value: &Value<'_>) -> bool {
        match self {
            Test::Contains(word) => contains(value, word),
            Test::Matches(regex) => regex.is_match(&value.text()),
            Test::Unknown => *value == Value::Unknown,
            Test::Number(comparison, number) => comparison.holds(value.number(), *number),
        }
    }
}

impl Comparison {
    /// NaN, the number of the unknown, compares as false.
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::Above => a > b,
            Comparison::AtLeast => a >= b,
            Comparison::Below => a < b,
            Comparison::AtMost => a <= b,
        }
    }
}

fn contains(value: &Value<'_>, lower_case: &str) -> bool {
    lower_case.is_empty() || value.text().to_lowercase().contains(lower_case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{row, service};

    fn admits(filter: &str, row: &Row) -> bool {
        filter.parse::<Filter>().expect("a filter").admits(row)
    }

    #[test]
    fn words_and_columns() {
        let service = service();
        for (filter, expected) in [
            ("", true),
            ("PYTHON", true),
            ("python serve", true),
            ("python batch", false),
            ("class:high", true),
            ("class:low", false),
            ("gate:open", true),
            ("pid:4242", true),
            ("pid:42", false),
            ("42", true),
            ("p99:>3ms", true),
            ("p99:>3.3ms", false),
            ("p99:<1s", true),
            ("bypass:<1%", true),
            ("launches:>5k", false),
            ("p99:", true),
            ("p99:>=3.21ms", true),
            ("p99:<=3.2ms", false),
            ("pid:=4242", true),
            ("!python", false),
            ("!train !class:low", true),
            ("!p99:-", true),
            ("/^python3?\\sserve\\.py/", true),
            ("/^serve/", false),
            ("!/a:b/", true),
            ("command:/RESNET\\d+$/", true),
            ("class:/^(high|low)$/", true),
            ("pid:/^42/", true),
            ("/", true),
            ("p99:-", false),
        ] {
            assert_eq!(admits(filter, &service), expected, "{filter}");
        }
        let unjoined = row(9, "python3");
        assert!(admits("p99:- gate:-", &unjoined));
        assert!(!admits("p99:<1s", &unjoined), "the unknown is not small");
    }

    #[test]
    fn mistakes_are_named() {
        let error = "foo:1".parse::<Filter>().expect_err("no such column");
        assert!(
            error
                .to_string()
                .starts_with("no column 'foo': use one of pid, user")
        );
        assert!("p99:>fast".parse::<Filter>().is_err());
        assert!("p99:inf".parse::<Filter>().is_err());
        for regex in ["/(/", "command:/a{1000}{1000}{1000}/", "!/[/"] {
            let error = regex.parse::<Filter>().expect_err(regex);
            assert!(matches!(error, FilterError::NoRegex { .. }));
        }
    }
}
