//! Bars in parts: how a gate stood, where the time of slow bursts went.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use xsched_common::api::{BlameCause, BlameRow, GateShares};

use super::charts::name;
use crate::format;
use crate::state::{Row, Standing, State};
use crate::theme::Theme;

/// Columns of a process's name before its bar.
const NAME: usize = 28;

/// A bar of `columns` in parts, each as long as its share; what is too short
/// for a column is left to its neighbour.
fn parts(shares: &[(f64, Style, &'static str)], columns: usize) -> Vec<Span<'static>> {
    let mut end = 0.0;
    let mut drawn = 0;
    let mut spans = Vec::new();
    for &(share, style, symbol) in shares {
        end += share.clamp(0.0, 1.0);
        let to = ((end * columns as f64).round() as usize).min(columns);
        spans.push(Span::styled(symbol.repeat(to - drawn.min(to)), style));
        drawn = drawn.max(to);
    }
    spans.push(Span::raw(" ".repeat(columns - drawn)));
    spans
}

/// How the gates of processes stood over the window, those that were held back
/// most first.
pub fn gates(state: &State, columns: usize, rows: usize, theme: &Theme) -> Vec<Line<'static>> {
    let symbols = &theme.symbols;
    let mut of: Vec<(&Row, GateShares)> = state
        .processes
        .shown()
        .filter_map(|row| Some((row, row.process.gate_shares?)))
        .collect();
    let legend = |symbol: &'static str, text: &'static str, style| {
        [
            Span::styled(format!("  {symbol} "), style),
            Span::styled(text, theme.text),
        ]
    };
    let mut title = vec![Span::styled("GATES, shares of the window", theme.title)];
    title.extend(legend(symbols.open, "open", theme.good));
    title.extend(legend(symbols.capped, "capped", theme.warn));
    title.extend(legend(symbols.closed, "closed", theme.dim));
    let mut lines = vec![Line::from(title)];
    if of.is_empty() {
        let text = "no gate was decided about yet";
        lines.push(Line::styled(text, theme.dim));
        return lines;
    }
    of.sort_by(|a, b| b.1.closed_ratio.total_cmp(&a.1.closed_ratio));
    let bar = columns.saturating_sub(NAME + 1 + 19);
    for (row, shares) in of.into_iter().take(rows.saturating_sub(1)) {
        let mut spans = name(row, NAME, theme);
        spans.push(Span::raw(" "));
        spans.extend(parts(
            &[
                (shares.open_ratio, theme.good, symbols.open),
                (shares.capped_ratio, theme.warn, symbols.capped),
                (shares.closed_ratio, theme.dim, symbols.closed),
            ],
            bar,
        ));
        for (share, style) in [
            (shares.open_ratio, theme.good),
            (shares.capped_ratio, theme.warn),
            (shares.closed_ratio, theme.dim),
        ] {
            spans.push(Span::styled(format!("{:>6}", format::share(share)), style));
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn cause_style(cause: BlameCause, theme: &Theme) -> (Style, &'static str) {
    match cause {
        BlameCause::OwnWork => (theme.text, "o"),
        BlameCause::GateWait => (theme.warn, "g"),
        BlameCause::InFlight => (theme.accent, "f"),
        BlameCause::Peer => (theme.key, "p"),
        BlameCause::PastGate => (theme.bad, "U"),
        BlameCause::HostGaps => (theme.good, "h"),
        BlameCause::ServiceCpu => (theme.strong, "c"),
        BlameCause::AgentHeldUp => (theme.bad, "a"),
    }
}

/// Where the time of a process's slow bursts went, as a bar and its parts.
pub fn blame(blame: &BlameRow, columns: usize, theme: &Theme) -> Vec<Span<'static>> {
    let open = theme.symbols.open;
    let symbol = |letter| match theme.has_colours {
        true => open,
        false => letter,
    };
    let shares: Vec<(f64, Style, &'static str)> = blame
        .parts
        .iter()
        .filter_map(|part| {
            let (style, letter) = cause_style(part.cause, theme);
            Some((blame.share(part.time_ns)?, style, symbol(letter)))
        })
        .collect();
    parts(&shares, columns)
}

/// The same for every process that has an account, and else why processes fare
/// as they do: the worst first.
pub fn why(state: &State, columns: usize, rows: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut title = vec![Span::styled("WHY", theme.title)];
    let mut of: Vec<&Row> = state
        .processes
        .shown()
        .filter(|row| !row.verdict.why.is_empty())
        .collect();
    of.sort_by_key(|row| std::cmp::Reverse(row.verdict.standing));
    let has_account = |row: &&Row| row.process.blame.as_ref().is_some_and(|b| b.loss_ns.0 > 0);
    let (accounts, others): (Vec<&Row>, Vec<&Row>) = of.into_iter().partition(has_account);
    if !accounts.is_empty() {
        title.push(Span::styled(
            "  where the time of slow bursts went",
            theme.dim,
        ));
    }
    let mut lines = vec![Line::from(title)];
    let room = columns.saturating_sub(NAME + 1);
    for row in accounts.into_iter().take(rows) {
        let Some(account) = &row.process.blame else {
            continue;
        };
        let mut spans = name(row, NAME, theme);
        spans.push(Span::raw(" "));
        spans.extend(blame(account, room, theme));
        lines.push(Line::from(spans));
        let summary = crate::text::clean(&account.summary).into_owned();
        let text = crate::text::wrap(&summary, room, theme.symbols.cut);
        lines.extend(text.into_iter().take(2).map(|text| {
            Line::from(vec![
                Span::raw(" ".repeat(NAME + 1)),
                Span::styled(text, theme.dim),
            ])
        }));
    }
    for row in others.into_iter().take(rows) {
        let style = match row.verdict.standing {
            Standing::Fine => theme.dim,
            Standing::Missed | Standing::Unscheduled => theme.bad,
            Standing::Bypassing | Standing::Held => theme.text,
        };
        let text = crate::text::wrap(&row.verdict.why, room, theme.symbols.cut);
        for (n, text) in text.into_iter().enumerate() {
            let mut spans = match n {
                0 => name(row, NAME, theme),
                _ => vec![Span::raw(" ".repeat(NAME))],
            };
            spans.push(Span::styled(format!(" {text}"), style));
            lines.push(Line::from(spans));
        }
    }
    lines.truncate(rows);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_long_as_their_shares_and_fill_no_more() {
        let style = Style::new();
        let text = |shares: &[(f64, Style, &'static str)]| -> String {
            let spans = parts(shares, 10);
            spans.iter().map(|span| span.content.as_ref()).collect()
        };
        let shares = [(0.5, style, "o"), (0.3, style, "c"), (0.2, style, "x")];
        assert_eq!(text(&shares), "oooooccCxx".replace('C', "c"));
        assert_eq!(text(&[(0.25, style, "o")]), "ooo       ");
        let hostile = [
            (7.0, style, "o"),
            (-3.0, style, "c"),
            (f64::NAN, style, "x"),
        ];
        assert_eq!(text(&hostile), "oooooooooo");
    }
}
