//! Everything that the screen shows, and how messages change it.
//!
//! [`State::update`] is the only way in; it does no I/O and returns what the
//! caller has to do. Time comes with the message.

mod act;
mod columns;
mod filter;
mod mode;
mod processes;
mod row;

use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use xsched_common::api::{AgentInfo, DeviceRow, Settled, Snapshot};
use xsched_common::units::{Class, Nanos};

pub use columns::{Column, Direction, Value};
pub use filter::{Filter, FilterError};
pub use mode::{ClassChange, FilterLine, Mode};
pub use processes::{Processes, Sort, Step};
pub use row::{Identity, Row, Users};

use crate::conn::LinkEvent;
use crate::input;
use crate::layout::{Layout, Size};

/// How long a notice stays.
const NOTICE_TIME: Duration = Duration::from_secs(10);

/// Something happened.
#[derive(Debug)]
pub enum Msg {
    /// On the connection.
    Link(LinkEvent),
    /// On the terminal.
    Terminal(Event),
    /// A class change came back.
    Settled(Result<Settled, String>),
    /// The terminal is gone.
    TerminalLost,
    /// Time passed.
    Tick,
}

impl From<LinkEvent> for Msg {
    fn from(event: LinkEvent) -> Msg {
        Msg::Link(event)
    }
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing but drawing.
    None,
    /// Leave.
    Quit,
    /// Ask the agent for a class change.
    Set {
        /// The process.
        pid: u32,
        /// The class it is to get.
        class: Class,
    },
}

/// Whether classes may be changed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    Full,
    /// They may not (`--readonly`).
    ReadOnly,
}

/// Whether new snapshots reach the screen.
#[derive(Debug)]
pub enum Flow {
    /// They do.
    Live,
    /// The newest waits here.
    Paused(Option<(Box<Snapshot>, Duration)>),
}

/// The connection to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No answer yet.
    Connecting,
    /// Snapshots come.
    Connected,
    /// Lost, or never made.
    Lost {
        /// One line with the next step.
        error: String,
        /// The next attempt.
        retry_at: Duration,
    },
}

/// The pane with the selected process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Not shown.
    Hidden,
    /// Shown from this line on.
    Shown(u16),
}

/// The last snapshot, without its processes.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Duration,
    /// Version of its format.
    pub api_version: u32,
    /// The time that rates and latencies cover.
    pub window: Nanos,
    /// The agent.
    pub agent: AgentInfo,
    /// The devices.
    pub devices: Vec<DeviceRow>,
}

/// A line about something the user did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub text: String,
    /// How bad.
    pub tone: Tone,
    until: Duration,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It worked.
    Good,
    /// It did not.
    Bad,
}

/// How xtop was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's socket.
    pub socket: PathBuf,
    /// Time between snapshots.
    pub interval: Duration,
    /// Whether classes may be changed.
    pub access: Access,
    /// The order to begin with.
    pub sort: Sort,
    /// The filter to begin with, as typed.
    pub filter: String,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub struct State {
    /// How xtop was started.
    pub settings: Settings,
    /// Time since the start.
    pub now: Duration,
    /// Size of the terminal.
    pub size: Size,
    /// The connection.
    pub link: Link,
    /// The last snapshot shown.
    pub seen: Option<Seen>,
    /// The processes.
    pub processes: Processes,
    /// The filter as typed.
    pub filter_text: String,
    /// What the keys act on.
    pub mode: Mode,
    /// The pane with the selected process.
    pub detail: Detail,
    /// Whether new snapshots reach the screen.
    pub flow: Flow,
    /// What the user's last action led to.
    pub notice: Option<Notice>,
    users: Users,
}

impl State {
    /// Before anything happened.
    pub fn new(settings: Settings, users: Users, size: Size) -> State {
        let filter = settings.filter.parse().unwrap_or_default();
        State {
            now: Duration::ZERO,
            size,
            link: Link::Connecting,
            seen: None,
            processes: Processes::new(settings.sort, filter),
            filter_text: settings.filter.clone(),
            mode: Mode::Browse,
            detail: Detail::Hidden,
            flow: Flow::Live,
            notice: None,
            users,
            settings,
        }
    }

    /// Takes in what happened at `now`, a time since the start.
    pub fn update(&mut self, now: Duration, msg: Msg) -> Effect {
        self.now = now;
        if self
            .notice
            .as_ref()
            .is_some_and(|notice| notice.until <= now)
        {
            self.notice = None;
        }
        let effect = match msg {
            Msg::Tick => Effect::None,
            Msg::TerminalLost => Effect::Quit,
            Msg::Link(event) => {
                self.link_event(event);
                Effect::None
            }
            Msg::Settled(result) => {
                self.settled(result);
                Effect::None
            }
            Msg::Terminal(event) => self.terminal_event(event),
        };
        let rows = Layout::of(self.size, self).rows();
        self.processes.scroll(rows);
        effect
    }

    /// Age of the data on screen.
    pub fn age(&self) -> Option<Duration> {
        self.seen
            .as_ref()
            .map(|seen| self.now.saturating_sub(seen.at))
    }

    /// Shows `text` for a while.
    pub fn notify(&mut self, tone: Tone, text: String) {
        self.notice = Some(Notice {
            text,
            tone,
            until: self.now + NOTICE_TIME,
        });
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Lost { error, retry_in } => {
                self.link = Link::Lost {
                    error,
                    retry_at: self.now + retry_in,
                };
            }
            LinkEvent::Snapshot(snapshot) => {
                self.link = Link::Connected;
                match &mut self.flow {
                    Flow::Live => self.show(*snapshot, self.now),
                    Flow::Paused(newest) => *newest = Some((snapshot, self.now)),
                }
            }
        }
    }

    fn show(&mut self, snapshot: Snapshot, at: Duration) {
        let Snapshot {
            api_version,
            time_unix_ns: _,
            window_ns,
            agent,
            devices,
            processes,
        } = snapshot;
        let rows = processes.into_iter().map(|p| Row::new(p, &self.users));
        self.processes.replace(rows.collect());
        self.seen = Some(Seen {
            at,
            api_version,
            window: window_ns,
            agent,
            devices,
        });
    }

    fn settled(&mut self, result: Result<Settled, String>) {
        match result {
            Err(error) => self.notify(Tone::Bad, error),
            Ok(Settled { pid, class, joined }) => {
                let when = if joined { "" } else { " as soon as it joins" };
                self.notify(Tone::Good, format!("pid {pid} is {class}{when}"));
            }
        }
    }

    fn terminal_event(&mut self, event: Event) -> Effect {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                match input::action(&self.mode, key) {
                    Some(action) => self.act(action),
                    None => Effect::None,
                }
            }
            Event::Mouse(mouse) => {
                self.mouse(mouse);
                Effect::None
            }
            Event::Resize(width, height) => {
                self.size = Size { width, height };
                Effect::None
            }
            _ => Effect::None,
        }
    }

    fn mouse(&mut self, mouse: MouseEvent) {
        if self.mode != Mode::Browse {
            return;
        }
        let layout = Layout::of(self.size, self);
        match mouse.kind {
            MouseEventKind::ScrollDown => self.processes.step(Step::Rows(3)),
            MouseEventKind::ScrollUp => self.processes.step(Step::Rows(-3)),
            MouseEventKind::Down(MouseButton::Left) => {
                if let Some(column) = layout.header_at(mouse.column, mouse.row) {
                    self.sort_by_or_invert(column);
                } else if let Some(row) = layout.row_at(mouse.column, mouse.row) {
                    let target = self.processes.offset(layout.rows()) + row;
                    if target < self.processes.len() {
                        let step = target as isize - self.processes.cursor() as isize;
                        self.processes.step(Step::Rows(step));
                    }
                }
            }
            _ => {}
        }
    }

    fn sort_by_or_invert(&mut self, column: Column) {
        let sort = self.processes.sort();
        self.processes.set_sort(if sort.column == column {
            sort.inverted()
        } else {
            Sort::by(column)
        });
    }
}

#[cfg(test)]
mod tests;
