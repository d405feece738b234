//! What each action does.

use super::{Detail, Effect, Filter, FilterLine, Flow, Focus, Mode, Sort, State, TimeView};
use crate::action::{Action, Ask, Screen, Step};
use crate::column::Column;
use crate::replay::Command;

impl State {
    /// Whether `action` would do something now: the footer shows only these.
    pub fn can(&self, action: Action) -> bool {
        match action {
            Action::Ask(Ask::Resume) => {
                let holds = |row: &super::Row| row.process.hold.is_some();
                self.refusal(true).is_none() && self.subject().is_some_and(holds)
            }
            Action::Ask(Ask::Sharing) => {
                let devices = |seen: &super::Seen| !seen.devices.is_empty();
                self.refusal(true).is_none() && self.seen.as_ref().is_some_and(devices)
            }
            Action::Ask(Ask::Signal) => self.signal_refusal().is_none() && self.subject().is_some(),
            Action::NextHost(_) => self.hosts.0.len() > 1,
            Action::Ask(_) => self.refusal(true).is_none() && self.subject().is_some(),
            Action::Diagnose | Action::Explain => {
                self.refusal(false).is_none() && self.subject().is_some()
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
                let rows = self.extent.rows.max(1);
                self.processes.step(Step::Rows(rows as isize * pages));
            }
            Action::Pane => self.toggle_pane(),
            Action::ScrollPane(lines) => {
                let last = self.extent.last_line;
                if let Detail::Shown(line) = &mut self.detail {
                    *line = line.saturating_add_signed(lines).min(last);
                }
            }
            Action::Back => self.back(),
            Action::Invert => self.processes.set_sort(self.processes.sort().inverted()),
            Action::ColumnMenu => self.mode = Mode::Columns(Column::Command),
            Action::Toggle => {
                if let Mode::Columns(column) = self.mode {
                    self.processes.toggle(column);
                }
            }
            Action::Stop => return Effect::Stop,
            Action::NextHost(n) => return Effect::OtherHost(n),
            Action::SortMenu => self.mode = Mode::Sort(self.processes.sort().column),
            Action::SortNext(n) => {
                let column = neighbour(self.processes.sort().column, n);
                self.processes.set_sort(Sort::by(column));
            }
            Action::SortBy(column) => self.sort_by_or_invert(column),
            Action::Select(place) => {
                let step = place as isize - self.processes.cursor() as isize;
                self.processes.step(Step::Rows(step));
            }
            Action::Tree => self.processes.next_arrangement(),
            Action::Pause if self.replay.is_some() => {
                return Effect::Replay(Command::TogglePause);
            }
            Action::Pause => self.toggle_pause(),
            Action::Diagnose => return self.diagnose(),
            Action::Explain => return self.explain(),
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
            Action::Ask(ask) => self.ask(ask),
            Action::Type(_) | Action::Erase | Action::EraseAll => self.edit(action),
            Action::Adjust(_) | Action::Pick(_) | Action::OtherDevice(_) => {
                if let Mode::Ask(question) = &mut self.mode {
                    match action {
                        Action::Adjust(steps) => question.adjust(steps),
                        Action::Pick(n) => question.pick(n),
                        Action::OtherDevice(steps) => question.other_device(steps),
                        _ => {}
                    }
                }
            }
            Action::Zoom(steps) => self.view.zoom(steps),
            Action::Shift(steps) => self.view.shift(steps, self.history.length()),
            Action::ResetTime => self.view = TimeView::default(),
            Action::Scroll(lines) => self.scroll_by(lines),
            Action::MenuStep(n) => {
                if let Mode::Sort(column) | Mode::Columns(column) = &mut self.mode {
                    *column = neighbour(*column, n);
                }
            }
            Action::Choose(chosen) => match &mut self.mode {
                Mode::Sort(column) => {
                    *column = chosen;
                    return self.accept();
                }
                Mode::Columns(column) => {
                    *column = chosen;
                    self.processes.toggle(chosen);
                }
                _ => {}
            },
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
        let last = self.extent.last_line;
        let line = match &mut self.mode {
            Mode::Help(line) | Mode::Agent(line) => line,
            _ => &mut self.scroll,
        };
        *line = line.saturating_add_signed(lines).min(last);
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

    /// Types into the filter or the question.
    fn edit(&mut self, action: Action) {
        if let Mode::Ask(question) = &mut self.mode {
            if let Some(entry) = question.entry_mut() {
                match action {
                    Action::Type(c) => entry.push(c),
                    Action::Erase => entry.pop(),
                    _ => entry.clear(),
                }
            }
            return;
        }
        self.edit_filter(|text| match action {
            Action::Type(c) => text.push(c),
            Action::Erase => {
                text.pop();
            }
            _ => text.clear(),
        });
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
            Mode::Browse | Mode::Help(_) | Mode::Agent(_) | Mode::Columns(_) => {}
            Mode::Sort(column) => self.sort_by_or_invert(column),
            Mode::Filter(line) if line.error.is_some() => self.mode = Mode::Filter(line),
            Mode::Filter(line) => self.filter_text = line.text.trim().to_owned(),
            Mode::Ask(question) => return self.confirm(question),
        }
        Effect::None
    }
}

/// The column `n` places further, round the ends.
fn neighbour(column: Column, n: isize) -> Column {
    let place = Column::ALL.iter().position(|&c| c == column).unwrap_or(0) as isize;
    Column::ALL[(place + n).rem_euclid(Column::ALL.len() as isize) as usize]
}
