//! What the keys act on.

use xsched_common::units::Class;

use super::columns::Column;
use super::filter::FilterError;
use super::row::Identity;

/// What the keys act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// The table.
    Browse,
    /// The filter line.
    Filter(FilterLine),
    /// The sort menu; the column under its cursor.
    Sort(Column),
    /// The confirmation of a class change.
    Class(ClassChange),
    /// The help, from this line on.
    Help(u16),
    /// What the agent says about itself, from this line on.
    Agent(u16),
}

/// The filter while it is typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterLine {
    /// As typed.
    pub text: String,
    /// The filter text before, for giving up.
    pub before: String,
    /// What is wrong with it; the table then keeps its last good filter.
    pub error: Option<FilterError>,
}

/// A class change that awaits its confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassChange {
    /// The process.
    pub target: Identity,
    /// Its command.
    pub command: String,
    /// Its class now.
    pub current: Class,
    /// The class it is to get.
    pub chosen: Class,
}

/// The class above, if there is one.
pub fn raised(class: Class) -> Class {
    Class::from_raw(class as u8 + 1).unwrap_or(class)
}

/// The class below, if there is one.
pub fn lowered(class: Class) -> Class {
    (class as u8)
        .checked_sub(1)
        .and_then(Class::from_raw)
        .unwrap_or(class)
}
