//! A fake agent: serves a fixed snapshot and remembers requests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use xsched_common::api::{
    Change, Diagnosis, Failure, Finding, Request, Response, Settled, Severity, Snapshot,
};
use xsched_common::units::{Class, Weight};

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
            class: Some(class),
            ..
        }) => {
            let mut state = state.lock().expect("state");
            let process = state.processes.iter_mut().find(|p| p.pid == pid);
            let answer = match process {
                // Stands for another user's process.
                Some(process) if process.uid == 0 => Response::Error(Failure {
                    code: "not_permitted".into(),
                    message: format!("pid {pid} is root's: run xtop with sudo"),
                }),
                Some(process) => {
                    process.class = class;
                    Response::Settled(settled(pid, class))
                }
                None => Response::Error(Failure {
                    code: "no_such_process".into(),
                    message: format!("no process {pid}"),
                }),
            };
            send(&mut stream, &answer)
        }
        Request::Diagnose { pid, .. } => {
            let finding = Finding {
                code: "symbol-version-bypass".into(),
                severity: Severity::Error,
                pid,
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
        other => panic!("not a request of this xtop: {other:?}"),
    }
}

fn settled(pid: u32, class: Class) -> Settled {
    Settled {
        pid,
        class,
        weight: Weight::default(),
        slo_p99_ns: None,
        hold: None,
        joined: true,
    }
}

fn send(stream: &mut UnixStream, response: &Response) -> Option<()> {
    let mut line = serde_json::to_vec(response).expect("serialises");
    line.push(b'\n');
    stream.write_all(&line).ok()
}
