//! The pane with the selected process: why it is where it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Widget};
use xsched_common::api::{
    CallerRow, GateState, Latency, Override, ProcessRow, ShimState, TimeSliceRow,
};

use super::put;
use super::table::{class_style, gate_style, slo_style};
use crate::column::Column;
use crate::format;
use crate::state::{Detail, Row, State, slo_name};
use crate::text::{clean, fit, width, wrap, wrap_items};
use crate::theme::Theme;

/// Columns of the labels.
pub(super) const LABEL: usize = 9;

/// Draws the pane, if it is shown.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let (Detail::Shown(first), Some(row)) = (state.detail, state.processes.selected()) else {
        return;
    };
    let columns: usize = area.width.into();
    let title = format!(" {} {} ", row.process.pid, row.command);
    let block = Block::new()
        .borders(Borders::TOP)
        .border_set(theme.symbols.border)
        .border_style(theme.border)
        .title(fit(&title, columns.saturating_sub(2), theme.symbols.cut).into_owned());
    let inner = block.inner(area);
    block.render(area, buffer);

    let lines = lines(row, columns, theme);
    let room = usize::from(inner.height);
    let first = usize::from(first).min(lines.len().saturating_sub(room));
    for (line, y) in lines[first..].iter().zip(0..inner.height) {
        put(buffer, inner, y, line);
    }
    let hidden = lines.len().saturating_sub(first + room);
    if hidden > 0 {
        let text = format!(" {hidden} more: J ");
        let x = area.width.saturating_sub(text.len() as u16 + 1);
        buffer.set_string(area.x + x, area.y, text, theme.key);
    }
}

/// The lines of the selected process on a screen of so many columns.
pub fn lines(row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let process = &row.process;
    let mut lines = standing(row, columns, theme);
    lines.extend(callers(&process.callers, columns, theme));
    lines
}

/// Where the process stands and why.
pub(super) fn standing(row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let process = &row.process;
    let mut lines = facts(row, columns, theme);
    lines.extend(gate(row, columns, theme));
    lines.extend(hold(process, theme));
    lines.extend(slo(row, columns, theme));
    lines.extend(load(process, columns, theme));
    if let Some(hint) = hint(process) {
        lines.extend(paragraph("hint", &hint, columns, theme.warn, theme));
    }
    lines.push(latency("burst", process.burst, theme));
    lines.push(latency("wait", process.gate_wait, theme));
    if let Some(guards) = process.guards {
        let text = format!(
            "passed by trickle {}, stall {}, lease {}",
            guards.trickle, guards.stall, guards.lease
        );
        lines.push(labelled(
            "guards",
            vec![Span::styled(text, theme.text)],
            theme,
        ));
    }
    for group in &row.groups {
        let process = &group.process;
        let device = process
            .busy_ratio
            .map_or(format::UNKNOWN.into(), format::estimate);
        let in_flight = process
            .in_flight
            .map_or(format::UNKNOWN.into(), |n| n.to_string());
        let gate = Column::Gate.value(group);
        let text = format!(
            "{}: gate {}, {in_flight} in flight, {device} of the device",
            group.command,
            gate.text()
        );
        lines.extend(paragraph("group", &text, columns, theme.text, theme));
    }
    lines
}

pub(super) fn labelled(
    name: &'static str,
    mut rest: Vec<Span<'static>>,
    theme: &Theme,
) -> Line<'static> {
    rest.insert(0, Span::styled(format!("{name:<LABEL$}"), theme.title));
    Line::from(rest)
}

fn facts(row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let process = &row.process;
    let shim = match process.shim {
        ShimState::Joined => "joined",
        ShimState::Mapped => "mapped, not joined",
        ShimState::Absent => "absent",
    };
    let weight = match row.weight() {
        Some(weight) => format!("  weight {weight}, from {}", clean(&process.terms_from)),
        None => String::new(),
    };
    let class = Span::styled(process.class.name(), class_style(process.class, theme));
    let room = columns.saturating_sub(LABEL + process.class.name().len());
    let weight = fit(&weight, room, theme.symbols.cut).into_owned();
    let device = row.device.as_deref().unwrap_or(format::UNKNOWN);
    let device = format!("{device}  shim {shim}  user {}", row.user);
    let mut lines = vec![
        labelled(
            "class",
            vec![class, Span::styled(weight, theme.text)],
            theme,
        ),
        labelled("device", vec![Span::styled(device, theme.text)], theme),
    ];
    if let Some(workload) = workload(process) {
        lines.extend(paragraph("workload", &workload, columns, theme.text, theme));
    }
    lines
}

/// Whose work it is in a cluster's terms.
fn workload(process: &ProcessRow) -> Option<String> {
    let name = process.workload()?;
    let of_job = process.job.iter().flat_map(|job| {
        [
            ("partition", &job.partition),
            ("qos", &job.qos),
            ("account", &job.account),
        ]
    });
    let of_pod = process.pod.iter().map(|pod| ("container", &pod.container));
    let known = |(what, value): (&str, &Option<String>)| {
        let value = value.as_deref()?;
        Some(format!(", {what} {value}"))
    };
    let more: String = of_pod.chain(of_job).filter_map(known).collect();
    Some(clean(&(name + &more)).into_owned())
}

fn hold(process: &ProcessRow, theme: &Theme) -> Option<Line<'static>> {
    let hold = process.hold?;
    let left = format::age(std::time::Duration::from_nanos(hold.remaining_ns.0));
    let text = match hold.hold {
        Override::Boosted => format!("boosted above all classes, {left} left (r ends it)"),
        Override::Suspended => format!("suspended, {left} left (r ends it)"),
    };
    Some(labelled(
        "hold",
        vec![Span::styled(text, theme.warn)],
        theme,
    ))
}

fn slo(row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let Some(slo) = &row.process.slo else {
        return Vec::new();
    };
    let target = format::span(slo.target_p99_ns);
    let text = match clean(&slo.reason) {
        reason if reason.is_empty() => format!("P99 within {target}: {}", slo_name(slo.state)),
        reason => format!("P99 within {target}: {}, {reason}", slo_name(slo.state)),
    };
    paragraph("target", &text, columns, slo_style(row, theme), theme)
}

fn gate(row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let Some(gate) = &row.process.gate else {
        let unknown = Span::styled(format::UNKNOWN, theme.dim);
        return vec![labelled("gate", vec![unknown], theme)];
    };
    let state = match (gate.state, gate.cap) {
        (GateState::Open, _) => "open".to_owned(),
        (GateState::Capped, Some(cap)) => format!("capped at {cap}"),
        (GateState::Capped, None) => "capped".to_owned(),
        (GateState::Closed, _) => "closed".to_owned(),
    };
    let text = match clean(&gate.reason) {
        reason if reason.is_empty() => state,
        reason => format!("{state}: {reason}"),
    };
    paragraph("gate", &text, columns, gate_style(row, theme), theme)
}

fn load(process: &ProcessRow, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut numbers = vec![format!(
        "{} launches/s",
        format::rate(process.launches_per_s)
    )];
    if let Some(n) = process.in_flight {
        numbers.push(format!("{n} in flight"));
    }
    if let Some(gate) = &process.gate {
        let threads = format::plural(gate.waiting as usize, "thread", "threads");
        numbers.push(format!("{threads} waiting"));
    }
    if let Some(time) = process.kernel_ns {
        // Others at work stretch what is measured beside them.
        let most = match process.kernel_alone {
            Some(false) => "at most ",
            Some(true) | None => "",
        };
        numbers.push(format!("kernel time {most}{time}"));
    }
    if let Some(ratio) = process.busy_ratio {
        let busy = format::estimate(ratio);
        numbers.push(format!("{busy} of the device (estimated)"));
    }
    for slice in &process.time_slices {
        let TimeSliceRow {
            device,
            slice_ns,
            set_by: _,
            reason,
        } = slice;
        numbers.push(format!("time slice {slice_ns} on {device} ({reason})"));
    }
    let launches = format::count(process.launches);
    numbers.push(format!("{launches} launches in all"));
    if let Some(share) = process.sampling {
        let share = format::share(share);
        numbers.push(format!("counted {share} of the time"));
    }
    let names = std::iter::once("load").chain(std::iter::repeat(""));
    wrap_items(&numbers, columns.saturating_sub(LABEL))
        .into_iter()
        .zip(names)
        .map(|(text, name)| labelled(name, vec![Span::styled(text, theme.text)], theme))
        .collect()
}

/// Text of any length in lines of its own, from whoever wrote it.
pub(super) fn wrapped(
    text: &str,
    columns: usize,
    style: Style,
    theme: &Theme,
) -> Vec<Line<'static>> {
    wrap(&clean(text), columns, theme.symbols.cut)
        .into_iter()
        .map(|line| Line::styled(line, style))
        .collect()
}

/// Text of any length beside its label.
pub(super) fn paragraph(
    name: &'static str,
    text: &str,
    columns: usize,
    style: Style,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    wrap(text, columns.saturating_sub(LABEL), theme.symbols.cut)
        .into_iter()
        .zip(names)
        .map(|(text, name)| labelled(name, vec![Span::styled(text, style)], theme))
        .collect()
}

/// Why the process is not (fully) scheduled and how to find out more.
fn hint(process: &ProcessRow) -> Option<String> {
    let diagnose = format!("`xsched-agent diagnose --pid {}`", process.pid);
    match process.shim {
        ShimState::Absent => Some(format!(
            "not scheduled: start it with `xsched-agent run`, or see {diagnose}"
        )),
        ShimState::Mapped => Some(format!(
            "the shim has not joined: it does at the first launch; if not, see {diagnose}"
        )),
        ShimState::Joined if process.bypass_ratio.is_some_and(|ratio| ratio > 0.0) => Some(
            format!("some launches never reach the gate: see {diagnose}"),
        ),
        ShimState::Joined => None,
    }
}

fn latency(name: &'static str, latency: Option<Latency>, theme: &Theme) -> Line<'static> {
    let (text, style) = match latency {
        None => (format::UNKNOWN.to_owned(), theme.dim),
        Some(Latency { count: 0, .. }) => ("none in the window".to_owned(), theme.dim),
        Some(Latency {
            count,
            p50_ns,
            p99_ns,
            max_ns,
        }) => {
            let count = format::count(count);
            let text = format!("P50 {p50_ns}  P99 {p99_ns}  max {max_ns}  of {count}");
            (text, theme.text)
        }
    };
    labelled(name, vec![Span::styled(text, style)], theme)
}

/// The libraries that launch, and the way their launches take.
pub(super) fn callers(callers: &[CallerRow], columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    const NUMBERS: usize = 4 * 10;
    let name_width = columns.saturating_sub(NUMBERS + 1).min(40);
    let header = format!(
        "{:<name_width$}{:>10}{:>10}{:>10}{:>10}",
        "CALLER", "GATED", "PASSED", "BYPASS", "DEFSTR"
    );
    let mut lines = vec![Line::styled(header, theme.title)];
    if callers.is_empty() {
        lines.push(Line::styled("no launches seen yet", theme.dim));
    }
    for caller in callers {
        let library = clean(&caller.library);
        let library = fit(&library, name_width, theme.symbols.cut);
        let padding = " ".repeat(name_width - width(&library));
        let number =
            |n: u64, style: Style| Span::styled(format!("{:>10}", format::count(n)), style);
        let launches = caller.launches;
        let bypass = if launches.bypass > 0 {
            theme.warn
        } else {
            theme.text
        };
        lines.push(Line::from(vec![
            Span::styled(format!("{library}{padding}"), theme.text),
            number(launches.gated, theme.text),
            number(launches.passthrough, theme.text),
            number(launches.bypass, bypass),
            number(caller.default_stream, theme.text),
        ]));
    }
    lines
}
