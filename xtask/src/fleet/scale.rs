//! 1,000 nodes, scraped by one Prometheus on this machine: a real agent's page with fifty pods on it, served under a
//! thousand names.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Figures;
use crate::agent;
use crate::build::Built;
use crate::child::Guarded;
use crate::progress::note;

const NODES: usize = 1_000;
/// Pods on each.
const PODS: usize = 50;
const INTERVAL: Duration = Duration::from_secs(15);
/// All targets have been scraped twice and more.
const WATCHED: Duration = Duration::from_secs(50);

pub fn run(built: &Built, figures: &mut Figures) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let page = page(built, dir.path())?;
    figures.set("scale_page_bytes", page.len() as f64);
    let nodes = serve(page)?;
    let config = dir.path().join("prometheus.yml");
    fs::write(&config, configuration(nodes))?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    note(&format!(
        "one Prometheus scrapes {NODES} nodes for {} s",
        WATCHED.as_secs()
    ));
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error");
    let prometheus = Guarded::start(&mut command, "prometheus")?;
    std::thread::sleep(WATCHED);
    let value = |query: &str| value(address, query);
    figures.set("scale_nodes_up", value("sum(up)")?);
    figures.set(
        "scale_scrape_ms_mean",
        value("avg(scrape_duration_seconds)")? * 1e3,
    );
    figures.set(
        "scale_scrape_ms_max",
        value("max(scrape_duration_seconds)")? * 1e3,
    );
    figures.set(
        "scale_series",
        value("sum(scrape_samples_post_metric_relabeling)")?,
    );
    let status = fs::read_to_string(format!("/proc/{}/status", prometheus.pid()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    figures.set("scale_memory_mib", kib.context("no VmRSS")? / 1024.0);
    Ok(())
}

/// What an agent says, and what it would say of pods.
fn page(built: &Built, dir: &Path) -> anyhow::Result<String> {
    let run_dir = dir.join("run");
    fs::DirBuilder::new().mode(0o755).create(&run_dir)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(built.file("xsched-agent"));
    command
        .arg("--no-bpf")
        .arg(format!("--metrics={address}"))
        .env("XSCHED_RUN_DIR", &run_dir)
        .stderr(fs::File::create(dir.join("agent.log"))?);
    let _agent = Guarded::start(&mut command, "the agent")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !agent::serves(&run_dir) {
        ensure!(Instant::now() < deadline, "the agent does not serve");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut page = get(address, "/metrics")?;
    for (name, kind) in [
        ("workload_device_busy_seconds_total", "counter"),
        ("workload_launches_total", "counter"),
        ("workload_bypass_launches_total", "counter"),
        ("workload_processes", "gauge"),
        ("workload_burst_p99_seconds", "gauge"),
        ("workload_slo_missed", "gauge"),
    ] {
        page += &format!("# TYPE xsched_{name} {kind}\n");
        for pod in 0..PODS {
            page += &format!(
                "xsched_{name}{{namespace=\"team-{}\",pod=\"inference-{pod:05}\"}} {pod}\n",
                pod % 7
            );
        }
    }
    Ok(page)
}

/// Serves the page to whoever asks, until the task ends.
fn serve(page: String) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    let answer: Arc<str> = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len()).into();
    for _ in 0..8 {
        let (listener, answer) = (listener.try_clone()?, answer.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                if lines.any(|line| line.is_empty()) {
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
    }
    Ok(address)
}

fn configuration(nodes: SocketAddr) -> String {
    let seconds = INTERVAL.as_secs();
    let mut text = format!(
        "global: {{ scrape_interval: {seconds}s, scrape_timeout: 10s }}\nscrape_configs:\n- job_name: xsched\n  \
         relabel_configs: [{{ source_labels: [node], target_label: instance }}]\n  static_configs:\n"
    );
    for node in 0..NODES {
        text +=
            &format!("  - {{ targets: [\"{nodes}\"], labels: {{ node: \"gpu{node:04}\" }} }}\n");
    }
    text
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    Ok(body.to_owned())
}

/// What Prometheus says to a query for one number.
fn value(address: SocketAddr, query: &str) -> anyhow::Result<f64> {
    let answer = get(address, &format!("/api/v1/query?query={query}"))?;
    let answer: Value = serde_json::from_str(&answer)?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    let value = value.with_context(|| format!("{query}: {answer}"))?;
    Ok(value.parse()?)
}
