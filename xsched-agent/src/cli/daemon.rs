//! The agent itself: control, observer, model and API, wired together.

use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tracing::{info, warn};
use xsched_agent::attr::{AttrHandle, AttrKeeper, Inbox};
use xsched_agent::config::{
    self, AgentOverrides, AgentSettings, MetricsAt, Observe, OverheadBudget,
};
use xsched_agent::control::{
    Charge, Control, ControlHandle, NameList, Passthrough, Pulse, Scheduling, Setup, Stats,
};
use xsched_agent::events::EventLog;
use xsched_agent::export::metrics::{MetricsServer, Sources};
use xsched_agent::export::{self, Served};
use xsched_agent::model::{self, Model, Modeller};
use xsched_agent::reloader::{self, Presence, Reloader};
use xsched_agent::sampler::{Sampler, SamplerThread};
use xsched_agent::service;
use xsched_agent::slices::{self, SliceTable, Slices};
use xsched_agent::workloads::{self, Workloads};
use xsched_common::api::Snapshot;
use xsched_common::platform::TITLES;
use xsched_common::run_dir::RunDir;
use xsched_host::{cgroup, clock};
use xsched_observe::Returns;

use super::ending::{Signals, end_at_once};
use super::euid;
use super::log::Log;

/// Options of the agent itself.
#[derive(clap::Args)]
pub struct Options {
    /// Do not set probes: only processes under the shim are seen
    #[arg(long)]
    no_bpf: bool,

    /// The configuration file [default: /etc/xsched/xsched.toml; for other
    /// users $XDG_CONFIG_HOME/xsched/xsched.toml]. SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = config::CONFIG_ENV, hide_env = true)]
    config: Option<PathBuf>,

    /// What probes may cost a program, in percent of its time: beyond that
    /// they are in place for a part of the time only, and counts are scaled
    /// [default: the file's, or 1]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    overhead_budget: Option<OverheadBudget>,

    /// Measure bursts of processes without the shim too, by probes on the
    /// returns of waits. A C++ exception or pthread_cancel that passes a
    /// probed wait cannot unwind: the program ends, or keeps its locks
    /// [default: the file's, or false]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        conflicts_with = "no_bpf"
    )]
    probe_returns: Option<bool>,

    /// Libraries whose launches are not gated, in place of the file's:
    /// beginnings of file names, such as librocfft (librccl.so never is)
    #[arg(long, value_name = "LIB,...", value_delimiter = ',')]
    passthrough: Vec<String>,

    /// Run the thread that opens and closes gates with real-time priority
    /// (SCHED_FIFO), so that a machine full of busy programs does not delay it
    #[arg(long)]
    realtime: bool,

    /// Keep the agent's memory from being swapped out (mlockall)
    #[arg(long)]
    lock_memory: bool,

    /// Serve metrics for Prometheus at http://ADDRESS:PORT/metrics; without an
    /// address at 127.0.0.1:9464, where this machine alone can read them; off
    /// serves none [default: the file's, or off]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:9464"
    )]
    metrics: Option<MetricsAt>,

    /// The busiest so many processes have metrics of their own, the rest is
    /// summed up [default: the file's, or 20]
    #[arg(long, value_name = "N", value_parser = metrics_processes)]
    metrics_processes: Option<u16>,
}

fn metrics_processes(text: &str) -> Result<u16, String> {
    let most = AgentSettings::MAX_METRICS_PROCESSES;
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("a whole number from 0 to {most}, as 20"))
}

fn percent(text: &str) -> Result<OverheadBudget, String> {
    let percent = text.parse().ok().and_then(OverheadBudget::from_percent);
    percent.ok_or_else(|| "a percentage from 0.1 to 100, as 2.5".to_owned())
}

impl Options {
    /// Whether the command line says nothing about the configuration.
    pub fn is_plain(&self) -> bool {
        self.config.is_none()
            && self
                .sources()
                .is_ok_and(|sources| sources.command_line().is_empty())
    }

    /// What the agent is to go by: the command line over the file.
    pub fn sources(&self) -> anyhow::Result<reloader::Sources> {
        let passthrough = match self.passthrough.as_slice() {
            [] => None,
            names => {
                let libraries = NameList::passing(names.to_vec());
                Some(Passthrough::new(libraries, NameList::default()).context("--passthrough")?)
            }
        };
        Ok(reloader::Sources {
            path: match &self.config {
                Some(path) => path.clone(),
                None => config::for_agent(euid()),
            },
            presence: match &self.config {
                Some(_) => Presence::Required,
                None => Presence::Optional,
            },
            passthrough,
            agent: AgentOverrides {
                observe: self.no_bpf.then_some(Observe::PagesOnly),
                overhead_budget: self.overhead_budget,
                returns: self.probe_returns.map(|wanted| match wanted {
                    true => Returns::OfWaits,
                    false => Returns::Leave,
                }),
                metrics: self.metrics,
                metrics_processes: self.metrics_processes,
            },
        })
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // Before there are threads; in a container it says which pod is whose.
    let groups = cgroup::enter_machine_groups();
    let log = Log::start().context("cannot start the log")?;
    if let Err(why) = groups {
        info!("control groups are seen from inside of a container: {why}");
    }
    let served = serve(options, &log);
    log.finish();
    served.map(|()| ExitCode::SUCCESS)
}

fn serve(options: &Options, log: &Log) -> anyhow::Result<()> {
    let sockets = service::inherited()?;
    raise_descriptor_limit();
    if options.lock_memory {
        lock_memory();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Before anybody can know that there is an agent: whoever then stops it
    // stops it in good order.
    let Signals {
        mut terminate,
        mut interrupt,
        hangup,
        stop_asked,
    } = {
        let _context = runtime.enter();
        Signals::listen()?
    };
    let sources = options.sources()?;
    let config = Arc::new(sources.load()?);
    let run_dir = RunDir::for_agent(euid());
    let workloads = Workloads::of_machine(&config.agent.pods, &run_dir.0);
    let inbox = Inbox::new(workloads.clone());
    let pods_changed = inbox.pods_changed();
    let attr = inbox.handle();
    let mut picture = Model::new(clock::monotonic(), attr.clone());
    let _hardware = picture.hardware().read()?;
    let (events, history, sums) = (picture.event_log(), picture.history(), picture.sums());
    let blames = picture.blames();
    let slice_table = picture.slices();
    let (to_model, roster) = channel();
    let to_keeper = inbox.roster();
    let api_pulse = Arc::new(Pulse::default());
    let control = Control::start(
        &run_dir,
        Setup {
            settings: config.sharing.clone(),
            passthrough: config.passthrough.clone(),
            listener: sockets.join,
            scheduling: if options.realtime {
                Scheduling::Realtime
            } else {
                Scheduling::Normal
            },
            charge: Charge {
                others: vec![api_pulse.clone()],
                stop_asked: stop_asked.clone(),
                end: end_at_once(log.clone()),
            },
            roster: Box::new(move |event| {
                to_keeper(event.clone());
                // Gone only when the agent stops.
                let _ = to_model.send(event);
            }),
        },
    )?;
    picture.watch_over(control.stats());
    let _watcher = picture.watch().start(control.stats())?;
    let keeper = AttrKeeper::start(
        inbox,
        control.handle(),
        config.clone(),
        &run_dir.0,
        events.clone(),
    )?;
    let _pods = workloads::Watcher::start(workloads, pods_changed)?;
    let reloader = Reloader::new(
        sources,
        config.clone(),
        control.handle(),
        attr.clone(),
        events.clone(),
    );
    match &config.path {
        Some(path) => info!("{}: {} rules", path.display(), config.rules.len()),
        None => info!("no configuration file: the defaults hold"),
    }
    // Ours to remove at the end, unless the service manager made it.
    let made = sockets.api.is_none().then(|| run_dir.api_socket());
    let api = match sockets.api {
        Some(socket) => UnixListener::from(socket),
        None => export::listen(&run_dir.api_socket())?,
    };
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let mut modelled = snapshots.clone();
    let slices = time_slices(
        slice_table,
        snapshots.clone(),
        &attr,
        &events,
        control.handle(),
    )?;
    let (observations, observed) = model::observations();
    let modeller = {
        // The first snapshot must not wait for the first sweep of /proc.
        publish.send_replace(Arc::new(
            picture.snapshot(clock::monotonic(), clock::unix()),
        ));
        let sampler = match config.agent.observe {
            Observe::PagesOnly => {
                Err("probes are switched off (--no-bpf or observe = false)".to_owned())
            }
            Observe::Probes => {
                let budget = config.agent.overhead_budget.share();
                Sampler::start(budget, config.agent.returns).map_err(|e| e.to_string())
            }
        };
        match &sampler {
            Ok(sampler) => info!(
                "observing every process that uses {TITLES}; a probed call costs {}",
                sampler.cost().entry
            ),
            Err(reason) => warn!("only processes under the shim are seen: {reason}"),
        }
        let sampler = match sampler {
            Ok(sampler) => {
                let to_model = observations.clone();
                let publish = move |observation| to_model.hand_in(observation);
                Ok(SamplerThread::start(sampler, publish)?)
            }
            Err(reason) => Err(reason),
        };
        let parts = model::Parts {
            observer: sampler,
            observed,
            roster,
        };
        let publish = move |snapshot| drop(publish.send_replace(Arc::new(snapshot)));
        Modeller::start(picture, parts, observations, publish)?
    };

    let sources = Sources {
        snapshots: snapshots.clone(),
        sums,
        control: control.stats(),
        processes: config.agent.metrics_processes.into(),
        workloads: config.agent.metrics_workloads.into(),
    };
    let served = Served {
        attr,
        reloader: reloader.clone(),
        snapshots,
        history,
        blames,
        events,
    };
    let stats = control.stats();
    let ended = runtime.block_on(async {
        if let Some(address) = config.agent.metrics {
            let server = MetricsServer::bind(address).await?;
            info!("metrics at http://{}/metrics", server.address()?);
            tokio::spawn(server.serve(sources));
        }
        info!("serving {}", run_dir.0.display());
        service::ready();
        tokio::select! {
            failed = export::serve(api, served) => match failed {
                Ok(never) => match never {},
                Err(e) => Err(anyhow::Error::new(e).context("cannot serve the API")),
            },
            never = tell_the_watchdog(&stats) => match never {},
            never = live_on(&api_pulse) => match never {},
            never = reload_on(hangup, &reloader) => match never {},
            () = async { while modelled.changed().await.is_ok() {} } => Err(anyhow::anyhow!(
                "a thread of the agent has failed (see above): start it again, and report this"
            )),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    });
    // Whatever the reason: from here on it must come to an end.
    stop_asked.store(true, Relaxed);
    service::stopping();
    info!("stopping");
    // A diagnosis on request may take seconds more: nobody waits for it.
    runtime.shutdown_background();
    modeller.stop();
    // The sockets go while the directory is still ours: afterwards they may
    // be those of the next agent.
    if let Some(api) = made {
        let _ = std::fs::remove_file(api);
    }
    // What was ordered is kept for the next agent.
    drop(keeper);
    // Gates open first; then the probes go, and the slices are given back.
    drop(control);
    drop(slices);
    // A failure is in `ended`.
    modeller.join();
    ended
}

/// Has time slices follow the classes, where a driver lets them be set.
fn time_slices(
    table: SliceTable,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    attr: &AttrHandle,
    events: &EventLog,
    control: ControlHandle,
) -> std::io::Result<Option<Slices>> {
    let driver = match xsched_host::platform::slice_driver() {
        Ok(driver) => driver,
        Err(why) => {
            table.unavailable(&why);
            return Ok(None);
        }
    };
    info!(
        "driver {}: time slices follow the classes",
        driver.version()
    );
    let parts = slices::Parts {
        pictures: Box::new(move || snapshots.borrow().clone()),
        attr: attr.table().clone(),
        table,
        events: events.clone(),
        take_turns: Box::new(move |processes| control.take_turns(processes)),
    };
    Slices::start(driver, parts).map(Some)
}

/// Shows that this thread is not held up.
async fn live_on(pulse: &Pulse) -> Infallible {
    loop {
        pulse.beat();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A bad file changes nothing, and the log says its line.
async fn reload_on(mut hangup: Signal, reloader: &Reloader) -> Infallible {
    loop {
        match hangup.recv().await {
            Some(()) => {
                service::reloading();
                // Said in the log.
                let _ = reloader.reload("SIGHUP").await;
                service::ready();
            }
            None => return std::future::pending().await,
        }
    }
}

/// Says that the agent lives for as long as the control thread's heart beats:
/// this task alone would go on while that thread hangs.
async fn tell_the_watchdog(stats: &Stats) -> Infallible {
    let Some(every) = service::watchdog() else {
        return std::future::pending().await;
    };
    let mut heard = 0;
    loop {
        tokio::time::sleep(every).await;
        let beats = stats.beats.beats();
        if beats != heard {
            heard = beats;
            service::alive();
        }
    }
}

/// What is mapped later, too; but only what is used, so that reserved stacks
/// cost nothing.
fn lock_memory() {
    use rustix::mm::{MlockAllFlags, mlockall};
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match mlockall(all) {
        Ok(()) => info!("the agent's memory is locked"),
        Err(e) => warn!("memory is not locked: {e}; it needs CAP_IPC_LOCK or LimitMEMLOCK"),
    }
}

/// A client costs five descriptors, an image of the runtime one: the usual
/// soft limit of 1024 is for programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        warn!("the limit of open files stays: {e}");
    }
}
