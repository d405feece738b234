//! From a high client's first launch to a low one's closed gate.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use xsched_common::units::Class;

use super::{scripted, set_class};
use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;
use crate::stats::{median, quantile, spread};

const RINGS: usize = 2_000;
const BARE: u32 = 500;

/// The rings' times, us.
pub fn times(bench: &Workbench<'_>, rings: usize) -> anyhow::Result<Vec<f64>> {
    let run_dir = bench.run_dir();
    let mut low = scripted(bench, &["held"])?;
    let page = low.line()?;
    set_class(&run_dir, low.pid(), Class::Low)?;
    let mut high = scripted(bench, &["ring", &page, &rings.to_string()])?;
    high.line()?;
    set_class(&run_dir, high.pid(), Class::High)?;
    high.tell("go")?;
    let mut times = Vec::with_capacity(rings);
    for _ in 0..rings {
        times.push(high.line()?.parse::<f64>()? / 1_000.0);
    }
    Ok(times)
}

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let _agent = bench.start_agent(&["--no-bpf"])?;
    let times = times(bench, RINGS)?;
    let (p50, p99) = (median(&times), quantile(&times, 0.99));
    Ok(vec![
        Metric::at_most("doorbell_p50_us", "us", p50, 45.0)
            .beside(bare_wake()?)
            .spread(spread(&times))
            .detail("baseline: this machine wakes a thread that waits for an eventfd".to_owned()),
        Metric::at_most("doorbell_p99_us", "us", p99, 300.0),
    ])
}

/// The least that a ring can take: from a write to an eventfd until the thread
/// that waits for it in epoll_wait has said so in memory; median, us.
fn bare_wake() -> anyhow::Result<f64> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
    let heard = AtomicU32::new(0);
    let times = std::thread::scope(|scope| {
        scope.spawn(|| -> rustix::io::Result<()> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &bell, epoll::EventData::new_u64(0), flags)?;
            let mut events = Vec::with_capacity(1);
            for _ in 0..BARE {
                events.clear();
                epoll::wait(&epoll, spare_capacity(&mut events), None)?;
                heard.fetch_add(1, Release);
            }
            Ok(())
        });
        (1..=BARE)
            .map(|n| {
                // As long as between two rings, so that the thread sleeps.
                std::thread::sleep(Duration::from_millis(2));
                let from = Instant::now();
                rustix::io::write(&bell, &1u64.to_ne_bytes())?;
                while heard.load(Acquire) < n {
                    std::hint::spin_loop();
                }
                Ok(from.elapsed().as_secs_f64() * 1e6)
            })
            .collect::<rustix::io::Result<Vec<f64>>>()
    })?;
    Ok(median(&times))
}
