//! The experiments: which programs play, which of them is watched, and what
//! the study found.

use xsched_common::units::Class;
use xsched_workload::{
    BERT, FORMAT, Gaps, LIBTORCH, Launch, Program, RESNETS, Repeat, Step, Thread, Wait, Workload,
};

use crate::bench::sched::realtime::stage::Sharing;

/// An experiment.
pub struct Cast {
    /// Its name in results.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// What the study of an unmodified shim on MI308X found.
    pub study: &'static str,
    /// Who plays, and in which class; none is the class that everybody has.
    pub roles: Vec<Role>,
    /// What the agent is told.
    pub sharing: Sharing,
    /// Where the figures of its programs come from.
    pub origin: &'static str,
    callers: Vec<String>,
}

/// A program of an experiment.
pub struct Role {
    pub program: Program,
    pub class: Option<Class>,
    pub part: Part,
}

/// What a program is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its requests are what counts; it also runs without the others.
    Watched,
    /// Its requests are reported.
    Beside,
    /// Its work is counted.
    Batch,
}

/// How an experiment is run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The watched programs alone.
    Alone,
    /// All, as the runtime treats them.
    Native,
    /// All, by class.
    Ours,
}

impl Variant {
    pub const ALL: [Variant; 3] = [Variant::Alone, Variant::Native, Variant::Ours];

    pub fn name(self) -> &'static str {
        match self {
            Variant::Alone => "alone",
            Variant::Native => "native",
            Variant::Ours => "xsched",
        }
    }
}

const SYNTHETIC: &str = "made up: kernels of equal length, as the study describes the load";
const MEASURED: &str = "workload files: PyTorch 2.11 on an NVIDIA H200, kernel by kernel (crates/xsched-workload/data)";

impl Cast {
    /// The programs of a variant, as a file.
    pub fn workload(&self, variant: Variant) -> Workload {
        let plays = |role: &&Role| variant != Variant::Alone || role.part == Part::Watched;
        let programs = self.roles.iter().filter(plays).map(|role| {
            let mut program = role.program.clone();
            if variant == Variant::Alone {
                // Of a watched program with many threads the first one is.
                program.threads.truncate(1);
            }
            program
        });
        Workload {
            format: FORMAT,
            name: self.title.to_owned(),
            origin: self.origin.to_owned(),
            limits: Vec::new(),
            callers: self.callers.clone(),
            programs: programs.collect(),
        }
    }

    /// The role of a program.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.program.name == name)
    }
}

/// Requests of equal kernels with one wait.
pub fn service(name: &str, kernels: u32, us: u64, period_ms: u64, gaps: Gaps) -> Program {
    let period_ns = period_ms * 1_000_000;
    let repeat = Repeat::Every { period_ns, gaps };
    of_one(name, thread("serve", repeat, kernels, us, 0))
}

/// Kernels without end, 256 ahead of the device.
pub fn batch(name: &str, us: u64) -> Program {
    of_one(name, thread("batch", Repeat::BackToBack, 64, us, 192))
}

fn of_one(name: &str, thread: Thread) -> Program {
    Program {
        name: name.to_owned(),
        command: Vec::new(),
        threads: vec![thread],
    }
}

fn thread(name: &str, repeat: Repeat, count: u32, us: u64, ahead: u64) -> Thread {
    Thread {
        name: name.to_owned(),
        repeat,
        steps: vec![
            Step::Launch(Launch {
                ns: us * 1_000,
                count,
                after_ns: 0,
                stream: 1,
                caller: None,
            }),
            Step::Wait(Wait {
                stream: (ahead == 0).then_some(1),
                ahead,
                after_ns: 0,
            }),
        ],
    }
}

/// A server and trainers, in threads of one process.
fn threads(count: u32) -> Program {
    let every = Repeat::Every {
        period_ns: 50_000_000,
        gaps: Gaps::Jittered,
    };
    let mut program = of_one("trainer", thread("serve", every, 50, 100, 0));
    for number in 1..count {
        let mut other = thread(&format!("train-{number}"), Repeat::BackToBack, 4, 100, 0);
        for step in &mut other.steps {
            match step {
                Step::Launch(launch) => launch.stream = u64::from(number) + 1,
                Step::Wait(wait) => wait.stream = Some(u64::from(number) + 1),
                Step::Arrive(_) => {}
            }
        }
        program.threads.push(other);
    }
    program
}

/// A program of a shipped file, under this name and with this period.
fn shipped(file: &str, program: &str, name: &str, period_ms: Option<u64>) -> Program {
    let workload = Workload::parse(file).expect("shipped files are good: a test reads them");
    let mut found = workload
        .programs
        .into_iter()
        .find(|candidate| candidate.name == program)
        .expect("a program of the file");
    found.name = name.to_owned();
    if let (Some(ms), Repeat::Every { period_ns, .. }) = (period_ms, &mut found.threads[0].repeat) {
        *period_ns = ms * 1_000_000;
    }
    found
}

fn role(program: Program, class: Class, part: Part) -> Role {
    Role {
        program,
        class: Some(class),
        part,
    }
}

fn cast(key: &'static str, title: &'static str, study: &'static str, roles: Vec<Role>) -> Cast {
    Cast {
        key,
        title,
        study,
        roles,
        sharing: Sharing::Default,
        origin: SYNTHETIC,
        callers: Vec::new(),
    }
}

fn measured(cast: Cast) -> Cast {
    let files = [RESNETS, LIBTORCH, BERT].map(|file| Workload::parse(file).expect("good"));
    // All of them name the same libraries.
    let [resnets, ..] = files;
    Cast {
        origin: MEASURED,
        callers: resnets.callers,
        ..cast
    }
}

/// All of them, in the order of the study.
pub fn all() -> Vec<Cast> {
    use Class::{High, Low, Normal, Realtime};
    use Part::{Batch, Beside, Watched};
    let mut casts = Vec::new();
    for (key, title, study, count) in [
        (
            "threads30",
            "30 threads of one process, one of them a server",
            "P50 9.64 -> 0.75 ms, P99 11.13 -> 0.84 ms",
            30,
        ),
        (
            "threads8",
            "8 threads of one process, one of them a server",
            "as above",
            8,
        ),
    ] {
        let role = Role {
            program: threads(count),
            class: None,
            part: Watched,
        };
        casts.push(Cast {
            sharing: Sharing::Trainers,
            ..cast(key, title, study, vec![role])
        });
    }
    casts.push(cast(
        "two_light",
        "Two models, light load: each a twentieth of the time",
        "6.49 vs 6.56 ms",
        vec![
            role(
                service("first", 13, 500, 130, Gaps::Jittered),
                High,
                Watched,
            ),
            role(service("second", 13, 500, 130, Gaps::Jittered), Low, Beside),
        ],
    ));
    casts.push(cast(
        "two_heavy",
        "Two models, intensive: 20 requests/s beside a saturating batch",
        "P50 24.82 -> 17.45, P99 29.63 -> 24.55 ms, low -8.2%; alone 6.36 ms",
        vec![
            role(
                service("service", 13, 500, 50, Gaps::Jittered),
                High,
                Watched,
            ),
            role(batch("batch", 60), Low, Batch),
        ],
    ));
    casts.push(measured(cast(
        "resnet",
        "ResNet-18 beside ResNet-50",
        "P99 3.47 -> 2.75 ms, max 11.43 -> 3.28, low -1.1%",
        vec![
            role(
                shipped(RESNETS, "resnet18", "resnet18", None),
                High,
                Watched,
            ),
            role(shipped(RESNETS, "resnet50", "resnet50", None), Low, Batch),
        ],
    )));
    casts.push(measured(cast(
        "libtorch_like",
        "ResNet-50 as LibTorch runs it, on the default stream from three libraries",
        "186.83 -> 188.20 ms: no effect",
        vec![
            role(
                shipped(LIBTORCH, "libtorch", "libtorch", None),
                High,
                Watched,
            ),
            role(shipped(RESNETS, "resnet50", "resnet50", None), Low, Batch),
        ],
    )));
    let mut crowd = vec![role(
        service("service", 5, 500, 50, Gaps::Jittered),
        High,
        Watched,
    )];
    for number in 1..=7 {
        crowd.push(role(batch(&format!("batch{number}"), 60), Low, Batch));
    }
    casts.push(cast(
        "high_load",
        "High load: a service beside seven saturating processes",
        "P99 2.65 -> 19.62 ms",
        crowd,
    ));
    let classes = [High, High, Normal, Normal, Low, Low];
    let berts = classes.into_iter().enumerate().map(|(number, class)| {
        let name = format!("bert{}-{class}", number + 1);
        let part = if class == High { Watched } else { Beside };
        role(shipped(BERT, "bert", &name, Some(70)), class, part)
    });
    casts.push(measured(cast(
        "bert6",
        "Six BERT processes in three classes; alone is the two of the highest class",
        "6.37 ms alone, 12-14 mean, 18-26 P99",
        berts.collect(),
    )));
    casts.push(cast(
        "fixed_priority",
        "Fixed priority: requests of 25 ms beside a saturating batch",
        "P99 <= 1.30x of alone (paper), 1.66x in its MI50 raw data",
        vec![
            role(
                service("service", 50, 500, 100, Gaps::Jittered),
                High,
                Watched,
            ),
            role(batch("batch", 60), Low, Batch),
        ],
    ));
    casts.push(Cast {
        sharing: Sharing::NoMinimum,
        ..cast(
            "preempt",
            "Preemption: bursts of 10 ms beside kernels of T = 0.5 ms",
            "about 8 T",
            vec![
                role(
                    service("service", 20, 500, 50, Gaps::Jittered),
                    High,
                    Watched,
                ),
                role(batch("batch", 500), Low, Batch),
            ],
        )
    });
    casts.push(cast(
        "tenants",
        "Three tenants: realtime, normal, low",
        "planned, never run there",
        vec![
            role(
                service("realtime", 10, 500, 50, Gaps::Jittered),
                Realtime,
                Watched,
            ),
            role(
                service("normal", 60, 500, 100, Gaps::Jittered),
                Normal,
                Beside,
            ),
            role(batch("batch", 60), Low, Batch),
        ],
    ));
    casts.push(cast(
        "video",
        "A video call, 25 frames/s of 15 ms, beside a saturating batch",
        "planned, never run there",
        vec![
            role(service("call", 30, 500, 40, Gaps::Fixed), High, Watched),
            role(batch("batch", 300), Low, Batch),
        ],
    ));
    casts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_a_workload() {
        for cast in all() {
            for variant in Variant::ALL {
                let workload = cast.workload(variant);
                assert_eq!(workload.check(), Ok(()), "{}", cast.key);
                let alone = workload.programs.len() == 1 || cast.key == "bert6";
                assert!(variant != Variant::Alone || alone, "{}", cast.key);
            }
        }
    }
}
