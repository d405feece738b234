//! What the charts show: a device's time by class, a service's latency against
//! its target, how a gate stood, how long bursts took.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use xsched_common::api::DeviceRow;
use xsched_common::units::{Class, Nanos};

use super::plot::{Curve, Plot, Shape, round_up};
use super::table::class_style;
use crate::format;
use crate::state::{DeviceSample, Row, Sample, State};
use crate::text::clean;
use crate::theme::Theme;

/// Snapshots that may be missing within a curve.
const GAP: u32 = 4;

/// The colour of a class in an area.
fn area_style(class: Class, theme: &Theme) -> Style {
    match class {
        Class::Realtime => theme.warn,
        Class::High => theme.accent,
        Class::Normal => theme.good,
        Class::Low => theme.key,
    }
}

fn letter(class: Class) -> char {
    match class {
        Class::Realtime => 'R',
        Class::High => 'H',
        Class::Normal => 'N',
        Class::Low => 'L',
    }
}

fn gap(state: &State) -> f64 {
    (state.settings.interval * GAP).as_secs_f64()
}

/// A legend's entry: a mark in the colour, and the name.
fn entry(mark: &str, name: String, style: Style, theme: &Theme) -> [Span<'static>; 2] {
    [
        Span::styled(format!("  {mark} "), style),
        Span::styled(name, theme.text),
    ]
}

/// The mark of an area: where there are no colours, its letter.
fn mark(letter: char, theme: &Theme) -> String {
    match theme.has_colours {
        true => theme.symbols.open.to_owned(),
        false => letter.to_string(),
    }
}

/// How busy a device was, stacked by class, with what escapes scheduling on
/// top.
pub fn busy(state: &State, device: &DeviceRow, theme: &Theme) -> Plot {
    let points = state.history.device_points(&device.address);
    let mut title = vec![Span::styled(
        format!("BUSY {}", clean(&device.address)),
        theme.title,
    )];
    let unscheduled = |sample: &DeviceSample| f64::from(sample.unscheduled.unwrap_or(0.0));
    let by_class = |sample: &DeviceSample, highest: Class| -> f64 {
        // Each class's share is an estimate of its own: together they are not
        // shown to be more than all.
        let below = &sample.classes[..=highest as usize];
        f64::from(below.iter().sum::<f32>()).min(1.0)
    };
    let all = |sample: &DeviceSample| by_class(sample, Class::Realtime) + unscheduled(sample);
    let mut curves = Vec::new();
    if points.iter().any(|(_, sample)| unscheduled(sample) > 0.0) {
        curves.push(Curve {
            points: points.iter().map(|(t, s)| (*t, all(s).min(1.0))).collect(),
            style: theme.bad,
            shape: Shape::Area,
            letter: 'U',
        });
    }
    for class in Class::ALL.into_iter().rev() {
        let has = |(_, sample): &(f64, DeviceSample)| sample.classes[class as usize] > 0.0;
        if !points.iter().any(has) {
            continue;
        }
        let values = points.iter().map(|(t, s)| (*t, by_class(s, class)));
        curves.push(Curve {
            points: values.collect(),
            style: area_style(class, theme),
            shape: Shape::Area,
            letter: letter(class),
        });
        let row = device.classes.iter().find(|row| row.class == class);
        let share = row.and_then(|row| row.busy_ratio);
        let share = share.map_or(format::UNKNOWN.to_owned(), format::estimate);
        let mark = mark(letter(class), theme);
        title.extend(entry(
            &mark,
            format!("{class} {share}"),
            area_style(class, theme),
            theme,
        ));
    }
    if let Some(row) = &device.unscheduled
        && row.processes > 0
    {
        let share = match (row.busy_ratio, row.launch_ratio) {
            (Some(busy), _) => format::estimate(busy),
            (None, Some(launches)) => format!("{} of launches", format::share(launches)),
            (None, None) => format::UNKNOWN.to_owned(),
        };
        let text = format!("unscheduled {share}");
        title.extend(entry(&mark('U', theme), text, theme.bad, theme));
    }
    if curves.is_empty() {
        // An agent that does not tell classes apart.
        let busy = |(t, s): &(f64, DeviceSample)| Some((*t, f64::from(s.busy?)));
        curves.push(Curve {
            points: points.iter().filter_map(busy).collect(),
            style: theme.accent,
            shape: Shape::Area,
            letter: '#',
        });
    }
    Plot {
        title: Line::from(title),
        curves,
        target: None,
        most: 1.0,
        label: |share| format!("{:.0}%", share * 100.0),
        view: state.view,
        gap: gap(state),
    }
}

/// What the hardware itself says of its use.
pub fn utilization(state: &State, device: &DeviceRow, theme: &Theme) -> Plot {
    let points = state.history.device_points(&device.address);
    let value = |(t, s): &(f64, DeviceSample)| Some((*t, f64::from(s.utilization?)));
    Plot {
        title: Line::styled("UTILIZATION, as the hardware says", theme.title),
        curves: vec![Curve {
            points: points.iter().filter_map(value).collect(),
            style: theme.accent,
            shape: Shape::Area,
            letter: '#',
        }],
        target: None,
        most: 1.0,
        label: |share| format!("{:.0}%", share * 100.0),
        view: state.view,
        gap: gap(state).max(15.0),
    }
}

/// The power that a device takes.
pub fn power(state: &State, device: &DeviceRow, theme: &Theme) -> Plot {
    let points = state.history.device_points(&device.address);
    let value = |(t, s): &(f64, DeviceSample)| Some((*t, f64::from(s.power_w?)));
    let points: Vec<_> = points.iter().filter_map(value).collect();
    let most = points.iter().fold(0.0_f64, |most, point| most.max(point.1));
    Plot {
        title: Line::styled("POWER", theme.title),
        curves: vec![Curve {
            points,
            style: theme.warn,
            shape: Shape::Line,
            letter: '*',
        }],
        target: None,
        most: round_up(most),
        label: |watts| format!("{watts:.0} W"),
        view: state.view,
        gap: gap(state).max(15.0),
    }
}

/// A process's bursts over time: all below the median, the 99th percentile, and
/// the target as a line across.
pub fn latency(state: &State, row: &Row, theme: &Theme) -> Plot {
    let mut points = earlier(state, row);
    points.extend(state.history.process_points(row.identity()));
    let ms = |time: Nanos| time.0 as f64;
    let of = |pick: fn((Nanos, Nanos)) -> Nanos| -> Vec<(f64, f64)> {
        let value = |(t, s): &(f64, Sample)| Some((*t, ms(pick(s.burst?))));
        points.iter().filter_map(value).collect()
    };
    let (p50, p99) = (of(|b| b.0), of(|b| b.1));
    let target = row.process.slo.as_ref().map(|slo| slo.target_p99_ns);
    let (from, to) = state.view.bounds();
    let seen = |(t, _): &&(f64, f64)| (from..=to).contains(t);
    let largest = p99
        .iter()
        .filter(seen)
        .fold(0.0_f64, |most, p| most.max(p.1));
    // The line of the target stays in sight, and what is over it is seen.
    let most = round_up(largest.max(target.map_or(0.0, ms) * 1.25));
    let missed = |p99: f64| target.is_some_and(|target| p99 > ms(target));
    let p99_style = match p99.last().is_some_and(|last| missed(last.1)) {
        true => theme.bad,
        false => theme.accent,
    };
    let name = format!("{} {}", row.process.pid, row.process.command);
    let mut title = vec![Span::styled(
        format!("LATENCY {}", clean(&name)),
        theme.title,
    )];
    let last = |points: &[(f64, f64)]| match points.last() {
        Some((_, ns)) => Nanos(*ns as u64).to_string(),
        None => format::UNKNOWN.to_owned(),
    };
    let (p50_style, line) = (theme.border, "*");
    title.extend(entry(
        &mark(':', theme),
        format!("P50 {}", last(&p50)),
        p50_style,
        theme,
    ));
    title.extend(entry(line, format!("P99 {}", last(&p99)), p99_style, theme));
    if let Some(target) = target {
        let text = format!("target {}", format::span(target));
        title.extend(entry("=", text, theme.bad, theme));
    }
    Plot {
        title: Line::from(title),
        curves: vec![
            Curve {
                points: p50,
                style: p50_style,
                shape: Shape::Area,
                letter: ':',
            },
            Curve {
                points: p99,
                style: p99_style,
                shape: Shape::Line,
                letter: '*',
            },
        ],
        target: target.map(ms),
        most,
        label: |ns| Nanos(ns as u64).to_string(),
        view: state.view,
        gap: gap(state),
    }
}

/// What the agent remembers of a process from before xtop's start.
fn earlier(state: &State, row: &Row) -> Vec<(f64, Sample)> {
    let Some(past) = state.past.done(row.identity()) else {
        return Vec::new();
    };
    let own = state.history.process_points(row.identity());
    let first = own.first().map_or(0.0, |point| point.0);
    state
        .history
        .past_points(past)
        .into_iter()
        .filter(|(t, _)| *t < first)
        .collect()
}

/// Launches of a process over time.
pub fn launches(state: &State, row: &Row, theme: &Theme) -> Plot {
    let mut points = earlier(state, row);
    points.extend(state.history.process_points(row.identity()));
    let points: Vec<(f64, f64)> = points
        .iter()
        .map(|(t, s)| (*t, f64::from(s.launches_per_s)))
        .collect();
    let most = points.iter().fold(0.0_f64, |most, point| most.max(point.1));
    Plot {
        title: Line::styled("LAUNCHES per second", theme.title),
        curves: vec![Curve {
            points,
            style: theme.good,
            shape: Shape::Line,
            letter: '*',
        }],
        target: None,
        most: round_up(most),
        label: format::rate,
        view: state.view,
        gap: gap(state),
    }
}

/// A gate's time shares over the view, as areas: closed on top of capped.
pub fn gate(state: &State, row: &Row, theme: &Theme) -> Option<Plot> {
    let points = state.history.process_points(row.identity());
    let shares: Vec<(f64, [f32; 3])> = points
        .iter()
        .filter_map(|(t, s)| Some((*t, s.gate_shares?)))
        .collect();
    let area = |from: usize, style, letter| Curve {
        points: shares
            .iter()
            .map(|(t, s)| (*t, f64::from(s[from..].iter().sum::<f32>())))
            .collect(),
        style,
        shape: Shape::Area,
        letter,
    };
    let now = shares.last()?.1;
    let mut title = vec![Span::styled("GATE, shares of time", theme.title)];
    let parts = [
        ("open", now[0], theme.good, 'o'),
        ("capped", now[1], theme.warn, 'c'),
        ("closed", now[2], theme.key, 'x'),
    ];
    for (name, share, style, letter) in parts {
        let text = format!("{name} {}", format::share(share.into()));
        title.extend(entry(&mark(letter, theme), text, style, theme));
    }
    Some(Plot {
        title: Line::from(title),
        curves: vec![
            area(0, theme.good, 'o'),
            area(1, theme.warn, 'c'),
            area(2, theme.key, 'x'),
        ],
        target: None,
        most: 1.0,
        label: |share| format!("{:.0}%", share * 100.0),
        view: state.view,
        gap: gap(state),
    })
}

/// The name of a process in the colour of its class.
pub fn name(row: &Row, columns: usize, theme: &Theme) -> Vec<Span<'static>> {
    let text = format!("{:>7} {}", row.process.pid, row.command);
    let text = crate::text::fit(&text, columns, theme.symbols.cut);
    let padding = columns.saturating_sub(crate::text::width(&text));
    vec![Span::styled(
        format!("{text}{}", " ".repeat(padding)),
        class_style(row.process.class, theme),
    )]
}
