//! Everything that the screen shows, and how messages change it.
//!
//! [`State::update`] is the only way in; it does no I/O and returns what the
//! caller has to do. Time comes with the message.

mod act;
mod answers;
mod cells;
mod change;
mod entry;
mod events;
mod filter;
mod history;
mod lines;
mod mode;
mod parts;
mod processes;
mod query;
mod question;
mod row;
mod sort;
mod spread;
mod time_view;
mod tree;
mod verdict;

use std::time::Duration;

use xsched_common::api::{Diagnosis, Explanation, History as Past, Snapshot, UnscheduledRow};

pub use answers::{Answer, Answers};
pub use cells::{Value, hold_word, slo_name};
pub use entry::{Entry, duration};
pub use events::{Event as Happening, EventKind, Events};
pub use filter::{Filter, FilterError};
pub use history::{DeviceSample, History, Sample, Series};
pub use mode::{FilterLine, Mode};
pub use parts::{
    Access, Detail, Effect, Extent, Flow, Focus, Host, Life, Link, Msg, Notice, Query, Seen,
    Settings, SignalName, Size, Tone, Topic,
};
pub use processes::{Arrangement, Processes};
pub use question::{AttrQuestion, NothingToDo, Question};
pub use row::{Identity, Row};
pub use sort::Sort;
pub use spread::Spread;
pub use time_view::TimeView;
pub use verdict::{Standing, Tally, Verdict};

use xsched_client::LinkEvent;

use crate::action::Screen;
use crate::column::Column;
use crate::replay::Position;

/// How long a notice stays.
const NOTICE_TIME: Duration = Duration::from_secs(10);

/// Everything that the screen shows.
#[derive(Debug)]
pub struct State {
    /// How xtop was started.
    pub settings: Settings,
    /// Time since the start.
    pub now: Duration,
    /// Size of the terminal.
    pub size: Size,
    /// How far what is drawn reaches.
    pub extent: Extent,
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
    /// What fills the terminal.
    pub screen: Screen,
    /// The time that charts show.
    pub view: TimeView,
    /// Work that escapes scheduling on the whole machine.
    pub unscheduled: Option<UnscheduledRow>,
    /// First line shown of the screen, where it scrolls.
    pub scroll: u16,
    /// The process on the screen of its own.
    pub focus: Option<Focus>,
    /// The pane with the selected process.
    pub detail: Detail,
    /// The last snapshots.
    pub history: History,
    /// What happened.
    pub events: Events,
    /// Examinations that were asked for.
    pub examinations: Answers<Diagnosis>,
    /// Where attributes come from, where that was asked for.
    pub explanations: Answers<Explanation>,
    /// What the agent remembers of processes.
    pub past: Answers<Past>,
    /// What the agent remembers of its devices.
    pub devices_past: Option<Answer<Past>>,
    /// Where the replay is, if this is one.
    pub replay: Option<Position>,
    /// Whether new snapshots reach the screen.
    pub flow: Flow,
    /// All machines that are watched, where they are several, and which of them
    /// this is.
    pub hosts: (Vec<Host>, usize),
    /// What the user's last action led to.
    pub notice: Option<Notice>,
}

impl State {
    /// Before anything happened.
    pub fn new(settings: Settings, size: Size) -> State {
        let filter = settings.filter.parse().unwrap_or_default();
        State {
            now: Duration::ZERO,
            size,
            extent: Extent::default(),
            link: Link::Connecting,
            seen: None,
            processes: Processes::new(settings.sort, filter),
            filter_text: settings.filter.clone(),
            mode: Mode::Browse,
            screen: Screen::Processes,
            view: TimeView::default(),
            unscheduled: None,
            scroll: 0,
            focus: None,
            detail: Detail::Hidden,
            history: History::default(),
            events: Events::default(),
            examinations: Answers::default(),
            explanations: Answers::default(),
            past: Answers::default(),
            devices_past: None,
            replay: None,
            flow: Flow::Live,
            hosts: (Vec::new(), 0),
            notice: None,
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
            Msg::Link(event) => {
                self.link_event(event);
                Effect::None
            }
            Msg::Answer(query, result) => {
                self.answered(query, result);
                Effect::None
            }
            Msg::Replay(position) => {
                self.replay = Some(position);
                Effect::None
            }
            Msg::ReplayFailed(error) => {
                self.notify(Tone::Bad, error);
                Effect::None
            }
            Msg::Rewound => {
                self.history = History::default();
                self.events = Events::default();
                Effect::None
            }
            Msg::Act(action) => self.act(action),
            Msg::Resize(size) => {
                self.size = size;
                Effect::None
            }
        };
        match effect {
            Effect::None => self.ask_for_the_past(),
            effect => effect,
        }
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
                if self.link == Link::Connected {
                    let text = format!("connection lost: {error}");
                    self.events.add(EventKind::Agent, None, text);
                }
                self.link = Link::Lost {
                    error,
                    retry_at: self.now + retry_in,
                };
            }
            LinkEvent::Snapshot(snapshot) => {
                if self.link != Link::Connected {
                    self.past.forget_failures();
                    if let Some(Answer::Failed(_)) = self.devices_past {
                        self.devices_past = None;
                    }
                }
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
            time_unix_ns,
            window_ns,
            agent,
            devices,
            processes,
            events,
            unscheduled,
        } = snapshot;
        let rows = processes.into_iter().map(Row::new);
        let rows: Vec<Row> = rows.collect();
        self.history.push(time_unix_ns, &rows, &devices);
        let before = self.events.newest_first().len();
        let restarted = self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.agent.pid != agent.pid);
        if restarted {
            // What the one before remembered is gone with it.
            self.past.clear();
            self.devices_past = None;
        }
        self.events.take_in(time_unix_ns, &agent, events, &rows);
        if self.screen == Screen::Events && self.scroll > 0 {
            // What is being read stays where it is.
            let more = self.events.newest_first().len() - before;
            self.scroll = self.scroll.saturating_add(more as u16);
        }
        self.unscheduled = unscheduled;
        self.processes.replace(rows);
        if let Some(focus) = &mut self.focus {
            match self.processes.find(focus.row.identity()) {
                Some(row) => *focus = Focus::running(row),
                None => focus.life = Life::Exited,
            }
        }
        self.seen = Some(Seen {
            at,
            api_version,
            window: window_ns,
            agent,
            devices,
        });
    }

    /// The process that actions are about.
    pub fn subject(&self) -> Option<&Row> {
        match (self.screen, &self.focus) {
            (Screen::Process, Some(focus)) if focus.life == Life::Exited => None,
            (Screen::Process, Some(focus)) => Some(&focus.row),
            (Screen::Processes | Screen::Process, _) => self.processes.selected(),
            (Screen::Devices | Screen::Hardware | Screen::Events, _) => None,
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
