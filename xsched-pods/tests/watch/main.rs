//! The real program against a server that speaks the API's protocol: lists in
//! pages, watches, bookmarks, 410 Gone, and every way of hanging up.

mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use server::{Goodbye, Server};

/// Nothing here takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running `xsched-pods`, killed at the end.
struct Watching {
    child: Child,
    file: PathBuf,
    dir: tempfile::TempDir,
}

impl Watching {
    fn start(server: &Server) -> Watching {
        Watching::start_with_file(server, "pods.json")
    }

    /// The list is there, in a folder of the test's own.
    fn start_with_file(server: &Server, file: &str) -> Watching {
        let dir = tempfile::tempdir().expect("a folder");
        let kubeconfig = dir.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": server.url() } }],
            "users": [{ "name": "u", "user": { "token": "secret" } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).expect("writes");
        let file = dir.path().join(file);
        let child = Command::new(env!("CARGO_BIN_EXE_xsched-pods"))
            .args(["--node", "n1", "--kubeconfig"])
            .arg(&kubeconfig)
            .arg("--out")
            .arg(&file)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("starts");
        Watching { child, file, dir }
    }

    /// Names of the listed pods by uid.
    fn listed(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["pods"].as_array().cloned().unwrap_or_default();
        pods.iter()
            .map(|pod| {
                (
                    text(&pod["uid"]),
                    text(&pod["annotations"]["xsched.io/class"]),
                )
            })
            .collect()
    }

    /// Waits until the list is as the server has it; how long that took.
    fn agrees_with(&self, server: &Server, what: &str) -> Duration {
        let began = Instant::now();
        loop {
            let (listed, known) = (self.listed(), server.pods());
            if listed == known && self.file.exists() {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < DEADLINE,
                "{what}: listed {listed:?}\nthe server has {known:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.dir.path();
    }
}

#[test]
fn pods_come_change_and_go() {
    let server = Server::start();
    for pod in 0..7 {
        server.put(&format!("u{pod}"), "low");
    }
    let watching = Watching::start(&server);
    watching.agrees_with(&server, "the first list, in pages");
    assert!(server.log().iter().any(|line| line.contains("continue=")));
    for query in [
        "fieldSelector=spec.nodeName%3Dn1",
        "status.phase%21%3DFailed",
    ] {
        let log = server.log();
        assert!(log.iter().all(|line| line.contains(query)), "{log:?}");
    }
    server.put("u1", "high");
    server.put("new", "normal");
    server.remove("u0");
    let took = watching.agrees_with(&server, "changes");
    eprintln!("figure: watch_change_ms {}", took.as_millis());
    let text = std::fs::read_to_string(&watching.file).expect("written");
    assert!(
        !text.contains("not for you"),
        "only our annotations: {text}"
    );
    let mode = std::fs::metadata(&watching.file)
        .expect("there")
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o644
    );
}

/// Pods come and go while nobody watches; the version of a bookmark is where
/// the watch goes on.
#[test]
fn twenty_disconnects_and_a_410_lose_nobody() {
    let server = Server::start();
    for pod in 0..50 {
        server.put(&format!("u{pod}"), "low");
    }
    let watching = Watching::start(&server);
    watching.agrees_with(&server, "the first list");
    let ways = [
        Goodbye::Clean,
        Goodbye::Reset,
        Goodbye::HalfALine,
        Goodbye::Nonsense,
    ];
    for at in 0..20 {
        server.refuse(at % 5 == 4);
        server.hang_up(ways[at % ways.len()]);
        server.put(&format!("during{at}"), "high");
        server.remove(&format!("u{at}"));
        if at == 10 {
            // What it missed is forgotten: it has to list anew.
            server.forget_history();
        }
        std::thread::sleep(Duration::from_millis(20));
        server.refuse(false);
        watching.agrees_with(&server, &format!("disconnect {at}"));
        if at % 3 == 0 {
            server.bookmark();
        }
    }
    assert!(server.gone() > 0, "410 was said");
    let lost = server.pods().len() - watching.listed().len();
    eprintln!("figure: watch_disconnects 20");
    eprintln!("figure: watch_gone {}", server.gone());
    eprintln!("figure: watch_pods_lost {lost}");
    assert_eq!(lost, 0);
}

#[test]
fn a_bookmark_spares_the_next_list() {
    let server = Server::start();
    server.put("u1", "low");
    let watching = Watching::start(&server);
    watching.agrees_with(&server, "the first list");
    // Other nodes' pods let the version grow; then only a bookmark tells it.
    server.grow();
    server.bookmark();
    std::thread::sleep(Duration::from_millis(200));
    server.forget_history();
    server.hang_up(Goodbye::Clean);
    server.put("u2", "low");
    watching.agrees_with(&server, "it went on");
    assert_eq!(
        server.gone(),
        0,
        "it went on at the bookmark: {:?}",
        server.log()
    );
}

#[test]
fn a_server_that_is_away_takes_nothing_from_the_list() {
    let server = Server::start();
    server.put("u1", "low");
    let watching = Watching::start(&server);
    watching.agrees_with(&server, "the first list");
    let known = watching.listed();
    server.refuse(true);
    server.hang_up(Goodbye::Reset);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(watching.listed(), known);
    server.refuse(false);
    server.put("u2", "low");
    watching.agrees_with(&server, "it is back");
}

#[test]
fn a_list_that_cannot_be_written_is_tried_again() {
    let server = Server::start();
    server.put("u1", "low");
    let mut watching = Watching::start_with_file(&server, "later/pods.json");
    std::thread::sleep(Duration::from_millis(700));
    let ended = watching.child.try_wait().expect("ours");
    assert!(ended.is_none(), "{ended:?}");
    std::fs::create_dir(watching.dir.path().join("later")).expect("made");
    watching.agrees_with(&server, "the folder is there");
}

#[test]
fn mistakes_are_said_in_one_line() {
    let run = |arguments: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_xsched-pods"))
            .args(arguments)
            .env_remove("NODE_NAME")
            .env("HOME", "/nonexistent")
            .env_remove("KUBECONFIG")
            .output()
            .expect("runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--node <NAME>"), "{said}");
    let (code, said) = run(&["--node", "n1"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("name a file with --kubeconfig"), "{said}");
    let (code, said) = run(&["--node", "n1", "--kubeconfig", "/nonexistent"]);
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
}
