//! State, keys and looks together: terminal events in, frames out.

use std::time::Duration;

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};
use ratatui::Frame;

use crate::action::Action;
use crate::input::{KeyContext, Keymap, mouse};
use crate::layout::Layout;
use crate::state::{Effect, Msg, Size, State};
use crate::theme::Theme;
use crate::view::{self, footer, popup};

/// What a user has before them.
#[derive(Debug)]
pub struct Ui {
    /// What is shown.
    pub state: State,
    /// What the keys do.
    pub keys: Keymap,
    /// How it looks.
    pub theme: Theme,
}

impl Ui {
    /// Takes in what happened at `now`, a time since the start.
    pub fn update(&mut self, now: Duration, msg: Msg) -> Effect {
        let scrolls = matches!(
            msg,
            Msg::Act(Action::Scroll(_) | Action::ScrollPane(_) | Action::Page(_))
        );
        if scrolls {
            self.state.extent = view::extent(&self.state, &self.keys);
        }
        let effect = self.state.update(now, msg);
        let rows = Layout::of(self.state.size, &self.state).rows();
        self.state.processes.scroll(rows);
        effect
    }

    /// What a terminal event asks for; none where it asks for nothing.
    pub fn message(&self, event: &Event) -> Option<Msg> {
        match *event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self
                .keys
                .action(KeyContext::of(&self.state), key)
                .map(Msg::Act),
            Event::Mouse(event) => {
                let layout = Layout::of(self.state.size, &self.state);
                let click = event.kind == MouseEventKind::Down(MouseButton::Left);
                if click && event.row == layout.footer.y {
                    let action = footer::action_at(event.column, &self.state, &self.keys);
                    return action.map(Msg::Act);
                }
                if click && self.state.mode.is_popup() {
                    let at = (event.column, event.row).into();
                    let action = popup::action_at(at, &self.state, &self.keys, &self.theme);
                    return action.map(Msg::Act);
                }
                mouse::action(event, &self.state, &layout).map(Msg::Act)
            }
            Event::Resize(width, height) => Some(Msg::Resize(Size { width, height })),
            _ => None,
        }
    }

    /// Takes in a terminal event.
    pub fn event(&mut self, now: Duration, event: &Event) -> Effect {
        match self.message(event) {
            Some(msg) => self.update(now, msg),
            None => self.update(now, Msg::Tick),
        }
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        view::draw(frame, &self.state, &self.keys, &self.theme);
    }
}
