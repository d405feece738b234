//! Clients that join as shims do and act on their pages by hand: this
//! program itself, started again.

use std::io::BufRead as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::mm::ProtFlags;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::{ControlPage, Edges};
use xsched_common::run_dir::RunDir;
use xsched_common::units::PciAddress;
use xsched_testkit::client::{FakeClient, map};

/// What the scripted program does until its stdin ends.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(clap::Subcommand)]
enum Role {
    /// Join and print where the control page can be opened
    Held {
        /// Names the device with this bus number, not that of the shim's fake
        /// runtime.
        #[arg(long)]
        bus: Option<u8>,
    },
    /// Join, wait for a line, and print how long each of so many rings took
    /// to close another's gate, ns
    Ring {
        /// The other's control page.
        page: PathBuf,
        /// Rings.
        count: usize,
    },
    /// Join, wait for a line, and work without end; says so once the other's
    /// gate is closed
    Work {
        /// The other's control page.
        page: PathBuf,
    },
    /// Join in so many processes
    Crowd {
        /// Processes.
        count: usize,
    },
}

/// Plays the role.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.role {
        Role::Held { bus } => {
            let client = join()?;
            if let Some(bus) = *bus {
                client.status().devices[0].set_pci(PciAddress {
                    bus,
                    ..PciAddress::default()
                });
            }
            println!(
                "/proc/{}/fd/{}",
                std::process::id(),
                client.control_fd.as_raw_fd()
            );
            wait_for_line()?;
        }
        Role::Ring { page, count } => {
            let client = join()?;
            println!("joined");
            wait_for_line()?;
            let other = other(page)?;
            for _ in 0..*count {
                println!("{}", ring_until_closed(&client, other)?.as_nanos());
            }
            wait_for_line()?;
        }
        Role::Work { page } => {
            let client = join()?;
            println!("joined");
            wait_for_line()?;
            let other = other(page)?;
            ring_until_closed(&client, other)?;
            client.become_active();
            println!("working");
            loop {
                std::thread::sleep(Duration::from_millis(20));
                client.status().devices[0].admitted.fetch_add(1, Relaxed);
            }
        }
        Role::Crowd { count } => crowd(*count)?,
    }
    Ok(())
}

fn other(page: &Path) -> anyhow::Result<&'static ControlPage> {
    let file = std::fs::File::open(page).context("the other's page")?;
    let page = map::<ControlPage>(&file, ProtFlags::READ)?;
    // SAFETY: mapped for the process's life; the fields are atomics.
    Ok(unsafe { page.as_ref() })
}

fn wait_for_line() -> anyhow::Result<()> {
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// Children that have joined and sleep; killed when this one ends.
fn crowd(count: usize) -> anyhow::Result<()> {
    let mut children = Vec::new();
    for _ in 0..count {
        let (mut ready, tell) = std::io::pipe()?;
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        ensure!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: a constant; the child must not outlive this process.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            drop(ready);
            let joined = join();
            let _ = std::io::Write::write(&mut &tell, &[u8::from(joined.is_ok())]);
            drop(tell);
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        drop(tell);
        children.push(pid);
        let mut ok = [0];
        std::io::Read::read_exact(&mut ready, &mut ok)?;
        ensure!(ok == [1], "client {} could not join", children.len());
    }
    println!("joined");
    wait_for_line()?;
    for pid in children {
        // SAFETY: our own children, not yet waited for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, ptr::null_mut(), 0);
        }
    }
    println!("left");
    wait_for_line()
}

fn join() -> anyhow::Result<FakeClient> {
    let run_dir = RunDir::for_client(rustix::process::geteuid().as_raw());
    let client = FakeClient::try_join(&run_dir).context("cannot join")?;
    client.introduce();
    Ok(client)
}

/// From the first launch after a pause, as a shim says it, to the other's
/// closed word.
fn ring_until_closed(client: &FakeClient, other: &ControlPage) -> anyhow::Result<Duration> {
    let word = &other.devices[0].word;
    let is_closed = || GateWord(word.load(SeqCst)).mode() == GateMode::Closed;
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_closed() || !client.wants(Edges::ACTIVE) {
        ensure!(Instant::now() < deadline, "the other's gate stays closed");
        std::thread::sleep(Duration::from_millis(1));
    }
    // As a service between requests: away from everybody's timers.
    std::thread::sleep(Duration::from_micros(3_700));
    let start = Instant::now();
    client.become_active();
    while !is_closed() {
        ensure!(start.elapsed() < Duration::from_secs(5), "nobody heard");
        std::hint::spin_loop();
    }
    let took = start.elapsed();
    client.status().devices[0].admitted.fetch_add(1, Relaxed);
    client.become_idle();
    Ok(took)
}
