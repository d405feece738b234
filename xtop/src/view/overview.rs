//! The charts above the list: devices, services, gates and reasons at a glance.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout as Split, Rect};
use ratatui::text::Line;

use super::plot::LEAST;
use super::{bars, charts, put};
use crate::state::{Row, State};
use crate::theme::Theme;

/// From this width on, charts stand beside each other.
const BESIDE: u16 = 110;

/// Processes whose latency has a chart: those with a target first, then those
/// of the highest classes.
fn services(state: &State) -> Vec<&Row> {
    let has_bursts = |row: &&Row| row.process.burst.is_some_and(|burst| burst.count > 0);
    let mut rows: Vec<&Row> = state
        .processes
        .shown()
        .filter(|row| row.process.slo.is_some() || has_bursts(row))
        .collect();
    rows.sort_by_key(|row| {
        let process = &row.process;
        (
            process.slo.is_none(),
            std::cmp::Reverse(process.class),
            process.pid,
        )
    });
    rows
}

/// Draws all that fits.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let devices = state.seen.as_ref().map_or(&[][..], |seen| &seen.devices);
    if area.height < LEAST || devices.is_empty() {
        return;
    }
    let gates = state.processes.shown();
    let gates = gates
        .filter(|row| row.process.gate_shares.is_some())
        .count() as u16;
    let is_wide = area.width >= BESIDE;
    // Bars need a line each, charts a few to say anything.
    let below = match (gates, area.height) {
        (_, ..12) => 0,
        (gates, height) => (gates.max(4) + 1).min(height / 3),
    };
    let [top, bottom] =
        Split::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(area);
    let services = services(state);
    let halves = |area: Rect| -> [Rect; 2] {
        Split::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
            .spacing(2)
            .areas(area)
    };
    let (left, right) = match (is_wide, top.height >= 2 * (LEAST + 2)) {
        (true, _) => {
            let [left, right] = halves(top);
            (left, Some(right))
        }
        (false, true) => {
            let [above, below]: [Rect; 2] =
                Split::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
            (above, Some(below))
        }
        (false, false) => (top, None),
    };
    for (device, part) in devices.iter().zip(split(left, devices.len())) {
        charts::busy(state, device, theme).draw(buffer, part, theme);
    }
    if let Some(right) = right {
        for (row, part) in services.iter().zip(split(right, services.len())) {
            charts::latency(state, row, theme).draw(buffer, part, theme);
        }
    }
    if below == 0 {
        return;
    }
    let (left, right) = match is_wide {
        true => {
            let [left, right] = halves(bottom);
            (left, Some(right))
        }
        false => (bottom, None),
    };
    lines(
        buffer,
        left,
        &bars::gates(state, left.width.into(), left.height.into(), theme),
    );
    if let Some(right) = right {
        lines(
            buffer,
            right,
            &bars::why(state, right.width.into(), right.height.into(), theme),
        );
    }
}

/// As many parts one above the other as there are things and room.
fn split(area: Rect, things: usize) -> Vec<Rect> {
    let fit = usize::from(area.height / (LEAST + 2)).max(1);
    let n = things.clamp(1, fit);
    Split::vertical(vec![Constraint::Fill(1); n])
        .split(area)
        .to_vec()
}

fn lines(buffer: &mut Buffer, area: Rect, lines: &[Line<'static>]) {
    for (line, y) in lines.iter().zip(0..area.height) {
        put(buffer, area, y, line);
    }
}
