//! The order of the rows, and how it is written.

use std::str::FromStr;

use crate::column::{Column, Direction};

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By this column.
    pub column: Column,
    /// In this direction.
    pub direction: Direction,
}

impl Sort {
    /// By `column`, in the direction people want first.
    pub const fn by(column: Column) -> Sort {
        Sort {
            column,
            direction: column.natural_direction(),
        }
    }

    /// The other way round.
    pub const fn inverted(self) -> Sort {
        Sort {
            column: self.column,
            direction: self.direction.inverted(),
        }
    }
}

impl Default for Sort {
    fn default() -> Sort {
        Sort::by(Column::Launches)
    }
}

impl FromStr for Sort {
    type Err = String;

    /// `COLUMN`, `COLUMN:asc` or `COLUMN:desc`.
    fn from_str(text: &str) -> Result<Sort, String> {
        let (name, direction) = match text.split_once(':') {
            None => (text, None),
            Some((name, "asc")) => (name, Some(Direction::Ascending)),
            Some((name, "desc")) => (name, Some(Direction::Descending)),
            Some((_, other)) => return Err(format!("'{other}' is no direction: use asc or desc")),
        };
        let column = Column::from_name(name)
            .ok_or_else(|| format!("no column '{name}': use one of {}", Column::names()))?;
        Ok(Sort {
            column,
            direction: direction.unwrap_or(column.natural_direction()),
        })
    }
}
