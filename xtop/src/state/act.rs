//! What each action does.

use xsched_common::units::Class;

use super::mode::{lowered, raised};
use super::{
    Access, ClassChange, Column, Detail, Effect, Filter, FilterLine, Flow, Link, Mode, Sort, State,
    Step, Tone,
};
use crate::input::Action;
use crate::layout::Layout;
use crate::view;

impl State {
    /// Whether `action` would do something now: the footer shows only these.
    pub fn can(&self, action: Action) -> bool {
        match action {
            Action::ChooseClass | Action::SetClass(_) | Action::RaiseClass | Action::LowerClass => {
                self.settings.access == Access::Full
                    && self.link == Link::Connected
                    && !self.processes.is_empty()
            }
            Action::Step(_) | Action::Page(_) | Action::Detail => !self.processes.is_empty(),
            Action::ScrollDetail(_) => self.detail != Detail::Hidden,
            Action::Back => self.detail != Detail::Hidden || !self.filter_text.is_empty(),
            _ => true,
        }
    }

    /// Carries out `action`.
    pub(super) fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Help => self.mode = Mode::Help(0),
            Action::Agent => self.mode = Mode::Agent(0),
            Action::Step(step) => self.processes.step(step),
            Action::Page(pages) => {
                let rows = Layout::of(self.size, self).rows().max(1);
                self.processes.step(Step::Rows(rows as isize * pages));
            }
            Action::Detail => self.toggle_detail(),
            Action::ScrollDetail(lines) => {
                let last = view::last_line(self);
                if let Detail::Shown(line) = &mut self.detail {
                    *line = line.saturating_add_signed(lines).min(last);
                }
            }
            Action::Back => self.back(),
            Action::Invert => self.processes.set_sort(self.processes.sort().inverted()),
            Action::SortMenu => self.mode = Mode::Sort(self.processes.sort().column),
            Action::SortNext(n) => {
                let column = neighbour(self.processes.sort().column, n);
                self.processes.set_sort(Sort::by(column));
            }
            Action::Pause => self.toggle_pause(),
            Action::Filter => {
                self.mode = Mode::Filter(FilterLine {
                    text: self.filter_text.clone(),
                    before: self.filter_text.clone(),
                    error: None,
                });
            }
            Action::ChooseClass => self.ask_class(|current| current),
            Action::SetClass(class) => self.ask_class(|_| class),
            Action::RaiseClass => self.ask_class(raised),
            Action::LowerClass => self.ask_class(lowered),
            Action::Type(c) => self.edit_filter(|text| text.push(c)),
            Action::Erase => self.edit_filter(|text| {
                text.pop();
            }),
            Action::EraseAll => self.edit_filter(String::clear),
            Action::Scroll(lines) => {
                let last = view::last_line(self);
                if let Mode::Help(line) | Mode::Agent(line) = &mut self.mode {
                    *line = line.saturating_add_signed(lines).min(last);
                }
            }
            Action::MenuStep(n) => {
                if let Mode::Sort(column) = &mut self.mode {
                    *column = neighbour(*column, n);
                }
            }
            Action::Cancel => self.cancel(),
            Action::Accept => return self.accept(),
        }
        Effect::None
    }

    fn toggle_detail(&mut self) {
        self.processes.pin();
        self.detail = match self.detail {
            Detail::Hidden => Detail::Shown(0),
            Detail::Shown(_) => Detail::Hidden,
        };
    }

    /// One step back: first the pane, then the filter, then the selection.
    fn back(&mut self) {
        if self.detail != Detail::Hidden {
            self.detail = Detail::Hidden;
        } else if self.filter_text.is_empty() {
            self.processes.unpin();
        } else {
            self.filter_text.clear();
            self.processes.set_filter(Filter::default());
        }
    }

    fn toggle_pause(&mut self) {
        match std::mem::replace(&mut self.flow, Flow::Paused(None)) {
            Flow::Live => {}
            Flow::Paused(newest) => {
                self.flow = Flow::Live;
                if let Some((snapshot, at)) = newest {
                    self.show(*snapshot, at);
                }
            }
        }
    }

    /// Opens the confirmation with the class that `choose` makes of the
    /// current one; in it, changes the choice.
    fn ask_class(&mut self, choose: impl FnOnce(Class) -> Class) {
        if let Mode::Class(change) = &mut self.mode {
            change.chosen = choose(change.chosen);
            return;
        }
        if self.settings.access == Access::ReadOnly {
            self.notify(Tone::Bad, "read-only: start xtop without --readonly".into());
            return;
        }
        if self.link != Link::Connected {
            self.notify(
                Tone::Bad,
                "not connected: classes cannot be changed now".into(),
            );
            return;
        }
        self.processes.pin();
        if let Some(row) = self.processes.selected() {
            self.mode = Mode::Class(ClassChange {
                target: row.identity(),
                command: row.command.clone(),
                current: row.process.class,
                chosen: choose(row.process.class),
            });
        }
    }

    fn edit_filter(&mut self, edit: impl FnOnce(&mut String)) {
        let Mode::Filter(line) = &mut self.mode else {
            return;
        };
        edit(&mut line.text);
        match line.text.parse() {
            Ok(filter) => {
                line.error = None;
                self.processes.set_filter(filter);
            }
            Err(error) => line.error = Some(error),
        }
    }

    fn cancel(&mut self) {
        if let Mode::Filter(line) = std::mem::replace(&mut self.mode, Mode::Browse) {
            self.processes
                .set_filter(line.before.parse().unwrap_or_default());
        }
    }

    fn accept(&mut self) -> Effect {
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse | Mode::Help(_) | Mode::Agent(_) => {}
            Mode::Sort(column) => self.sort_by_or_invert(column),
            Mode::Filter(line) if line.error.is_some() => self.mode = Mode::Filter(line),
            Mode::Filter(line) => self.filter_text = line.text.trim().to_owned(),
            Mode::Class(change) => return self.change_class(change),
        }
        Effect::None
    }

    fn change_class(&mut self, change: ClassChange) -> Effect {
        let pid = change.target.pid;
        // The request names a pid; by now it may be another process's.
        if self.processes.find(change.target).is_none() {
            self.notify(
                Tone::Bad,
                format!("pid {pid} has exited: nothing was changed"),
            );
            return Effect::None;
        }
        if change.chosen == change.current {
            self.notify(Tone::Good, format!("pid {pid} stays {}", change.current));
            return Effect::None;
        }
        Effect::Set {
            pid,
            class: change.chosen,
        }
    }
}

/// The column `n` places further, round the ends.
fn neighbour(column: Column, n: isize) -> Column {
    let place = Column::ALL.iter().position(|&c| c == column).unwrap_or(0) as isize;
    Column::ALL[(place + n).rem_euclid(Column::ALL.len() as isize) as usize]
}
