//! A process whose shim is being probed forks.
//!
//! Linux 6.18 turns a hit uprobe on a 5-byte NOP into a call and copies that
//! call, but not its target, to a fork's child (see `lifecycle/fork.rs`).

use crate::support;

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use object::{Object, ObjectSegment, ObjectSymbol};
use support::agent::Agent;
use support::scripted::ScriptedProgram;

/// `struct perf_event_attr` as far as a uprobe needs it (linux/perf_event.h,
/// PERF_ATTR_SIZE_VER5).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: [u64; 3],
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    path: u64,
    offset: u64,
    rest: [u64; 5],
}

/// Counts the hits of a function of the shim in all processes, while it
/// lives.
struct Probe(Vec<OwnedFd>);

impl Probe {
    fn on(symbol: &str) -> Result<Probe, std::io::Error> {
        let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")?;
        let shim = support::shim();
        let bytes = std::fs::read(&shim)?;
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let address = file
            .dynamic_symbols()
            .find(|s| s.name() == Ok(symbol) && s.is_definition())
            .expect("exported")
            .address();
        let offset = file
            .segments()
            .find(|s| (s.address()..s.address() + s.size()).contains(&address))
            .map(|s| address - s.address() + s.file_range().0)
            .expect("in a segment");
        let path = CString::new(shim.as_os_str().as_bytes()).expect("no NUL");
        let attributes = Attributes {
            kind: kind.trim().parse().expect("a number"),
            size: size_of::<Attributes>() as u32,
            path: path.as_ptr() as u64,
            offset,
            ..Attributes::default()
        };
        // SAFETY: no preconditions.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        (0..cpus)
            .map(|cpu| {
                // SAFETY: complete attributes; all processes, one CPU, no group.
                let fd = unsafe {
                    libc::syscall(
                        libc::SYS_perf_event_open,
                        &raw const attributes,
                        -1,
                        cpu,
                        -1,
                        0,
                    )
                };
                if fd < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // SAFETY: new and owned by nobody else.
                Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
            })
            .collect::<Result<_, _>>()
            .map(Probe)
    }

    fn hits(&self) -> u64 {
        let count = |fd: &OwnedFd| {
            let mut value = 0u64;
            // SAFETY: eight writable bytes.
            let n = unsafe { libc::read(fd.as_raw_fd(), (&raw mut value).cast(), 8) };
            assert_eq!(n, 8);
            value
        };
        self.0.iter().map(count).sum()
    }
}

#[test]
fn the_children_of_a_probed_process_live() {
    let _alone = crate::alone();
    let probe = match Probe::on("hipLaunchKernel") {
        Ok(probe) => probe,
        Err(why) => {
            eprintln!("LEFT OUT: uprobes cannot be set here ({why}); run as root");
            return;
        }
    };
    let agent = Agent::start();
    let mut scripted = ScriptedProgram::start(agent.dir());
    scripted.run("launch 20 0");
    assert!(probe.hits() >= 20, "{} hits", probe.hits());
    scripted.run("fork 7 0");
    scripted.run("launch 5 0");
    assert_eq!(agent.client(1).status().launch_totals().total(), 7);
    drop(probe);
    scripted.run("launch 5 0");
    scripted.quit();
}
