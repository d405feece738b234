//! The mouse: tabs, titles, rows, the wheel.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use crate::action::{Action, Screen, Step};
use crate::layout::Layout;
use crate::state::{Mode, State};

/// What the mouse asks for, on a screen that is laid out so.
pub fn action(mouse: MouseEvent, state: &State, layout: &Layout) -> Option<Action> {
    if state.mode != Mode::Browse {
        return None;
    }
    let click = mouse.kind == MouseEventKind::Down(MouseButton::Left);
    if click && let Some(screen) = layout.tab_at(mouse.column, mouse.row) {
        return Some(Action::Show(screen));
    }
    let is_list = state.screen == Screen::Processes;
    match mouse.kind {
        MouseEventKind::ScrollDown if is_list => Some(Action::Step(Step::Rows(3))),
        MouseEventKind::ScrollUp if is_list => Some(Action::Step(Step::Rows(-3))),
        MouseEventKind::ScrollDown => Some(Action::Scroll(3)),
        MouseEventKind::ScrollUp => Some(Action::Scroll(-3)),
        _ if click && is_list => match layout.header_at(mouse.column, mouse.row) {
            Some(column) => Some(Action::SortBy(column)),
            None => {
                let row = layout.row_at(mouse.column, mouse.row)?;
                let place = state.processes.offset(layout.rows()) + row;
                (place < state.processes.len()).then_some(Action::Select(place))
            }
        },
        _ => None,
    }
}
