//! The mouse on boxes: what is drawn is what a click reaches.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use xsched_common::api::{Change, Request, SharingMode};
use xsched_common::units::Class;

impl Driver {
    /// Clicks on the first place at which the screen shows `text`.
    fn click_on(&mut self, text: &str) -> Effect {
        let size = self.ui.state.size;
        let mut terminal =
            Terminal::new(TestBackend::new(size.width, size.height)).expect("a screen");
        terminal.draw(|frame| self.ui.draw(frame)).expect("draws");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..size.width).map(move |x| buffer[(x, y)].symbol());
        let place = |y| {
            let line: String = line(y).collect();
            let bytes = line.find(text)?;
            Some((line[..bytes].chars().count() as u16, y))
        };
        let found = (0..size.height).find_map(place);
        let (column, row) = found.unwrap_or_else(|| panic!("{text} is not on the screen"));
        self.now += Duration::from_millis(100);
        let event = Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        });
        self.ui.event(self.now, &event)
    }

    fn is_browsing(&self) -> bool {
        self.ui.state.mode == Mode::Browse
    }
}

#[test]
fn menus_take_clicks() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("s");
    driver.click_on("burst, 99th");
    assert_eq!(driver.ui.state.processes.sort().column, Column::BurstP99);
    assert!(driver.is_browsing());
    driver.keys("C");
    driver.click_on("share within the class");
    assert!(!driver.ui.state.processes.is_wanted(Column::Weight));
    driver.click_on("share within the class");
    assert!(driver.ui.state.processes.is_wanted(Column::Weight));
    assert!(!driver.is_browsing(), "several can be chosen");
    // Beside the box.
    driver.click(0, 12);
    assert!(driver.is_browsing());
}

#[test]
fn questions_take_clicks() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("jc");
    let pid = driver.ui.state.subject().expect("a process").process.pid;
    driver.click_on("4 low");
    let effect = driver.click_on("Enter does it");
    let change = Change {
        pid,
        class: Some(Class::Low),
        ..Change::default()
    };
    let Effect::Ask(query) = effect else {
        panic!("{effect:?}");
    };
    assert_eq!(query.request, Request::Set(change));
    driver.keys("b");
    driver.click_on("Up, Down");
    let effect = driver.click_on("Enter does it");
    let Effect::Ask(Query {
        request: Request::Boost { duration_ms, .. },
        ..
    }) = effect
    else {
        panic!("{effect:?}");
    };
    assert_eq!(duration_ms, 60_000);
    driver.keys("b");
    assert_eq!(driver.click_on("Esc leaves"), Effect::None);
    assert!(driver.is_browsing());
    driver.keys("b");
    assert_eq!(driver.click_on("above all classes"), Effect::None);
    assert!(!driver.is_browsing(), "an explanation is no button");
    driver.click(0, 12);
    assert!(driver.is_browsing());
    driver.keys("3m");
    driver.click_on("by weight within");
    let effect = driver.click_on("Enter does it");
    let Effect::Ask(Query {
        request: Request::SetMode { mode, .. },
        ..
    }) = effect
    else {
        panic!("{effect:?}");
    };
    assert_eq!(mode, SharingMode::Share);
}

#[test]
fn texts_and_the_filter_take_clicks() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("?");
    driver.click_on("more: j");
    assert!(matches!(driver.ui.state.mode, Mode::Help(line) if line > 1));
    driver.click(0, 12);
    assert!(driver.is_browsing());
    driver.keys("/p");
    driver.click_on("4242");
    assert!(
        matches!(driver.ui.state.mode, Mode::Filter(_)),
        "it is still being typed"
    );
    let selected = driver.ui.state.processes.selected();
    assert_eq!(selected.map(|row| row.process.pid), Some(4242));
}
