//! What diagnosis says about a process.

use ratatui::text::{Line, Span};
use xsched_common::api::{Diagnosis, Finding, Severity};

use super::detail::{paragraph, wrapped};
use crate::state::{Answer, Identity, State};
use crate::text::clean;
use crate::theme::Theme;

/// The examination of `target`, or how to ask for one.
pub fn lines(state: &State, target: Identity, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default(), Line::styled("FINDINGS", theme.title)];
    let say = |text: &str, style| wrapped(text, columns, style, theme);
    match state.examinations.get(target) {
        None => lines.extend(say(
            "not examined: press d, which observes its calls for 2 s",
            theme.dim,
        )),
        Some(Answer::Running) => lines.extend(say("examining ...", theme.warn)),
        Some(Answer::Failed(error)) => lines.extend(say(error, theme.bad)),
        Some(Answer::Done(Diagnosis {
            findings, limits, ..
        })) => {
            if findings.is_empty() {
                let text = "none: nothing that was examined escapes scheduling";
                lines.extend(say(text, theme.good));
            }
            for finding in findings {
                lines.extend(one(finding, columns, theme));
            }
            for limit in limits {
                lines.extend(paragraph(
                    "unseen",
                    &clean(limit),
                    columns,
                    theme.dim,
                    theme,
                ));
            }
        }
    }
    lines
}

fn one(finding: &Finding, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let style = match finding.severity {
        Severity::Info => theme.text,
        Severity::Warning => theme.warn,
        Severity::Error => theme.bad,
    };
    let head = format!("{} [{}]", finding.severity.name(), clean(&finding.code));
    let mut lines = vec![Line::from(Span::styled(head, style))];
    let mut add = |name, text: &str| {
        lines.extend(paragraph(name, &clean(text), columns, theme.text, theme));
    };
    add("what", &finding.title);
    for evidence in &finding.evidence {
        add("seen", evidence);
    }
    if let Some(effect) = &finding.effect {
        add("effect", effect);
    }
    add("fix", &finding.fix);
    lines
}
