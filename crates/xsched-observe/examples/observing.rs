//! The observer's parts by themselves, for `cargo xtask bench observe`.
//!
//!     observing price runtime|shim FILE PID   probes on FILE's launch functions
//!     observing count PID KEYS                all that is counted, KEYS at most
//!
//! Prints `ready`, waits for the end of its input, prints what was counted as
//! `events counted dropped`, and ends.

use std::fs::File;
use std::io::Read as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use xsched_observe::attach::Programs;
use xsched_observe::site::sites_in;
use xsched_observe::{
    ImageKind, Kernel, LinkKind, Observer, Plan, ProbeSet, Purpose, Returns, Scope, ShimProbes,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["price", kind, file, pid] => price(kind, file, pid.parse()?),
        ["count", pid, keys] => count(pid.parse()?, keys.parse()?),
        _ => Err("price runtime|shim FILE PID, or count PID KEYS".into()),
    }
}

/// One program on one file, and nothing else: what a hit costs.
fn price(kind: &str, file: &str, pid: u32) -> Outcome {
    let kind = match kind {
        "shim" => ImageKind::Shim,
        _ => ImageKind::Runtime,
    };
    let file = File::open(file)?;
    let sites = sites_in(&file, ProbeSet::Launches)?;
    let (mut programs, maps) = Programs::load(
        16_384,
        LinkKind::Best,
        Purpose::Count,
        Returns::Leave,
        Kernel::running(),
    )?;
    let probes = programs.attach(kind, &file, &sites, Scope::Pid(pid));
    if let Some((_, error)) = probes.failed.first() {
        return Err(error.to_string().into());
    }
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let counted: u64 = maps.calls()?.values().sum();
    println!("{} {counted} {}", maps.events()?, maps.drops()?.calls());
    Ok(())
}

/// As the daemon does it, reading all the time.
fn count(pid: u32, max_keys: u32) -> Outcome {
    let mut observer = Observer::start(Plan {
        scope: Scope::Pid(pid),
        shims: ShimProbes::Leave,
        max_keys,
        ..Plan::everything()
    })?;
    println!("ready");
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    while end.recv_timeout(Duration::ZERO) == Err(RecvTimeoutError::Timeout) {
        observer.wait(Duration::from_millis(100));
        observer.sample()?;
    }
    let sample = observer.sample()?;
    let counted: u64 = sample.calls.iter().map(|call| call.count).sum();
    println!("{} {counted} {}", sample.events, sample.drops.calls());
    Ok(())
}
