//! Two jobs of different quality of service on one simulated device: the higher one keeps its P99, and the metrics say
//! whose the device's time was.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use xsched_common::api::ProcessRow;
use xsched_common::units::Class;

use super::Figures;
use super::slurm::{self, Cluster, NODES};
use crate::build::{Built, root};
use crate::child::Guarded;
use crate::progress::note;
use crate::{agent, stats};

const REPETITIONS: usize = 3;
/// Of one measurement of the service: two hundred requests.
const MEASURE: Duration = Duration::from_secs(6);
/// Requests before that: while Slurm's daemons start the job, on the same processors, and the job joins.
const WARM_UP: Duration = Duration::from_secs(1);
/// The batch runs from before the service until after it.
const BATCH: Duration = Duration::from_secs(14);
const REQUEST_KERNELS: u64 = 20;
const KERNEL_US: u64 = 500;
const PERIOD_MS: u64 = 30;
const BATCH_KERNEL_US: u64 = 300;

/// Classes by QOS, as deploy/slurm/xsched.toml has them.
const CONFIG: &str = r#"
[[rule]]
name = "QOS high"
match = { slurm_qos = "high" }
class = "high"
[[rule]]
name = "QOS low"
match = { slurm_qos = "low" }
class = "low"
"#;

/// A folder that the jobs' user can reach, an agent, and a cluster.
struct Stage {
    dir: tempfile::TempDir,
    metrics: SocketAddr,
    cluster: Cluster,
    _agent: Guarded,
}

/// What a service told of itself.
struct Service {
    job: u32,
    p50_ns: f64,
    p99_ns: f64,
    /// Kernels that it has launched, all of which have run; those of requests that are not measured among them.
    launches: u64,
}

/// Device time of a job, s: what its kernels took, and what it is charged.
#[derive(Debug)]
struct Account {
    used: f64,
    charged: f64,
}

impl Account {
    fn error_pct(of: &[&Account]) -> f64 {
        let sum =
            |part: fn(&Account) -> f64| -> f64 { of.iter().map(|account| part(account)).sum() };
        (sum(|account| account.charged) / sum(|account| account.used) - 1.0) * 100.0
    }
}

pub fn run(built: &Built, figures: &mut Figures) -> anyhow::Result<()> {
    let mut stage = Stage::new(built)?;
    let (mut ratios, mut errors, mut job_errors) = (Vec::new(), Vec::new(), Vec::new());
    let mut right = f64::INFINITY;
    for repetition in 1..=REPETITIONS {
        note(&format!(
            "{repetition} of {REPETITIONS}: a job of QOS high alone, then beside one of QOS low"
        ));
        let alone = stage.service()?;
        let batch = stage.start_batch()?;
        let classes = stage.classes(batch)?;
        let beside = stage.service()?;
        right = right.min(f64::from(classes));
        let output = stage.output(batch);
        ensure!(
            number(&output, "kernels").is_err(),
            "the batch ended before the service beside it"
        );
        stage.cluster.wait(batch, BATCH * 3)?;
        let kernels = number(&output, "kernels")?;
        ratios.push(beside.p99_ns / alone.p99_ns);
        let page = stage.scrape()?;
        let account = |job, seconds| -> anyhow::Result<Account> {
            Ok(Account {
                used: seconds,
                charged: charged(&page, job)?,
            })
        };
        let service = |of: &Service| account(of.job, (of.launches * KERNEL_US) as f64 / 1e6);
        let [first, second] = [service(&alone)?, service(&beside)?];
        let batch = account(batch, kernels * BATCH_KERNEL_US as f64 / 1e6)?;
        for (what, of, account) in [("alone", &alone, &first), ("beside", &beside, &second)] {
            note(&format!(
                "{what}: P50 {:.2} ms, P99 {:.2} ms; {account:.3?}",
                of.p50_ns / 1e6,
                of.p99_ns / 1e6
            ));
        }
        note(&format!("the batch: {batch:.3?}"));
        errors.push(Account::error_pct(&[&second, &batch]).abs());
        let each = [&second, &batch].map(|account| Account::error_pct(&[account]).abs());
        job_errors.push(each.into_iter().fold(0.0, f64::max));
    }
    figures.set("slurm_high_p99", stats::median(&ratios));
    figures.set("slurm_attribution_err_pct", stats::median(&errors));
    figures.set("slurm_job_attribution_err_pct", stats::median(&job_errors));
    figures.set("slurm_classes_right", right);
    Ok(())
}

impl Stage {
    fn new(built: &Built) -> anyhow::Result<Stage> {
        let dir = tempfile::Builder::new().prefix("xsched-fleet-").tempdir()?;
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        open(dir.path(), 0o755)?;
        for (name, mode) in [
            ("bin", 0o755),
            ("device", 0o777),
            ("out", 0o777),
            ("run", 0o755),
            ("slurm", 0o755),
            ("scripts", 0o755),
        ] {
            let path = dir.path().join(name);
            fs::create_dir(&path)?;
            open(&path, mode)?;
        }
        for name in [
            "hipsim-service",
            "hipsim-batch",
            "libxsched_shim.so",
            "libxsched_shim_cuda.so",
        ] {
            fs::copy(built.file(name), dir.path().join("bin").join(name))?;
        }
        hipsim::install::install(&built.file("libhipsim.so"), &dir.path().join("hip"))?;
        let run_dir = dir.path().join("run");
        write_scripts(
            &dir.path().join("scripts"),
            &run_dir,
            &dir.path().join("bin"),
        )?;
        let config = dir.path().join("xsched.toml");
        fs::write(&config, CONFIG)?;
        let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = fs::File::create(dir.path().join("agent.log"))?;
        // As its unit runs it (dist/systemd): before the jobs that it serves.
        let mut command = Command::new("nice");
        command
            .arg("-n-10")
            .arg(built.file("xsched-agent"))
            .arg("--no-bpf")
            .arg(format!("--metrics={metrics}"))
            .arg("--config")
            .arg(config)
            .env("XSCHED_RUN_DIR", &run_dir)
            .stderr(log);
        let guarded = Guarded::start(&mut command, "the agent")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !agent::serves(&run_dir) {
            ensure!(
                Instant::now() < deadline,
                "the agent does not serve {}",
                run_dir.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let cluster = Cluster::start(&dir.path().join("slurm"), &dir.path().join("scripts"))?;
        Ok(Stage {
            dir,
            metrics,
            cluster,
            _agent: guarded,
        })
    }

    fn output(&self, job: u32) -> PathBuf {
        self.dir.path().join("out").join(job.to_string())
    }

    /// A job that replaces itself by this program. What the machine needs of a job is in the script; the shim comes
    /// from the task prolog.
    fn submit(&self, options: &[&str], program: &str, arguments: &str) -> anyhow::Result<u32> {
        let script = self
            .dir
            .path()
            .join("scripts")
            .join(format!("{program}.sh"));
        let dir = self.dir.path().display();
        let text = format!(
            "#!/bin/sh\nexport HIPSIM_DEVICE={dir}/device/device XSCHED_RUN_DIR={dir}/run \
             LD_LIBRARY_PATH={dir}/hip\nexec {dir}/bin/{program} {arguments}\n"
        );
        fs::write(&script, text)?;
        let output = self.dir.path().join("out/%j");
        self.cluster.submit(options, &script, &output)
    }

    /// A job of QOS high that serves requests.
    fn service(&mut self) -> anyhow::Result<Service> {
        let arguments = format!(
            "--json --kernels {REQUEST_KERNELS} --kernel-time {KERNEL_US}us --period {PERIOD_MS}ms \
             --warmup {}ms --duration {}ms --times {}/$SLURM_JOB_ID.times",
            WARM_UP.as_millis(),
            MEASURE.as_millis(),
            self.dir.path().join("out").display(),
        );
        let options = ["--qos=high", "--nodelist", NODES[0]];
        let job = self.submit(&options, "hipsim-service", &arguments)?;
        self.cluster.wait(job, MEASURE * 6)?;
        let output = self.output(job);
        let times = fs::read_to_string(output.with_extension("times"))?;
        // One more tells it that all is well, before its times are noted.
        let requests = 1 + times.lines().count() as u64;
        Ok(Service {
            job,
            p50_ns: number(&output, "p50_ns")?,
            p99_ns: number(&output, "p99_ns")?,
            launches: requests * REQUEST_KERNELS,
        })
    }

    /// A job of QOS low that never waits.
    fn start_batch(&self) -> anyhow::Result<u32> {
        let arguments = format!(
            "--kernel-time {BATCH_KERNEL_US}us --duration {}s",
            BATCH.as_secs()
        );
        self.submit(
            &["--qos=low", "--nodelist", NODES[1]],
            "hipsim-batch",
            &arguments,
        )
    }

    /// How much of a job's row is as its QOS says: the class, the QOS, the account.
    fn classes(&self, job: u32) -> anyhow::Result<u8> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let run_dir = self.dir.path().join("run");
        loop {
            let snapshot = agent::snapshot(&run_dir)?;
            let is_it = |row: &&ProcessRow| row.job.as_ref().is_some_and(|of| of.id == job);
            if let Some(row) = snapshot.processes.iter().find(is_it)
                && row.class == Class::Low
                && let Some(of) = &row.job
            {
                let right = [
                    row.class == Class::Low,
                    of.qos.as_deref() == Some("low"),
                    of.account.as_deref() == Some("ml"),
                ];
                return Ok(right.into_iter().map(u8::from).sum());
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.output(job)).unwrap_or_default();
                bail!(
                    "job {job} has no row of class low: {:?}; it said {log:?}",
                    snapshot.processes
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn scrape(&self) -> anyhow::Result<String> {
        // What was counted last is in the next look of the model's.
        std::thread::sleep(Duration::from_millis(1200));
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }
}

/// The shipped scripts, told where this agent is.
fn write_scripts(to: &Path, run_dir: &Path, shims: &Path) -> anyhow::Result<()> {
    let environment = slurm::environment()?;
    for name in ["prolog.sh", "epilog.sh", "task-prolog.sh"] {
        let shipped = root().join("deploy/slurm").join(name);
        let text = fs::read_to_string(&shipped)
            .with_context(|| format!("cannot read {}", shipped.display()))?;
        let told = format!(
            "#!/bin/sh\n{environment}\nexport XSCHED_RUN_DIR={} XSCHED_SHIMS={}\n{text}",
            run_dir.display(),
            shims.display()
        );
        let file = to.join(name);
        fs::write(&file, told)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// A number of a program's JSON.
fn number(output: &Path, key: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(output)?;
    let line = text.lines().find(|line| line.starts_with('{'));
    let report: Value = line
        .and_then(|line| serde_json::from_str(line).ok())
        .with_context(|| format!("the job printed {text:?}"))?;
    report[key]
        .as_f64()
        .with_context(|| format!("no {key} in {report}"))
}

/// Device time of a job, s.
fn charged(page: &str, job: u32) -> anyhow::Result<f64> {
    let series = "xsched_workload_device_busy_seconds_total{";
    let label = format!("job_id=\"{job}\"");
    let mut lines = page.lines();
    let line = lines.find(|line| line.starts_with(series) && line.contains(&label));
    let line = line.with_context(|| format!("job {job} has no series of device time"))?;
    let value = line.rsplit(' ').next().unwrap_or_default();
    value.parse().with_context(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What squeue answers with: its format's mark stands for MARK.
    fn prolog(dir: &Path, answer: &str) -> Option<String> {
        let squeue = dir.join("squeue");
        fs::write(dir.join("answer"), answer).expect("written");
        let stub = format!(
            "#!/bin/sh\nfor last; do :; done\nlast=${{last#--format=}}\n\
             exec sed \"s/MARK/${{last%%|*}}/\" '{}'\n",
            dir.join("answer").display()
        );
        fs::write(&squeue, stub).expect("written");
        fs::set_permissions(&squeue, fs::Permissions::from_mode(0o755)).expect("chmod");
        script(dir, "prolog.sh");
        fs::read_to_string(dir.join("slurm/7")).ok()
    }

    fn script(dir: &Path, name: &str) {
        let out = Command::new("sh")
            .arg(root().join("deploy/slurm").join(name))
            .env("PATH", format!("{}:/usr/bin:/bin", dir.display()))
            .env("XSCHED_RUN_DIR", dir)
            .env("SLURM_JOB_ID", "7")
            .output()
            .expect("sh");
        assert!(out.status.success(), "{out:?}");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    }

    /// A comment is its user's text: it may look like a name, a line, or a command.
    #[test]
    fn the_prolog_takes_words_of_a_comment_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path();
        let line = "high|ml|gpu|xsched:low xsched:weight=50 xsched:$(id) xsched:a;b * qos=evil|x|y";
        let answer = format!("MARK|7|N/A|{line}\nqos=second\n|7|N/A|evil|evil|evil|\n");
        assert_eq!(
            prolog(dir, &answer).expect("a record"),
            "qos=high\naccount=ml\npartition=gpu\nasks=low weight=50\n"
        );
        script(dir, "epilog.sh");
        let record = dir.join("slurm/7");
        assert!(!record.exists());
        // Without an answer of the controller there is no record, another job's
        // of that number neither, and the job starts.
        fs::write(&record, "qos=high\n").expect("written");
        fs::write(dir.join("squeue"), "#!/bin/sh\nexit 1\n").expect("written");
        script(dir, "prolog.sh");
        assert!(!record.exists());
    }

    /// The answer to one number may have several jobs.
    #[test]
    fn the_prolog_takes_its_own_job_of_several() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path();
        // A heterogeneous job's first component, and another's comment.
        let answer = "MARK|6|N/A|high|ml|gpu|\n7|N/A|high|ml|gpu|\nMARK|7|N/A|low|ml|cpu|\n";
        let record = prolog(dir, answer).expect("a record");
        assert!(
            record.starts_with("qos=low\naccount=ml\npartition=cpu\n"),
            "{record}"
        );
        // An array's last task keeps the number; while others wait it is theirs.
        let last = "MARK|6|1|high|ml|gpu|\nMARK|7|2||ml|gpu|\n";
        let record = prolog(dir, last).expect("a record");
        assert!(record.starts_with("qos=\naccount=ml\n"), "{record}");
        for none in [
            "MARK|7|[2-9]|high|ml|a,b|\n",
            "MARK|7|2-9%2|high|ml|a,b|\n",
            "MARK|6|N/A|high|ml|gpu|\n",
            "MARK|7|N/A|high|ml|gpu|\nMARK|7|N/A|low|ml|gpu|\n",
            "",
        ] {
            assert_eq!(prolog(dir, none), None, "{none}");
        }
    }
}
