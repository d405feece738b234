//! The metrics endpoint, and the files that live on its names.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xsched_agent::export::metrics::{ControlTimes, Format, Scrape};
use xsched_agent::model::{Sums, WorkloadKey, WorkloadSums};
use xsched_common::api::{JobRow, PodRow, ProcessRow, ShimState, Snapshot};
use xsched_common::units::Nanos;
use xsched_testkit::machine::Machine;
use xsched_testkit::{Agent, DEADLINE, wait_for};

use crate::fixture;

fn scrape(snapshot: Snapshot, processes: usize) -> Scrape {
    Scrape {
        sums: sums(&snapshot),
        snapshot: Arc::new(snapshot),
        control: ControlTimes::default(),
        processes,
        workloads: 1_000,
    }
}

fn page(snapshot: Snapshot, processes: usize, format: Format) -> String {
    let scrape = scrape(snapshot, processes);
    scrape.render(format).expect("to memory")
}

/// Those of the pods and jobs on a snapshot.
fn sums(snapshot: &Snapshot) -> Sums {
    let of = |row: &ProcessRow| {
        let key = match (&row.pod, &row.job) {
            (Some(pod), _) => WorkloadKey::Pod(pod.uid.clone()),
            (None, job) => WorkloadKey::Job(job.as_ref()?.id),
        };
        let sums = WorkloadSums {
            pod: row.pod.clone(),
            job: row.job.clone(),
            user: row.user.clone(),
            busy: Nanos(row.launches),
            launches: row.launches,
            ..WorkloadSums::default()
        };
        Some((key, sums))
    };
    let mut sums = Sums::default();
    sums.workloads = snapshot.processes.iter().filter_map(of).collect();
    sums
}

fn full(format: Format) -> String {
    page(fixture::snapshot(), 20, format)
}

fn dist(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../dist")
        .join(file)
}

/// promtool of Debian's package prometheus, which `cargo xtask test` installs.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: apt-get install prometheus");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("reads it");
    drop(stdin);
    let out = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{input}");
    if arguments[0] == "check" && arguments[1] == "metrics" {
        assert_eq!(said, "", "it has nothing to say");
    }
}

/// Prometheus refuses a page on which a series occurs twice, or drops one.
fn no_series_twice(page: &str) {
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a series and a value");
        assert!(seen.insert(series), "twice: {series}");
    }
}

/// The names of all series on a page of text.
fn names(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// Words that begin as our metrics do.
fn mentioned(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("xsched_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn promtool_has_nothing_against_a_full_page() {
    let page = full(Format::Text);
    promtool(&["check", "metrics"], &page);
    no_series_twice(&page);
    assert!(
        page.contains(r#"command="evil\"} 1\n\\""#),
        "a command cannot forge a series:\n{page}"
    );
}

#[test]
fn promtool_has_nothing_against_an_idle_machine() {
    promtool(
        &["check", "metrics"],
        &page(Snapshot::default(), 20, Format::Text),
    );
}

#[test]
fn open_metrics_says_units_and_ends() {
    let page = full(Format::OpenMetrics);
    assert!(page.ends_with("# EOF\n"));
    assert!(page.contains("# UNIT xsched_burst_duration_seconds seconds\n"));
    assert!(page.contains("# TYPE xsched_launches counter\n"));
    assert_eq!(names(&page), names(&full(Format::Text)));
}

#[test]
fn series_are_bounded_and_the_rest_is_summed_up() {
    let mut snapshot = fixture::snapshot();
    let row = fixture::process(1, "many");
    let rows = (100..1_100).map(|pid| xsched_common::api::ProcessRow {
        pid,
        slo: None,
        launches_per_s: f64::from(pid),
        ..row.clone()
    });
    snapshot.processes = rows.collect();
    let page = page(snapshot, 5, Format::Text);
    let rates: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("xsched_process_launches_per_second{"))
        .collect();
    assert_eq!(rates.len(), 6, "{rates:?}");
    assert!(rates[0].contains("pid=\"1099\""), "the busiest: {rates:?}");
    let sum: u32 = (100..1_095).sum();
    assert_eq!(
        rates[5],
        format!(
            "xsched_process_launches_per_second{{pid=\"\",command=\"(others)\",user=\"\",unit=\"\",device=\"\",class=\"\",platform=\"\"}} {sum}.0"
        )
    );
    assert!(page.lines().count() < 600, "{}", page.lines().count());
    promtool(&["check", "metrics"], &page);
}

/// A busy machine: 1,000 pods of two processes, 50 jobs, all with long names.
#[test]
fn a_thousand_pods_have_series_and_a_bounded_page() {
    let mut snapshot = fixture::snapshot();
    let row = fixture::process(1, "worker");
    let in_pod = |at: u32| PodRow {
        uid: format!("7d1b53a2-9d8f-4a0c-8c5e-{:012}", at / 2),
        namespace: Some("a-namespace-of-some-length".into()),
        name: Some(format!(
            "inference-deployment-with-a-name-6d4cf56db-{:05}",
            at / 2
        )),
        container: None,
    };
    let pods = (0..2_000).map(|at| ProcessRow {
        pid: 1_000 + at,
        pod: Some(in_pod(at)),
        job: None,
        launches: u64::from(at) + 1,
        ..row.clone()
    });
    let jobs = (0..50).map(|at| ProcessRow {
        pid: 5_000 + at,
        pod: None,
        job: Some(JobRow {
            id: at,
            ..row.job.clone().expect("a job")
        }),
        launches: 1_000_000,
        ..row.clone()
    });
    snapshot.processes = pods.chain(jobs).collect();
    let scrape = scrape(snapshot, 20);
    let snapshot = scrape.snapshot.clone();
    let began = Instant::now();
    // Which a scrape takes a copy of.
    let sums = scrape.sums.clone();
    let page = Scrape { sums, ..scrape }.render(Format::Text);
    let took = began.elapsed();
    let page = page.expect("to memory");
    drop(snapshot);
    eprintln!("figure: scrape_bytes {}", page.len());
    eprintln!("figure: scrape_ms {:.1}", took.as_secs_f64() * 1e3);
    assert!(page.len() <= 2 << 20, "{}", page.len());
    // 100 ms in a release build; the test builds without optimisation.
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    let busy = |page: &str| {
        let series = page.lines();
        series
            .filter(|line| line.starts_with("xsched_workload_device_busy_seconds_total{"))
            .count()
    };
    assert_eq!(busy(&page), 1_000);
    assert!(page.contains("xsched_workloads_unlisted 50.0\n"));
    assert!(page.contains(r#"job_id="49",user="ada",partition="gpu",qos="high",account="ml"}"#));
    assert!(
        !page.contains("pid=\"\",command=\"worker"),
        "no numbers of processes"
    );
    promtool(&["check", "metrics"], &page);
}

#[test]
fn a_pod_made_anew_has_the_series_of_the_one_before() {
    let mut snapshot = fixture::snapshot();
    let row = snapshot.processes[0].clone();
    let of = |uid: &str, launches| ProcessRow {
        pod: Some(PodRow {
            uid: uid.to_owned(),
            namespace: Some("web".to_owned()),
            name: Some("db-0".to_owned()),
            container: None,
        }),
        job: None,
        launches,
        ..row.clone()
    };
    let pods = [of("u1", 100), of("u2", 7)];
    snapshot.processes.extend(pods);
    let page = page(snapshot, 0, Format::Text);
    no_series_twice(&page);
    let launches = r#"xsched_workload_launches_total{namespace="web",pod="db-0"} 107"#;
    assert!(page.contains(launches), "{page}");
    let processes = r#"xsched_workload_processes{namespace="web",pod="db-0"} 2"#;
    assert!(page.contains(processes), "{page}");
}

#[test]
fn what_is_unknown_has_no_series() {
    let mut snapshot = fixture::snapshot();
    for row in &mut snapshot.processes {
        row.shim = ShimState::Absent;
        (row.burst, row.gate_wait, row.busy_ratio, row.gate) = (None, None, None, None);
    }
    let names = names(&page(snapshot, 20, Format::Text));
    assert!(!names.contains("xsched_process_burst_p99_seconds"));
    assert!(names.contains("xsched_process_bypass_ratio"));
}

#[test]
fn alert_rules_are_valid_and_fire_when_they_should() {
    let rules = dist("prometheus/xsched.rules.yml");
    let tests = dist("prometheus/xsched.rules.test.yml");
    promtool(&["check", "rules", rules.to_str().expect("UTF-8")], "");
    promtool(&["test", "rules", tests.to_str().expect("UTF-8")], "");
    uses_only_what_exists(&rules);
}

fn uses_only_what_exists(file: &Path) {
    let text = std::fs::read_to_string(file).expect("shipped");
    let used = mentioned(&text);
    assert!(used.len() > 5, "it is about us: {used:?}");
    let exported = names(&full(Format::Text));
    let unknown: Vec<_> = used.difference(&exported).collect();
    assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
}

#[test]
fn the_dashboard_shows_every_metric_and_no_others() {
    let file = dist("grafana/xsched.json");
    uses_only_what_exists(&file);
    let text = std::fs::read_to_string(&file).expect("shipped");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = String::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{panel}"
        );
        for target in panel["targets"].as_array().expect("targets") {
            queries += target["expr"].as_str().expect("a query");
            queries += "\n";
        }
    }
    let shown = mentioned(&queries);
    let family = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let cut = parts.iter().find_map(|part| name.strip_suffix(part));
        cut.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<String> = shown.iter().map(|name| family(name)).collect();
    let exported: BTreeSet<String> = names(&full(Format::Text))
        .iter()
        .map(|name| family(name))
        .collect();
    assert_eq!(shown, exported);
}

#[test]
fn the_fleet_s_dashboard_uses_only_what_exists() {
    uses_only_what_exists(&dist("grafana/xsched-fleet.json"));
}

#[test]
fn the_documentation_lists_every_metric() {
    let text = include_str!("../../../docs/METRICS.md");
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `xsched_"))
        .filter_map(|line| line.split('`').next())
        .map(|name| format!("xsched_{name}"))
        .collect();
    let page = full(Format::Text);
    let exported: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, exported);
}

/// An agent that serves metrics at a port of the kernel's choice.
fn agent() -> (Agent, SocketAddr) {
    let (agent, log) = Agent::start_logging(&["--metrics=127.0.0.1:0"]);
    let mut address = None;
    wait_for("it says where it serves metrics", || {
        let text = std::fs::read_to_string(&log).expect("a log");
        let at = text.split("metrics at http://").nth(1);
        address = at.and_then(|at| Some(at.split_once("/metrics")?.0.parse().expect("an address")));
        address.is_some()
    });
    (agent, address.expect("found"))
}

fn request(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
        .write_all(format!("{head}\r\nHost: x\r\n\r\n").as_bytes())
        .expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answers");
    text
}

fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_real_program_is_counted() {
    let (agent, address) = agent();
    let machine = Machine::with(agent);
    let batch = machine.run("low", "hipsim-batch", &["--kernel-time", "200us"]);
    let scrape = || request(address, "GET /metrics HTTP/1.1");
    let launches = r#"xsched_launches_total{class="low",route="gated"}"#;
    wait_for("its launches are counted", || {
        value(&scrape(), launches).is_some_and(|n| n > 1_000.0)
    });
    wait_for("its rate is known", || {
        let series = format!(
            "xsched_process_launches_per_second{{pid=\"{}\"",
            batch.pid()
        );
        value(&scrape(), &series).is_some_and(|n| n > 500.0)
    });
    let before = value(&scrape(), launches).expect("counted");
    // Counters outlive the process.
    drop(batch);
    wait_for("it is gone", || {
        let page = scrape();
        let joined = r#"xsched_processes{class="low",shim="joined",platform="hip"}"#;
        value(&page, joined) == Some(0.0)
            && value(&page, r#"xsched_events_total{kind="left"}"#) == Some(1.0)
    });
    let page = scrape();
    assert!(value(&page, launches) >= Some(before), "{page}");
    assert!(value(&page, r#"xsched_burst_duration_seconds_count{class="low"}"#).is_some());
    assert!(value(&page, r#"xsched_device_busy_seconds_total{class="low"}"#) > Some(0.01));
    assert!(value(&page, "xsched_control_heartbeat_delay_seconds_count") > Some(10.0));
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("version=0.0.4"));
    promtool(&["check", "metrics"], body);
    let open = request(
        address,
        "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0",
    );
    assert!(open.ends_with("# EOF\n") && open.contains("openmetrics-text"));
}

/// What it did since the last look is read when it leaves; one may come and go
/// between two looks.
#[test]
fn a_process_that_has_ended_is_counted_whole() {
    let (agent, address) = agent();
    let machine = Machine::with(agent);
    let mut all = 0;
    for kernels in [100, 700, 1_900, 3_300] {
        let options = ["--kernel-time", "200us", "--kernels", &kernels.to_string()];
        let mut batch = machine.run("low", "hipsim-batch", &options);
        assert!(batch.0.wait().expect("it ends").success());
        all += kernels;
    }
    let scrape = || request(address, "GET /metrics HTTP/1.1");
    let launches = r#"xsched_launches_total{class="low",route="gated"}"#;
    wait_for("all launches are counted", || {
        value(&scrape(), launches) == Some(f64::from(all))
    });
    let busy = value(
        &scrape(),
        r#"xsched_device_busy_seconds_total{class="low"}"#,
    );
    assert!(busy > Some(0.95 * 200e-6 * f64::from(all)), "{busy:?}");
}

#[test]
fn strange_and_slow_clients_keep_nobody_out() {
    let (_agent, address) = agent();
    assert!(request(address, "POST /metrics HTTP/1.1").starts_with("HTTP/1.1 405"));
    assert!(request(address, "GET /other HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(request(address, "GET / HTTP/1.1").contains("/metrics"));
    assert!(request(address, "nonsense").starts_with("HTTP/1.1 400"));
    let long = format!("GET /{} HTTP/1.1", "x".repeat(100_000));
    let mut stream = TcpStream::connect(address).expect("connects");
    let _ = stream.write_all(long.as_bytes());
    // Eight that never ask.
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(address).expect("connects"))
        .collect();
    let began = Instant::now();
    assert!(request(address, "GET /metrics HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it does not wait for them"
    );
    // More than there is room for, that say half a request and stay.
    let crowd: Vec<TcpStream> = (0..700)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connects");
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
            stream
        })
        .collect();
    for _ in 0..5 {
        let page = request(address, "GET /metrics HTTP/1.1");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    }
    drop((silent, crowd));
}

#[test]
fn no_metrics_unless_asked_for_and_a_port_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = xsched_testkit::agent_command()
        .args(["--no-bpf", &format!("--metrics={address}")])
        .env("XSCHED_RUN_DIR", &xsched_testkit::make_run_dir(&dir).0)
        .env("NO_COLOR", "1")
        .output()
        .expect("runs");
    assert_eq!(out.status.code(), Some(2));
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(error.contains("cannot serve metrics at"), "{error}");
    let (agent, log) = Agent::start_logging(&[]);
    agent.ask_raw(r#"{"op":"list"}"#);
    let text = std::fs::read_to_string(log).expect("a log");
    assert!(!text.contains("metrics at"), "{text}");
}
