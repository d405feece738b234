//! What a list of processes leaves out: the words that users write, the same
//! in every program.
//!
//! `word` `!word` `/regex/` `column:text` `column:/regex/` `column:=n`
//! `column:>n` `>=` `<` `<=` `!column:...` `column:-`

use std::borrow::Cow;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

/// The most memory that a regular expression may take, bytes.
const MAX_REGEX: usize = 1 << 20;

/// A column of a list.
pub trait Column: Copy + 'static {
    /// What the list is of.
    type Row: ?Sized;

    /// All of them.
    fn all() -> impl Iterator<Item = Self>;

    /// Whether words without a column are looked for in this one.
    fn has_words(self) -> bool;

    /// Its name in filters.
    fn name(self) -> Cow<'static, str>;

    /// The column of this name, in whatever case.
    fn named(name: &str) -> Option<Self> {
        Self::all().find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// Whether what it says is compared as a number.
    fn is_numeric(self) -> bool;

    /// What it says of `row`.
    fn value(self, row: &Self::Row) -> impl Value;
}

/// What a column says of a row.
pub trait Value {
    /// As people read it.
    fn text(&self) -> Cow<'_, str>;

    /// As a plain number: ns for times, 0 to 1 for shares; NaN if it is none.
    fn number(&self) -> f64;

    /// Whether it is not known, which is not zero.
    fn is_unknown(&self) -> bool;
}

/// Terms that a row must all meet. Words are looked for in some columns, terms
/// with a column in that alone; `!` turns a term round.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter<C>(Vec<Term<C>>);

#[derive(Clone, Debug, PartialEq)]
struct Term<C> {
    sense: Sense,
    /// None for anywhere.
    column: Option<C>,
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
    #[error("no column '{name}': use one of {names}")]
    NoColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
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

impl<C> Default for Filter<C> {
    fn default() -> Filter<C> {
        Filter(Vec::new())
    }
}

impl<C: Column> FromStr for Filter<C> {
    type Err = FilterError;

    /// Of words between blanks.
    fn from_str(text: &str) -> Result<Filter<C>, FilterError> {
        let terms = text.split_whitespace().map(term);
        terms.collect::<Result<_, _>>().map(Filter)
    }
}

impl<C: Column> Filter<C> {
    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `row` passes.
    pub fn admits(&self, row: &C::Row) -> bool {
        self.0.iter().all(|term| {
            let met = match term.column {
                Some(column) => term.test.admits(&column.value(row)),
                None => C::all()
                    .filter(|column| column.has_words())
                    .any(|column| term.test.admits(&column.value(row))),
            };
            met == (term.sense == Sense::Must)
        })
    }
}

fn term<C: Column>(word: &str) -> Result<Term<C>, FilterError> {
    let (sense, word) = match word.strip_prefix('!') {
        Some(rest) => (Sense::MustNot, rest),
        None => (Sense::Must, word),
    };
    // A regular expression may hold colons.
    let (column, value) = match word.split_once(':') {
        Some((name, value)) if !word.starts_with('/') => {
            let column = C::named(name).ok_or_else(|| FilterError::NoColumn {
                name: name.to_owned(),
                names: C::all().map(C::name).collect::<Vec<_>>().join(", "),
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
    Ok(Term {
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
    if number.is_empty() {
        // While it is still being typed.
        return Ok(Test::Contains(String::new()));
    }
    let number = number_of(number).ok_or_else(|| FilterError::NoNumber {
        text: number.to_owned(),
    })?;
    Ok(Test::Number(comparison, number))
}

/// A number as people write it, in the units of [`Value::number`]: `5000`,
/// `12.5%`, `300us`, `20.4 ms`, `~70%`; none if it is none.
pub fn number_of(text: &str) -> Option<f64> {
    let lower = text.trim().trim_start_matches('~').to_ascii_lowercase();
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
    let number = digits.trim_end().parse::<f64>().ok()?;
    number.is_finite().then_some(number * scale)
}

impl Test {
    fn admits(&self, value: &impl Value) -> bool {
        match self {
            Test::Contains(word) => {
                word.is_empty() || value.text().to_lowercase().contains(word.as_str())
            }
            Test::Matches(regex) => regex.is_match(&value.text()),
            Test::Unknown => value.is_unknown(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for (text, number) in [
            ("5000", Some(5_000.0)),
            ("12.5%", Some(0.125)),
            ("300us", Some(300_000.0)),
            ("20.4 ms", Some(20_400_000.0)),
            ("~70%", Some(0.7)),
            ("2k", Some(2_000.0)),
            ("inf", None),
            ("fast", None),
            ("-", None),
        ] {
            let read = number_of(text);
            let alike = match (read, number) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-6 * b,
                (a, b) => a == b,
            };
            assert!(alike, "{text}: {read:?}");
        }
    }
}
