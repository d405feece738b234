//! A fake agent: serves a fixed snapshot and remembers requests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use xsched_common::api::{
    Change, Diagnosis, ExplainStep, Explanation, Failure, Finding, History, HistoryPoint, ModeSet,
    Override, OverrideRow, ProcessRow, Request, Response, Settled, Severity, ShimState, SloRow,
    SloState, Slowness, Snapshot,
};
use xsched_common::units::Nanos;

/// What the fake agent does with a watch after its first snapshot.
#[derive(Clone, Copy)]
pub enum Behaviour {
    /// Sends on.
    Steady,
    /// Closes the connection.
    HangsUp,
    /// Sends a line that is no response.
    Garbage,
}

pub struct FakeAgent {
    pub socket: PathBuf,
    pub requests: Arc<Mutex<Vec<Request>>>,
    _dir: TempDir,
}

pub fn snapshot() -> Snapshot {
    serde_json::from_str(include_str!("../data/snapshot.json")).expect("a snapshot")
}

impl FakeAgent {
    pub fn start(behaviour: Behaviour) -> FakeAgent {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("api.sock");
        let listener = UnixListener::bind(&socket).expect("binds");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(Mutex::new(snapshot()));
        let seen = Arc::clone(&requests);
        // The threads end with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, seen) = (Arc::clone(&state), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &state, &seen, behaviour));
            }
        });
        FakeAgent {
            socket,
            requests,
            _dir: dir,
        }
    }
}

/// Errors mean that the client left, which is its right.
fn serve(
    mut stream: UnixStream,
    state: &Mutex<Snapshot>,
    seen: &Mutex<Vec<Request>>,
    behaviour: Behaviour,
) -> Option<()> {
    let mut line = String::new();
    BufReader::new(stream.try_clone().ok()?)
        .read_line(&mut line)
        .ok()?;
    let request: Request = serde_json::from_str(&line).expect("a request");
    seen.lock().expect("requests").push(request.clone());
    let current = || Response::Snapshot(Box::new(state.lock().expect("state").clone()));
    match request {
        Request::List => send(&mut stream, &current()),
        Request::Watch { interval_ms } => loop {
            send(&mut stream, &current())?;
            match behaviour {
                Behaviour::Steady => thread::sleep(Duration::from_millis(interval_ms)),
                Behaviour::HangsUp => return None,
                Behaviour::Garbage => return stream.write_all(b"{\"type\":1}\n").ok(),
            }
        },
        Request::Set(Change {
            pid,
            class,
            weight,
            slo_p99_ns,
            way: _,
        }) => {
            let answer = change(state, pid, |process| {
                process.class = class.unwrap_or(process.class);
                process.weight = weight.unwrap_or(process.weight);
                process.terms_from = "set by hand".into();
                if let Some(target_p99_ns) = slo_p99_ns {
                    process.slo = Some(SloRow {
                        target_p99_ns,
                        state: SloState::Adapting,
                        reason: "batch (pid 977) runs kernels of 31 ms".into(),
                    })
                    .filter(|slo| slo.target_p99_ns > Nanos::ZERO);
                }
            });
            send(&mut stream, &answer)
        }
        Request::Boost { pid, duration_ms } => {
            let hold = hold(Override::Boosted, duration_ms);
            let answer = change(state, pid, |process| process.hold = hold);
            send(&mut stream, &answer)
        }
        Request::Suspend { pid, timeout_ms } => {
            let hold = hold(Override::Suspended, timeout_ms);
            let answer = change(state, pid, |process| process.hold = hold);
            send(&mut stream, &answer)
        }
        Request::Unset { pid, .. } => {
            let answer = change(state, pid, |process| process.terms_from = "default".into());
            send(&mut stream, &answer)
        }
        Request::Resume { pid } => {
            let answer = change(state, pid, |process| process.hold = None);
            send(&mut stream, &answer)
        }
        Request::SetMode { device, mode } => {
            let mut state = state.lock().expect("state");
            for row in &mut state.devices {
                if device
                    .as_ref()
                    .is_none_or(|address| *address == row.address)
                {
                    row.mode = mode;
                }
            }
            send(&mut stream, &Response::ModeSet(ModeSet { device, mode }))
        }
        Request::Slow { pid, .. } => {
            let slowness = Slowness {
                pid,
                blame: None,
                reason: Some("it has no burst yet".into()),
            };
            send(&mut stream, &Response::Slow(slowness))
        }
        Request::Explain { pid } => {
            let steps = [
                ("rule \"serving\" (/etc/xsched/xsched.toml:12)", true),
                ("default", false),
            ];
            let step = |(source, applied): (&str, bool)| ExplainStep {
                source: source.into(),
                applied,
                because: "its arguments match".into(),
            };
            let state = state.lock().expect("state");
            let process = state.processes.iter().find(|p| p.pid == pid);
            let explanation = Explanation {
                settled: settled(process.expect("a process")),
                steps: steps.map(step).to_vec(),
            };
            send(&mut stream, &Response::Explanation(explanation))
        }
        // A minute before the snapshot, a second apart.
        Request::History { pid } => {
            let end = state.lock().expect("state").time_unix_ns;
            let point = |second: u64| HistoryPoint {
                time_unix_ns: end - second * 1_000_000_000,
                launches_per_s: 100.0,
                burst_p50_ns: Some(Nanos::from_millis(1)),
                burst_p99_ns: Some(Nanos::from_millis(2)),
                ..HistoryPoint::default()
            };
            let past = History {
                pid,
                interval_ns: Nanos::from_secs(1),
                points: (0..60).rev().map(point).collect(),
            };
            send(&mut stream, &Response::History(past))
        }
        Request::Diagnose { pid, .. } => {
            let finding = Finding {
                code: "symbol-version-bypass".into(),
                severity: Severity::Error,
                pid,
                platform: Default::default(),
                title: "launches of libtorch_hip.so go past the shim".into(),
                evidence: vec!["jump_slot of hipLaunchKernel@hip_99.0".into()],
                effect: Some("12% of its launches".into()),
                fix: "use a shim that exports hip_99.0".into(),
            };
            let diagnosis = Diagnosis {
                pid,
                findings: vec![finding],
                limits: vec!["calls were not observed".into()],
            };
            send(&mut stream, &Response::Diagnosis(diagnosis))
        }
        Request::Hello | Request::Reload | Request::Settings => panic!("not a request of xtop"),
    }
}

/// Changes a process, or refuses to.
fn change(state: &Mutex<Snapshot>, pid: u32, change: impl FnOnce(&mut ProcessRow)) -> Response {
    let mut state = state.lock().expect("state");
    match state.processes.iter_mut().find(|p| p.pid == pid) {
        // Stands for another user's process.
        Some(process) if process.uid == 0 => Response::Error(Failure::new(
            "not_permitted",
            format!("pid {pid} is root's: run xtop with sudo"),
        )),
        Some(process) => {
            change(process);
            Response::Settled(settled(process))
        }
        None => Response::Error(Failure::new("no_such_process", format!("no process {pid}"))),
    }
}

fn hold(hold: Override, ms: u64) -> Option<OverrideRow> {
    Some(OverrideRow {
        hold,
        remaining_ns: Nanos::from_millis(ms),
    })
}

fn settled(process: &ProcessRow) -> Settled {
    Settled {
        pid: process.pid,
        class: process.class,
        weight: process.weight,
        slo_p99_ns: process.slo.as_ref().map(|slo| slo.target_p99_ns),
        hold: process.hold,
        joined: process.shim == ShimState::Joined,
        ..Settled::default()
    }
}

fn send(stream: &mut UnixStream, response: &Response) -> Option<()> {
    let mut line = serde_json::to_vec(response).expect("serialises");
    line.push(b'\n');
    stream.write_all(&line).ok()
}
