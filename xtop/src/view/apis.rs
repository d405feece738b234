//! The functions that a process called, by kind of stream.

use ratatui::text::{Line, Span};
use xsched_common::api::{ApiRow, ProcessRow, ShimState};
use xsched_common::units::StreamClass;

use crate::format;
use crate::text::{clean, fit, width};
use crate::theme::Theme;

/// Kinds of streams with their titles.
const STREAMS: [(StreamClass, &str); 4] = [
    (StreamClass::Created, "CREATED"),
    (StreamClass::Null, "NULL"),
    (StreamClass::Legacy, "LEGACY"),
    (StreamClass::PerThread, "PERTHRD"),
];

/// Columns of a number.
const NUMBER: usize = 10;

/// The table, busiest function first.
pub fn lines(process: &ProcessRow, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let apis = &process.apis;
    let name_width = columns.saturating_sub(STREAMS.len() * NUMBER + 1).min(40);
    let mut title = format!("{:<name_width$}", "CALLS BY STREAM");
    for (_, name) in STREAMS {
        title.push_str(&format!("{name:>NUMBER$}"));
    }
    let mut lines = vec![Line::styled(title, theme.title)];
    if apis.is_empty() {
        let text = match process.shim {
            ShimState::Joined => "not observed: a joined process carries no probes",
            _ => "none observed",
        };
        lines.push(Line::styled(
            fit(text, columns, theme.symbols.cut).into_owned(),
            theme.dim,
        ));
    }
    for (api, calls) in by_function(apis) {
        let api = clean(api);
        let api = fit(&api, name_width, theme.symbols.cut);
        let padding = " ".repeat(name_width - width(&api));
        let mut spans = vec![Span::styled(format!("{api}{padding}"), theme.text)];
        for ((stream, _), calls) in STREAMS.into_iter().zip(calls) {
            let style = match (calls, stream.is_default()) {
                (0, _) => theme.dim,
                // Serialises with every blocking stream of the process.
                (_, true) => theme.warn,
                (_, false) => theme.text,
            };
            let text = format::count(calls);
            spans.push(Span::styled(format!("{text:>NUMBER$}"), style));
        }
        lines.push(Line::from(spans));
    }
    lines
}

/// Calls of each function by stream, in the order of [`STREAMS`].
fn by_function(apis: &[ApiRow]) -> Vec<(&str, [u64; 4])> {
    let mut functions: Vec<(&str, [u64; 4])> = Vec::new();
    for ApiRow { api, stream, calls } in apis {
        let place = STREAMS.iter().position(|(s, _)| s == stream).unwrap_or(0);
        let index = match functions.iter().position(|(name, _)| name == api) {
            Some(index) => index,
            None => {
                functions.push((api, [0; 4]));
                functions.len() - 1
            }
        };
        let count = &mut functions[index].1[place];
        *count = count.saturating_add(*calls);
    }
    functions.sort_by_key(|(_, calls)| {
        std::cmp::Reverse(calls.iter().fold(0_u64, |sum, n| sum.saturating_add(*n)))
    });
    functions
}
