//! The screen of events, newest first.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use xsched_common::api::Severity;

use super::page::PageLine;
use crate::state::{EventKind, Happening, State};
use crate::text::{clean, fit};
use crate::theme::Theme;

/// Columns before the text: time, kind, pid.
const NAMES: usize = 10 + 9 + 9;

/// The lines of the screen.
pub fn lines<'a>(state: &'a State, area: Rect, theme: &'a Theme) -> Vec<PageLine<'a>> {
    if state.events.is_empty() {
        let text = "nothing happened yet";
        return vec![Line::styled(text, theme.text).into()];
    }
    let columns: usize = area.width.into();
    let title = format!("{:<10}{:<9}{:>7}  {}", "UTC", "WHAT", "PID", "");
    let events = state.events.newest_first();
    let events = events.map(|event| PageLine::later(move || line(event, columns, theme)));
    std::iter::once(Line::styled(title, theme.title).into())
        .chain(events)
        .collect()
}

fn line(event: &Happening, columns: usize, theme: &Theme) -> Line<'static> {
    let style = match event.kind {
        EventKind::Seen | EventKind::Exited | EventKind::Left => theme.text,
        EventKind::Joined => theme.good,
        EventKind::Changed | EventKind::Configuration => theme.accent,
        EventKind::Drops | EventKind::Finding(Severity::Error) => theme.bad,
        EventKind::Finding(Severity::Warning)
        | EventKind::Agent
        | EventKind::Refused
        | EventKind::Slo => theme.warn,
        EventKind::Finding(Severity::Info) => theme.text,
    };
    let pid = event.pid.map_or(String::new(), |pid| pid.to_string());
    let text = match &event.actor {
        Some(actor) => format!("{}, by {actor}", event.text),
        None => event.text.clone(),
    };
    let text = clean(&text);
    let text = fit(&text, columns.saturating_sub(NAMES), theme.symbols.cut);
    Line::from(vec![
        Span::styled(
            format!("{:<10}", time_of_day(event.time_unix_ns)),
            theme.dim,
        ),
        Span::styled(format!("{:<9}", event.kind.name()), style),
        Span::styled(format!("{pid:>7}  "), theme.text),
        Span::styled(text.into_owned(), theme.text),
    ])
}

/// `12:03:41`, in UTC: the agent may be on another machine.
fn time_of_day(time_unix_ns: u64) -> String {
    let seconds = time_unix_ns / 1_000_000_000 % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}
