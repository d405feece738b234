//! The mouse: tabs, titles, rows, the wheel.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::{Mode, Screen, State, Step};
use crate::layout::Layout;

impl State {
    /// Does what the mouse asks for.
    pub(super) fn mouse(&mut self, mouse: MouseEvent) {
        if self.mode != Mode::Browse {
            return;
        }
        let layout = Layout::of(self.size, self);
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && let Some(screen) = layout.tab_at(mouse.column, mouse.row)
        {
            return self.show_screen(screen);
        }
        if self.screen != Screen::Processes {
            match mouse.kind {
                MouseEventKind::ScrollDown => self.scroll_by(3),
                MouseEventKind::ScrollUp => self.scroll_by(-3),
                _ => {}
            }
            return;
        }
        match mouse.kind {
            MouseEventKind::ScrollDown => self.processes.step(Step::Rows(3)),
            MouseEventKind::ScrollUp => self.processes.step(Step::Rows(-3)),
            MouseEventKind::Down(MouseButton::Left) => {
                if let Some(column) = layout.header_at(mouse.column, mouse.row) {
                    self.sort_by_or_invert(column);
                } else if let Some(row) = layout.row_at(mouse.column, mouse.row) {
                    let target = self.processes.offset(layout.rows()) + row;
                    if target < self.processes.len() {
                        let step = target as isize - self.processes.cursor() as isize;
                        self.processes.step(Step::Rows(step));
                    }
                }
            }
            _ => {}
        }
    }
}
