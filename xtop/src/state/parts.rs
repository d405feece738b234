//! What comes in, what goes out, and the parts of the state.

use std::time::Duration;

use xsched_client::{Endpoint, LinkEvent};
use xsched_common::api::{AgentInfo, DeviceRow, Request, Response, Snapshot};
use xsched_common::units::Nanos;

use super::row::{Identity, Row};
use super::sort::Sort;
use crate::action::Action;
use crate::replay::{Command, Position};

/// A terminal's size in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// How far what is drawn reaches: said by those who draw it, so that nothing
/// scrolls past its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows of the table that fit.
    pub rows: usize,
    /// The last line that the scrolled text, screen or pane can begin with.
    pub last_line: u16,
}

/// Something happened.
#[derive(Debug)]
pub enum Msg {
    /// On the connection.
    Link(LinkEvent),
    /// The user wants something.
    Act(Action),
    /// The terminal has another size.
    Resize(Size),
    /// The agent's answer to a query.
    Answer(Query, Result<Response, String>),
    /// Where the replay is.
    Replay(Position),
    /// The replay starts anew somewhere else: what was shown is not before
    /// what comes.
    Rewound,
    /// The recording cannot be read on.
    ReplayFailed(String),
    /// Time passed.
    Tick,
}

impl From<crate::replay::Event> for Msg {
    fn from(event: crate::replay::Event) -> Msg {
        use crate::replay::Event;
        match event {
            Event::Snapshot(snapshot) => Msg::Link(LinkEvent::Snapshot(snapshot)),
            Event::Rewound => Msg::Rewound,
            Event::Position(position) => Msg::Replay(position),
            Event::Failed(error) => Msg::ReplayFailed(error),
        }
    }
}

impl From<LinkEvent> for Msg {
    fn from(event: LinkEvent) -> Msg {
        Msg::Link(event)
    }
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing but drawing.
    None,
    /// Leave.
    Quit,
    /// Ask the agent for something.
    Ask(Query),
    /// Steer the replay.
    Replay(Command),
    /// Send a signal to a process, if it still is that one.
    Signal(Identity, SignalName),
    /// Stop until the shell continues it.
    Stop,
    /// Show the machine so many further.
    OtherHost(isize),
}

/// A signal that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalName {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Continue,
}

impl SignalName {
    /// All, the mildest first.
    pub const ALL: [SignalName; 5] = [
        SignalName::Terminate,
        SignalName::Interrupt,
        SignalName::Kill,
        SignalName::Stop,
        SignalName::Continue,
    ];

    /// As `kill` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            SignalName::Terminate => "TERM",
            SignalName::Interrupt => "INT",
            SignalName::Kill => "KILL",
            SignalName::Stop => "STOP",
            SignalName::Continue => "CONT",
        }
    }

    /// What it does to most programs.
    pub const fn meaning(self) -> &'static str {
        match self {
            SignalName::Terminate => "asks it to end",
            SignalName::Interrupt => "as Ctrl-C does",
            SignalName::Kill => "ends it at once; it cannot clean up",
            SignalName::Stop => "stops it where it is",
            SignalName::Continue => "lets it go on",
        }
    }
}

/// A machine among several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// How it stands there.
    pub tone: Tone,
    /// In a few words.
    pub text: String,
}

/// A request, and what its answer is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What its answer is for.
    pub topic: Topic,
    /// The request.
    pub request: Request,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A change: the user is told what came of it.
    Change,
    /// The findings about a process.
    Diagnosis(Identity),
    /// Where the attributes of a process come from.
    Explanation(Identity),
    /// The time of a process before xtop's start.
    Past(Identity),
    /// The time of the devices before xtop's start.
    DevicesPast,
}

/// Whether anything may be changed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    Full,
    /// They may not (`--readonly`).
    ReadOnly,
    /// There is no agent to ask (`--replay`).
    Recorded,
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

/// The process that has a screen of its own.
#[derive(Clone, Debug)]
pub struct Focus {
    /// As last seen.
    pub row: Row,
    /// Whether it still runs.
    pub life: Life,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Running,
    /// It does not any more.
    Exited,
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
    pub(super) until: Duration,
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
    /// Where the agent is.
    pub endpoint: Endpoint,
    /// Time between snapshots.
    pub interval: Duration,
    /// Whether anything may be changed.
    pub access: Access,
    /// The order to begin with.
    pub sort: Sort,
    /// The filter to begin with, as typed.
    pub filter: String,
    /// The user who watches.
    pub uid: u32,
}

impl Focus {
    /// On `row`, which has just been seen.
    pub(super) fn running(row: &Row) -> Focus {
        Focus {
            row: row.clone(),
            life: Life::Running,
        }
    }
}
