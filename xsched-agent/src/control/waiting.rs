//! Waiting for events with a limit in ns, on every kernel.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

/// How many events are taken at once before Linux 5.11.
const AT_ONCE: usize = 64;

/// Fills `events`' spare room with what has happened, after `timeout` at the
/// latest.
///
/// # Errors
/// The kernel's, EINTR among them.
pub fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>, timeout: &Timespec) -> io::Result<()> {
    let waited = epoll::wait(epoll, rustix::buffer::spare_capacity(events), Some(timeout));
    match waited {
        Ok(_) => Ok(()),
        Err(Errno::NOSYS) => wait_before_5_11(epoll, events, timeout),
        Err(e) => Err(e.into()),
    }
}

/// Without epoll_pwait2, whose forerunner knows milliseconds only: ppoll(2)
/// waits, then what there is is fetched without waiting.
fn wait_before_5_11(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    timeout: &Timespec,
) -> io::Result<()> {
    poll(&mut [PollFd::new(epoll, PollFlags::IN)], Some(timeout))?;
    let mut raw = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
    // SAFETY: room for AT_ONCE events.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), raw.as_mut_ptr(), AT_ONCE as i32, 0) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    events.extend(raw[..count].iter().map(|event| epoll::Event {
        flags: epoll::EventFlags::from_bits_retain(event.events),
        data: epoll::EventData::new_u64(event.u64),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    const MILLISECOND: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 1_500_000,
    };

    type Wait = fn(&OwnedFd, &mut Vec<epoll::Event>, &Timespec) -> io::Result<()>;

    #[test]
    fn both_ways_keep_the_time_and_tell_what_has_happened() {
        for wait in [wait as Wait, wait_before_5_11] {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
            let (mut near, far) = UnixStream::pair().expect("a pair");
            let data = epoll::EventData::new_u64(0x1234_5678_9abc);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &far, data, flags).expect("added");
            let mut events = Vec::with_capacity(8);
            let start = Instant::now();
            wait(&epoll, &mut events, &MILLISECOND).expect("waits");
            assert!(events.is_empty());
            assert!(start.elapsed() >= Duration::from_micros(1_500));

            near.write_all(b"x").expect("written");
            wait(&epoll, &mut events, &MILLISECOND).expect("waits");
            let told: Vec<(u64, bool)> = events
                .iter()
                .map(|event| {
                    let flags = event.flags;
                    (event.data.u64(), flags.contains(epoll::EventFlags::IN))
                })
                .collect();
            assert_eq!(told, [(0x1234_5678_9abc, true)]);

            // Told once: the edge is taken.
            events.clear();
            wait(&epoll, &mut events, &MILLISECOND).expect("waits");
            assert!(events.is_empty());
        }
    }
}
