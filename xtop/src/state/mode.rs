//! What the keys act on.

use super::filter::FilterError;
use super::question::Question;
use crate::column::Column;

/// What the keys act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// The table.
    Browse,
    /// The filter line.
    Filter(FilterLine),
    /// The sort menu; the column under its cursor.
    Sort(Column),
    /// The menu of columns; the one under its cursor.
    Columns(Column),
    /// The confirmation of a change.
    Ask(Question),
    /// The help, from this line on.
    Help(u16),
    /// What the agent says about itself, from this line on.
    Agent(u16),
}

impl Mode {
    /// Whether there is a box over the screen.
    pub fn is_popup(&self) -> bool {
        !matches!(self, Mode::Browse | Mode::Filter(_))
    }
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
