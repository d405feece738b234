//! Where things are on the screen: computed from the state alone, so that
//! drawing and the mouse agree.

use ratatui::layout::Rect;

use crate::action::Screen;
use crate::column::Column;
use crate::state::{Arrangement, Detail, Mode, Size, State};
use crate::text;

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
    /// What the agent warns of; empty without.
    pub warnings: Rect,
    /// All between tabs and prompt: what screens without a table fill.
    pub main: Rect,
    /// The charts above the list; empty where there is no room.
    pub charts: Rect,
    /// The columns' titles.
    pub titles: Rect,
    /// The rows.
    pub body: Rect,
    /// The selected process; empty when hidden.
    pub detail: Rect,
    /// Why the selected process fares as it does; empty where the pane says
    /// so, and on other screens.
    pub why: Rect,
    /// The filter while it is typed, or a notice; empty without.
    pub prompt: Rect,
    /// The keys.
    pub footer: Rect,
    /// The columns that fit, left to right.
    pub columns: Vec<ColumnSpan>,
    /// The trend of P99 in the first row, where it fits.
    pub trend: Option<Rect>,
}

/// Where a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSpan {
    /// The column.
    pub column: Column,
    /// Its left edge.
    pub x: u16,
    /// Its width.
    pub width: u16,
}

impl ColumnSpan {
    /// Without the first `columns`.
    pub fn shifted(self, columns: u16) -> ColumnSpan {
        ColumnSpan {
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
        let is_list = state.screen == Screen::Processes && !state.processes.is_empty();
        let why = match is_list && state.detail == Detail::Hidden {
            true => why_lines(size, state),
            false => 0,
        };
        let warnings = state
            .seen
            .as_ref()
            .map_or(0, |seen| seen.agent.warnings.len().min(2) as u16);
        let room = size
            .height
            .saturating_sub(2 + 1 + warnings + 1 + why + prompt + 1);
        let detail = match state.detail {
            Detail::Hidden => 0,
            Detail::Shown(_) => (room / 2).max(room.saturating_sub(4).min(9)).min(18),
        };
        let charts = match is_list {
            true => charts(room - detail, state.processes.height()),
            false => 0,
        };
        let (columns, trend) = places(size.width, state);
        let mut y = 0;
        let mut take = |height: u16| {
            let height = height.min(size.height.saturating_sub(y));
            let part = Rect::new(0, y, size.width, height);
            y += height;
            part
        };
        let (header, tabs, warned) = (take(2), take(1), take(warnings));
        let (charts_area, titles) = (take(charts), take(1));
        let top = warned.bottom();
        let end = size.height.saturating_sub(prompt + 1).max(top);
        Layout {
            header,
            tabs,
            main: Rect::new(0, top, size.width, end - top),
            warnings: warned,
            charts: charts_area,
            titles,
            body: take(room - detail - charts),
            detail: take(detail),
            why: take(why),
            prompt: take(prompt),
            footer: take(1),
            columns,
            trend: trend.map(|(x, width)| Rect::new(x, titles.bottom(), width, 1)),
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

/// The room below which there are no charts: there the list has it.
const LEAST_WITH_CHARTS: u16 = 22;

/// Lines for charts above a list of so many: it has what it needs, or half.
fn charts(room: u16, rows: usize) -> u16 {
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    match room {
        ..LEAST_WITH_CHARTS => 0,
        _ => room - rows.clamp(4, room / 2),
    }
}

/// Lines for why the selected process fares as it does: what it takes, within
/// bounds.
fn why_lines(size: Size, state: &State) -> u16 {
    const PID: usize = 8;
    let most = if size.height >= 30 { 3 } else { 2 };
    let Some(row) = state.processes.selected() else {
        return 1;
    };
    let columns = usize::from(size.width).saturating_sub(PID);
    let lines = text::wrap(&row.why_line(), columns, "").len();
    (lines as u16).clamp(1, most)
}

/// A column of the table or the trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Column(Column),
    Trend,
}

/// The least width of the command.
const COMMAND: u16 = 12;

/// Widths in the order in which columns are given up, last first.
const WIDTHS: [(Part, u16); 25] = [
    (Part::Column(Column::Pid), 7),
    (Part::Column(Column::Command), COMMAND),
    (Part::Column(Column::Class), 8),
    (Part::Column(Column::Gate), 7),
    (Part::Column(Column::Launches), 9),
    (Part::Column(Column::BurstP99), 8),
    (Part::Column(Column::Busy), 6),
    (Part::Column(Column::Bypass), 7),
    (Part::Column(Column::Device), 12),
    (Part::Column(Column::Workload), 20),
    (Part::Column(Column::Slo), 10),
    (Part::Column(Column::Override), 11),
    (Part::Column(Column::BurstP50), 8),
    (Part::Trend, 16),
    (Part::Column(Column::Why), 42),
    (Part::Column(Column::Platform), 8),
    (Part::Column(Column::WaitP99), 8),
    (Part::Column(Column::Slice), 7),
    (Part::Column(Column::User), 8),
    (Part::Column(Column::Shim), 7),
    (Part::Column(Column::DefaultStream), 7),
    (Part::Column(Column::InFlight), 6),
    (Part::Column(Column::BurstMax), 8),
    (Part::Column(Column::Weight), 6),
    (Part::Column(Column::Unit), 16),
];

/// How many columns even the narrowest screen shows.
const ESSENTIAL: usize = 6;

/// What the command gets beyond its least width before others are added: a
/// little past the essential columns, and more past the important ones.
const COMMAND_SPARE: [(usize, u16); 3] = [(ESSENTIAL, 0), (11, 6), (usize::MAX, 16)];

/// Columns by importance while they fit, one blank apart, and the trend's
/// edge and width. What the order of the rows cannot be understood without
/// is never given up, what goes without saying comes last; the command and
/// the reason take what is left.
fn places(width: u16, state: &State) -> (Vec<ColumnSpan>, Option<(u16, u16)>) {
    let processes = &state.processes;
    let sorted = processes.sort().column;
    let in_units = processes.arrangement() == Arrangement::Units;
    let is_needed = |column| column == sorted || (in_units && column == Column::Unit);
    let mut by_importance = WIDTHS;
    let wanted = |part: Part| match part {
        Part::Column(column) => processes.is_wanted(column),
        Part::Trend => true,
    };
    by_importance[2..].sort_by_key(|&(part, _)| match part {
        Part::Column(column) if is_needed(column) => 0,
        Part::Column(column) if processes.is_plain(column) => 2,
        Part::Column(_) | Part::Trend => 1,
    });
    let longest = processes.shown().take(LOOKED_AT);
    let longest = longest.map(|row| text::width(&row.command)).max();
    let by_importance: Vec<_> = by_importance
        .into_iter()
        .filter(|(part, _)| wanted(*part))
        .collect();
    fill(width, &by_importance, longest.unwrap_or(0) as u16)
}

/// Rows whose commands are measured.
const LOOKED_AT: usize = 200;

fn fill(
    width: u16,
    by_importance: &[(Part, u16)],
    longest_command: u16,
) -> (Vec<ColumnSpan>, Option<(u16, u16)>) {
    let mut room = width;
    let mut chosen = Vec::with_capacity(by_importance.len());
    for (index, &(part, width)) in by_importance.iter().enumerate() {
        let spare = COMMAND_SPARE.iter().find(|(end, _)| index < *end);
        let spare = spare.map_or(0, |&(_, spare)| spare);
        let Some(rest) = room.checked_sub(width + 1).filter(|&rest| rest >= spare) else {
            break;
        };
        room = rest;
        chosen.push((part, width));
    }
    let has = |part| chosen.iter().any(|&(p, _)| p == part);
    let for_reason = match has(Part::Column(Column::Why)) {
        // The command takes what it needs, the reason what is left.
        true => room - room.min(longest_command.saturating_sub(COMMAND)),
        false => 0,
    };
    let mut x = 0;
    let mut columns = Vec::with_capacity(chosen.len());
    let mut trend = None;
    let last = [Part::Trend, Part::Column(Column::Why)];
    let others = Column::ALL
        .into_iter()
        .filter(|&column| column != Column::Why);
    for part in others.map(Part::Column).chain(last) {
        let Some(&(_, least)) = chosen.iter().find(|(p, _)| *p == part) else {
            continue;
        };
        let width = match part {
            Part::Column(Column::Command) => least + room - for_reason,
            Part::Column(Column::Why) => least + for_reason,
            Part::Column(_) | Part::Trend => least,
        };
        match part {
            Part::Column(column) => columns.push(ColumnSpan { column, x, width }),
            Part::Trend => trend = Some((x, width)),
        }
        x += width + 1;
    }
    (columns, trend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{showing, typical};
    use crate::state::Sort;

    fn names(width: u16, sorted: Column) -> Vec<&'static str> {
        let mut ui = showing(Size { width, height: 24 }, typical(), "");
        let state = &mut ui.state;
        state.processes.set_sort(Sort::by(sorted));
        let (columns, _) = places(width, state);
        columns.iter().map(|p| p.column.name()).collect()
    }

    #[test]
    fn columns_give_way_by_importance() {
        let narrow = ["pid", "command", "class", "gate", "launches", "p99"];
        assert_eq!(names(60, Column::Launches), narrow);
        let sorted = ["pid", "command", "class", "gate", "launches", "device"];
        assert_eq!(names(66, Column::Device), sorted);
        assert_eq!(names(311, Column::Launches).len(), Column::ALL.len());
        let wide = names(200, Column::Launches);
        assert!(wide.contains(&"why") && !wide.contains(&"hold"), "{wide:?}");
    }

    #[test]
    fn columns_fill_the_width_without_overlap() {
        for width in 0..330 {
            let (places, trend) = fill(width, &WIDTHS, 30);
            let mut spans: Vec<_> = places.iter().map(|p| (p.x, p.width)).collect();
            spans.extend(trend);
            spans.sort_unstable();
            for pair in spans.windows(2) {
                assert_eq!(pair[0].0 + pair[0].1 + 1, pair[1].0);
            }
            let end = spans.last().map_or(0, |(x, width)| x + width);
            assert!(end <= width);
            assert!(width < SMALLEST.width || end + 1 == width);
        }
    }
}
