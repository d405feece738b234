//! The bottom: what is being typed or was just done, and the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::put;
use crate::action::Action;
use crate::input::{KeyContext, Keymap};
use crate::replay::{Motion, Position};
use crate::state::{Flow, Mode, Notice, State, Tone};
use crate::text::{clean, fit, width};
use crate::theme::Theme;

/// The filter line or the notice.
pub fn draw_prompt(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let columns: usize = area.width.into();
    let line = match (&state.mode, &state.notice) {
        (Mode::Filter(filter), _) => {
            let mut spans = vec![
                Span::styled("filter: ", theme.key),
                Span::styled(clean(&filter.text), theme.text),
                Span::styled(theme.symbols.cursor, theme.key),
            ];
            if let Some(error) = &filter.error {
                spans.push(Span::styled(format!("  {error}"), theme.bad));
            }
            Line::from(spans)
        }
        (_, Some(Notice { text, tone, .. })) => {
            let style = match tone {
                Tone::Good => theme.good,
                Tone::Bad => theme.bad,
            };
            let text = clean(text).into_owned();
            Line::styled(fit(&text, columns, theme.symbols.cut).into_owned(), style)
        }
        _ => return,
    };
    put(buffer, area, 0, &line);
}

fn is_still(position: Position) -> bool {
    position.motion != Motion::Playing
}

/// The keys that do something now, as many as fit.
pub fn draw_keys(buffer: &mut Buffer, area: Rect, state: &State, keys: &Keymap, theme: &Theme) {
    let mut room: usize = area.width.into();
    let mut spans = Vec::new();
    for binding in keys.bindings(KeyContext::of(state)) {
        let (Some(word), [key, ..]) = (binding.footer, &binding.keys[..]) else {
            continue;
        };
        if !state.can(binding.action) {
            continue;
        }
        let word = match (binding.action, &state.flow) {
            (Action::Pause, Flow::Paused(_)) => "resume",
            (Action::Pause, Flow::Live) if state.replay.is_some_and(is_still) => "play",
            _ => word,
        };
        let key = key.to_string();
        let Some(rest) = room.checked_sub(width(&key) + width(word) + 3) else {
            continue;
        };
        room = rest;
        spans.push(Span::styled(key, theme.key));
        spans.push(Span::styled(format!(" {word}  "), theme.dim));
    }
    put(buffer, area, 0, &Line::from(spans));
}
