//! The picture of docs/GPU.md: latencies by configuration.

use plotters::prelude::*;

use super::raw::{Batch, Config, Load, Raw};

const SIZE: (u32, u32) = (960, 360);

/// Bars in the order in which they stand.
const BARS: [(Config, &str, RGBColor); 6] = [
    (Config::Alone, "alone", RGBColor(120, 120, 120)),
    (Config::Native, "native", RGBColor(200, 80, 60)),
    (Config::Mps, "MPS", RGBColor(220, 160, 60)),
    (Config::Slices, "slices", RGBColor(90, 150, 210)),
    (Config::Gate, "gate", RGBColor(80, 180, 160)),
    (Config::Both, "both", RGBColor(50, 110, 70)),
];

/// An SVG: P50 as bars, P99 as whiskers, one panel for each service.
pub fn svg(raw: &Raw) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, load) in root.split_evenly((1, 3)).iter().zip(Load::ALL) {
            panel(area, raw, load)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    raw: &Raw,
    load: Load,
) -> anyhow::Result<()> {
    let bars: Vec<(f64, f64, &str, RGBColor)> = BARS
        .into_iter()
        .filter_map(|(config, name, colour)| {
            let beside = (config != Config::Alone).then_some(Batch::Resnet50);
            let (p50, p99, _) = raw.summary(config, load, beside)?;
            Some((p50, p99, name, colour))
        })
        .collect();
    let highest = bars.iter().map(|(_, p99, ..)| *p99).fold(1.0, f64::max);
    let names: Vec<&str> = bars.iter().map(|(_, _, name, _)| *name).collect();
    let title = match load {
        Load::Service => "ResNet-18, 20 requests/s",
        Load::Decode => "40 waits per request, 10/s",
        Load::Heavy => "ResNet-152, batch 32, 8/s",
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(44)
        .build_cartesian_2d((0..bars.len().max(1)).into_segmented(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_desc("ms: bar P50, line P99")
        .x_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => names.get(*at).copied().unwrap_or_default().to_owned(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .draw()?;
    for (at, (p50, p99, _, colour)) in bars.iter().enumerate() {
        let edges = [
            (SegmentValue::Exact(at), 0.0),
            (SegmentValue::Exact(at + 1), *p50),
        ];
        let mut bar = Rectangle::new(edges, colour.filled());
        bar.set_margin(0, 0, 6, 6);
        chart.draw_series([bar])?;
        let whisker = vec![
            (SegmentValue::CenterOf(at), *p50),
            (SegmentValue::CenterOf(at), *p99),
        ];
        chart.draw_series(LineSeries::new(whisker, BLACK.stroke_width(2)))?;
    }
    Ok(())
}
