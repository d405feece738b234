//! What each action does.

use xsched_common::units::Class;

use super::mode::{lowered, raised};
use super::{
    Access, ClassChange, Column, Detail, Effect, Examination, Filter, FilterLine, Flow, Focus,
    Link, Mode, Screen, Sort, State, Step, Tone,
};
use crate::input::Action;
use crate::layout::Layout;
use crate::replay::Command;
use crate::view;

impl State {
    /// Whether `action` would do something now: the footer shows only these.
    pub fn can(&self, action: Action) -> bool {
        match action {
            Action::ChooseClass | Action::SetClass(_) | Action::RaiseClass | Action::LowerClass => {
                self.settings.access == Access::Full
                    && self.link == Link::Connected
                    && self.subject().is_some()
            }
            Action::Diagnose => {
                self.settings.access != Access::Recorded
                    && self.link == Link::Connected
                    && self.subject().is_some()
            }
            Action::Seek(_) | Action::Speed(_) => self.replay.is_some(),
            Action::Step(_) | Action::Page(_) | Action::Open | Action::Pane => {
                !self.processes.is_empty()
            }
            Action::ScrollPane(_) => self.detail != Detail::Hidden,
            Action::Back => {
                self.screen != Screen::Processes
                    || self.detail != Detail::Hidden
                    || !self.filter_text.is_empty()
            }
            _ => true,
        }
    }

    /// Carries out `action`.
    pub(super) fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Help => self.mode = Mode::Help(0),
            Action::Agent => self.mode = Mode::Agent(0),
            Action::Show(screen) => self.show_screen(screen),
            Action::NextScreen(n) => self.show_screen(self.screen.neighbour(n)),
            Action::Open => self.show_screen(Screen::Process),
            Action::Step(step) => {
                self.processes.step(step);
                if self.screen == Screen::Process {
                    self.show_screen(Screen::Process);
                }
            }
            Action::Page(pages) => {
                let rows = Layout::of(self.size, self).rows().max(1);
                self.processes.step(Step::Rows(rows as isize * pages));
            }
            Action::Pane => self.toggle_pane(),
            Action::ScrollPane(lines) => {
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
            Action::Tree => self.processes.next_arrangement(),
            Action::Pause if self.replay.is_some() => {
                return Effect::Replay(Command::TogglePause);
            }
            Action::Pause => self.toggle_pause(),
            Action::Diagnose => return self.diagnose(),
            Action::Seek(_) | Action::Speed(_) if self.replay.is_none() => {}
            Action::Seek(seek) => return Effect::Replay(Command::Seek(seek)),
            Action::Speed(steps) => return Effect::Replay(Command::Speed(steps)),
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
            Action::Scroll(lines) => self.scroll_by(lines),
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

    /// Shows a screen from its first line on.
    pub(super) fn show_screen(&mut self, screen: Screen) {
        if screen == Screen::Process {
            self.processes.pin();
            if let Some(row) = self.processes.selected() {
                self.focus = Some(Focus::running(row));
            }
        }
        self.screen = screen;
        self.scroll = 0;
    }

    /// Scrolls the text or the screen.
    pub(super) fn scroll_by(&mut self, lines: i16) {
        let last = view::last_line(self);
        let line = match &mut self.mode {
            Mode::Help(line) | Mode::Agent(line) => line,
            _ => &mut self.scroll,
        };
        *line = line.saturating_add_signed(lines).min(last);
    }

    fn diagnose(&mut self) -> Effect {
        if self.settings.access == Access::Recorded {
            self.notify(Tone::Bad, "a recording cannot be examined".into());
            return Effect::None;
        }
        if self.link != Link::Connected {
            self.notify(
                Tone::Bad,
                "not connected: nothing can be examined now".into(),
            );
            return Effect::None;
        }
        let Some(target) = self.subject().map(|row| row.identity()) else {
            return Effect::None;
        };
        if self.examinations.get(target) == Some(&Examination::Running) {
            return Effect::None;
        }
        self.examinations.set(target, Examination::Running);
        Effect::Diagnose(target)
    }

    fn toggle_pane(&mut self) {
        self.processes.pin();
        self.detail = match self.detail {
            Detail::Hidden => Detail::Shown(0),
            Detail::Shown(_) => Detail::Hidden,
        };
    }

    /// One step back: first the pane, then the filter, then the selection.
    fn back(&mut self) {
        if self.screen != Screen::Processes {
            self.show_screen(Screen::Processes);
        } else if self.detail != Detail::Hidden {
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
        let refusal = match self.settings.access {
            Access::Full => None,
            Access::ReadOnly => Some("read-only: start xtop without --readonly"),
            Access::Recorded => Some("this is a recording: nothing can be changed"),
        };
        if let Some(refusal) = refusal {
            return self.notify(Tone::Bad, refusal.into());
        }
        if self.link != Link::Connected {
            self.notify(
                Tone::Bad,
                "not connected: classes cannot be changed now".into(),
            );
            return;
        }
        self.processes.pin();
        if let Some(row) = self.subject() {
            self.mode = Mode::Class(ClassChange {
                target: row.identity(),
                command: row.command.clone(),
                current: row.process.class,
                chosen: choose(row.process.class),
            });
        } else {
            self.notify(Tone::Bad, "there is no process to change".into());
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
