//! The mouse: tabs, titles, rows, the wheel.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use crate::action::{Action, Screen, Step};
use crate::layout::Layout;
use crate::state::{Mode, State};

/// What the mouse asks for, on a screen that is laid out so.
pub fn action(mouse: MouseEvent, state: &State, layout: &Layout) -> Option<Action> {
    // Clicks on boxes are theirs (`view::popup`).
    match (&state.mode, mouse.kind) {
        (Mode::Browse | Mode::Filter(_), _) => {}
        (Mode::Sort(_) | Mode::Columns(_), MouseEventKind::ScrollDown) => {
            return Some(Action::MenuStep(1));
        }
        (Mode::Sort(_) | Mode::Columns(_), MouseEventKind::ScrollUp) => {
            return Some(Action::MenuStep(-1));
        }
        (Mode::Ask(_), MouseEventKind::ScrollDown) => return Some(Action::Adjust(-1)),
        (Mode::Ask(_), MouseEventKind::ScrollUp) => return Some(Action::Adjust(1)),
        (Mode::Help(_) | Mode::Agent(_), MouseEventKind::ScrollDown) => {
            return Some(Action::Scroll(3));
        }
        (Mode::Help(_) | Mode::Agent(_), MouseEventKind::ScrollUp) => {
            return Some(Action::Scroll(-3));
        }
        _ => return None,
    }
    let click = mouse.kind == MouseEventKind::Down(MouseButton::Left);
    let browses = state.mode == Mode::Browse;
    if browses
        && click
        && let Some(screen) = layout.tab_at(mouse.column, mouse.row)
    {
        return Some(Action::Show(screen));
    }
    let on_charts = layout.charts.contains((mouse.column, mouse.row).into());
    let is_list = state.screen == Screen::Processes;
    match mouse.kind {
        MouseEventKind::ScrollDown if is_list && on_charts => Some(Action::Shift(1)),
        MouseEventKind::ScrollUp if is_list && on_charts => Some(Action::Shift(-1)),
        MouseEventKind::ScrollDown if is_list => Some(Action::Step(Step::Rows(3))),
        MouseEventKind::ScrollUp if is_list => Some(Action::Step(Step::Rows(-3))),
        MouseEventKind::ScrollDown => Some(Action::Scroll(3)),
        MouseEventKind::ScrollUp => Some(Action::Scroll(-3)),
        _ if click && is_list => match layout.header_at(mouse.column, mouse.row) {
            Some(column) => Some(Action::SortBy(column)),
            None => {
                let row = layout.row_at(mouse.column, mouse.row)?;
                let line = state.processes.offset(layout.rows()) + row;
                let place = state.processes.at_line(line)?;
                // Whoever types a filter chooses among what it leaves.
                let again = place == state.processes.cursor() && browses;
                Some(match again {
                    true => Action::Open,
                    false => Action::Select(place),
                })
            }
        },
        _ => None,
    }
}
