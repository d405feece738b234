//! Charts over time with axes: ratatui's chart, with areas that stack, lines
//! that a value is measured by, and a legend above.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use crate::format;
use crate::state::TimeView;
use crate::theme::Theme;

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A line.
    Line,
    /// All between it and the bottom.
    Area,
}

/// One value over time: seconds before now (so never positive) and the value.
/// Neighbours further apart than the plot's longest gap are not connected.
pub struct Curve {
    /// The points, oldest first.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub style: Style,
    /// How it is drawn.
    pub shape: Shape,
    /// What stands for it where there are no colours.
    pub letter: char,
}

/// A chart over time.
pub struct Plot {
    /// What it shows, and the legend.
    pub title: Line<'static>,
    /// Those that others hide first.
    pub curves: Vec<Curve>,
    /// A level that values are measured by.
    pub target: Option<f64>,
    /// The upper end of the scale.
    pub most: f64,
    /// A value as people read it.
    pub label: fn(f64) -> String,
    /// The time that is shown.
    pub view: TimeView,
    /// Seconds beyond which two points have nothing to do with each other.
    pub gap: f64,
}

/// The least height with axes.
pub const LEAST: u16 = 6;

impl Plot {
    /// Draws it, the title in the first line.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, theme: &Theme) {
        if area.height < LEAST || area.width < 24 {
            return;
        }
        buffer.set_line(area.x, area.y, &self.title, area.width);
        if self.title.width() > area.width.into() {
            buffer[(area.right() - 1, area.y)].set_symbol(theme.symbols.cut);
        }
        let area = Rect::new(area.x, area.y + 1, area.width, area.height - 1);
        let (from, to) = self.view.bounds();
        let runs: Vec<(&Curve, Vec<(f64, f64)>)> = self
            .curves
            .iter()
            .flat_map(|curve| self.runs(curve, (from, to)))
            .collect();
        let target = self.target.map(|target| [(from, target), (to, target)]);
        let mut datasets: Vec<Dataset<'_>> = runs
            .iter()
            .map(|(curve, points)| dataset(curve, points, theme))
            .collect();
        if let Some(line) = &target {
            let marker = match theme.has_colours {
                true => Marker::Braille,
                false => Marker::Custom('='),
            };
            datasets.push(
                Dataset::default()
                    .data(line)
                    .marker(marker)
                    .graph_type(GraphType::Line)
                    .style(theme.bad),
            );
        }
        let most = if self.most > 0.0 { self.most } else { 1.0 };
        let levels: &[f64] = if area.height >= 10 {
            &[0.0, 0.25, 0.5, 0.75, 1.0]
        } else {
            &[0.0, 0.5, 1.0]
        };
        let labels: Vec<String> = levels.iter().map(|l| (self.label)(l * most)).collect();
        let widest = labels.iter().map(String::len).max().unwrap_or(0);
        let y = labels
            .into_iter()
            .map(|text| Span::styled(format!("{text:>widest$}"), theme.dim));
        let x = [from, (from + to) / 2.0, to].map(|time| {
            let text = match time >= -0.5 {
                true => "now".to_owned(),
                false => format!(
                    "-{}",
                    format::age(std::time::Duration::from_secs_f64(-time))
                ),
            };
            Span::styled(text, theme.dim)
        });
        Chart::new(datasets)
            .x_axis(
                Axis::default()
                    .bounds([from, to])
                    .labels(x)
                    .style(theme.border),
            )
            .y_axis(
                Axis::default()
                    .bounds([0.0, most])
                    .labels(y)
                    .style(theme.border),
            )
            .legend_position(None)
            .style(theme.text)
            .render(area, buffer);
        let areas = self.curves.iter().filter(|c| c.shape == Shape::Area);
        let colours: Vec<Color> = areas.filter_map(|area| area.style.fg).collect();
        close_seams(buffer, area, &colours);
    }

    /// As lines of a page.
    pub fn lines(&self, columns: usize, height: u16, theme: &Theme) -> Vec<Line<'static>> {
        let area = Rect::new(0, 0, columns as u16, height);
        let mut buffer = Buffer::empty(area);
        self.draw(&mut buffer, area, theme);
        lines_of(&buffer)
    }

    /// What of a curve is in view, in pieces without gaps; an end outside of
    /// the view leads the curve to the edge.
    fn runs<'c>(&self, curve: &'c Curve, view: (f64, f64)) -> Vec<(&'c Curve, Vec<(f64, f64)>)> {
        let together = |a: &(f64, f64), b: &(f64, f64)| b.0 - a.0 <= self.gap;
        curve
            .points
            .chunk_by(together)
            .map(|run| {
                let first = run.partition_point(|point| point.0 < view.0);
                let end = run.partition_point(|point| point.0 <= view.1);
                let first = first.saturating_sub(1).min(end);
                let cut = |&(x, y): &(f64, f64)| (x.max(view.0), y.clamp(0.0, self.most));
                run[first..end].iter().map(cut).collect::<Vec<_>>()
            })
            .flat_map(|points| match curve.shape {
                Shape::Line => vec![points],
                Shape::Area => raised(&points),
            })
            .filter(|points| !points.is_empty())
            .map(|points| (curve, points))
            .collect()
    }
}

/// The pieces of an area that have any height: the edge of one without would
/// hide what is below.
fn raised(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let up = |at: Option<usize>| at.and_then(|at| points.get(at)).is_some_and(|p| p.1 > 0.0);
    let kept: Vec<bool> = (0..points.len())
        .map(|at| up(at.checked_sub(1)) || up(Some(at)) || up(Some(at + 1)))
        .collect();
    let mut pieces = Vec::new();
    let mut first = 0;
    for run in kept.chunk_by(|a, b| a == b) {
        if run[0] {
            pieces.push(points[first..first + run.len()].to_vec());
        }
        first += run.len();
    }
    pieces
}

/// The dots of a braille cell, by bit (Unicode, block Braille Patterns).
fn dots(symbol: &str) -> Option<u32> {
    let code = u32::from(symbol.chars().next()?);
    (0x2801..=0x28ff).contains(&code).then(|| code - 0x2800)
}

/// Where one area lies on another, the cell of the border has the dots of the
/// lower one alone, since a cell has one colour: it gets those above, too, and
/// the colour of whoever has most of it.
fn close_seams(buffer: &mut Buffer, area: Rect, colours: &[Color]) {
    /// Of each column of dots: the lowest, and all.
    const COLUMNS: [(u32, u32); 2] = [(0x40, 0x47), (0x80, 0xb8)];
    for x in area.left()..area.right() {
        for y in area.top() + 1..area.bottom() {
            let (above, here) = (&buffer[(x, y - 1)], &buffer[(x, y)]);
            let is_border =
                above.fg != here.fg && colours.contains(&above.fg) && colours.contains(&here.fg);
            let (true, Some(upper), Some(lower)) =
                (is_border, dots(above.symbol()), dots(here.symbol()))
            else {
                continue;
            };
            let mut both = lower;
            for (lowest, all) in COLUMNS {
                if upper & lowest != 0 {
                    both |= all;
                }
            }
            let colour = match lower.count_ones() * 2 >= both.count_ones() {
                true => here.fg,
                false => above.fg,
            };
            let symbol = char::from_u32(0x2800 + both).unwrap_or(' ');
            buffer[(x, y)].set_char(symbol).set_fg(colour);
        }
    }
}

fn dataset<'a>(curve: &Curve, points: &'a [(f64, f64)], theme: &Theme) -> Dataset<'a> {
    let marker = match theme.has_colours {
        true => Marker::Braille,
        false => Marker::Custom(curve.letter),
    };
    let dataset = Dataset::default()
        .data(points)
        .marker(marker)
        .style(curve.style);
    match curve.shape {
        Shape::Line => dataset.graph_type(GraphType::Line),
        Shape::Area => dataset.graph_type(GraphType::Area).fill_to_y(0.0),
    }
}

/// What was drawn, as lines.
pub fn lines_of(buffer: &Buffer) -> Vec<Line<'static>> {
    let area = buffer.area;
    (area.top()..area.bottom())
        .map(|y| {
            let mut spans: Vec<Span<'static>> = Vec::new();
            for x in area.left()..area.right() {
                let cell = &buffer[(x, y)];
                match spans.last_mut() {
                    Some(span) if span.style == cell.style() => {
                        span.content.to_mut().push_str(cell.symbol());
                    }
                    _ => spans.push(Span::styled(cell.symbol().to_owned(), cell.style())),
                }
            }
            Line::from(spans)
        })
        .collect()
}

/// The next number after `value` that reads well: 1, 2, 2.5 or 5 times a power
/// of ten.
pub fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::{Charset, Palette};
    use std::time::Duration;

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, end) in [
            (0.0, 1.0),
            (3.2e6, 5e6),
            (5e6, 5e6),
            (0.21, 0.25),
            (99.0, 100.0),
        ] {
            assert_eq!(round_up(value), end, "{value}");
        }
    }

    #[test]
    fn gaps_stay_open_and_letters_stand_for_colours() {
        let theme = Theme::new(Palette::Mono, Charset::Ascii);
        let view = TimeView {
            span: Duration::from_secs(60),
            back: Duration::ZERO,
        };
        let times = (0..=60).filter(|n| !(20..40).contains(n));
        let plot = Plot {
            title: Line::raw("BUSY"),
            curves: vec![Curve {
                points: times.map(|n| (f64::from(n) - 60.0, 1.0)).collect(),
                style: theme.text,
                shape: Shape::Area,
                letter: 'H',
            }],
            target: Some(0.5),
            most: 1.0,
            label: |share| format!("{:.0}%", share * 100.0),
            view,
            gap: 3.0,
        };
        let lines = plot.lines(66, 9, &theme);
        let text: Vec<String> = lines.iter().map(Line::to_string).collect();
        let all = text.join("\n");
        assert!(
            all.contains("100%") && all.contains("now") && all.contains("-60 s"),
            "{all}"
        );
        let top = &text[2];
        assert!(top.contains("HHHHH") && top.contains("        "), "{all}");
        assert!(text.iter().any(|line| line.contains("=========")), "{all}");
    }

    #[test]
    fn areas_without_height_hide_nothing_and_borders_have_no_gaps() {
        let flat = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (3.0, 1.0), (4.0, 0.0)];
        assert_eq!(raised(&flat), [flat[2..5].to_vec()]);
        assert!(raised(&flat[..3]).is_empty());
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 2));
        let (red, blue) = (Style::new().fg(Color::Red), Style::new().fg(Color::Blue));
        buffer.set_string(0, 0, "⣿⣿", red);
        // One dot high, and three.
        buffer.set_string(0, 1, "⣀⣶", blue);
        close_seams(
            &mut buffer,
            Rect::new(0, 0, 2, 2),
            &[Color::Red, Color::Blue],
        );
        let below = |x| (buffer[(x, 1)].symbol(), buffer[(x, 1)].fg);
        assert_eq!(below(0), ("⣿", Color::Red));
        assert_eq!(below(1), ("⣿", Color::Blue));
    }
}
