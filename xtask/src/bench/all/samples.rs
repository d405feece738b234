//! What was measured: every request, every rate.

use serde::{Deserialize, Serialize};

use super::cast::Variant;
use crate::stats::{median, quantile};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Raw {
    pub machine: String,
    pub kernel: String,
    pub commit: String,
    /// The device, and whether it is simulated.
    pub device: String,
    pub date: String,
    /// How the parts were built.
    pub build: String,
    /// Time measured in each cell, s.
    pub cell_s: f64,
    pub took_s: f64,
    pub repetitions: u32,
    pub cells: Vec<Cell>,
    pub overhead: Vec<Overhead>,
    pub predictions: Vec<Prediction>,
    pub growth: Vec<Curve>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// One repetition of one variant of an experiment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    pub experiment: String,
    pub variant: Variant,
    pub repetition: u32,
    pub programs: Vec<Played>,
}

/// What a program did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Played {
    pub program: String,
    pub seconds: f64,
    /// Launches in that time.
    pub launches: u64,
    /// Their device time.
    pub device_ns: u64,
    /// Of its first thread: when requests came, ns from its start.
    pub arrived_ns: Vec<u64>,
    /// How long they took.
    pub took_ns: Vec<u64>,
}

impl Played {
    /// Device time a second, by the work that was launched.
    pub fn rate(&self) -> f64 {
        self.device_ns as f64 / 1e9 / self.seconds.max(1e-9)
    }

    /// A percentile of its requests, ms.
    pub fn ms(&self, q: f64) -> Option<f64> {
        let took: Vec<f64> = self.took_ns.iter().map(|ns| *ns as f64 / 1e6).collect();
        (!took.is_empty()).then(|| quantile(&took, q))
    }
}

/// One model alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overhead {
    pub platform: String,
    pub repetition: u32,
    pub native_ms: f64,
    pub shim_ms: f64,
    /// Processor time of the whole program, s.
    pub native_cpu_s: f64,
    pub shim_cpu_s: f64,
}

/// A figure in virtual time, and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prediction {
    pub experiment: String,
    pub variant: Variant,
    pub program: String,
    /// `P50`, `P99` or `rate`.
    pub what: String,
    pub predicted: f64,
    pub measured: f64,
}

impl Prediction {
    /// How far it is off, in percent of what was measured.
    pub fn error_pct(&self) -> f64 {
        (self.predicted / self.measured - 1.0).abs() * 100.0
    }
}

/// How a cost grows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What is cost.
    pub cost: String,
    pub unit: String,
    /// With what it grows.
    pub with: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    pub what: String,
    pub why: String,
}

impl Raw {
    /// The cells of a variant of an experiment, by repetition.
    pub fn cells<'r>(
        &'r self,
        experiment: &'r str,
        variant: Variant,
    ) -> impl Iterator<Item = &'r Cell> {
        let is = move |cell: &&Cell| cell.experiment == experiment && cell.variant == variant;
        self.cells.iter().filter(is)
    }

    /// What a program did, by repetition.
    pub fn played<'r>(
        &'r self,
        experiment: &'r str,
        variant: Variant,
        program: &'r str,
    ) -> impl Iterator<Item = &'r Played> {
        self.cells(experiment, variant)
            .filter_map(move |cell| cell.programs.iter().find(|of| of.program == program))
    }

    /// A percentile of a program's requests in each repetition, ms.
    pub fn each_ms(&self, experiment: &str, variant: Variant, program: &str, q: f64) -> Vec<f64> {
        let played = self.played(experiment, variant, program);
        played.filter_map(|played| played.ms(q)).collect()
    }

    /// The median of that.
    pub fn ms(&self, experiment: &str, variant: Variant, program: &str, q: f64) -> f64 {
        median(&self.each_ms(experiment, variant, program, q))
    }

    /// All requests of a program together, ms, sorted.
    pub fn pooled_ms(&self, experiment: &str, variant: Variant, program: &str) -> Vec<f64> {
        let played = self.played(experiment, variant, program);
        let mut all: Vec<f64> = played
            .flat_map(|played| played.took_ns.iter().map(|ns| *ns as f64 / 1e6))
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Work of these programs together, device seconds a second, by repetition.
    pub fn rates(&self, experiment: &str, variant: Variant, programs: &[&str]) -> Vec<f64> {
        let cells = self.cells(experiment, variant);
        cells
            .map(|cell| {
                let counted = cell.programs.iter();
                counted
                    .filter(|played| programs.contains(&played.program.as_str()))
                    .map(Played::rate)
                    .sum()
            })
            .collect()
    }
}
