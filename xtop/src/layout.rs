//! Where things are on the screen: computed from the state alone, so that
//! drawing and the mouse agree.

use ratatui::layout::Rect;

use crate::state::{Arrangement, Column, Detail, Mode, Screen, State};
use crate::text;

/// A terminal's size in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// The smallest screen that can be used.
pub const SMALLEST: Size = Size {
    width: 60,
    height: 15,
};

/// The parts of the screen, top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The agent and the data: two lines.
    pub header: Rect,
    /// The names of the screens.
    pub tabs: Rect,
    /// All between tabs and prompt: what screens without a table fill.
    pub main: Rect,
    /// The columns' titles.
    pub titles: Rect,
    /// The rows.
    pub body: Rect,
    /// The selected process; empty when hidden.
    pub detail: Rect,
    /// The filter while it is typed, or a notice; empty without.
    pub prompt: Rect,
    /// The keys.
    pub footer: Rect,
    /// The columns that fit, left to right.
    pub columns: Vec<Place>,
    /// Beside the rows: the trend of P99, where there is room for all columns.
    pub trend: Option<Rect>,
}

/// Columns of the trend.
const TREND: u16 = 24;

/// Where a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The column.
    pub column: Column,
    /// Its left edge.
    pub x: u16,
    /// Its width.
    pub width: u16,
}

impl Place {
    /// Without the first `columns`.
    pub fn shifted(self, columns: u16) -> Place {
        Place {
            x: self.x + columns,
            width: self.width.saturating_sub(columns),
            ..self
        }
    }
}

impl Layout {
    /// The parts of a screen of `size`.
    pub fn of(size: Size, state: &State) -> Layout {
        let prompt = match (&state.mode, &state.notice) {
            (Mode::Filter(_), _) | (_, Some(_)) => 1,
            _ => 0,
        };
        let room = size.height.saturating_sub(2 + 1 + 1 + prompt + 1);
        let detail = match state.detail {
            Detail::Hidden => 0,
            Detail::Shown(_) => (room / 2).max(room.saturating_sub(4).min(9)).min(18),
        };
        let needed: u16 = WIDTHS.iter().map(|(_, width)| width + 1).sum();
        let trend = match size.width > needed + COMMAND_SPARE + TREND {
            true => TREND + 1,
            false => 0,
        };
        let mut y = 0;
        let mut take = |height: u16| {
            let height = height.min(size.height.saturating_sub(y));
            let part = Rect::new(0, y, size.width, height);
            y += height;
            part
        };
        let (header, tabs, titles) = (take(2), take(1), take(1));
        let end = size.height.saturating_sub(prompt + 1).max(titles.y);
        Layout {
            header,
            tabs,
            main: Rect::new(0, titles.y, size.width, end - titles.y),
            titles,
            body: take(room - detail),
            detail: take(detail),
            prompt: take(prompt),
            footer: take(1),
            columns: places(size.width - trend, &needed_columns(state)),
            trend: (trend > 0).then(|| Rect::new(size.width - TREND, 4, TREND, 1)),
        }
    }

    /// Rows that fit.
    pub fn rows(&self) -> usize {
        self.body.height.into()
    }

    /// The screens' names with their places among the tabs.
    pub fn tab_places(&self) -> impl Iterator<Item = (Screen, String, u16)> {
        let mut x = self.tabs.x;
        Screen::ALL.into_iter().zip(1..).map(move |(screen, key)| {
            let name = format!(" {key} {} ", screen.name());
            let place = x;
            x += text::width(&name) as u16;
            (screen, name, place)
        })
    }

    /// The screen whose name is there.
    pub fn tab_at(&self, x: u16, y: u16) -> Option<Screen> {
        let at = |(screen, name, place): (Screen, String, u16)| {
            let end = place + text::width(&name) as u16;
            (place..end).contains(&x).then_some(screen)
        };
        self.tab_places()
            .find_map(at)
            .filter(|_| self.tabs.contains((x, y).into()))
    }

    /// The column whose title is there.
    pub fn header_at(&self, x: u16, y: u16) -> Option<Column> {
        let place = self
            .columns
            .iter()
            .find(|place| (place.x..place.x + place.width).contains(&x))?;
        (y == self.titles.y).then_some(place.column)
    }

    /// The row that is there, counted from the top of the body.
    pub fn row_at(&self, x: u16, y: u16) -> Option<usize> {
        self.body
            .contains((x, y).into())
            .then(|| usize::from(y - self.body.y))
    }
}

/// Widths in the order in which columns are given up, last first.
const WIDTHS: [(Column, u16); 15] = [
    (Column::Pid, 7),
    (Column::Command, 12),
    (Column::Class, 8),
    (Column::Gate, 7),
    (Column::Launches, 9),
    (Column::BurstP99, 8),
    (Column::Bypass, 7),
    (Column::BurstP50, 8),
    (Column::User, 8),
    (Column::Shim, 7),
    (Column::DefaultStream, 7),
    (Column::WaitP99, 8),
    (Column::InFlight, 6),
    (Column::Device, 12),
    (Column::Unit, 16),
];

/// How many columns even the narrowest screen shows.
const ESSENTIAL: usize = 6;

/// What the command gets beyond its least width before others are added.
const COMMAND_SPARE: u16 = 6;

/// What the order of the rows cannot be understood without.
fn needed_columns(state: &State) -> Vec<Column> {
    let mut needed = vec![state.processes.sort().column];
    if state.processes.arrangement() == Arrangement::Units {
        needed.push(Column::Unit);
    }
    needed
}

/// Columns by importance while they fit, one blank apart; those that
/// are needed are never given up, and the command takes what is left.
fn places(width: u16, needed: &[Column]) -> Vec<Place> {
    let mut by_importance = WIDTHS;
    by_importance[2..].sort_by_key(|(column, _)| !needed.contains(column));
    let mut room = width;
    let mut chosen = Vec::with_capacity(WIDTHS.len());
    for (index, (column, width)) in by_importance.into_iter().enumerate() {
        // Past the essential columns, more of the command is worth more.
        let spare = if index < ESSENTIAL { 0 } else { COMMAND_SPARE };
        let Some(rest) = room.checked_sub(width + 1).filter(|&rest| rest >= spare) else {
            break;
        };
        room = rest;
        chosen.push((column, width));
    }
    let mut x = 0;
    let ordered = Column::ALL.into_iter().filter_map(|column| {
        let &(_, width) = chosen.iter().find(|(c, _)| *c == column)?;
        let width = if column == Column::Command {
            width + room
        } else {
            width
        };
        let place = Place { column, x, width };
        x += width + 1;
        Some(place)
    });
    ordered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(width: u16, sorted: Column) -> Vec<&'static str> {
        places(width, &[sorted])
            .iter()
            .map(|p| p.column.name())
            .collect()
    }

    #[test]
    fn columns_give_way_by_importance() {
        let narrow = ["pid", "command", "class", "gate", "launches", "p99"];
        assert_eq!(names(60, Column::Launches), narrow);
        let sorted = ["pid", "command", "class", "gate", "launches", "device"];
        assert_eq!(names(66, Column::Device), sorted);
        assert_eq!(names(200, Column::Launches).len(), Column::ALL.len());
    }

    #[test]
    fn columns_fill_the_width_without_overlap() {
        for width in 0..250 {
            let places = places(width, &[Column::Launches]);
            for pair in places.windows(2) {
                assert_eq!(pair[0].x + pair[0].width + 1, pair[1].x);
            }
            let end = places.last().map_or(0, |p| p.x + p.width);
            assert!(end <= width);
            assert!(width < SMALLEST.width || end + 1 == width);
        }
    }
}
