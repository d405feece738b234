//! Plays a recording at its own pace.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;
use xsched_common::api::Snapshot;

use super::{Command, Error, Motion, Position, Recording, Seek};

/// How much faster or slower than life a recording can play, powers of two.
const SPEEDS: std::ops::RangeInclusive<i8> = -3..=6;

/// The longest that nothing happens, however long the recording was silent.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// Snapshots before the one that was jumped to which are shown, too: what the
/// charts tell of the time before it.
const PAST: usize = 600;

/// What a player reports.
#[derive(Debug)]
pub enum Event {
    /// The next snapshot.
    Snapshot(Box<Snapshot>),
    /// What follows is from another time: forget what was before.
    Rewound,
    /// Where the replay is.
    Position(Position),
    /// The recording cannot be read on.
    Failed(String),
}

/// A recording being played; its time is where it stands, not the clock's.
struct Player {
    recording: Recording,
    next: usize,
    speed: i8,
    motion: Motion,
}

/// Plays `recording` into `sink`, obeying `commands`, until either is closed.
pub async fn play<M: From<Event>>(
    recording: Recording,
    mut commands: Receiver<Command>,
    sink: Sender<M>,
) {
    let mut player = Player {
        recording,
        next: 0,
        speed: 0,
        motion: Motion::Playing,
    };
    let mut due = Instant::now();
    loop {
        let command = tokio::select! {
            command = commands.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            () = tokio::time::sleep_until(due), if player.motion == Motion::Playing => None,
        };
        let events = match command {
            None => player.step(),
            Some(command) => player.obey(command),
        };
        due = Instant::now() + player.wait();
        for event in events {
            let failed = matches!(event, Event::Failed(_));
            if sink.send(event.into()).await.is_err() {
                return;
            }
            if failed {
                player.motion = Motion::Ended;
            }
        }
    }
}

impl Player {
    /// The snapshot that is due.
    fn step(&mut self) -> Vec<Event> {
        let events = self.read(self.next..self.next + 1);
        self.next += 1;
        if self.next >= self.recording.len() {
            self.motion = Motion::Ended;
        }
        self.report(events)
    }

    fn obey(&mut self, command: Command) -> Vec<Event> {
        match command {
            Command::Speed(steps) => {
                let speed = self.speed.saturating_add(steps);
                self.speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end());
                self.report(Vec::new())
            }
            Command::TogglePause => match self.motion {
                Motion::Playing => {
                    self.motion = Motion::Held;
                    self.report(Vec::new())
                }
                Motion::Held => {
                    self.motion = Motion::Playing;
                    self.report(Vec::new())
                }
                Motion::Ended => {
                    self.motion = Motion::Playing;
                    self.jump(0)
                }
            },
            Command::Seek(seek) => {
                let last = self.recording.len() - 1;
                let shown = self.next.saturating_sub(1);
                let target = match seek {
                    Seek::Frames(n) => shown.saturating_add_signed(n as isize).min(last),
                    Seek::Seconds(n) => {
                        let by = Duration::from_secs(n.unsigned_abs());
                        let at = self.recording.time(shown);
                        let at = if n < 0 {
                            at.saturating_sub(by)
                        } else {
                            at.saturating_add(by)
                        };
                        self.recording.index_at(at)
                    }
                };
                if self.motion == Motion::Ended && target < last {
                    self.motion = Motion::Held;
                }
                self.jump(target)
            }
        }
    }

    /// Shows the snapshot `target` with the past that belongs to it.
    fn jump(&mut self, target: usize) -> Vec<Event> {
        let first = (target + 1).saturating_sub(PAST);
        let mut events = vec![Event::Rewound];
        events.extend(self.read(first..target + 1));
        self.next = target + 1;
        if self.next >= self.recording.len() {
            self.motion = Motion::Ended;
        }
        self.report(events)
    }

    fn read(&mut self, frames: std::ops::Range<usize>) -> Vec<Event> {
        let mut events = Vec::new();
        for index in frames {
            match self.recording.read(index) {
                Ok(snapshot) => events.push(Event::Snapshot(Box::new(snapshot))),
                Err(error) => {
                    events.push(Event::Failed(Error::to_string(&error)));
                    break;
                }
            }
        }
        events
    }

    fn report(&self, mut events: Vec<Event>) -> Vec<Event> {
        events.push(Event::Position(Position {
            at: self.recording.time(self.next.saturating_sub(1)),
            length: self.recording.time(self.recording.len() - 1),
            speed: self.speed,
            motion: self.motion,
        }));
        events
    }

    /// Until the next snapshot is due.
    fn wait(&self) -> Duration {
        if self.next == 0 {
            return Duration::ZERO;
        }
        let gap = self.recording.time(self.next) - self.recording.time(self.next - 1);
        gap.min(LONGEST_GAP)
            .mul_f64(0.5_f64.powi(self.speed.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::many;
    use crate::replay::Writer;

    fn player(frames: u32) -> (tempfile::TempDir, Player) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("recording");
        let mut writer = Writer::create(&path).expect("creates");
        for n in 0..frames {
            let at = Duration::from_secs(n.into());
            writer.push(at, &many(n + 1)).expect("writes");
        }
        let player = Player {
            recording: Recording::open(&path).expect("opens"),
            next: 0,
            speed: 0,
            motion: Motion::Playing,
        };
        (dir, player)
    }

    /// Processes in the last snapshot, and the position.
    fn shown(events: &[Event]) -> (usize, Position) {
        let last = events.iter().rev().find_map(|event| match event {
            Event::Snapshot(snapshot) => Some(snapshot.processes.len()),
            _ => None,
        });
        match events.last() {
            Some(Event::Position(position)) => (last.unwrap_or(0), *position),
            other => panic!("no position: {other:?}"),
        }
    }

    #[test]
    fn frames_come_in_order_and_end() {
        let (_dir, mut player) = player(3);
        for n in 1..=3 {
            let (processes, position) = shown(&player.step());
            assert_eq!((processes, position.at.as_secs()), (n, n as u64 - 1));
        }
        assert_eq!(player.motion, Motion::Ended);
        let (processes, position) = shown(&player.obey(Command::TogglePause));
        assert_eq!((processes, position.motion), (1, Motion::Playing));
    }

    #[test]
    fn seeking_shows_the_past_that_belongs_to_it() {
        let (_dir, mut player) = player(30);
        let (processes, position) = shown(&player.obey(Command::Seek(Seek::Seconds(10))));
        assert_eq!((processes, position.at.as_secs()), (11, 10));
        let events = player.obey(Command::Seek(Seek::Frames(-1)));
        assert!(matches!(events[0], Event::Rewound));
        assert_eq!((events.len(), shown(&events).0), (1 + 10 + 1, 10));
        let (processes, position) = shown(&player.obey(Command::Seek(Seek::Seconds(i64::MAX))));
        assert_eq!((processes, position.motion), (30, Motion::Ended));
        let (processes, position) = shown(&player.obey(Command::Seek(Seek::Frames(i64::MIN))));
        assert_eq!((processes, position.motion), (1, Motion::Held));
    }

    #[test]
    fn speed_changes_the_wait_within_bounds() {
        let (_dir, mut player) = player(3);
        player.step();
        assert_eq!(player.wait(), Duration::from_secs(1));
        player.obey(Command::Speed(2));
        assert_eq!(player.wait(), Duration::from_millis(250));
        player.obey(Command::Speed(i8::MIN));
        assert_eq!(player.speed, *SPEEDS.start());
    }
}
