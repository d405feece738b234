//! The screen of devices: classes, shares, and who was open, capped or closed
//! over time.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use xsched_common::api::{DeviceRow, GateState};
use xsched_common::units::Class;

use super::chart;
use super::table::class_style;
use crate::format;
use crate::state::{Row, State};
use crate::text::{clean, fit, width};
use crate::theme::Theme;

/// Columns before the strips: pid, command, class.
const NAMES: usize = 7 + 1 + 14 + 1 + 8 + 1;

/// The classes, highest first.
const CLASSES: [Class; 4] = [Class::Realtime, Class::High, Class::Normal, Class::Low];

/// The lines of the screen.
pub fn lines(state: &State, area: Rect, theme: &Theme) -> Vec<Line<'static>> {
    let columns: usize = area.width.into();
    let devices = match &state.seen {
        Some(seen) if !seen.devices.is_empty() => &seen.devices,
        Some(_) => {
            let text = "no joined process uses a device: start one with `xsched-agent run`";
            return vec![Line::styled(text, theme.text)];
        }
        None => return vec![Line::styled("nothing heard from the agent yet", theme.text)],
    };
    let mut lines = Vec::new();
    for device in devices {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(heading(device, columns, theme));
        lines.extend(classes(state, device, theme));
        lines.push(Line::default());
        lines.extend(timeline(state, device, columns, theme));
    }
    lines
}

fn heading(device: &DeviceRow, columns: usize, theme: &Theme) -> Line<'static> {
    let active = match device.top_active {
        Some(class) => format!("{class} has work"),
        None => "idle".to_owned(),
    };
    let joined = format::plural(
        device.clients as usize,
        "joined process",
        "joined processes",
    );
    let (address, policy) = (clean(&device.address), device.mode.name());
    let text = format!("{address}  policy {policy}  {joined}  {active}");
    Line::styled(
        fit(&text, columns, theme.symbols.cut).into_owned(),
        theme.strong,
    )
}

fn classes(state: &State, device: &DeviceRow, theme: &Theme) -> Vec<Line<'static>> {
    let users: Vec<&Row> = state
        .processes
        .all()
        .filter(|row| row.process.gate.is_some())
        .filter(|row| row.process.device.as_ref() == Some(&device.address))
        .collect();
    let all: f64 = users.iter().map(|row| row.process.launches_per_s).sum();
    let title = format!(
        "{:<9}{:>9}{:>7}{:>8}{:>8}{:>11}{:>8}",
        "CLASS", "PROCESSES", "OPEN", "CAPPED", "CLOSED", "LAUNCH/S", "SHARE"
    );
    let mut lines = vec![Line::styled(title, theme.title)];
    for class in CLASSES {
        let of_class = || users.iter().filter(|row| row.process.class == class);
        let count = of_class().count();
        if count == 0 {
            continue;
        }
        let gates = |state| {
            let gate = |row: &&&Row| row.process.gate.as_ref().is_some_and(|g| g.state == state);
            of_class().filter(gate).count()
        };
        let rate: f64 = of_class().map(|row| row.process.launches_per_s).sum();
        let share = match all > 0.0 {
            true => format::share(rate / all),
            false => format::UNKNOWN.to_owned(),
        };
        let (open, capped, closed) = (
            gates(GateState::Open),
            gates(GateState::Capped),
            gates(GateState::Closed),
        );
        let rest = format!(
            "{count:>9}{open:>7}{capped:>8}{closed:>8}{:>11}{share:>8}",
            format::rate(rate)
        );
        lines.push(Line::from(vec![
            Span::styled(format!("{:<9}", class.name()), class_style(class, theme)),
            Span::styled(rest, theme.text),
        ]));
    }
    lines
}

fn timeline(
    state: &State,
    device: &DeviceRow,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let symbols = &theme.symbols;
    let room = columns.saturating_sub(NAMES);
    let history = &state.history;
    let span = format::age(std::time::Duration::from_nanos(history.span(room).0));
    let legend = |symbol: &'static str, name: &'static str, style| {
        [
            Span::styled(symbol, style),
            Span::styled(format!(" {name}  "), theme.dim),
        ]
    };
    let mut title = vec![Span::styled(
        format!("{:<NAMES$}", format!("LAST {span}")),
        theme.title,
    )];
    title.extend(legend(symbols.open, "open", theme.good));
    title.extend(legend(symbols.capped, "capped", theme.warn));
    title.extend(legend(symbols.closed, "closed", theme.bad));
    let mut lines = vec![Line::from(title)];

    let mut top = vec![Span::styled(
        format!("{:<NAMES$}", "highest class with work"),
        theme.dim,
    )];
    top.extend(chart::classes(
        &history.device(&device.address, room),
        theme,
    ));
    lines.push(Line::from(top));
    for (identity, series) in history.users(&clean(&device.address)) {
        let samples = history.process(identity, room);
        if samples.iter().all(Option::is_none) {
            // It left before the time that is shown.
            continue;
        }
        let gates: Vec<_> = samples.iter().map(|s| s.map(|s| s.gate)).collect();
        let command = fit(&series.command, 14, symbols.cut);
        let padding = " ".repeat(14 - width(&command));
        let mut line = vec![
            Span::styled(format!("{:>7} ", identity.pid), theme.text),
            Span::styled(format!("{command}{padding} "), theme.text),
            Span::styled(
                format!("{:<8} ", series.class.name()),
                class_style(series.class, theme),
            ),
        ];
        line.extend(chart::gates(&gates, theme));
        lines.push(Line::from(line));
    }
    lines
}
