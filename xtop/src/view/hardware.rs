//! What devices and the kernel's drivers say of themselves, and of processes.
//! What cannot be read is `-`.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row as TableRow, Table, Widget};
use xsched_common::api::{DeviceRow, HardwareRow, ProcessHardware};

use super::plot::lines_of;
use super::{charts, table::class_style};
use crate::format;
use crate::state::{Row, State};
use crate::text::{clean, fit, wrap};
use crate::theme::Theme;

/// Lines of a chart.
const CHART: u16 = 9;

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
    let rows = devices
        .iter()
        .map(|device| device_row(device, theme))
        .collect();
    let titles = [
        "DEVICE", "MODEL", "UTIL", "MEMORY", "POWER", "TEMP", "CLOCK", "QUEUES",
    ];
    let widths = [12, 18, 5, 14, 6, 4, 8, 6];
    let mut lines = table(&titles, rows, &widths, columns, theme);
    if devices.iter().all(|device| device.hardware.is_none()) {
        let text = "neither a management library nor a driver tells of these devices";
        lines.push(Line::styled(text, theme.dim));
    }
    for device in devices {
        let history = state.history.device_points(&device.address);
        if history
            .iter()
            .any(|(_, sample)| sample.utilization.is_some())
        {
            lines.push(Line::default());
            let left = charts::utilization(state, device, theme);
            let right = charts::power(state, device, theme);
            lines.extend(beside(columns, |columns| {
                [
                    left.lines(columns, CHART, theme),
                    right.lines(columns, CHART, theme),
                ]
            }));
        }
    }
    lines.push(Line::default());
    // Of a thousand processes, only those on screen are written out.
    let before = lines.len() + 1;
    let all = state.processes.len();
    let note = wrap(NOTE, columns, theme.symbols.cut);
    let room = usize::from(area.height);
    let total = before + all + note.len();
    let first = usize::from(state.scroll).min(total.saturating_sub(room));
    let skipped = first.saturating_sub(before).min(all);
    let shown = room.min(all - skipped);
    let mut rows = processes(state, skipped, shown, columns, theme).into_iter();
    lines.extend(rows.next());
    lines.extend(vec![Line::default(); skipped]);
    lines.extend(rows);
    lines.extend(vec![Line::default(); all - skipped - shown]);
    lines.extend(note.into_iter().map(|line| Line::styled(line, theme.dim)));
    lines
}

/// What the titles of the processes mean.
const NOTE: &str = "CUS NOW: compute units occupied at the moment of reading, a snapshot; EVICTED: \
                    time off the device since the process's start";

/// Two pages beside each other where there is room, else one above the other.
fn beside(
    columns: usize,
    draw: impl FnOnce(usize) -> [Vec<Line<'static>>; 2],
) -> Vec<Line<'static>> {
    const LEAST: usize = 100;
    if columns < LEAST {
        let [mut first, second] = draw(columns);
        first.extend(second);
        return first;
    }
    let half = columns / 2 - 1;
    let [left, right] = draw(half);
    let pairs = left.into_iter().zip(right);
    pairs
        .map(|(mut left, right)| {
            let gap = (half + 2).saturating_sub(left.width());
            left.spans.push(Span::raw(" ".repeat(gap)));
            left.spans.extend(right.spans);
            left
        })
        .collect()
}

fn unknown() -> String {
    format::UNKNOWN.to_owned()
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}

fn device_row(device: &DeviceRow, theme: &Theme) -> Vec<Written> {
    let row = device.hardware.clone().unwrap_or_default();
    let HardwareRow {
        name,
        utilization,
        memory_bytes,
        memory_used_bytes,
        clock_hz,
        power_w,
        temperature_c,
        queues,
        queues_used,
    } = row;
    let queues = match (queues_used, queues) {
        (Some(used), Some(most)) => format!("{used}/{most}"),
        (None, Some(most)) => format!("-/{most}"),
        (Some(used), None) => used.to_string(),
        (None, None) => unknown(),
    };
    let memory = match (memory_used_bytes, memory_bytes) {
        (Some(used), Some(all)) => format!("{}/{} GiB", gib(used), gib(all)),
        (None, Some(all)) => format!("-/{} GiB", gib(all)),
        (Some(used), None) => format!("{} GiB", gib(used)),
        (None, None) => unknown(),
    };
    let cells = [
        clean(&device.address).into_owned(),
        name.map_or_else(unknown, |name| clean(&name).into_owned()),
        utilization.map_or_else(unknown, format::share),
        memory,
        power_w.map_or_else(unknown, |watts| format!("{watts:.0} W")),
        temperature_c.map_or_else(unknown, |celsius| format!("{celsius:.0} C")),
        clock_hz.map_or_else(unknown, |hz| format!("{} MHz", hz / 1_000_000)),
        queues,
    ];
    cells.map(|text| styled(text, theme)).to_vec()
}

/// A cell's text and its look.
type Written = (String, Style);

fn styled(text: String, theme: &Theme) -> Written {
    let style = match text == format::UNKNOWN {
        true => theme.dim,
        false => theme.text,
    };
    (text, style)
}

/// Titles, and so many processes from `skipped` on.
fn processes(
    state: &State,
    skipped: usize,
    shown: usize,
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let row = |row: &Row| {
        let used = row.process.hardware.unwrap_or_default();
        let ProcessHardware {
            memory_bytes,
            compute_units,
            evicted_ns,
            queues,
        } = used;
        let cells = [
            memory_bytes.map_or_else(unknown, |bytes| format!("{} GiB", gib(bytes))),
            compute_units.map_or_else(unknown, |n| n.to_string()),
            evicted_ns.map_or_else(unknown, |time| time.to_string()),
            queues.map_or_else(unknown, |n| n.to_string()),
            row.process
                .busy_ratio
                .map_or_else(unknown, format::estimate),
            row.device.clone().unwrap_or_else(unknown),
        ];
        let name = (row.command.clone(), class_style(row.process.class, theme));
        let pid = (format!("{:>7}", row.process.pid), theme.text);
        let cells = cells.map(|text| styled(text, theme));
        [pid, name].into_iter().chain(cells).collect()
    };
    let rows: Vec<_> = state
        .processes
        .shown()
        .skip(skipped)
        .take(shown)
        .map(row)
        .collect();
    let titles = [
        "    PID", "COMMAND", "MEMORY", "CUS NOW", "EVICTED", "QUEUES", "~BUSY", "DEVICE",
    ];
    let widths = [7, 20, 10, 8, 9, 7, 7, 14];
    table(&titles, rows, &widths, columns, theme)
}

/// A table as lines of a page; its second column takes the room that is left.
/// Where there is little, columns that say nothing are left out.
fn table(
    titles: &[&'static str],
    rows: Vec<Vec<Written>>,
    widths: &[u16],
    columns: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    const ENOUGH: usize = 100;
    let says_something = |place: &usize| {
        let cell = |row: &Vec<Written>| row.get(*place).is_some_and(|c| c.0 != format::UNKNOWN);
        columns >= ENOUGH || *place < 2 || rows.iter().any(cell)
    };
    let places: Vec<usize> = (0..titles.len()).filter(says_something).collect();
    let others = places.iter().filter(|place| **place != 1);
    let others: usize = others.map(|place| usize::from(widths[*place]) + 1).sum();
    let room = columns
        .saturating_sub(others)
        .max(usize::from(widths[1]) / 2);
    let height = u16::try_from(rows.len() + 1).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, columns as u16, height);
    let mut buffer = Buffer::empty(area);
    let constraints = places.iter().map(|place| match place {
        1 => Constraint::Length(room as u16),
        place => Constraint::Length(widths[*place]),
    });
    let cell = |row: &Vec<Written>, place: usize| {
        let (text, style) = &row[place];
        let text = match place {
            1 => fit(text, room, theme.symbols.cut).into_owned(),
            _ => text.clone(),
        };
        Cell::from(text).style(*style)
    };
    let header = places.iter().map(|place| titles[*place]);
    let header = TableRow::new(header).style(theme.title);
    let rows = rows
        .iter()
        .map(|row| TableRow::new(places.iter().map(|place| cell(row, *place))));
    Table::new(rows, constraints.collect::<Vec<_>>())
        .header(header)
        .column_spacing(1)
        .render(area, &mut buffer);
    lines_of(&buffer)
}
