//! `cargo xtask tidy`: what a machine can check about the shape of the tree.
//!
//! Each rule is a file. What a rule finds and `known.tsv` allows is no failure:
//! that list only shrinks, so an old fault stays visible and no new one joins it.

mod glossary;
mod known;
mod lengths;
mod lines;
mod rooms;
mod source;
mod vendors;

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use crate::build;
use known::Known;
use source::Source;

/// Options of `tidy`.
#[derive(clap::Args)]
pub struct Args {
    /// Print {"findings": [{"rule", "place", "count", "known", "what"}], "failed": n,
    /// "lines": {room: n}}; lines are those outside of tests
    #[arg(long)]
    json: bool,
}

/// Something a rule found.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// The rule's name.
    rule: &'static str,
    /// A file, a room, or the rooms of a circle.
    place: String,
    /// How often it was found there.
    count: usize,
    /// How often `known.tsv` allows it there.
    known: usize,
    /// For people: what was found and what to do about it.
    what: String,
}

impl Finding {
    fn new(rule: &'static str, place: impl Into<String>, count: usize, what: String) -> Finding {
        Finding {
            rule,
            place: place.into(),
            count,
            known: 0,
            what,
        }
    }

    fn fails(&self) -> bool {
        self.count > self.known
    }
}

#[derive(Serialize)]
struct Report {
    findings: Vec<Finding>,
    failed: usize,
    lines: BTreeMap<String, usize>,
}

/// Checks the tree as git knows it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let sources = source::all(&build::root())?;
    let findings = check(&sources)?;
    let failed = findings.iter().filter(|finding| finding.fails()).count();
    let report = Report {
        failed,
        lines: lines::count(&sources),
        findings,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        for finding in &report.findings {
            let state = match (finding.fails(), finding.known) {
                (true, _) => "FAILED",
                (false, known) if known > finding.count => "lower known.tsv",
                (false, _) => "known",
            };
            println!(
                "{state}: {} [{}] {}: {}",
                finding.place, finding.rule, finding.count, finding.what
            );
        }
        let (known, lines) = (report.findings.len() - failed, report.lines.values());
        println!(
            "tidy: {failed} failed, {known} known; {} lines outside of tests",
            lines.sum::<usize>()
        );
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn check(sources: &[Source]) -> anyhow::Result<Vec<Finding>> {
    let known = Known::parse(include_str!("known.tsv"))?;
    let mut findings = Vec::new();
    for rule in [
        lengths::check,
        vendors::check,
        rooms::check,
        glossary::check,
    ] {
        findings.extend(rule(sources));
    }
    for finding in &mut findings {
        finding.known = known.allows(finding.rule, &finding.place);
    }
    findings.extend(known.gone(&findings));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So that `cargo test` says it too.
    #[test]
    fn the_tree_is_tidy() {
        let sources = source::all(&build::root()).expect("the tree is readable");
        let findings = check(&sources).expect("the list is readable");
        let failed: Vec<_> = findings.iter().filter(|finding| finding.fails()).collect();
        assert!(failed.is_empty(), "run `cargo xtask tidy`: {failed:#?}");
    }
}
