//! Where a process's attributes come from.

use ratatui::text::{Line, Span};
use xsched_common::api::{ExplainStep, Explanation};

use super::detail::wrapped;
use crate::state::{Answer, Row, State};
use crate::text::{clean, wrap};
use crate::theme::Theme;

/// The attributes of `row` and their source, and the agent's explanation if it was
/// asked for.
pub fn lines(state: &State, row: &Row, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default(), Line::styled("TERMS", theme.title)];
    let say = |text: &str, style| wrapped(text, columns, style, theme);
    match state.explanations.get(row.identity()) {
        None => {
            let from = match row.process.terms_from.as_str() {
                "" => String::new(),
                from => format!("from {from}; "),
            };
            let text = format!("{from}press e for every rule that was considered");
            lines.extend(say(&text, theme.dim));
        }
        Some(Answer::Running) => lines.extend(say("asking ...", theme.warn)),
        Some(Answer::Failed(error)) => lines.extend(say(error, theme.bad)),
        Some(Answer::Done(Explanation { settled: _, steps })) => {
            if steps.is_empty() {
                lines.extend(say("nothing was considered: defaults hold", theme.text));
            }
            for step in steps {
                lines.extend(one(step, columns, theme));
            }
        }
    }
    lines
}

fn one(step: &ExplainStep, columns: usize, theme: &Theme) -> Vec<Line<'static>> {
    const MARK: usize = 4;
    let (mark, style) = match step.applied {
        true => ("yes", theme.good),
        false => ("no", theme.dim),
    };
    let text = format!("{}: {}", clean(&step.source), clean(&step.because));
    let marks = std::iter::once(mark).chain(std::iter::repeat(""));
    wrap(&text, columns.saturating_sub(MARK), theme.symbols.cut)
        .into_iter()
        .zip(marks)
        .map(|(text, mark)| {
            let text_style = if step.applied { theme.text } else { theme.dim };
            Line::from(vec![
                Span::styled(format!("{mark:<MARK$}"), style),
                Span::styled(text, text_style),
            ])
        })
        .collect()
}
