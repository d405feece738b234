//! What was measured on the GPU, before anything is made of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Raw {
    /// Processor and its number of cores.
    pub machine: String,
    /// `uname -r`.
    pub kernel: String,
    /// The GPU; "simulated" in a rehearsal.
    pub device: String,
    /// The GPU's driver.
    pub driver: String,
    /// The version of PyTorch.
    pub torch: String,
    /// Of this repository.
    pub commit: String,
    /// Day of the run, as 2026-11-30.
    pub date: String,
    /// How long each cell was measured, s.
    pub cell_s: f64,
    /// How long the whole run took, s.
    pub took_s: f64,
    /// Services beside batches.
    pub cells: Vec<Cell>,
    /// Two batches that share the GPU.
    pub shares: Vec<Share>,
    /// A service beside two batches.
    #[serde(default)]
    pub tenants: Vec<Tenants>,
    /// Nothing but one program, with and without the shim.
    pub overhead: Vec<Overhead>,
    /// A batch with an agent that observes it, and without.
    pub observed: Vec<Observed>,
    /// What programs computed.
    pub semantics: Option<Semantics>,
    /// Launches by three counts.
    pub counts: Vec<Count>,
    /// Programs that went on after somebody was killed: what, and whether.
    pub survived: BTreeMap<String, bool>,
    /// Clients of MPS of which one was killed.
    #[serde(default)]
    pub mps_kills: Vec<MpsKill>,
    /// Threads of one process, one of them favoured.
    #[serde(default)]
    pub threads: Vec<Threads>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// Whether a client of MPS went on when another was killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MpsKill {
    /// Who went on, and when.
    pub what: String,
    /// Without the shim, if that was measured.
    pub natively: Option<bool>,
    /// With it in both.
    pub gated: bool,
}

/// One run of threads of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Threads {
    /// Which time.
    pub repetition: u32,
    /// How many threads the cell is about.
    pub threads: u32,
    /// alone, native or hinted.
    pub how: String,
    /// The favoured thread's.
    pub p50_ms: f64,
    /// As above.
    pub p99_ms: f64,
    /// Of all threads.
    pub all_per_s: f64,
}

impl Raw {
    /// Takes in a later run: what it has measured replaces what was there.
    pub fn add(&mut self, later: Raw) {
        let mut all = Raw {
            took_s: self.took_s + later.took_s,
            left_out: later.left_out,
            ..later
        };
        if !self.commit.is_empty() && self.commit != all.commit {
            all.commit = format!("{} and {}", self.commit, all.commit);
        }
        let earlier = std::mem::take(self);
        let measured: BTreeSet<Config> = all.cells.iter().map(|cell| cell.config).collect();
        let kept = earlier.cells.into_iter();
        all.cells
            .extend(kept.filter(|cell| !measured.contains(&cell.config)));
        if all.shares.is_empty() {
            all.shares = earlier.shares;
        }
        if all.tenants.is_empty() {
            all.tenants = earlier.tenants;
        }
        if all.overhead.is_empty() {
            all.overhead = earlier.overhead;
        }
        if all.observed.is_empty() {
            all.observed = earlier.observed;
        }
        if all.counts.is_empty() {
            all.counts = earlier.counts;
        }
        if all.threads.is_empty() {
            all.threads = earlier.threads;
        }
        if all.survived.is_empty() {
            all.survived = earlier.survived;
        }
        if all.mps_kills.is_empty() {
            all.mps_kills = earlier.mps_kills;
        }
        all.semantics = all.semantics.or(earlier.semantics);
        *self = all;
    }
}

/// Requests of one load under one configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// What schedules.
    pub config: Config,
    /// The service.
    pub load: Load,
    /// What runs beside it.
    pub batch: Option<Batch>,
    /// Which repetition.
    pub repetition: u32,
    /// Of each request, ms.
    pub latencies_ms: Vec<f64>,
    /// Iterations of the batch per second meanwhile.
    pub batch_per_s: Option<f64>,
    /// The GPU's clock, mean, MHz.
    pub clock_mhz: Option<f64>,
}

/// What schedules in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Config {
    /// Nothing runs beside it, and the GPU may lower its clock.
    Alone,
    /// Light work keeps the clock up.
    AloneWarm,
    /// The driver.
    Native,
    /// The agent's time slices; no program has the shim.
    Slices,
    /// The gate; time slices stay the driver's.
    Gate,
    /// Both, as installed.
    Both,
    /// NVIDIA's MPS, with client priorities.
    Mps,
    /// NVIDIA's MPS, and all are alike to it.
    MpsPlain,
    /// The gate, in clients of MPS that are all alike to it.
    MpsGate,
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// ResNet-18, 20 requests a second.
    Service,
    /// 40 waits per request, 10 a second.
    Decode,
    /// ResNet-152, batch 32, 8 a second.
    Heavy,
}

impl Load {
    /// All.
    pub const ALL: [Load; 3] = [Load::Service, Load::Decode, Load::Heavy];

    /// As workers know it.
    pub const fn name(self) -> &'static str {
        match self {
            Load::Service => "service",
            Load::Decode => "decode",
            Load::Heavy => "heavy",
        }
    }
}

/// Work without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// ResNet-50, batch 64.
    Resnet50,
    /// Products of 170 ms each.
    Matmul,
}

impl Batch {
    /// As workers know it.
    pub const fn name(self) -> &'static str {
        match self {
            Batch::Resnet50 => "resnet50",
            Batch::Matmul => "matmul",
        }
    }
}

/// Two batches of one class with weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Which repetition.
    pub repetition: u32,
    /// Their weights.
    pub weights: [u16; 2],
    /// Their iterations per second.
    pub per_s: [f64; 2],
    /// Those of one alone, measured just before.
    pub alone_per_s: f64,
    /// Those of both when nobody holds either back.
    #[serde(default)]
    pub native_per_s: Option<[f64; 2]>,
}

/// A service beside two batches of ResNet-50.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenants {
    /// What schedules.
    pub config: Config,
    /// The service.
    pub load: Load,
    /// Which repetition.
    pub repetition: u32,
    /// Of each request, ms.
    pub latencies_ms: Vec<f64>,
    /// Iterations per second of both batches.
    pub per_s: [f64; 2],
}

/// One program alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overhead {
    /// Which repetition.
    pub repetition: u32,
    /// What it does: a load's or a batch's name.
    pub what: String,
    /// Without the shim: ms per request, median, or per iteration.
    pub native_ms: f64,
    /// With it.
    pub shim_ms: f64,
}

/// A batch without the shim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observed {
    /// Which repetition.
    pub repetition: u32,
    /// Iterations per second without an agent.
    pub without_per_s: f64,
    /// With one that has settled.
    pub with_per_s: f64,
}

/// What programs computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Semantics {
    /// Digests by program, natively, of two runs.
    pub native: [BTreeMap<String, String>; 2],
    /// The same under gates that open and close at random.
    pub stressed: BTreeMap<String, String>,
    /// The same as a client of MPS.
    #[serde(default)]
    pub stressed_mps: Option<BTreeMap<String, String>>,
    /// Launches that waited at these gates.
    pub waits: u64,
}

/// Launches of the same requests by three counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Of which load.
    pub load: Load,
    /// By CUPTI, in a program with the shim and one without.
    pub profiler: [u64; 2],
    /// By the shim's page.
    pub gate: u64,
    /// By uprobes, of the program without it.
    pub uprobes: u64,
}

/// Something that was not measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}
