//! The confirmation of a change: what, of which process or device, and what it
//! will do.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use xsched_common::api::{Override, SharingMode};
use xsched_common::units::Class;

use super::popup::{Kind, Popup, PopupLine};
use super::table::class_style;
use crate::action::Action;
use crate::format;
use crate::state::{AttrQuestion, Entry, NothingToDo, Question, SignalName};
use crate::text::{clean, fit, width};
use crate::theme::Theme;

/// Columns of the box, where the screen is wide enough.
const WIDTH: u16 = 54;

/// The question's box on a screen of so many columns.
pub fn popup(question: &Question, columns: u16, theme: &Theme) -> Popup {
    let columns = usize::from(WIDTH.min(columns.saturating_sub(4)));
    let cut = theme.symbols.cut;
    let (title, subject) = heading(question);
    let subject = clean(&subject);
    let subject = Line::styled(fit(&subject, columns, cut).into_owned(), theme.text);
    let mut lines = vec![match question {
        Question::Sharing { devices, .. } if devices.len() > 1 => {
            PopupLine::doing(subject, Action::OtherDevice(1))
        }
        _ => subject.into(),
    }];
    lines.extend(match question {
        Question::Process { attr, .. } => attr_lines(attr, theme),
        Question::Sharing {
            devices,
            device,
            chosen,
        } => sharing_lines(devices, *device, *chosen, theme),
    });
    if let (Some(_), Err(NothingToDo::Unusable(error))) = (question.entry(), question.request()) {
        lines.push(Line::styled(error, theme.bad).into());
    } else {
        lines.push(Line::default().into());
    }
    let part = |text: &'static str| Span::styled(text, theme.key);
    lines.push(PopupLine::of_parts(vec![
        (part("Enter does it"), Some(Action::Accept)),
        (part(", "), None),
        (part("Esc leaves it as it is"), Some(Action::Cancel)),
    ]));
    Popup {
        title,
        width: WIDTH,
        lines,
        kind: Kind::Question,
    }
}

fn heading(question: &Question) -> (&'static str, String) {
    match question {
        Question::Process {
            target,
            command,
            attr,
        } => {
            let title = match attr {
                AttrQuestion::Class { .. } => "change class?",
                AttrQuestion::Unset => "take back what was set?",
                AttrQuestion::Weight { .. } => "change weight?",
                AttrQuestion::Target { .. } => "change latency target?",
                AttrQuestion::Boost(_) => "boost?",
                AttrQuestion::Suspend(_) => "suspend?",
                AttrQuestion::Resume(_) => "resume?",
                AttrQuestion::Signal(_) => "send a signal?",
            };
            (title, format!("pid {}  {command}", target.pid))
        }
        Question::Sharing {
            devices, device, ..
        } => {
            let one = device.and_then(|index| devices.get(index));
            let subject = match (one, devices.len()) {
                (Some((address, _)), 1) => format!("device {address}"),
                (Some((address, _)), _) => {
                    format!("device {address}  (left, right: another)")
                }
                (None, _) => "all devices  (left, right: one of them)".to_owned(),
            };
            ("change sharing?", subject)
        }
    }
}

fn attr_lines(attr: &AttrQuestion, theme: &Theme) -> Vec<PopupLine> {
    let plain = |text: &str| Line::styled(text.to_owned(), theme.dim).into();
    let blank = || Line::default().into();
    match attr {
        AttrQuestion::Class { current, chosen } => {
            let from = Span::styled(current.name(), class_style(*current, theme));
            let to = class_style(*chosen, theme).patch(theme.selected);
            let mut choices = Vec::new();
            for (n, class) in Class::ALL.into_iter().rev().enumerate() {
                let pick = Some(Action::Pick(n));
                choices.push((Span::styled(format!("{} ", n + 1), theme.key), pick));
                choices.push((Span::styled(format!("{class}  "), theme.dim), pick));
            }
            vec![
                Line::from(vec![from, arrow(theme), Span::styled(chosen.name(), to)]).into(),
                blank(),
                PopupLine::of_parts(choices),
            ]
        }
        AttrQuestion::Unset => vec![
            plain("class, weight and target that were set by hand are"),
            plain("forgotten: what the rules and its parents say holds"),
        ],
        AttrQuestion::Weight { current, entry } => {
            let from = current.map_or(format::UNKNOWN.into(), |weight| weight.to_string());
            vec![
                typed(&from, entry, theme),
                blank(),
                plain("1 to 10000; of two busy processes of one class, with"),
                plain("300 and 100, the first gets three quarters"),
            ]
        }
        AttrQuestion::Target { current, entry } => {
            let from = current.map_or("none".into(), |target| target.to_string());
            vec![
                typed(&from, entry, theme),
                blank(),
                plain("the P99 of its bursts to reach: 500us, 5ms, 1s; off"),
                plain("removes it. Devices shared by slo adapt to it"),
            ]
        }
        AttrQuestion::Boost(entry) => vec![
            typed("for", entry, theme),
            blank(),
            plain("above all classes until then; others wait for it"),
        ],
        AttrQuestion::Suspend(entry) => vec![
            typed("for", entry, theme),
            blank(),
            plain("its gates close until then; a trickle still passes,"),
            plain("so that nothing hangs"),
        ],
        AttrQuestion::Signal(chosen) => SignalName::ALL
            .into_iter()
            .enumerate()
            .map(|(n, signal)| {
                let (mark, style) = match signal == *chosen {
                    true => (theme.symbols.here, theme.strong.patch(theme.selected)),
                    false => (" ", theme.text),
                };
                let line = Line::from(vec![
                    Span::styled(format!("{mark} "), theme.accent),
                    Span::styled(format!("{} ", n + 1), theme.key),
                    Span::styled(format!("{:<8}", signal.name()), style),
                    Span::styled(format!("  {}", signal.meaning()), theme.dim),
                ]);
                PopupLine::doing(line, Action::Pick(n))
            })
            .collect(),
        AttrQuestion::Resume(hold) => {
            let left = format::age(std::time::Duration::from_nanos(hold.remaining_ns.0));
            let text = match hold.hold {
                Override::Boosted => format!("ends its boost, of which {left} were left"),
                Override::Suspended => format!("ends its suspension, of which {left} were left"),
            };
            vec![Line::styled(text, theme.text).into()]
        }
    }
}

fn sharing_lines(
    devices: &[(String, SharingMode)],
    device: Option<usize>,
    chosen: SharingMode,
    theme: &Theme,
) -> Vec<PopupLine> {
    let current = device.and_then(|index| devices.get(index)).map(|d| d.1);
    let mut lines = vec![Line::default().into()];
    for (n, mode) in SharingMode::ALL.into_iter().enumerate() {
        let meaning = match mode {
            SharingMode::Priority => "strict classes",
            SharingMode::Share => "by weight within a class",
            SharingMode::Slo => "share, adapting to targets",
            SharingMode::Fixed => "cap and fences set by hand",
            SharingMode::Off => "every gate open, only observe",
        };
        let (mark, style) = match (mode == chosen, current == Some(mode)) {
            (true, _) => (theme.symbols.here, theme.strong.patch(theme.selected)),
            (false, true) => (" ", theme.strong),
            (false, false) => (" ", theme.text),
        };
        let now = match current == Some(mode) {
            true => "  (now)",
            false => "",
        };
        let line = Line::from(vec![
            Span::styled(format!("{mark} "), theme.accent),
            Span::styled(format!("{} ", n + 1), theme.key),
            Span::styled(format!("{mode:<8}"), style),
            Span::styled(format!("  {meaning}{now}"), theme.dim),
        ]);
        lines.push(PopupLine::doing(line, Action::Pick(n)));
    }
    let until = "until the configuration is read again";
    lines.push(Line::styled(until, theme.dim).into());
    lines
}

fn arrow(theme: &Theme) -> Span<'static> {
    Span::styled(format!(" {} ", theme.symbols.to), theme.dim)
}

/// What is now, and what is being typed.
fn typed(from: &str, entry: &Entry, theme: &Theme) -> PopupLine {
    let text = clean(&entry.text).into_owned();
    let room = " ".repeat(16_usize.saturating_sub(width(&text)));
    let field: Style = theme.strong.patch(theme.selected);
    let between = match from {
        "for" => Span::raw(" "),
        _ => arrow(theme),
    };
    let dim = |text: &'static str| Span::styled(text, theme.dim);
    PopupLine::of_parts(vec![
        (Span::styled(from.to_owned(), theme.text), None),
        (between, None),
        (Span::styled(text, field), None),
        (Span::styled(theme.symbols.cursor, theme.key), None),
        (Span::raw(room), None),
        (dim("Up"), Some(Action::Adjust(1))),
        (dim(", "), None),
        (dim("Down"), Some(Action::Adjust(-1))),
        (dim(": steps"), None),
    ])
}
