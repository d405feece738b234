use std::time::Duration;

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use xsched_common::api::Snapshot;

use super::*;
use crate::action::Screen;
use crate::column::Column;
use crate::fixture::{many, snapshot, typical};
use crate::layout::Layout;
use crate::ui::Ui;

mod changes;
mod mouse;
mod queries;

const SIZE: Size = Size {
    width: 80,
    height: 24,
};

/// A state and a clock that moves on with each message.
struct Driver {
    ui: Ui,
    now: Duration,
}

impl Driver {
    fn new(access: Access) -> Driver {
        Driver {
            ui: crate::fixture::start(SIZE, access),
            now: Duration::ZERO,
        }
    }

    fn connected(access: Access) -> Driver {
        let mut driver = Driver::new(access);
        driver.receive(typical());
        driver
    }

    fn send(&mut self, msg: Msg) -> Effect {
        self.now += Duration::from_millis(100);
        self.ui.update(self.now, msg)
    }

    fn event(&mut self, event: Event) -> Effect {
        self.now += Duration::from_millis(100);
        self.ui.event(self.now, &event)
    }

    fn receive(&mut self, snapshot: Snapshot) {
        self.send(Msg::Link(LinkEvent::Snapshot(Box::new(snapshot))));
    }

    fn key(&mut self, code: KeyCode) -> Effect {
        let event = KeyEvent::new(code, KeyModifiers::NONE);
        self.event(Event::Key(event))
    }

    /// Presses keys; returns the effect of the last.
    fn keys(&mut self, keys: &str) -> Effect {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        keys.chars()
            .map(|c| self.key(code(c)))
            .last()
            .unwrap_or(Effect::None)
    }

    fn click(&mut self, column: u16, row: u16) {
        self.event(Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        }));
    }

    fn pids(&self) -> Vec<u32> {
        let rows = self.ui.state.processes.shown();
        rows.map(|row| row.process.pid).collect()
    }

    fn notice(&self) -> &str {
        self.ui
            .state
            .notice
            .as_ref()
            .map_or("", |notice| &notice.text)
    }
}

#[test]
fn a_filter_works_while_it_is_typed_and_can_be_given_up() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("/train");
    assert_eq!(driver.pids(), [5100]);
    driver.keys("\x1b");
    assert_eq!(driver.pids().len(), 3);
    driver.keys("/class:hi\n");
    assert_eq!(
        (driver.pids(), &*driver.ui.state.filter_text),
        (vec![4242], "class:hi")
    );
    driver.keys("/ x:");
    assert!(matches!(&driver.ui.state.mode, Mode::Filter(line) if line.error.is_some()));
    driver.keys("\n");
    assert!(
        matches!(driver.ui.state.mode, Mode::Filter(_)),
        "a wrong filter is not kept"
    );
    driver.key(KeyCode::Backspace);
    driver.keys("\x1b\x1b");
    assert_eq!(driver.pids().len(), 3);
}

#[test]
fn sorting_by_menu_keys_and_mouse() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("i");
    assert_eq!(driver.pids(), [5100, 4242, 977]);
    driver.keys("sj\n");
    assert_eq!(driver.ui.state.processes.sort().column, Column::Busy);
    driver.keys("<<");
    assert_eq!(driver.ui.state.processes.sort().column, Column::Slo);
    driver.click(0, 3);
    assert_eq!(driver.ui.state.processes.sort(), Sort::by(Column::Pid));
    driver.click(0, 3);
    assert_eq!(driver.pids(), [5100, 4242, 977]);
}

#[test]
fn a_click_selects_the_row_under_it() {
    let mut driver = Driver::connected(Access::Full);
    driver.click(20, 6);
    assert_eq!(
        driver.ui.state.processes.selected().map(|r| r.process.pid),
        Some(5100)
    );
    driver.click(20, 15);
    assert_eq!(
        driver.ui.state.processes.cursor(),
        2,
        "below the rows is nothing"
    );
}

#[test]
fn a_pause_holds_the_picture_and_ends_with_the_newest() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys(" ");
    driver.receive(snapshot(Vec::new()));
    assert_eq!(driver.pids().len(), 3);
    let age = driver.ui.state.age().expect("data");
    driver.send(Msg::Tick);
    assert!(
        driver.ui.state.age().expect("data") > age,
        "held data grows old"
    );
    driver.receive(many(5));
    driver.keys(" ");
    assert_eq!(driver.pids().len(), 5);
}

#[test]
fn the_selection_stays_on_screen_through_a_resize() {
    let mut driver = Driver::connected(Access::Full);
    driver.receive(many(100));
    driver.keys("Gp");
    driver.event(Event::Resize(60, 15));
    let rows = Layout::of(driver.ui.state.size, &driver.ui.state).rows();
    let offset = driver.ui.state.processes.offset(rows);
    assert!((offset..offset + rows).contains(&99), "{offset} {rows}");
}

#[test]
fn back_goes_one_step_at_a_time() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("/python\np");
    assert_ne!(driver.ui.state.detail, Detail::Hidden);
    driver.keys("\x1b");
    assert_eq!(driver.ui.state.detail, Detail::Hidden);
    assert_eq!(driver.pids(), [4242]);
    driver.keys("\x1b");
    assert_eq!(driver.pids().len(), 3);
    assert_eq!(driver.keys("?q"), Effect::None, "q closes the help first");
    assert_eq!(driver.keys("q"), Effect::Quit);
}

#[test]
fn scrolling_ends_where_the_text_does() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("?");
    driver.keys(&"j".repeat(200));
    let Mode::Help(bottom) = driver.ui.state.mode else {
        panic!("the help is open");
    };
    driver.keys("k");
    assert!(bottom > 10 && driver.ui.state.mode == Mode::Help(bottom - 1));
    driver.keys("qpJJJJJJJJJ");
    assert!(matches!(driver.ui.state.detail, Detail::Shown(line) if line < 5));
}

#[test]
fn screens_change_by_key_tab_and_mouse() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("j\n");
    assert_eq!(driver.ui.state.screen, Screen::Process);
    assert_eq!(driver.ui.state.subject().map(|r| r.process.pid), Some(4242));
    driver.keys("n");
    assert_eq!(driver.ui.state.subject().map(|r| r.process.pid), Some(5100));
    driver.keys("\x1b");
    assert_eq!(driver.ui.state.screen, Screen::Processes);
    for (keys, screen) in [
        ("5", Screen::Events),
        ("4", Screen::Hardware),
        ("3", Screen::Devices),
        ("2", Screen::Process),
        ("1", Screen::Processes),
    ] {
        driver.keys(keys);
        assert_eq!(driver.ui.state.screen, screen);
    }
    driver.key(KeyCode::BackTab);
    assert_eq!(driver.ui.state.screen, Screen::Events);
    driver.key(KeyCode::Tab);
    assert_eq!(driver.ui.state.screen, Screen::Processes);
    let layout = Layout::of(driver.ui.state.size, &driver.ui.state);
    let (_, _, x) = layout.tab_places().nth(2).expect("a tab");
    driver.click(x + 1, layout.tabs.y);
    assert_eq!(driver.ui.state.screen, Screen::Devices);
    driver.keys("?");
    assert!(matches!(driver.ui.state.mode, Mode::Help(_)));
}

#[test]
fn the_screen_of_a_process_stays_with_it() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("j\n");
    let mut next = typical();
    next.processes.remove(1);
    driver.receive(next);
    let focus = driver.ui.state.focus.as_ref().expect("a focus");
    assert_eq!((focus.row.process.pid, focus.life), (4242, Life::Exited));
    assert_eq!(driver.keys("c"), Effect::None);
    assert_eq!(driver.notice(), "there is no process to change");
    driver.receive(typical());
    assert_eq!(driver.ui.state.subject().map(|r| r.process.pid), Some(4242));
}

#[test]
fn a_replay_is_steered_and_changes_nothing() {
    use crate::replay::{Command, Motion, Position, Seek};
    let mut driver = Driver::connected(Access::Recorded);
    assert_eq!(driver.keys("]"), Effect::None, "no replay yet");
    driver.send(Msg::Replay(Position {
        at: Duration::ZERO,
        length: Duration::from_secs(60),
        speed: 0,
        motion: Motion::Playing,
    }));
    assert_eq!(driver.keys(" "), Effect::Replay(Command::TogglePause));
    let seek = Effect::Replay(Command::Seek(Seek::Seconds(-10)));
    assert_eq!(driver.keys("["), seek);
    assert_eq!(driver.keys(")"), Effect::Replay(Command::Speed(1)));
    assert_eq!(driver.keys("c4\n"), Effect::None);
    assert!(driver.notice().starts_with("this is a recording"));
    assert_eq!(driver.keys("2d"), Effect::None);
    driver.send(Msg::Rewound);
    assert!(driver.ui.state.history.is_empty() && driver.ui.state.events.is_empty());
}

#[test]
fn children_stand_below_their_parents_on_demand() {
    let mut driver = Driver::new(Access::Full);
    let mut family = typical();
    family.processes[0].parent = Some(5100);
    driver.receive(family);
    assert_eq!(driver.pids(), [977, 4242, 5100]);
    driver.keys("t");
    assert_eq!(driver.pids(), [4242, 5100, 977]);
    assert_eq!(driver.ui.state.processes.depth(2), 1);
    driver.keys("t");
    assert_eq!(driver.pids(), [977, 4242, 5100]);
    assert_eq!(driver.ui.state.processes.arrangement(), Arrangement::Units);
    driver.keys("t");
    assert_eq!(driver.ui.state.processes.arrangement(), Arrangement::Flat);
}

#[test]
fn events_that_are_read_stay_where_they_are() {
    let mut driver = Driver::connected(Access::Full);
    driver.receive(many(60));
    driver.keys("5jj");
    let read = driver.ui.state.scroll;
    driver.receive(many(62));
    assert_eq!((read, driver.ui.state.scroll), (2, 4));
    driver.keys("g");
    driver.receive(many(63));
    assert_eq!(driver.ui.state.scroll, 0);
}
