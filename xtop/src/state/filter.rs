//! What the table leaves out.

use std::str::FromStr;

use super::columns::{Column, Value};
use super::row::Row;
use crate::format;

/// Terms that a row must all meet. Words are looked for in command, pid, user
/// and class; `column:value` in one column; `column:>value` and
/// `column:<value` compare numbers; `column:-` finds the unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Term>);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Anywhere(String),
    Unknown(Column),
    Contains(Column, String),
    Equal(Column, f64),
    Above(Column, f64),
    Below(Column, f64),
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

fn term(word: &str) -> Result<Term, FilterError> {
    let Some((name, value)) = word.split_once(':') else {
        return Ok(Term::Anywhere(word.to_lowercase()));
    };
    let column = Column::from_name(name).ok_or_else(|| FilterError::NoColumn {
        name: name.to_owned(),
    })?;
    Ok(match value {
        "-" => Term::Unknown(column),
        _ if !column.is_numeric() => Term::Contains(column, value.to_lowercase()),
        // While it is still being typed.
        "" | ">" | "<" => Term::Contains(column, String::new()),
        _ => match value.split_at_checked(1) {
            Some((">", number)) => Term::Above(column, parse_number(number)?),
            Some(("<", number)) => Term::Below(column, parse_number(number)?),
            _ => Term::Equal(column, parse_number(value)?),
        },
    })
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

impl Term {
    fn admits(&self, row: &Row) -> bool {
        match self {
            Term::Anywhere(word) => [Column::Command, Column::Pid, Column::User, Column::Class]
                .into_iter()
                .any(|column| contains(&column.value(row), word)),
            Term::Unknown(column) => column.value(row) == Value::Unknown,
            Term::Contains(column, word) => contains(&column.value(row), word),
            // NaN, the number of the unknown, compares as false.
            Term::Equal(column, number) => column.value(row).number() == *number,
            Term::Above(column, number) => column.value(row).number() > *number,
            Term::Below(column, number) => column.value(row).number() < *number,
        }
    }
}

fn contains(value: &Value<'_>, lower_case: &str) -> bool {
    lower_case.is_empty() || format::value(value).to_lowercase().contains(lower_case)
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
    }
}
