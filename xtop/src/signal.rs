//! Signals to processes: to the one that was chosen, or to none.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::state::{Identity, SignalName};

/// Sends it, if the pid is still that process's.
///
/// # Errors
/// What is wrong, in a line.
pub fn send(target: Identity, signal: SignalName) -> Result<String, String> {
    let gone = || format!("pid {} has exited: nothing was sent", target.pid);
    let unseen = |error| format!("pid {}: nothing was sent: {error}", target.pid);
    let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
    let process = match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(process)) => process,
        None | Some(Err(Errno::SRCH)) => return Err(gone()),
        Some(Err(error)) => return Err(unseen(error.into())),
    };
    // The descriptor stands for one process; the file tells which.
    match start_time(target.pid) {
        Ok(time) if time == Some(target.start_time) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unseen(error)),
        _ => return Err(gone()),
    }
    let number = match signal {
        SignalName::Terminate => Signal::TERM,
        SignalName::Interrupt => Signal::INT,
        SignalName::Kill => Signal::KILL,
        SignalName::Stop => Signal::STOP,
        SignalName::Continue => Signal::CONT,
    };
    match pidfd_send_signal(&process, number) {
        Ok(()) => Ok(format!("pid {} was sent {}", target.pid, signal.name())),
        Err(error) => Err(format!("pid {}: {}: {error}", target.pid, signal.name())),
    }
}

/// Clock ticks since boot (proc_pid_stat(5), field 22); the second field may
/// hold anything up to the last parenthesis.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    Ok(fields.and_then(|fields| fields.split_whitespace().nth(19)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_chosen_process_gets_it_and_another_of_its_pid_does_not() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id();
        let start_time = start_time(pid).expect("it runs").expect("a time");
        let other = Identity {
            pid,
            start_time: start_time + 1,
        };
        let refused = send(other, SignalName::Kill).expect_err("another process");
        assert!(refused.contains("nothing was sent"), "{refused}");
        assert!(child.try_wait().expect("waits").is_none(), "it still runs");
        let said = send(Identity { pid, start_time }, SignalName::Terminate).expect("sent");
        assert_eq!(said, format!("pid {pid} was sent TERM"));
        assert!(!child.wait().expect("waits").success());
    }
}
