//! The report's pictures, each an SVG: distributions, percentiles, requests
//! over time, curves of cost.

use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::super::cast::Variant;
use crate::stats::quantile;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// With these axes.
type Chart<'a, 'b, X, Y> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<<X as AsRangedCoord>::CoordDescType, <Y as AsRangedCoord>::CoordDescType>,
>;

/// Colours that the colour-blind tell apart (Okabe and Ito, 2008).
pub fn colour(variant: Variant) -> RGBColor {
    match variant {
        Variant::Alone => RGBColor(110, 110, 110),
        Variant::Native => RGBColor(213, 94, 0),
        Variant::Ours => RGBColor(0, 114, 178),
    }
}

const SIZE: (u32, u32) = (460, 280);
const FONT: (&str, u32) = ("sans-serif", 15);

/// Requests of a variant, ms.
pub type Latencies<'a> = (Variant, &'a [f64]);

fn drawn(draw: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
    }
    // The size is the page's decision; the lines of a file are not pictures'.
    let fixed = format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1);
    Ok(svg.replacen(&fixed, "role=\"img\" ", 1).replace('\n', ""))
}

/// Axes with their units, without a title: that is the caption's.
fn chart<'a, 'b, X, Y>(
    root: &'a Area<'b>,
    (x, x_name): (X, &str),
    (y, y_name): (Y, &str),
) -> anyhow::Result<Chart<'a, 'b, X, Y>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(root)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)
        .map_err(|e| anyhow!("{e}"))?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_label_formatter(&|at| short(*at))
        .y_label_formatter(&|at| short(*at))
        .draw()
        .map_err(|e| anyhow!("{e}"))?;
    Ok(chart)
}

/// A number as an axis says it.
pub fn short(n: f64) -> String {
    match n.abs() {
        a if a >= 1e6 => format!("{}M", plain(n / 1e6)),
        a if a >= 1e3 => format!("{}k", plain(n / 1e3)),
        _ => plain(n),
    }
}

fn plain(n: f64) -> String {
    let text = format!("{n:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// The share of requests that took at most so long. The axis ends where 99.5%
/// of the slowest variant do.
pub fn cdf(all: &[Latencies<'_>]) -> anyhow::Result<String> {
    let most = all
        .iter()
        .map(|(_, ms)| quantile(ms, 0.995))
        .fold(0.0, f64::max);
    let least = all
        .iter()
        .filter_map(|(_, ms)| ms.first().copied())
        .fold(most, f64::min);
    let room = (most - least).max(0.1) * 0.05;
    let x: Range<f64> = (least - room).max(0.0)..most + room;
    drawn(|root| {
        let mut chart = chart(
            root,
            (x.clone(), "a request took at most, ms"),
            (0.0..100.0, "of requests, %"),
        )?;
        for (variant, ms) in all {
            let points = ms.iter().enumerate().map(|(n, ms)| {
                (
                    ms.min(x.end),
                    (n + 1) as f64 / all_of(ms, all, *variant) * 100.0,
                )
            });
            let points: Vec<(f64, f64)> = points.filter(|(ms, _)| *ms < x.end).collect();
            let style = colour(*variant).stroke_width(2);
            chart.draw_series(LineSeries::new(points, style))?;
        }
        Ok(())
    })
}

fn all_of(_: &f64, all: &[Latencies<'_>], variant: Variant) -> f64 {
    let of = all.iter().find(|(of, _)| *of == variant);
    of.map_or(1.0, |(_, ms)| ms.len() as f64)
}

const PERCENTILES: [(&str, f64); 4] = [("P50", 0.5), ("P90", 0.9), ("P99", 0.99), ("max", 1.0)];

/// Bars beside each other for each percentile.
pub fn bars(all: &[Latencies<'_>]) -> anyhow::Result<String> {
    let highest = all
        .iter()
        .map(|(_, ms)| quantile(ms, 1.0))
        .fold(0.0, f64::max);
    drawn(|root| {
        let (x, y) = (0.0..PERCENTILES.len() as f64, 0.0..highest.max(0.1) * 1.12);
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .margin_right(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_desc("a request took, ms")
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 225, 225))
            .label_style(FONT)
            .axis_desc_style(FONT)
            .y_label_formatter(&|at| short(*at))
            .draw()?;
        let wide = 0.8 / all.len().max(1) as f64;
        for (group, (name, q)) in PERCENTILES.iter().enumerate() {
            for (n, (variant, ms)) in all.iter().enumerate() {
                let left = group as f64 + 0.1 + n as f64 * wide;
                let height = quantile(ms, *q);
                let corners = [(left, 0.0), (left + wide * 0.92, height)];
                chart.draw_series([Rectangle::new(corners, colour(*variant).filled())])?;
                let text = format!("{height:.*}", if height < 10.0 { 2 } else { 1 });
                let style = ("sans-serif", 12).into_text_style(root);
                let above = (left, height + highest * 0.05);
                chart.draw_series([Text::new(text, above, style)])?;
            }
            let style = FONT.into_text_style(root);
            let below = (group as f64 + 0.4, -highest * 0.03);
            chart.draw_series([Text::new((*name).to_owned(), below, style)])?;
        }
        Ok(())
    })
}

/// Requests of a variant: when each came, s, and how long it took, ms.
pub type Times = (Variant, Vec<(f64, f64)>);

/// Each request of one repetition.
pub fn timeline(all: &[Times]) -> anyhow::Result<String> {
    let points = || all.iter().flat_map(|(_, points)| points);
    let last = points().map(|(at, _)| *at).fold(0.0, f64::max);
    let first = points().map(|(at, _)| *at).fold(last, f64::min);
    let highest = points().map(|(_, took)| *took).fold(0.1, f64::max);
    drawn(|root| {
        let mut chart = chart(
            root,
            (first..last + 0.05, "a request came, s after the start"),
            (0.0..highest * 1.1, "it took, ms"),
        )?;
        for (variant, points) in all {
            let style = colour(*variant).stroke_width(1);
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            let dots = points
                .iter()
                .map(|at| Circle::new(*at, 2, colour(*variant).filled()));
            chart.draw_series(dots)?;
        }
        Ok(())
    })
}

/// How a cost grows, both axes logarithmic.
pub fn growth(points: &[(f64, f64)], with: &str, cost: &str) -> anyhow::Result<String> {
    // Of what is nothing the logarithm has no place.
    let points: Vec<(f64, f64)> = points
        .iter()
        .map(|(x, y)| (x.max(0.5), y.max(0.01)))
        .collect();
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let low = points.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(of).fold(0.0, f64::max);
        (low * 0.8, high.max(low * 2.0) * 1.3)
    };
    let ((left, right), (bottom, top)) = (ends(|p| p.0), ends(|p| p.1));
    drawn(|root| {
        let mut chart = chart(
            root,
            ((left..right).log_scale(), with),
            ((bottom..top).log_scale(), cost),
        )?;
        let style = colour(Variant::Ours);
        chart.draw_series(LineSeries::new(
            points.iter().copied(),
            style.stroke_width(2),
        ))?;
        chart.draw_series(points.iter().map(|at| Circle::new(*at, 3, style.filled())))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_point_and_of_many() {
        let many: Vec<f64> = (1..200).map(f64::from).collect();
        let all = [
            (Variant::Alone, &[2.0][..]),
            (Variant::Native, &many[..]),
            (Variant::Ours, &[][..]),
        ];
        for svg in [cdf(&all), bars(&all)] {
            let svg = svg.expect("a picture");
            assert!(
                svg.starts_with("<svg role=\"img\" viewBox="),
                "{}",
                &svg[..80]
            );
        }
        let times = [(Variant::Ours, vec![(0.5, 2.0), (1.0, 3.0)])];
        assert!(timeline(&times).expect("a picture").contains("circle"));
        let curve = growth(&[(1.0, 0.0), (1_000.0, 5.0)], "clients", "us");
        assert!(curve.expect("a picture").contains("1k"));
    }

    #[test]
    fn axes_say_numbers_shortly() {
        assert_eq!(short(1_500.0), "1.5k");
        assert_eq!(short(2_000_000.0), "2M");
        assert_eq!(short(0.25), "0.25");
    }
}
