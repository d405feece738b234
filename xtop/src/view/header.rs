//! The top lines: the agent, and how far its numbers can be trusted.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use xsched_common::api::API_VERSION;

use super::{Segment, join_segments, put};
use crate::column::Direction;
use crate::format;
use crate::layout::Layout;
use crate::replay::{Motion, Position};
use crate::state::{Arrangement, Flow, Link, Mode, Seen, State, Tone};
use crate::text::{clean, fit};
use crate::theme::Theme;

/// Draws both lines.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let width = area.width.into();
    put(
        buffer,
        area,
        0,
        &join_segments(agent_line(state, theme), width, theme),
    );
    put(
        buffer,
        area,
        1,
        &join_segments(data_line(state, theme), width, theme),
    );
}

/// The names of the screens, the one that is shown marked.
pub fn draw_tabs(buffer: &mut Buffer, layout: &Layout, state: &State, theme: &Theme) {
    draw_hosts(buffer, layout.tabs, state, theme);
    for (screen, name, x) in layout.tab_places() {
        let style = match screen == state.screen {
            true => theme.strong.patch(theme.selected),
            false => theme.dim,
        };
        buffer.set_string(x, layout.tabs.y, name, style);
    }
}

/// All machines that are watched, at the right of the tabs.
fn draw_hosts(buffer: &mut Buffer, tabs: Rect, state: &State, theme: &Theme) {
    let (hosts, here) = &state.hosts;
    let segments = hosts.iter().enumerate().map(|(n, host)| {
        let style = match host.tone {
            Tone::Good => theme.good,
            Tone::Bad => theme.bad,
        };
        let (importance, mark) = match n == *here {
            true => (9, theme.symbols.here),
            false => (5, ""),
        };
        Segment::new(
            importance,
            format!("{mark}{} {}", host.name, host.text),
            style,
        )
    });
    let room = usize::from(tabs.width).saturating_sub(60);
    let line = join_segments(segments.collect(), room, theme);
    let x = tabs.right().saturating_sub(line.width() as u16);
    buffer.set_line(x, tabs.y, &line, tabs.width);
}

/// What the agent warns of, by name, on every screen.
pub fn draw_warnings(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let warnings = state.seen.iter().flat_map(|seen| &seen.agent.warnings);
    let left = warnings.clone().count().saturating_sub(area.height.into());
    for (warning, y) in warnings.zip(0..area.height) {
        let more = match (y + 1 == area.height, left) {
            (true, 1..) => format!(" (and {left} more: a)"),
            _ => String::new(),
        };
        let text = format!("! {}: {}", clean(&warning.code), clean(&warning.text));
        let room = usize::from(area.width).saturating_sub(more.len());
        let text = fit(&text, room, theme.symbols.cut);
        put(
            buffer,
            area,
            y,
            &Line::styled(format!("{text}{more}"), theme.bad),
        );
    }
}

fn replay(position: Position, theme: &Theme) -> Segment {
    let clock = |time: std::time::Duration| {
        let seconds = time.as_secs();
        format!("{}:{:02}", seconds / 60, seconds % 60)
    };
    let speed = match position.speed {
        0 => String::new(),
        n @ 1.. => format!(" x{}", 1u32 << n),
        n => format!(" x1/{}", 1u32 << n.unsigned_abs()),
    };
    let motion = match position.motion {
        Motion::Playing => "",
        Motion::Held => " held",
        Motion::Ended => " ended",
    };
    let (at, length) = (clock(position.at), clock(position.length));
    Segment::new(
        10,
        format!("REPLAY {at} of {length}{speed}{motion}"),
        theme.warn,
    )
}

fn agent_line(state: &State, theme: &Theme) -> Vec<Segment> {
    let mut line = vec![Segment::new(9, "xtop", theme.strong)];
    let dot = theme.symbols.dot;
    if let Some(position) = state.replay {
        line.push(replay(position, theme));
        line.extend(state.seen.iter().flat_map(|seen| honesty(seen, theme)));
        return line;
    }
    line.push(match (&state.link, &state.seen) {
        (Link::Connected, Some(seen)) => {
            let version = clean(&seen.agent.version);
            Segment::new(10, format!("{dot} agent {version}"), theme.good)
        }
        (Link::Lost { retry_at, .. }, _) => {
            let wait = retry_at.saturating_sub(state.now).as_secs_f64().ceil();
            let text = format!("{dot} disconnected, retry in {wait} s");
            Segment::new(10, text, theme.bad)
        }
        _ => Segment::new(10, format!("{dot} connecting"), theme.warn),
    });
    if let Some(age) = state.age() {
        let late = age > state.settings.interval * 3;
        let style = if late { theme.bad } else { theme.dim };
        line.push(Segment::new(
            8,
            format!("data {} old", format::age(age)),
            style,
        ));
    }
    if let Flow::Paused(_) = state.flow {
        line.push(Segment::new(9, "PAUSED", theme.warn));
    }
    if let Some(seen) = &state.seen {
        line.extend(honesty(seen, theme));
    }
    line
}

/// What is missing from the numbers.
fn honesty(seen: &Seen, theme: &Theme) -> Vec<Segment> {
    let agent = &seen.agent;
    let mut line = Vec::new();
    if agent.drops.total > 0 {
        let text = format!("{} dropped", format::count(agent.drops.total));
        line.push(Segment::new(11, text, theme.bad));
    }
    line.push(if agent.bpf.available {
        let text = format!("bpf {} probes", agent.bpf.probes);
        Segment::new(4, text, theme.dim)
    } else {
        Segment::new(7, "bpf off", theme.warn)
    });
    let sampling = format!("sampling {}", format::share(agent.sampling.factor));
    line.push(Segment::new(5, sampling, theme.dim));
    if !agent.limits.is_empty() {
        let text = format!(
            "{} (a)",
            format::plural(agent.limits.len(), "limit", "limits")
        );
        line.push(Segment::new(6, text, theme.warn));
    }
    if agent.drops.total == 0 {
        line.push(Segment::new(3, "0 dropped", theme.dim));
    }
    if seen.api_version > API_VERSION {
        let text = format!("agent's API {} is newer: update xtop", seen.api_version);
        line.push(Segment::new(2, text, theme.warn));
    }
    line
}

fn data_line(state: &State, theme: &Theme) -> Vec<Segment> {
    let processes = &state.processes;
    let Some(seen) = &state.seen else {
        return Vec::new();
    };
    if let Link::Lost { error, .. } = &state.link {
        // The rows below are old; what matters now is why and what to do.
        return vec![Segment::new(10, clean(error), theme.bad)];
    }
    let total = format::plural(processes.total(), "process", "processes");
    let matching = format!("{} of {total} match", processes.len());
    let mut line = vec![match (&state.mode, processes.filter().is_empty()) {
        (_, true) => Segment::new(9, total, theme.text),
        // The filter itself is in the prompt.
        (Mode::Filter(_), false) => Segment::new(9, matching, theme.warn),
        (_, false) => {
            let text = format!("{matching} \"{}\"", clean(&state.filter_text));
            Segment::new(9, text, theme.warn)
        }
    }];
    line.extend(verdicts(state, theme));
    let sort = processes.sort();
    let arrow = match sort.direction {
        Direction::Ascending => theme.symbols.ascending,
        Direction::Descending => theme.symbols.descending,
    };
    let tree = match processes.arrangement() {
        Arrangement::Flat => "",
        Arrangement::Tree => "tree ",
        Arrangement::Units => "units ",
    };
    let text = format!("{tree}by {} {arrow}", sort.column.name());
    line.push(Segment::new(6, text, theme.dim));
    let text = format!("window {}", format::span(seen.window));
    line.push(Segment::new(2, text, theme.dim));
    for device in &seen.devices {
        let active = device
            .top_active
            .map_or("idle".into(), |class| format!("{class} active"));
        let address = clean(&device.address);
        let policy = device.mode.name();
        let busy = device.busy_ratio.map_or(String::new(), |ratio| {
            format!(", {} busy", format::estimate(ratio))
        });
        line.push(Segment::new(
            4,
            format!("{address} {policy}: {active}{busy}"),
            theme.dim,
        ));
    }
    line
}

/// Who is held back, whose target is missed, who escapes: what one looks at
/// first.
fn verdicts(state: &State, theme: &Theme) -> Vec<Segment> {
    let tally = state.processes.tally();
    let mut line = Vec::new();
    let mut add = |importance, n: usize, text: &str, style| {
        if n > 0 {
            line.push(Segment::new(importance, format!("{n} {text}"), style));
        }
    };
    let targets = tally.met + tally.missed;
    match (tally.missed, targets) {
        (0, _) => add(
            8,
            targets,
            if targets == 1 {
                "target met"
            } else {
                "targets met"
            },
            theme.good,
        ),
        (1, 1) => add(8, 1, "target missed", theme.bad),
        (missed, _) => add(
            8,
            missed,
            &format!("of {targets} targets missed"),
            theme.bad,
        ),
    }
    add(8, tally.held, "held back", theme.warn);
    add(7, tally.escaping, "not fully scheduled", theme.warn);
    line
}
