//! An online service: periodic requests, each of a few kernels and one or more waits, with latencies at the end.
//!
//! Requests arrive at their times whether or not the service is ready (open loop): a request that had to queue counts
//! from its arrival.

use std::error::Error;
use std::ffi::{CStr, c_void};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;

/// Figures that its percentiles are right to.
const DIGITS: u8 = 4;

/// A stream of a platform.
pub type Stream = *mut c_void;

/// What a service calls of its platform.
pub trait Gpu: Sized {
    /// A kernel that can be launched.
    type Kernel;
    /// A call that failed.
    type Error: Error + 'static;

    /// Initialises the runtime.
    ///
    /// # Errors
    /// There is no device.
    fn start() -> Result<Self, Self::Error>;

    /// A created (blocking) stream.
    ///
    /// # Errors
    /// The runtime's.
    fn stream(&self) -> Result<Stream, Self::Error>;

    /// A kernel to launch in the given way. Call it once.
    ///
    /// # Errors
    /// The runtime's.
    fn kernel(
        &self,
        launch: LaunchChoice,
        name: &'static CStr,
    ) -> Result<Self::Kernel, Self::Error>;

    /// Launches one block; `parameters` point to the arguments.
    ///
    /// # Errors
    /// The runtime's.
    fn launch(
        &self,
        kernel: &Self::Kernel,
        stream: Stream,
        parameters: &mut [*mut c_void],
    ) -> Result<(), Self::Error>;

    /// Waits for everything queued.
    ///
    /// # Errors
    /// The runtime's.
    fn synchronize(&self, stream: Stream) -> Result<(), Self::Error>;
}

/// Periodic requests on a device; prints their latencies.
#[derive(Parser)]
struct Options {
    /// Mean time between requests.
    #[arg(long, default_value = "20ms", value_parser = crate::duration)]
    period: Duration,
    /// How the gaps between requests vary.
    #[arg(long, value_enum, default_value_t = Gaps::Fixed)]
    gaps: Gaps,
    /// Kernels of a request.
    #[arg(long, default_value_t = 10)]
    kernels: u32,
    /// Device time of each kernel.
    #[arg(long, default_value = "200us", value_parser = crate::duration)]
    kernel_time: Duration,
    /// Waits of a request, spread evenly over its kernels.
    #[arg(long, default_value_t = 1)]
    syncs: u32,
    /// Time on the processor after each launch but the last.
    #[arg(long, default_value = "0ms", value_parser = crate::duration)]
    think: Duration,
    /// From this time on requests are as the following options say.
    #[arg(long, value_parser = crate::duration)]
    later: Option<Duration>,
    /// Kernels of a later request.
    #[arg(long, requires = "later")]
    later_kernels: Option<u32>,
    /// Time asleep after each launch of a later request but the last.
    #[arg(long, requires = "later", value_parser = crate::duration)]
    later_pause: Option<Duration>,
    /// File for the requests' times: when each began (monotonic clock) and how long it took, ns, one a line.
    #[arg(long)]
    times: Option<PathBuf>,
    /// Which stream the kernels go to.
    #[arg(long, value_enum, default_value_t = StreamChoice::Created)]
    stream: StreamChoice,
    /// Which call launches them.
    #[arg(long, value_enum, default_value_t = LaunchChoice::Module)]
    launch: LaunchChoice,
    /// How long requests are measured.
    #[arg(long, default_value = "5s", value_parser = crate::duration)]
    duration: Duration,
    /// How long requests are made before they are measured.
    #[arg(long, default_value = "200ms", value_parser = crate::duration)]
    warmup: Duration,
    /// Seed of the gaps that vary.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File to create when the first request has been served.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Print JSON instead of one line of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Gaps {
    Fixed,
    /// Half to one and a half periods, evenly distributed
    Jittered,
    Exponential,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StreamChoice {
    Null,
    Created,
}

/// Which call launches a kernel.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LaunchChoice {
    /// hipModuleLaunchKernel or cuLaunchKernel
    Module,
    /// hipLaunchKernel, as hipcc's code does, or cuLaunchKernelEx
    Runtime,
}

/// The program.
///
/// # Errors
/// A call that failed, or a file that cannot be written.
pub fn main<G: Gpu>() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let gpu = G::start()?;
    let stream = match options.stream {
        StreamChoice::Null => std::ptr::null_mut(),
        StreamChoice::Created => gpu.stream()?,
    };
    let kernel = gpu.kernel(options.launch, c"hipsim_spin")?;
    let service = Service {
        options: &options,
        gpu,
        stream,
        kernel,
    };
    service.request(Later::No)?;
    if let Some(path) = &options.ready_file {
        std::fs::write(path, "")?;
    }
    let latencies = service.run()?;
    report(&options, &latencies);
    Ok(())
}

/// Whether a request is as later ones are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    No,
    Yes,
}

struct Service<'a, G: Gpu> {
    options: &'a Options,
    gpu: G,
    stream: Stream,
    kernel: G::Kernel,
}

impl<G: Gpu> Service<'_, G> {
    /// One request; returns when its result would be there.
    fn request(&self, later: Later) -> Result<(), G::Error> {
        let options = self.options;
        let mut time = options.kernel_time.as_nanos() as u64;
        let (kernels, pause) = match later {
            Later::No => (options.kernels, None),
            Later::Yes => (
                options.later_kernels.unwrap_or(options.kernels),
                options.later_pause,
            ),
        };
        let syncs = options.syncs.max(1);
        for index in 1..=kernels {
            let parameters = &mut [(&raw mut time).cast::<c_void>()];
            self.gpu.launch(&self.kernel, self.stream, parameters)?;
            if index < kernels {
                crate::compute(options.think);
                pause.into_iter().for_each(std::thread::sleep);
            }
            // The last wait follows the last kernel; the others come at equal distances before it.
            if index < kernels && index * syncs / kernels != (index - 1) * syncs / kernels {
                self.gpu.synchronize(self.stream)?;
            }
        }
        self.gpu.synchronize(self.stream)
    }

    /// Times of requests, ns.
    fn run(&self) -> Result<Histogram<u64>, Box<dyn Error>> {
        let start = Instant::now();
        let measured = start + self.options.warmup;
        let end = measured + self.options.duration;
        let mut gaps = crate::Random::new(self.options.seed);
        let mut arrival = start;
        let mut latencies = Histogram::new(DIGITS)?;
        let mut times = self
            .options
            .times
            .as_ref()
            .map(std::fs::File::create)
            .transpose()?;
        while arrival < end {
            // What a request waits for the generator's own timer is not its latency.
            let begun = crate::sleep_until(arrival);
            let later = self.options.later.map(|later| start + later);
            self.request(match later.is_some_and(|later| arrival >= later) {
                true => Later::Yes,
                false => Later::No,
            })?;
            let took = begun.elapsed().as_nanos() as u64;
            if arrival >= measured {
                latencies.record(took)?;
            }
            if let Some(times) = &mut times {
                writeln!(
                    times,
                    "{} {took}",
                    crate::monotonic_ns().saturating_sub(took)
                )?;
            }
            arrival += match self.options.gaps {
                Gaps::Fixed => self.options.period,
                Gaps::Jittered => self.options.period.mul_f64(0.5 + gaps.uniform()),
                Gaps::Exponential => self.options.period.mul_f64(gaps.exponential()),
            };
        }
        Ok(latencies)
    }
}

fn report(options: &Options, latencies: &Histogram<u64>) {
    let at = |part: f64| latencies.value_at_quantile(part);
    let (p50, p90, p99, max) = (at(0.50), at(0.90), at(0.99), latencies.max());
    let requests = latencies.len();
    if options.json {
        let mean = latencies.mean() as u64;
        println!(
            "{}",
            serde_json::json!({
                "p50_ns": p50, "p90_ns": p90, "p99_ns": p99, "max_ns": max, "mean_ns": mean, "requests": requests,
                "launches": requests * u64::from(options.kernels),
            })
        );
    } else {
        let ms = |ns: u64| ns as f64 / 1e6;
        println!(
            "{requests} requests: P50 {:.3} ms, P99 {:.3} ms, max {:.3} ms",
            ms(p50),
            ms(p99),
            ms(max)
        );
    }
}
