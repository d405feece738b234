//! The screen of devices: classes, shares, and who was open, capped or closed
//! over time.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use xsched_common::api::{DeviceRow, GateState, HardwareRow};
use xsched_common::units::{Class, Nanos};

use super::chart;
use super::detail::{LABEL, labelled};
use super::page::PageLine;
use super::table::class_style;
use crate::format;
use crate::state::{Answer, History, Identity, Row, Series, State};
use crate::text::{clean, fit, width, wrap_items};
use crate::theme::Theme;

/// Columns before the strips: pid, command, class.
const NAMES: usize = 7 + 1 + 14 + 1 + 8 + 1;

/// The classes, highest first.
const CLASSES: [Class; 4] = [Class::Realtime, Class::High, Class::Normal, Class::Low];

/// The lines of the screen.
pub fn lines<'a>(state: &'a State, area: Rect, theme: &'a Theme) -> Vec<PageLine<'a>> {
    let columns: usize = area.width.into();
    let devices = match &state.seen {
        Some(seen) if !seen.devices.is_empty() => &seen.devices,
        Some(_) => {
            let text = "no joined process uses a device: start one with `xsched-agent run`";
            return vec![Line::styled(text, theme.text).into()];
        }
        None => {
            let text = "nothing heard from the agent yet";
            return vec![Line::styled(text, theme.text).into()];
        }
    };
    let mut lines: Vec<PageLine<'a>> = Vec::new();
    for device in devices {
        if !lines.is_empty() {
            lines.push(Line::default().into());
        }
        let written = heading(device, columns, theme).into_iter();
        let written = written.chain(classes(state, device, columns, theme));
        lines.extend(written.map(PageLine::from));
        lines.push(Line::default().into());
        lines.extend(timeline(state, device, columns, theme));
    }
    lines
}

fn heading(device: &DeviceRow, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let active = match device.top_active {
        Some(class) => format!("{class} has work"),
        None => "idle".to_owned(),
    };
    let joined = format::plural(
        device.clients as usize,
        "joined process",
        "joined processes",
    );
    let busy = match device.busy_ratio {
        Some(ratio) => format!("  {} busy (estimated)", format::estimate(ratio)),
        None => String::new(),
    };
    let (address, mode) = (clean(&device.address), device.mode.name());
    let platform = device.platform.names().title;
    let text = format!("{address}  {platform}  shared by {mode}{busy}  {joined}  {active}");
    let cut = theme.symbols.cut;
    let mut lines = vec![Line::styled(
        fit(&text, columns, cut).into_owned(),
        theme.strong,
    )];
    let hardware: Vec<String> = device.hardware.as_ref().map(hardware).unwrap_or_default();
    if !hardware.is_empty() {
        let text = wrap_items(&hardware, columns.saturating_sub(LABEL));
        let names = std::iter::once("hardware").chain(std::iter::repeat(""));
        lines.extend(
            text.into_iter()
                .zip(names)
                .map(|(text, name)| labelled(name, vec![Span::styled(text, theme.text)], theme)),
        );
    }
    let knobs: Vec<String> = device.knobs.iter().map(knob).collect();
    if !knobs.is_empty() {
        let names = std::iter::once("knobs").chain(std::iter::repeat(""));
        let text = wrap_items(&knobs, columns.saturating_sub(LABEL));
        lines.extend(
            text.into_iter()
                .zip(names)
                .map(|(text, name)| labelled(name, vec![Span::styled(text, theme.text)], theme)),
        );
    }
    lines
}

/// What is known of a device's hardware: `H200`, `87% busy`, `3.0 of 139.8 GiB`.
fn hardware(row: &HardwareRow) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    let memory = match (row.memory_used_bytes, row.memory_bytes) {
        (Some(used), Some(all)) => Some(format!("{} of {} GiB", gib(used), gib(all))),
        (None, Some(all)) => Some(format!("{} GiB", gib(all))),
        (Some(used), None) => Some(format!("{} GiB used", gib(used))),
        (None, None) => None,
    };
    let parts = [
        row.name.as_deref().map(|name| clean(name).into_owned()),
        row.utilization
            .map(|share| format!("{} busy", format::share(share))),
        memory,
        row.clock_hz.map(|hz| format!("{} MHz", hz / 1_000_000)),
        row.power_w.map(|watts| format!("{watts:.0} W")),
    ];
    parts.into_iter().flatten().collect()
}

/// `budget 500 us`, `min share 1%`: names that end with `_ns` are times, those
/// with `_permille` shares.
fn knob((name, value): (&String, &u64)) -> String {
    let name = clean(name);
    let (name, value) = if let Some(name) = name.strip_suffix("_ns") {
        (name, format::span(Nanos(*value)).to_string())
    } else if let Some(name) = name.strip_suffix("_permille") {
        (name, format!("{}%", *value as f64 / 10.0))
    } else {
        (name.as_ref(), value.to_string())
    };
    format!("{} {value}", name.replace('_', " "))
}

fn classes(state: &State, device: &DeviceRow, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let users: Vec<&Row> = state
        .processes
        .all()
        .filter(|row| row.process.gate.is_some())
        .filter(|row| row.process.device.as_ref() == Some(&device.address))
        .collect();
    let all: f64 = users.iter().map(|row| row.process.launches_per_s).sum();
    let mut title = format!(
        "{:<9}{:>6}{:>7}{:>6}{:>7}{:>7}{:>10}{:>7}",
        "CLASS", "PROCS", "ACTIVE", "OPEN", "CAPPED", "CLOSED", "LAUNCH/S", "~BUSY"
    );
    // Of the launches, which says less than the device's time.
    let has_share = columns >= 80;
    if has_share {
        title.push_str("  OF LAUNCHES");
    }
    let mut lines = vec![Line::styled(title, theme.title)];
    for class in CLASSES {
        let of_class: Vec<_> = users
            .iter()
            .filter(|row| row.process.class == class)
            .collect();
        let Some(row) = class_row(device, class, &of_class) else {
            continue;
        };
        let rate: f64 = of_class.iter().map(|r| r.process.launches_per_s).sum();
        let share = match all > 0.0 {
            true => format::share(rate / all),
            false => format::UNKNOWN.to_owned(),
        };
        let unknown = || format::UNKNOWN.to_owned();
        let active = row.active.map_or_else(unknown, |n| n.to_string());
        let busy = row.busy.map_or_else(unknown, format::estimate);
        let rate = format::rate(rate);
        let [clients, open, capped, closed] = row.counts;
        let style = |n: u32, style| if n > 0 { style } else { theme.dim };
        let share = match has_share {
            true => format!("{share:>13}"),
            false => String::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(format!("{:<9}", class.name()), class_style(class, theme)),
            Span::styled(format!("{clients:>6}{active:>7}"), theme.text),
            Span::styled(format!("{open:>6}"), style(open, theme.good)),
            Span::styled(format!("{capped:>7}"), style(capped, theme.warn)),
            Span::styled(format!("{closed:>7}"), style(closed, theme.bad)),
            Span::styled(format!("{rate:>10}{busy:>7}{share}"), theme.text),
        ]));
    }
    lines
}

/// What is known of a class on a device.
struct OfClass {
    /// Clients, and their gates: open, capped, closed.
    counts: [u32; 4],
    active: Option<u32>,
    busy: Option<f64>,
}

/// As the agent says it, else counted from its processes; none without any.
fn class_row(device: &DeviceRow, class: Class, processes: &[&&Row]) -> Option<OfClass> {
    if let Some(row) = device.classes.iter().find(|row| row.class == class) {
        return Some(OfClass {
            counts: [row.clients, row.open, row.capped, row.closed],
            active: Some(row.active),
            busy: row.busy_ratio,
        });
    }
    let gates = |state| {
        let gate = |row: &&&&Row| row.process.gate.as_ref().is_some_and(|g| g.state == state);
        processes.iter().filter(gate).count() as u32
    };
    (!processes.is_empty()).then(|| OfClass {
        counts: [
            processes.len() as u32,
            gates(GateState::Open),
            gates(GateState::Capped),
            gates(GateState::Closed),
        ],
        active: None,
        busy: None,
    })
}

fn timeline<'a>(
    state: &'a State,
    device: &DeviceRow,
    columns: usize,
    theme: &'a Theme,
) -> Vec<PageLine<'a>> {
    let symbols = &theme.symbols;
    let room = columns.saturating_sub(NAMES);
    let history = &state.history;
    let (before, strips) = strips(state, device, room, theme);
    let own = std::time::Duration::from_nanos(history.span(room - before).0);
    let span = format::age(own + state.settings.interval * before as u32);
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
    let users = history.users(&clean(&device.address), room - before);
    let gates = users.into_iter().map(|(identity, series)| {
        PageLine::later(move || gates(history, identity, series, (before, room), theme))
    });
    std::iter::once(Line::from(title))
        .chain(strips)
        .map(PageLine::from)
        .chain(gates)
        .collect()
}

/// A process and its gate over time: in `room` columns, of which the agent
/// remembers nothing for the first `before`.
fn gates(
    history: &History,
    identity: Identity,
    series: &Series,
    (before, room): (usize, usize),
    theme: &Theme,
) -> Line<'static> {
    let samples = history.process(identity, room - before);
    let own = samples.iter().map(|sample| sample.map(|s| s.gate));
    let gates: Vec<_> = std::iter::repeat_n(None, before).chain(own).collect();
    let command = fit(&series.command, 14, theme.symbols.cut);
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
    Line::from(line)
}

/// The device over time: how busy it was and the highest class with work; and
/// how many columns of that are the agent's, from before xtop's start.
fn strips(
    state: &State,
    device: &DeviceRow,
    room: usize,
    theme: &Theme,
) -> (usize, Vec<Line<'static>>) {
    let own = state.history.device(&device.address, room);
    // What the agent remembers is of all devices together.
    let alone = state
        .seen
        .as_ref()
        .is_some_and(|seen| seen.devices.len() == 1);
    let before = match &state.devices_past {
        Some(Answer::Done(past)) if alone => {
            let interval = state.settings.interval;
            let columns = room - own.len();
            state.history.before(past, own.len(), columns, interval)
        }
        _ => Vec::new(),
    };
    let name = |text: String| Span::styled(format!("{text:<NAMES$}"), theme.dim);
    let mut top = vec![name("highest class with work".to_owned())];
    let of_before = before.iter().map(|point| point.map(|p| p.class));
    let of_own = own.iter().map(|sample| sample.map(|s| s.top));
    top.extend(chart::classes(
        &of_before.chain(of_own).collect::<Vec<_>>(),
        theme,
    ));
    let busy_before = before.iter().map(|point| point.and_then(|p| p.busy_ratio));
    let busy_own = own.iter().map(|s| s.and_then(|s| s.busy).map(f64::from));
    let busy: Vec<Option<f64>> = busy_before.chain(busy_own).collect();
    let mut lines = Vec::new();
    if busy.iter().any(Option::is_some) {
        let bars = chart::shares(&busy, &theme.symbols);
        lines.push(Line::from(vec![
            name("~busy, from 0 to 100%".to_owned()),
            Span::styled(bars, theme.accent),
        ]));
    }
    lines.push(Line::from(top));
    (before.len(), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_have_the_units_of_their_names() {
        for (name, value, text) in [
            ("budget_ns", 500_000, "budget 500 us"),
            ("min_share_permille", 10, "min share 1%"),
            ("min_share_permille", 15, "min share 1.5%"),
            ("cap", 4, "cap 4"),
        ] {
            assert_eq!(knob((&name.to_owned(), &value)), text);
        }
    }
}
