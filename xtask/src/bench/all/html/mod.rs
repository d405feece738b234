//! The report: one HTML file with everything in it, for a reader without the
//! repository.

mod chart;

use std::fmt::Write as _;

use super::cast::{Cast, Part, Variant};
use super::compare::Compared;
use super::real::Real;
use super::samples::{Played, Raw};
use crate::bench::report::{Metric, Report};
use crate::stats::{median, quantile};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1000px;margin:2em auto;padding:0 1em}\
h1{font-size:1.6em}h2{font-size:1.25em;margin-top:2.2em;border-top:1px solid #ddd;padding-top:.8em}\
table{border-collapse:collapse;margin:.8em 0;font-size:.92em}th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid #eee;\
vertical-align:top}th:first-child,td:first-child,.l{text-align:left}.n{color:#666}.missed td{background:#fdecea}\
.verdict{font-weight:600}.row{display:flex;flex-wrap:wrap;gap:.5em}figure{margin:0;flex:1 1 300px;max-width:480px}\
figcaption{font-size:.85em;color:#444}svg{width:100%;height:auto}.key{display:inline-block;width:.9em;height:.9em;\
margin:0 .3em 0 1em;vertical-align:-1px}.tag{font-size:.8em;border:1px solid #999;border-radius:3px;padding:0 .3em;color:#555}\
.wide{overflow-x:auto}";

/// Limits that hold for every run on the simulator.
pub const LIMITS: [&str; 6] = [
    "The device is hipsim: processes with work share it equally, kernels take the time that they are said to take, memory bandwidth \
     and caches are not contended. A real GPU gives turns of about a millisecond instead.",
    "Programs are workloads: launches, gaps and waits without the arithmetic. Those of ResNet, LibTorch and BERT were measured kernel \
     by kernel on an NVIDIA H200; HIP's libraries launch other kernels for the same layers.",
    "What a real AMD GPU would change: the cost of a fence (a barrier packet), of a wake after an interrupt, and how deep a process \
     runs ahead; not what the gate costs while it is open.",
    "Threads of one process are not predicted in virtual time: the model has one process for each.",
    "P99 of a repetition is nearly its slowest request (24 to 80 of them); medians over repetitions are given.",
    "Not measured: real libraries on a real AMD GPU, several GPUs, graphs, RCCL under contention.",
];

/// What a reader with an AMD GPU does.
pub const RECIPE: &str = "\
On a machine with an MI-series GPU, ROCm and this repository (root is not needed):\n\
\n\
    cargo xtask bench all --runtime /opt/rocm/lib/libamdhip64.so --out mi300x\n\
\n\
It plays the same workloads with kernels that wait on the GPU's own clock (hipcc compiles them), alone, natively and under xsched in \
turns. With PyTorch: start the agent, run your two programs by `xsched-agent run --class high -- python serve.py` and `--class low`, \
record each alone (`xsched-agent record`), and import them (docs/REPLAY.md). Send results.json and raw.json with an issue; say the GPU, \
ROCm's version and the driver's.";

/// The whole page.
pub fn page(
    raw: &Raw,
    casts: &[Cast],
    report: &Report,
    real: Option<&Real>,
    compared: Option<&[Compared]>,
) -> anyhow::Result<String> {
    let mut out = String::new();
    head(&mut out, raw, report)?;
    figures(&mut out, report)?;
    if let Some(compared) = compared {
        differences(&mut out, compared)?;
    }
    for cast in casts {
        experiment(&mut out, raw, cast)?;
    }
    overhead(&mut out, raw)?;
    growth(&mut out, raw)?;
    predictions(&mut out, raw)?;
    if let Some(real) = real {
        on_a_gpu(&mut out, real)?;
    }
    tail(&mut out, raw)?;
    Ok(out)
}

fn head(out: &mut String, raw: &Raw, report: &Report) -> anyhow::Result<()> {
    let missed = report.metrics().iter().filter(|metric| !metric.ok).count();
    let verdict = match missed {
        0 => "every bound holds".to_owned(),
        1 => "1 bound is missed".to_owned(),
        n => format!("{n} bounds are missed"),
    };
    writeln!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>xsched: the study reproduced</title><style>{STYLE}</style>\n\
         <h1>xsched: the study reproduced</h1>\n\
         <p>{}; Linux {}; commit {}; {}. Device: <b>{}</b>; {}. {} repetitions of {:.1} s of each variant, in turns; {:.0} minutes in all. \
         <b>{verdict}.</b></p>\n\
         <p>What motivated xsched was a study of an unmodified shim on MI308X whose best result did not carry over to real models. Each of \
         its experiments is here: alone, as the runtime treats the programs, and under xsched.</p>\n<p>Colours:",
        escaped(&raw.machine),
        escaped(&raw.kernel),
        escaped(&raw.commit),
        raw.date,
        escaped(&raw.device),
        escaped(&raw.build),
        raw.repetitions,
        raw.cell_s,
        raw.took_s / 60.0,
    )?;
    for variant in Variant::ALL {
        let colour = chart::colour(variant);
        let (r, g, b) = (colour.0, colour.1, colour.2);
        write!(
            out,
            "<span class=\"key\" style=\"background:rgb({r},{g},{b})\"></span>{}",
            variant.name()
        )?;
    }
    writeln!(out, "</p>")?;
    Ok(())
}

/// Missed ones first.
pub fn sorted(report: &Report) -> Vec<&Metric> {
    let mut metrics: Vec<&Metric> = report.metrics().iter().collect();
    metrics.sort_by_key(|metric| metric.ok);
    metrics
}

fn figures(out: &mut String, report: &Report) -> anyhow::Result<()> {
    writeln!(
        out,
        "<h2>Figures</h2><p>Ratios (x) are to the same program alone. Natively is without xsched.</p><div class=\"wide\"><table>\
         <tr><th>figure</th><th>value</th><th>natively</th><th>spread</th><th>bound</th><th></th><th class=\"l\"></th></tr>"
    )?;
    for m in sorted(report) {
        let (row, verdict) = match m.ok {
            true => ("", "ok"),
            false => (" class=\"missed\"", "missed"),
        };
        let optional = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"));
        writeln!(
            out,
            "<tr{row}><td>{}</td><td>{:.2} {}</td><td>{}</td><td>{}</td><td>{} {}</td><td class=\"verdict\">{verdict}</td>\
             <td class=\"l n\">{}</td></tr>",
            m.name,
            m.value,
            m.unit,
            optional(m.baseline),
            optional(m.spread),
            m.bound,
            m.unit,
            escaped(m.detail.as_deref().unwrap_or_default()),
        )?;
    }
    writeln!(out, "</table></div>")?;
    Ok(())
}

fn differences(out: &mut String, compared: &[Compared]) -> anyhow::Result<()> {
    writeln!(
        out,
        "<h2>Against the earlier run</h2><table><tr><th>figure</th><th>before</th><th>now</th><th></th></tr>"
    )?;
    for c in compared {
        let mark = if c.differs { "beyond both spreads" } else { "" };
        writeln!(
            out,
            "<tr><td>{}</td><td>{:.3}</td><td>{:.3} {}</td><td>{mark}</td></tr>",
            c.name, c.old, c.new, c.unit
        )?;
    }
    writeln!(out, "</table>")?;
    Ok(())
}

fn experiment(out: &mut String, raw: &Raw, cast: &Cast) -> anyhow::Result<()> {
    if raw.cells(cast.key, Variant::Ours).next().is_none() {
        return Ok(());
    }
    let tag = match raw.device.starts_with("real") {
        true => "real",
        false => "simulated",
    };
    writeln!(
        out,
        "<h2>{} <span class=\"tag\">{tag}</span></h2><p>The study: {}. <span class=\"n\">Loads: {}.</span></p>",
        escaped(cast.title),
        escaped(cast.study),
        escaped(cast.origin),
    )?;
    writeln!(
        out,
        "<table><tr><th>program</th><th>class</th><th></th><th>P50 ms</th><th>P90</th><th>P99</th><th>max</th><th>requests</th>\
         <th>device, %</th></tr>"
    )?;
    for role in cast.roles.iter().filter(|role| role.part != Part::Batch) {
        let name = role.program.name.as_str();
        let class = match role.class {
            Some(class) => class.to_string(),
            None => "by thread".to_owned(),
        };
        for variant in Variant::ALL {
            let ms = raw.pooled_ms(cast.key, variant, name);
            if ms.is_empty() {
                continue;
            }
            let way = variant.name();
            write!(
                out,
                "<tr><td>{name}</td><td>{class}</td><td class=\"l\">{way}</td>"
            )?;
            for q in [0.5, 0.9, 0.99, 1.0] {
                write!(out, "<td>{:.2}</td>", quantile(&ms, q))?;
            }
            let rate = median(&raw.rates(cast.key, variant, &[name])) * 100.0;
            writeln!(out, "<td>{}</td><td>{rate:.1}</td></tr>", ms.len())?;
        }
    }
    batches(out, raw, cast)?;
    writeln!(out, "</table>")?;
    let watched = cast.roles.iter().find(|role| role.part == Part::Watched);
    if let Some(role) = watched {
        pictures(out, raw, cast.key, &role.program.name)?;
    }
    Ok(())
}

/// All of an experiment together.
fn batches(out: &mut String, raw: &Raw, cast: &Cast) -> anyhow::Result<()> {
    let roles = cast.roles.iter().filter(|role| role.part == Part::Batch);
    let names: Vec<&str> = roles.map(|role| role.program.name.as_str()).collect();
    let called = match names[..] {
        [] => return Ok(()),
        [one] => one.to_owned(),
        _ => format!("{} batches", names.len()),
    };
    for variant in [Variant::Native, Variant::Ours] {
        let rate = median(&raw.rates(cast.key, variant, &names)) * 100.0;
        writeln!(
            out,
            "<tr><td>{called}</td><td>low</td><td class=\"l\">{}</td><td></td><td></td><td></td><td></td><td></td><td>{rate:.1}</td></tr>",
            variant.name()
        )?;
    }
    Ok(())
}

fn pictures(out: &mut String, raw: &Raw, key: &str, name: &str) -> anyhow::Result<()> {
    let pooled = Variant::ALL.map(|variant| (variant, raw.pooled_ms(key, variant, name)));
    let all: Vec<chart::Latencies<'_>> = pooled
        .iter()
        .filter(|(_, ms)| !ms.is_empty())
        .map(|(variant, ms)| (*variant, ms.as_slice()))
        .collect();
    let times: Vec<chart::Times> = [Variant::Native, Variant::Ours]
        .into_iter()
        .filter_map(|variant| Some((variant, times(raw.played(key, variant, name).next()?))))
        .collect();
    writeln!(out, "<div class=\"row\">")?;
    for (caption, svg) in [
        (
            "all requests: how many took at most so long",
            chart::cdf(&all)?,
        ),
        ("percentiles of all requests", chart::bars(&all)?),
        (
            "each request of the first repetition",
            chart::timeline(&times)?,
        ),
    ] {
        writeln!(
            out,
            "<figure>{svg}<figcaption>{name}: {caption}</figcaption></figure>"
        )?;
    }
    writeln!(out, "</div>")?;
    Ok(())
}

/// Seconds and ms, in order.
fn times(played: &Played) -> Vec<(f64, f64)> {
    let pairs = played.arrived_ns.iter().zip(&played.took_ns);
    pairs
        .map(|(at, took)| (*at as f64 / 1e9, *took as f64 / 1e6))
        .collect()
}

fn overhead(out: &mut String, raw: &Raw) -> anyhow::Result<()> {
    if raw.overhead.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>One model alone, with the shim and without <span class=\"tag\">simulated</span></h2>\
         <p>The study's goal: less than 3.4% of time, less than 5% of processor time. 110 launches of 4 us a request, 20 us of host work \
         between.</p><table><tr><th>platform</th><th>repetition</th><th>native P50 ms</th><th>shim</th><th>native CPU s</th><th>shim</th></tr>"
    )?;
    for o in &raw.overhead {
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>",
            o.platform, o.repetition, o.native_ms, o.shim_ms, o.native_cpu_s, o.shim_cpu_s
        )?;
    }
    writeln!(out, "</table>")?;
    Ok(())
}

fn growth(out: &mut String, raw: &Raw) -> anyhow::Result<()> {
    if raw.growth.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>How costs grow</h2><p>Both axes are logarithmic. A decision reads and writes the pages of all processes of the device: \
         with many, most of its time is waiting for memory.</p><div class=\"row\">"
    )?;
    for curve in &raw.growth {
        let svg = chart::growth(
            &curve.points,
            &curve.with,
            &format!("{}, {}", curve.cost, curve.unit),
        )?;
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(x, y)| format!("{}: {y:.2}", chart::short(*x)))
            .collect();
        writeln!(
            out,
            "<figure>{svg}<figcaption>{} ({}), by {}: {}</figcaption></figure>",
            curve.cost,
            curve.unit,
            curve.with,
            points.join(", ")
        )?;
    }
    writeln!(out, "</div>")?;
    Ok(())
}

fn predictions(out: &mut String, raw: &Raw) -> anyhow::Result<()> {
    if raw.predictions.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>What-if: predicted in virtual time, measured in real time</h2><p>The same workloads through the real policy and gate on the \
         device's arithmetic, as <code>xsched-agent what-if</code> does.</p><div class=\"wide\"><table><tr><th>experiment</th>\
         <th class=\"l\">program</th><th class=\"l\"></th><th class=\"l\">what</th><th>predicted</th><th>measured</th><th>off by, %</th></tr>"
    )?;
    for p in &raw.predictions {
        writeln!(
            out,
            "<tr><td>{}</td><td class=\"l\">{}</td><td class=\"l\">{}</td><td class=\"l\">{}</td><td>{:.3}</td><td>{:.3}</td>\
             <td>{:.1}</td></tr>",
            p.experiment,
            p.program,
            p.variant.name(),
            p.what,
            p.predicted,
            p.measured,
            p.error_pct()
        )?;
    }
    writeln!(out, "</table></div>")?;
    Ok(())
}

fn on_a_gpu(out: &mut String, real: &Real) -> anyhow::Result<()> {
    writeln!(
        out,
        "<h2>On a real GPU <span class=\"tag\">real: {}</span></h2><p>Unmodified PyTorch, measured apart (docs/GPU.md, \
         docs/results/{}).</p><table><tr><th>figure</th><th>value</th><th>bound</th><th></th><th class=\"l\"></th></tr>",
        escaped(&real.device),
        escaped(&real.file),
    )?;
    for f in &real.metrics {
        let verdict = if f.ok { "ok" } else { "missed" };
        let row = if f.ok { "" } else { " class=\"missed\"" };
        // Of what others are compared with there is none.
        let bound = match f.bound >= 1000.0 {
            true => "-".to_owned(),
            false => format!("{} {}", f.bound, f.unit),
        };
        writeln!(
            out,
            "<tr{row}><td>{}</td><td>{:.3} {}</td><td>{bound}</td><td class=\"verdict\">{verdict}</td><td class=\"l n\">{}</td></tr>",
            escaped(&f.name),
            f.value,
            escaped(&f.unit),
            escaped(&f.detail)
        )?;
    }
    writeln!(out, "</table>")?;
    Ok(())
}

fn tail(out: &mut String, raw: &Raw) -> anyhow::Result<()> {
    writeln!(out, "<h2>Limits</h2><ul>")?;
    for limit in LIMITS {
        writeln!(out, "<li>{}</li>", escaped(limit))?;
    }
    for left_out in &raw.left_out {
        writeln!(
            out,
            "<li>Left out: {}: {}</li>",
            escaped(&left_out.what),
            escaped(&left_out.why)
        )?;
    }
    writeln!(out, "</ul><h2>Run it yourself</h2>")?;
    for part in RECIPE.split("\n\n") {
        match part.strip_prefix("    ") {
            Some(command) => writeln!(out, "<pre>{}</pre>", escaped(command))?,
            None => writeln!(out, "<p>{}</p>", escaped(part))?,
        }
    }
    writeln!(out, "</html>")?;
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
