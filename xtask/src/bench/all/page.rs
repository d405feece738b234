//! The generated part of docs/BENCHMARKS.md, and docs/results.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context as _;

use super::cast::{Cast, Variant};
use super::html::{self, LIMITS, RECIPE};
use super::real::Real;
use super::samples::Raw;
use crate::bench::report::Report;
use crate::build;

const BEGIN: &str = "<!-- begin: cargo xtask bench all --report -->";
const END: &str = "<!-- end: cargo xtask bench all --report -->";

/// Writes the block and docs/results/study-DATE.json.
pub fn update(
    raw: &Raw,
    casts: &[Cast],
    report: &Report,
    real: Option<&Real>,
) -> anyhow::Result<()> {
    let docs = build::root().join("docs");
    let results = format!("study-{}.json", raw.date);
    fs::write(
        docs.join("results").join(&results),
        serde_json::to_string_pretty(report)? + "\n",
    )?;
    let file = docs.join("BENCHMARKS.md");
    let text = fs::read_to_string(&file)?;
    let block = block(raw, casts, report, real, &results)?;
    fs::write(&file, replaced(&text, &block)?)?;
    Ok(())
}

fn replaced(text: &str, block: &str) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("docs/BENCHMARKS.md has no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("docs/BENCHMARKS.md has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{block}\n{END}{after}"))
}

fn block(
    raw: &Raw,
    casts: &[Cast],
    report: &Report,
    real: Option<&Real>,
    results: &str,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(
        out,
        "{}, {}; Linux {}; commit {}; device: {}; {}. {} repetitions of {:.1} s of each variant in turns, {:.0} minutes. Figures: \
         [results/{results}](results/{results}). Missed ones first; ratios are to the same program alone.\n\n\
         | figure | value | natively | spread | bound | |\n|---|---|---|---|---|---|",
        raw.date,
        raw.machine,
        raw.kernel,
        raw.commit,
        raw.device,
        raw.build,
        raw.repetitions,
        raw.cell_s,
        raw.took_s / 60.0,
    )?;
    for m in html::sorted(report) {
        let optional = |n: Option<f64>| n.map_or_else(String::new, |n| format!("{n:.2}"));
        writeln!(
            out,
            "| {}`{}` | {:.2} {} | {} | {} | {} {} | {} |",
            if m.ok { "" } else { "**missed:** " },
            m.name,
            m.value,
            m.unit,
            optional(m.baseline),
            optional(m.spread),
            m.bound,
            m.unit,
            m.detail.as_deref().unwrap_or_default(),
        )?;
    }
    writeln!(
        out,
        "\nThe study's experiments beside it, P50 / P99 ms of the watched program:\n\n\
         | experiment | the study | alone | native | xsched |\n|---|---|---|---|---|"
    )?;
    for cast in casts {
        let Some(role) = cast
            .roles
            .iter()
            .find(|role| role.part == super::cast::Part::Watched)
        else {
            continue;
        };
        write!(out, "| {} | {} |", cast.title, cast.study)?;
        for variant in Variant::ALL {
            let ms = |q| raw.ms(cast.key, variant, &role.program.name, q);
            write!(out, " {:.2} / {:.2} |", ms(0.5), ms(0.99))?;
        }
        writeln!(out)?;
    }
    if !raw.growth.is_empty() {
        writeln!(
            out,
            "\nHow costs grow:\n\n| cost | with | points |\n|---|---|---|"
        )?;
        for curve in &raw.growth {
            let points: Vec<String> = curve
                .points
                .iter()
                .map(|(x, y)| format!("{x:.0}: {y:.2}"))
                .collect();
            writeln!(
                out,
                "| {}, {} | {} | {} |",
                curve.cost,
                curve.unit,
                curve.with,
                points.join("; ")
            )?;
        }
    }
    if let Some(real) = real {
        writeln!(
            out,
            "\nReal: {} with unmodified PyTorch is in [GPU.md](GPU.md) ([results/{file}](results/{file})).",
            real.device,
            file = real.file
        )?;
    }
    writeln!(out, "\n**Limits.**\n")?;
    for limit in LIMITS {
        writeln!(out, "- {limit}")?;
    }
    writeln!(out, "\n**With an AMD GPU.** {RECIPE}")?;
    Ok(crate::columns::wrapped(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new").expect("marked");
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert!(replaced("nothing", "new").is_err());
    }
}
