//! The keys as they are without a configuration.

use crossterm::event::KeyCode;

use super::{Key, KeyContext};
use crate::action::{Action, Ask, Screen, Seek, Step};

/// Keys that do the same.
pub(super) struct Row {
    /// Any of these.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// The name in the configuration.
    pub name: &'static str,
    /// The word in the footer; empty keeps it out.
    pub footer: &'static str,
    /// The line in the help; empty keeps it out.
    pub help: &'static str,
}

const fn c(c: char) -> Key {
    Key::Plain(KeyCode::Char(c))
}

const ENTER: Key = Key::Plain(KeyCode::Enter);
const ESC: Key = Key::Plain(KeyCode::Esc);
const TAB: Key = Key::Plain(KeyCode::Tab);
const BACK_TAB: Key = Key::Plain(KeyCode::BackTab);
const UP: Key = Key::Plain(KeyCode::Up);
const DOWN: Key = Key::Plain(KeyCode::Down);
const LEFT: Key = Key::Plain(KeyCode::Left);
const RIGHT: Key = Key::Plain(KeyCode::Right);
const HOME: Key = Key::Plain(KeyCode::Home);
const END: Key = Key::Plain(KeyCode::End);
const PAGE_UP: Key = Key::Plain(KeyCode::PageUp);
const PAGE_DOWN: Key = Key::Plain(KeyCode::PageDown);

/// Keys, action, name, word in the footer, line in the help.
macro_rules! rows {
    ($($keys:expr => $action:expr, $name:literal, $footer:literal, $help:literal;)*) => {
        &[$(Row { keys: &$keys, action: $action, name: $name, footer: $footer, help: $help }),*]
    };
}

/// On every screen, first in the footer.
const ALWAYS: &[Row] = rows! {
    [c('?'), Key::Plain(KeyCode::F(1)), c('h')] => Action::Help, "help", "help", "this help";
    [c('q'), Key::Ctrl('c')] => Action::Quit, "quit", "quit", "quit";
};

/// On every screen, in no footer.
const SHELL: &[Row] = rows! {
    [Key::Ctrl('z')] => Action::Stop, "stop", "", "stop xtop; `fg` in the shell continues it";
    [c('o')] => Action::NextHost(1), "next-host", "", "with --host: the next machine";
    [c('O')] => Action::NextHost(-1), "previous-host", "", "with --host: the previous machine";
};

/// On every screen.
const SCREENS: &[Row] = rows! {
    [c(' ')] => Action::Pause, "pause", "pause", "hold or resume the picture";
    [c('1')] => Action::Show(Screen::Processes), "processes", "", "screen: devices, targets and gates over time, and all processes";
    [c('2')] => Action::Show(Screen::Process), "process", "", "screen: the selected process";
    [c('3')] => Action::Show(Screen::Devices), "devices", "", "screen: who was open, capped or closed on each device, and when";
    [c('4')] => Action::Show(Screen::Hardware), "hardware", "", "screen: what devices and drivers say: use, memory, power, heat, queues";
    [c('5')] => Action::Show(Screen::Events), "events", "", "screen: joins, exits, changes and by whom, drops, findings";
    [TAB] => Action::NextScreen(1), "next-screen", "", "next screen";
    [BACK_TAB] => Action::NextScreen(-1), "previous-screen", "", "previous screen";
    [c('a')] => Action::Agent, "agent", "agent", "what the agent can see, what it lacks, what was dropped";
    [c('+')] => Action::Zoom(1), "zoom-in", "", "charts: less time, closer";
    [c('-')] => Action::Zoom(-1), "zoom-out", "", "charts: more time";
    [c('=')] => Action::ResetTime, "zoom-reset", "", "charts: the last minute again";
    [c(',')] => Action::Shift(-1), "earlier", "", "charts: earlier (or the wheel over a chart)";
    [c('.')] => Action::Shift(1), "later", "", "charts: later";
    [c(']')] => Action::Seek(Seek::Seconds(10)), "forward", "+10 s", "replay: 10 s forward";
    [c('[')] => Action::Seek(Seek::Seconds(-10)), "backward", "-10 s", "replay: 10 s back";
    [c('}')] => Action::Seek(Seek::Frames(1)), "next-frame", "", "replay: one snapshot forward";
    [c('{')] => Action::Seek(Seek::Frames(-1)), "previous-frame", "", "replay: one snapshot back";
    [c(')')] => Action::Speed(1), "faster", "faster", "replay: twice as fast";
    [c('(')] => Action::Speed(-1), "slower", "slower", "replay: half as fast";
};

/// On the list of processes, first in the footer.
const LIST: &[Row] = rows! {
    [ENTER] => Action::Open, "open", "open", "the selected process on a screen of its own";
    [c('/')] => Action::Filter, "filter", "filter", "filter: words, !not, /regex/, column:text, p99:>5ms, gate:- for unknown";
    [c('s')] => Action::SortMenu, "sort", "sort", "choose the column to sort by (or click on its title)";
};

/// On the list of processes.
const MORE: &[Row] = rows! {
    [c('p')] => Action::Pane, "pane", "pane", "show or hide a pane with the selected process";
    [c('t')] => Action::Tree, "tree", "tree", "children below their parents, then units together, then neither";
    [c('C'), Key::Plain(KeyCode::F(2))] => Action::ColumnMenu, "columns", "columns", "choose the columns; they are kept";
    [c('i')] => Action::Invert, "invert", "invert", "turn the order round";
    [ESC] => Action::Back, "back", "back", "one step back: the pane, then the filter, then the selection";
    [c('j'), DOWN] => Action::Step(Step::Rows(1)), "down", "", "next process";
    [c('k'), UP] => Action::Step(Step::Rows(-1)), "up", "", "previous process";
    [c('g'), HOME] => Action::Step(Step::First), "first", "", "first process";
    [c('G'), END] => Action::Step(Step::Last), "last", "", "last process";
    [PAGE_DOWN, Key::Ctrl('f')] => Action::Page(1), "page-down", "", "one screen down";
    [PAGE_UP, Key::Ctrl('b')] => Action::Page(-1), "page-up", "", "one screen up";
    [c('J')] => Action::ScrollPane(1), "pane-down", "", "scroll the pane down";
    [c('K')] => Action::ScrollPane(-1), "pane-up", "", "scroll the pane up";
    [c('>'), RIGHT] => Action::SortNext(1), "sort-right", "", "sort by the next column";
    [c('<'), LEFT] => Action::SortNext(-1), "sort-left", "", "sort by the previous column";
};

/// Where a process is chosen.
const CHANGE: &[Row] = rows! {
    [c('c')] => Action::Ask(Ask::Class(0)), "class", "class", "change the class of the process (asks first, as all changes do)";
    [c('u')] => Action::Ask(Ask::Unset), "unset", "", "take back what was set by hand: its rules hold again";
    [c('w')] => Action::Ask(Ask::Weight), "weight", "weight", "change its share within the class";
    [c('l')] => Action::Ask(Ask::Target), "target", "target", "set or remove its latency target";
    [c('b')] => Action::Ask(Ask::Boost), "boost", "boost", "put it above all classes for a while";
    [c('z')] => Action::Ask(Ask::Suspend), "suspend", "suspend", "close its gates for a while";
    [c('r')] => Action::Ask(Ask::Resume), "resume", "resume", "end its boost or suspension";
    [Key::Plain(KeyCode::F(9))] => Action::Ask(Ask::Signal), "signal", "signal", "send it a signal: terminate, interrupt, kill, stop, continue";
};

/// On the screen of one process.
const PROCESS: &[Row] = rows! {
    [ESC, ENTER] => Action::Back, "back", "back", "";
    [c('d')] => Action::Diagnose, "diagnose", "diagnose", "on the process's screen: examine why its work escapes scheduling";
    [c('e')] => Action::Explain, "explain", "explain", "on the process's screen: which rules its class and weight come from";
    [RIGHT, c('n')] => Action::Step(Step::Rows(1)), "next-process", "next", "on the process's screen: the next process";
    [LEFT, c('N')] => Action::Step(Step::Rows(-1)), "previous-process", "previous", "on the process's screen: the previous one";
};

/// On screens that are read.
const READ: &[Row] = rows! {
    [c('j'), DOWN] => Action::Scroll(1), "down", "down", "";
    [c('k'), UP] => Action::Scroll(-1), "up", "up", "";
    [PAGE_DOWN, Key::Ctrl('f')] => Action::Scroll(10), "page-down", "", "";
    [PAGE_UP, Key::Ctrl('b')] => Action::Scroll(-10), "page-up", "", "";
    [c('g'), HOME] => Action::Scroll(i16::MIN), "first", "", "";
    [c('G'), END] => Action::Scroll(i16::MAX), "last", "", "";
};

/// On the screen of devices.
const DEVICES: &[Row] = rows! {
    [c('m')] => Action::Ask(Ask::Sharing), "mode", "mode", "on the screen of devices: change how a device is shared";
};

/// On the screens of devices and events.
const LEAVE: &[Row] = rows! {
    [ESC] => Action::Back, "back", "back", "";
};

const FILTER: &[Row] = rows! {
    [ENTER] => Action::Accept, "keep", "keep", "";
    [ESC] => Action::Cancel, "give-up", "give up", "";
    [Key::Ctrl('u')] => Action::EraseAll, "erase-all", "empty", "";
    [Key::Plain(KeyCode::Backspace), Key::Ctrl('h')] => Action::Erase, "erase", "", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

const SORT: &[Row] = rows! {
    [ENTER] => Action::Accept, "", "sort", "";
    [ESC, c('q'), c('s')] => Action::Cancel, "", "back", "";
    [c('j'), DOWN] => Action::MenuStep(1), "", "next", "";
    [c('k'), UP] => Action::MenuStep(-1), "", "previous", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

const COLUMNS: &[Row] = rows! {
    [c(' '), c('x')] => Action::Toggle, "", "show or not", "";
    [ESC, ENTER, c('q'), c('C'), Key::Plain(KeyCode::F(2))] => Action::Cancel, "", "back", "";
    [c('j'), DOWN] => Action::MenuStep(1), "", "next", "";
    [c('k'), UP] => Action::MenuStep(-1), "", "previous", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

const CHOICE: &[Row] = rows! {
    [ENTER, c('y')] => Action::Accept, "", "do it", "";
    [ESC, c('q'), c('n')] => Action::Cancel, "", "leave it", "";
    [UP, c('k'), c('+'), c('=')] => Action::Adjust(1), "", "higher", "";
    [DOWN, c('j'), c('-')] => Action::Adjust(-1), "", "lower", "";
    [RIGHT, TAB] => Action::OtherDevice(1), "", "", "";
    [LEFT, BACK_TAB] => Action::OtherDevice(-1), "", "", "";
    [c('1')] => Action::Pick(0), "", "", "";
    [c('2')] => Action::Pick(1), "", "", "";
    [c('3')] => Action::Pick(2), "", "", "";
    [c('4')] => Action::Pick(3), "", "", "";
    [c('5')] => Action::Pick(4), "", "", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

const ENTRY: &[Row] = rows! {
    [ENTER] => Action::Accept, "", "do it", "";
    [ESC] => Action::Cancel, "", "leave it", "";
    [UP] => Action::Adjust(1), "", "more", "";
    [DOWN] => Action::Adjust(-1), "", "less", "";
    [Key::Ctrl('u')] => Action::EraseAll, "", "empty", "";
    [Key::Plain(KeyCode::Backspace), Key::Ctrl('h')] => Action::Erase, "", "", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

const TEXT: &[Row] = rows! {
    [ESC, c('q'), c('?'), c('a'), ENTER] => Action::Cancel, "", "back", "";
    [c('j'), DOWN] => Action::Scroll(1), "", "down", "";
    [c('k'), UP] => Action::Scroll(-1), "", "up", "";
    [PAGE_DOWN, c(' ')] => Action::Scroll(10), "", "", "";
    [PAGE_UP] => Action::Scroll(-10), "", "", "";
    [Key::Ctrl('c')] => Action::Quit, "", "", "";
};

/// The keys of `place`, in the order of the footer. Menus and texts cannot be
/// remapped: their keys have no names.
pub(super) fn rows(place: KeyContext) -> impl Iterator<Item = &'static Row> {
    let groups: &'static [&'static [Row]] = match place {
        KeyContext::Screen(Screen::Processes) => &[ALWAYS, LIST, CHANGE, MORE, SCREENS, SHELL],
        KeyContext::Screen(Screen::Process) => &[ALWAYS, PROCESS, CHANGE, READ, SCREENS, SHELL],
        KeyContext::Screen(Screen::Devices) => &[ALWAYS, LEAVE, DEVICES, READ, SCREENS, SHELL],
        KeyContext::Screen(Screen::Hardware) => &[ALWAYS, LEAVE, READ, SCREENS, SHELL],
        KeyContext::Screen(Screen::Events) => &[ALWAYS, LEAVE, READ, SCREENS, SHELL],
        KeyContext::Filter => &[FILTER],
        KeyContext::Sort => &[SORT],
        KeyContext::Columns => &[COLUMNS],
        KeyContext::Choice => &[CHOICE],
        KeyContext::Entry => &[ENTRY],
        KeyContext::Text => &[TEXT],
    };
    groups.iter().copied().flatten()
}
