//! Inside the guest: the first program, which makes the machine usable,
//! checks what the product does there, says so on the console, and switches
//! the machine off.

mod observing;
mod rights;
mod scheduling;

use std::ffi::CString;
use std::path::PathBuf;
use std::{fs, io, ptr};

use anyhow::Context as _;
use rustix::system::{RebootCommand, reboot, uname};
use xsched_observe::LinkKind;

use super::console::{Check, Line};
use super::root::PROGRAMS;
use crate::build::Built;
use crate::demo::stage::Stage;

/// What a kernel can do for us, in words of our own: what `check` and the
/// observer say is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Attach cookies (5.15), without which no probe is set.
    pub probes: bool,
    /// Multi-uprobe links with a working filter (6.10).
    pub quick: bool,
    /// Probes on returns do no harm (not 6.11 to 6.13).
    pub returns: bool,
}

impl Expected {
    /// Of this release.
    fn of(release: &str) -> Expected {
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Expected {
            probes: version >= (5, 15),
            quick: version >= (6, 10),
            returns: !((6, 11)..(6, 14)).contains(&version),
        }
    }
}

type Outcome = anyhow::Result<String>;

/// A check: its name, and what it does.
type Named = (&'static str, fn(&Stage<'_>, Expected) -> Outcome);

/// What is looked at where probes can be set.
const WITH_PROBES: &[Named] = &[
    ("object", observing::object),
    ("counts", |stage, _| {
        observing::counts(stage, LinkKind::Best)
    }),
    ("counts-perf", |stage, _| {
        observing::counts(stage, LinkKind::Perf)
    }),
    ("detach", observing::detach),
    ("check", rights::check_says_what_is_missing),
    ("rights", rights::fewest_rights),
    ("record", observing::record),
    ("diagnose", observing::diagnose),
    ("agent", scheduling::agent_sees),
    ("gate", scheduling::gate),
    ("fail-open", scheduling::fail_open),
    ("kernel-log", |_, _| kernel_log()),
];

/// Where they cannot, everything else has to work, and to say so.
const WITHOUT_PROBES: &[Named] = &[
    ("object", observing::object),
    ("check", rights::check_says_what_is_missing),
    ("record", observing::record),
    ("agent", scheduling::agent_sees),
    ("gate", scheduling::gate),
    ("fail-open", scheduling::fail_open),
    ("kernel-log", |_, _| kernel_log()),
];

/// Everything; returns only if the machine cannot be switched off.
///
/// # Errors
/// This is not the first program of a machine.
pub fn run() -> anyhow::Result<()> {
    anyhow::ensure!(
        std::process::id() == 1,
        "this is the first program of a virtual machine: `cargo xtask test --kernels` starts it"
    );
    let outcome = make_usable().and_then(|()| all());
    if let Err(e) = outcome {
        println!("xtask in the guest: {e:#}");
    }
    reboot(RebootCommand::PowerOff).context("cannot switch off")
}

fn make_usable() -> anyhow::Result<()> {
    let mounts = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("tmpfs", "/dev/shm"),
    ];
    for (kind, target) in mounts {
        fs::create_dir_all(target)?;
        mount(kind, target).with_context(|| format!("cannot mount {target}"))?;
    }
    Ok(())
}

fn mount(kind: &str, target: &str) -> anyhow::Result<()> {
    let (kind, target) = (CString::new(kind)?, CString::new(target)?);
    // SAFETY: three strings that outlive the call, no flags, no data.
    let done = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            ptr::null(),
        )
    };
    anyhow::ensure!(done == 0, io::Error::last_os_error());
    Ok(())
}

fn all() -> anyhow::Result<()> {
    let name = uname();
    let release = name.release().to_string_lossy().into_owned();
    let expected = Expected::of(&release);
    let checks = match expected.probes {
        true => WITH_PROBES,
        false => WITHOUT_PROBES,
    };
    let say = |line: &Line| println!("{}", line.to_text());
    say(&Line::Begin {
        release,
        build: name.version().to_string_lossy().into_owned(),
        checks: checks.iter().map(|(name, _)| (*name).to_owned()).collect(),
    });
    let built = Built {
        dir: PathBuf::from(PROGRAMS),
    };
    for &(name, check) in checks {
        say(&Line::Start(name.to_owned()));
        // One after the other each in a folder of its own.
        let outcome = Stage::new(&built, name).and_then(|stage| check(&stage, expected));
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(e) => (false, format!("{e:#}")),
        };
        let name = name.to_owned();
        say(&Line::Check(Check { name, ok, detail }));
    }
    say(&Line::End);
    Ok(())
}

/// What the kernel itself complained of while all that ran.
fn kernel_log() -> Outcome {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    // One message a read, and no waiting for the next.
    let mut log = fs::File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut complaints = Vec::new();
    let mut message = [0; 8192];
    while let Ok(length) = log.read(&mut message) {
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if is_complaint(&text) {
            complaints.push(text.trim().to_owned());
        }
    }
    anyhow::ensure!(complaints.is_empty(), "{}", complaints.join(" | "));
    Ok("no warning, bug or oops".to_owned())
}

fn is_complaint(message: &str) -> bool {
    [";WARNING: ", "BUG:", "Oops", "general protection"]
        .iter()
        .any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_differ_where_the_documentation_says_so() {
        let of = |release| {
            let expected = Expected::of(release);
            (expected.probes, expected.quick, expected.returns)
        };
        assert_eq!(of("5.10.0-46-amd64"), (false, false, true));
        assert_eq!(of("5.15.0"), (true, false, true));
        assert_eq!(of("6.1.0-57-amd64"), (true, false, true));
        assert_eq!(of("6.12.118+deb13-amd64"), (true, true, false));
        assert_eq!(of("7.3.4+deb13-amd64"), (true, true, true));
    }

    #[test]
    fn the_kernels_complaints_are_told_from_its_news() {
        assert!(is_complaint(
            "4,1,2,-;WARNING: CPU: 0 PID: 1 at kernel/x.c:1"
        ));
        assert!(is_complaint("4,1,2,-;WARNING: kernel/x.c:1 at f, CPU#0"));
        assert!(!is_complaint("6,1,2,-;Linux version 6.1"));
        assert!(!is_complaint("3,1,2,-;Spectre V2 : WARNING: a choice"));
    }

    #[test]
    fn it_refuses_to_run_elsewhere() {
        assert!(run().is_err());
    }
}
