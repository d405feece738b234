//! What the examination of a large process costs.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const OBJECTS: usize = 500;
/// A debug build on a quiet machine takes 0.15 s and 54 MiB.
const TIME: Duration = Duration::from_secs(1);
const MEMORY_KIB: i64 = 200 << 10;

/// A directory of libraries that each import the runtime, and the program's
/// arguments to open them all.
fn libraries() -> Vec<String> {
    let set = fixtures();
    std::fs::create_dir_all(set.path("many")).expect("writable");
    let library = std::fs::read(set.path("libnow.so")).expect("readable");
    (0..OBJECTS)
        .map(|i| {
            let name = format!("many/lib{i}.so");
            std::fs::write(set.path(&name), &library).expect("writable");
            format!("./{name}")
        })
        .collect()
}

#[test]
fn a_process_with_500_objects_is_examined_quickly_and_in_little_memory() {
    let set = fixtures();
    let mut list = String::new();
    for path in libraries() {
        writeln!(list, "{path}").expect("text");
    }
    set.write("many.txt", &list);
    let mut command = Command::new(set.path("program"));
    command
        .env("OPEN", "many.txt")
        .env("LD_PRELOAD", set.text("libxsched_shim.so"));
    let process = set.spawn(command);
    let run = || {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_xsched-agent"))
            .args(["diagnose", "--duration", "0", "--json", "--pid"])
            .arg(process.pid().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let mut stdout = child.stdout.take().expect("piped");
        // The report is longer than the pipe: with its first byte here, it is
        // complete there, and the process waits for its reader.
        let mut text = vec![0];
        std::io::Read::read_exact(&mut stdout, &mut text).expect("a report");
        let memory = peak(child.id());
        std::io::Read::read_to_end(&mut stdout, &mut text).expect("text");
        assert!(child.wait().expect("it ends").success());
        (
            started.elapsed(),
            memory,
            String::from_utf8(text).expect("text"),
        )
    };
    let runs: Vec<_> = (0..3).map(|_| run()).collect();
    let json: serde_json::Value = serde_json::from_str(&runs[0].2).expect("JSON");
    let bindings = json["bindings"].as_array().expect("a list");
    assert!(bindings.len() >= OBJECTS, "{}", bindings.len());
    let launches = bindings.iter().filter(|b| b["symbol"] == "hipLaunchKernel");
    assert!(launches.clone().count() > OBJECTS);
    for binding in launches {
        assert!(
            binding["bound_to"]
                .as_str()
                .is_some_and(|to| to.ends_with("libxsched_shim.so"))
        );
    }
    let time = runs.iter().map(|r| r.0).min().expect("three");
    let memory = runs.iter().map(|r| r.1).max().expect("three");
    eprintln!("diagnose_500_s {:.3}", time.as_secs_f64());
    eprintln!("diagnose_500_mib {}", memory >> 10);
    assert!(time < TIME, "{time:?}");
    assert!((1..MEMORY_KIB).contains(&memory), "{memory} KiB");
}

/// The most memory that a process has had, KiB. Not wait4's: that of a new
/// process begins with its parent's.
fn peak(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.expect("the kernel counts it")
}
