use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use xsched_common::api::{Settled, Snapshot};
use xsched_common::units::{Class, Weight};

use super::*;
use crate::fixture::{many, snapshot, typical, users};

const SIZE: Size = Size {
    width: 80,
    height: 24,
};

/// A state and a clock that moves on with each message.
struct Driver {
    state: State,
    now: Duration,
}

impl Driver {
    fn new(access: Access) -> Driver {
        let settings = Settings {
            socket: "/run/xsched/api.sock".into(),
            interval: Duration::from_secs(1),
            access,
            sort: Sort::default(),
            filter: String::new(),
            keys: crate::input::Keymap::default(),
        };
        Driver {
            state: State::new(settings, users(), SIZE),
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
        self.state.update(self.now, msg)
    }

    fn receive(&mut self, snapshot: Snapshot) {
        self.send(Msg::Link(LinkEvent::Snapshot(Box::new(snapshot))));
    }

    fn key(&mut self, code: KeyCode) -> Effect {
        let event = KeyEvent::new(code, KeyModifiers::NONE);
        self.send(Msg::Terminal(Event::Key(event)))
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
        self.send(Msg::Terminal(Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        })));
    }

    fn pids(&self) -> Vec<u32> {
        let rows = self.state.processes.shown();
        rows.map(|row| row.process.pid).collect()
    }

    fn notice(&self) -> &str {
        self.state.notice.as_ref().map_or("", |notice| &notice.text)
    }
}

#[test]
fn a_class_change_needs_its_confirmation() {
    let mut driver = Driver::connected(Access::Full);
    assert_eq!(driver.pids(), [977, 4242, 5100]);
    assert_eq!(driver.keys("jc4"), Effect::None);
    assert!(matches!(&driver.state.mode, Mode::Class(change)
        if change.target.pid == 4242 && change.chosen == Class::Low));
    assert_eq!(driver.keys("\x1b"), Effect::None);
    assert_eq!(driver.state.mode, Mode::Browse);
    let set = Effect::Set {
        pid: 4242,
        class: Class::Realtime,
    };
    assert_eq!(driver.keys("c+\n"), set);
    let settled = Settled {
        pid: 4242,
        class: Class::Realtime,
        weight: Weight::default(),
        slo_p99_ns: None,
        hold: None,
        joined: false,
    };
    driver.send(Msg::Settled(Ok(settled)));
    assert_eq!(driver.notice(), "pid 4242 is realtime as soon as it joins");
    driver.send(Msg::Settled(Err("not allowed: run xtop with sudo".into())));
    assert_eq!(driver.notice(), "not allowed: run xtop with sudo");
    driver.now += NOTICE_TIME;
    driver.send(Msg::Tick);
    assert_eq!(driver.notice(), "");
}

#[test]
fn the_confirmed_process_is_the_one_that_was_asked_about() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("jc4");
    // Its pid is reused while the question stands.
    let mut next = typical();
    next.processes[1].start_time += 1;
    driver.receive(next);
    assert_eq!(driver.keys("\n"), Effect::None);
    assert_eq!(driver.notice(), "pid 4242 has exited: nothing was changed");
}

#[test]
fn classes_stop_at_the_ends() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("c---");
    assert!(matches!(&driver.state.mode, Mode::Class(change) if change.chosen == Class::Low));
    driver.keys("+++++");
    assert!(matches!(&driver.state.mode, Mode::Class(change) if change.chosen == Class::Realtime));
    driver.keys("4");
    assert_eq!(driver.keys("\n"), Effect::None, "already low");
    assert_eq!(driver.notice(), "pid 977 stays low");
}

#[test]
fn readonly_and_disconnected_refuse_changes() {
    let mut driver = Driver::connected(Access::ReadOnly);
    assert_eq!(driver.keys("c\n"), Effect::None);
    assert!(driver.notice().starts_with("read-only"));
    assert!(!driver.state.can(crate::input::Action::ChooseClass));
    let mut driver = Driver::connected(Access::Full);
    driver.send(Msg::Link(LinkEvent::Lost {
        error: "gone".into(),
        retry_in: Duration::from_secs(1),
    }));
    assert_eq!(driver.keys("c4\n"), Effect::None);
    assert!(driver.notice().starts_with("not connected"));
    assert_eq!(driver.pids().len(), 3, "the last data stays on screen");
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
        (driver.pids(), &*driver.state.filter_text),
        (vec![4242], "class:hi")
    );
    driver.keys("/ x:");
    assert!(matches!(&driver.state.mode, Mode::Filter(line) if line.error.is_some()));
    driver.keys("\n");
    assert!(
        matches!(driver.state.mode, Mode::Filter(_)),
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
    assert_eq!(driver.state.processes.sort().column, Column::InFlight);
    driver.keys("<<");
    assert_eq!(driver.state.processes.sort().column, Column::Gate);
    driver.click(0, 3);
    assert_eq!(driver.state.processes.sort(), Sort::by(Column::Pid));
    driver.click(0, 3);
    assert_eq!(driver.pids(), [5100, 4242, 977]);
}

#[test]
fn a_click_selects_the_row_under_it() {
    let mut driver = Driver::connected(Access::Full);
    driver.click(20, 6);
    assert_eq!(
        driver.state.processes.selected().map(|r| r.process.pid),
        Some(5100)
    );
    driver.click(20, 15);
    assert_eq!(
        driver.state.processes.cursor(),
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
    let age = driver.state.age().expect("data");
    driver.send(Msg::Tick);
    assert!(
        driver.state.age().expect("data") > age,
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
    driver.send(Msg::Terminal(Event::Resize(60, 15)));
    let rows = Layout::of(driver.state.size, &driver.state).rows();
    let offset = driver.state.processes.offset(rows);
    assert!((offset..offset + rows).contains(&99), "{offset} {rows}");
}

#[test]
fn back_goes_one_step_at_a_time() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("/python\np");
    assert_ne!(driver.state.detail, Detail::Hidden);
    driver.keys("\x1b");
    assert_eq!(driver.state.detail, Detail::Hidden);
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
    let Mode::Help(bottom) = driver.state.mode else {
        panic!("the help is open");
    };
    driver.keys("k");
    assert!(bottom > 10 && driver.state.mode == Mode::Help(bottom - 1));
    driver.keys("qpJJJJJJJJJ");
    assert!(matches!(driver.state.detail, Detail::Shown(line) if line < 5));
}

#[test]
fn screens_change_by_key_tab_and_mouse() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("j\n");
    assert_eq!(driver.state.screen, Screen::Process);
    assert_eq!(driver.state.subject().map(|r| r.process.pid), Some(4242));
    driver.keys("n");
    assert_eq!(driver.state.subject().map(|r| r.process.pid), Some(5100));
    driver.keys("\x1b");
    assert_eq!(driver.state.screen, Screen::Processes);
    for (keys, screen) in [
        ("4", Screen::Events),
        ("3", Screen::Devices),
        ("2", Screen::Process),
        ("1", Screen::Processes),
    ] {
        driver.keys(keys);
        assert_eq!(driver.state.screen, screen);
    }
    driver.key(KeyCode::BackTab);
    assert_eq!(driver.state.screen, Screen::Events);
    driver.key(KeyCode::Tab);
    assert_eq!(driver.state.screen, Screen::Processes);
    let layout = Layout::of(driver.state.size, &driver.state);
    let (_, _, x) = layout.tab_places().nth(2).expect("a tab");
    driver.click(x + 1, layout.tabs.y);
    assert_eq!(driver.state.screen, Screen::Devices);
    driver.keys("5");
    assert!(matches!(driver.state.mode, Mode::Help(_)));
}

#[test]
fn the_screen_of_a_process_stays_with_it() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("j\n");
    let mut next = typical();
    next.processes.remove(1);
    driver.receive(next);
    let focus = driver.state.focus.as_ref().expect("a focus");
    assert_eq!((focus.row.process.pid, focus.life), (4242, Life::Exited));
    assert_eq!(driver.keys("c"), Effect::None);
    assert_eq!(driver.notice(), "there is no process to change");
    driver.receive(typical());
    assert_eq!(driver.state.subject().map(|r| r.process.pid), Some(4242));
}

#[test]
fn an_examination_is_asked_for_once_and_its_findings_are_events() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("j\n");
    let target = driver.state.subject().expect("a process").identity();
    assert_eq!(driver.keys("d"), Effect::Diagnose(target));
    assert_eq!(driver.keys("d"), Effect::None, "already at it");
    let finding = xsched_common::api::Finding {
        code: "symbol-version-bypass".into(),
        severity: xsched_common::api::Severity::Error,
        pid: 4242,
        title: "launches go past the shim".into(),
        evidence: Vec::new(),
        effect: None,
        fix: "use another shim".into(),
    };
    let diagnosis = Diagnosis {
        pid: 4242,
        findings: vec![finding],
        limits: Vec::new(),
    };
    driver.send(Msg::Diagnosed(target, Ok(diagnosis)));
    let newest = driver.state.events.newest_first().next().expect("an event");
    assert_eq!((newest.kind.name(), newest.pid), ("finding", Some(4242)));
    assert_eq!(driver.keys("d"), Effect::Diagnose(target), "again");
    driver.send(Msg::Diagnosed(target, Err("pid 4242 is root's".into())));
    assert_eq!(driver.notice(), "pid 4242 is root's");
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
    assert!(driver.state.history.is_empty() && driver.state.events.is_empty());
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
    assert_eq!(driver.state.processes.depth(2), 1);
    driver.keys("t");
    assert_eq!(driver.pids(), [977, 4242, 5100]);
    assert_eq!(driver.state.processes.arrangement(), Arrangement::Units);
    driver.keys("t");
    assert_eq!(driver.state.processes.arrangement(), Arrangement::Flat);
}

#[test]
fn events_that_are_read_stay_where_they_are() {
    let mut driver = Driver::connected(Access::Full);
    driver.receive(many(60));
    driver.keys("4jj");
    let read = driver.state.scroll;
    driver.receive(many(62));
    assert_eq!((read, driver.state.scroll), (2, 4));
    driver.keys("g");
    driver.receive(many(63));
    assert_eq!(driver.state.scroll, 0);
}
