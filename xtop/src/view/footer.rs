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

/// A key in the footer.
struct Place {
    x: u16,
    key: String,
    word: &'static str,
    action: Action,
}

/// The keys that do something now, as many as fit.
fn places(columns: u16, state: &State, keys: &Keymap) -> Vec<Place> {
    let mut x = 0;
    let mut places = Vec::new();
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
        let end = x + (width(&key) + width(word) + 3) as u16;
        if end > columns {
            continue;
        }
        places.push(Place {
            x,
            key,
            word,
            action: binding.action,
        });
        x = end;
    }
    places
}

/// What the key at column `x` of the footer does.
pub fn action_at(x: u16, state: &State, keys: &Keymap) -> Option<Action> {
    let places = places(state.size.width, state, keys);
    let place = places.into_iter().rev().find(|place| place.x <= x)?;
    let end = place.x + (width(&place.key) + 1 + width(place.word)) as u16;
    (x < end).then_some(place.action)
}

/// Draws the keys.
pub fn draw_keys(buffer: &mut Buffer, area: Rect, state: &State, keys: &Keymap, theme: &Theme) {
    let spans = places(area.width, state, keys)
        .into_iter()
        .flat_map(|place| {
            [
                Span::styled(place.key, theme.key),
                Span::styled(format!(" {}  ", place.word), theme.dim),
            ]
        });
    put(buffer, area, 0, &Line::from_iter(spans));
}
