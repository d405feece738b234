//! From the key to the question, the request and what came of it.

use xsched_common::api::{
    Change, ModeSet, Override, OverrideRow, Request, Response, Settled, SharingMode,
};
use xsched_common::units::{Class, Nanos, Weight};

use super::*;
use crate::action::{Action, Ask};

fn settled(pid: u32, class: Class) -> Settled {
    Settled {
        pid,
        class,
        weight: Weight::default(),
        slo_p99_ns: None,
        hold: None,
        joined: true,
        ..Settled::default()
    }
}

/// The request of an effect that asks for a change.
fn asked(effect: Effect) -> Request {
    match effect {
        Effect::Ask(Query {
            topic: Topic::Change,
            request,
        }) => request,
        other => panic!("no change: {other:?}"),
    }
}

impl Driver {
    fn question(&self) -> &Question {
        match &self.ui.state.mode {
            Mode::Ask(question) => question,
            other => panic!("no question: {other:?}"),
        }
    }

    fn chosen_class(&self) -> Class {
        match self.question() {
            Question::Process {
                attr: AttrQuestion::Class { chosen, .. },
                ..
            } => *chosen,
            other => panic!("not about a class: {other:?}"),
        }
    }

    /// The agent's answer to `request`; returns the notice.
    fn answer(&mut self, request: Request, result: Result<Response, &str>) -> String {
        let topic = Topic::Change;
        let query = Query { topic, request };
        self.send(Msg::Answer(query, result.map_err(str::to_owned)));
        self.notice().to_owned()
    }
}

#[test]
fn what_was_set_is_taken_back() {
    let mut driver = Driver::connected(Access::Full);
    driver.keys("ju");
    assert!(matches!(
        driver.question(),
        Question::Process {
            attr: AttrQuestion::Unset,
            ..
        }
    ));
    let unset = asked(driver.keys("\n"));
    let Request::Unset { pid, terms } = &unset else {
        panic!("{unset:?}");
    };
    assert!(terms.is_empty(), "all of them");
    let now = settled(*pid, Class::Normal);
    let said = driver.answer(unset, Ok(Response::Settled(now)));
    assert!(
        said.ends_with("is normal, with nothing set by hand"),
        "{said}"
    );
}

#[test]
fn a_class_change_is_asked_for_confirmed_and_answered() {
    let mut driver = Driver::connected(Access::Full);
    assert_eq!(driver.pids(), [977, 4242, 5100]);
    assert_eq!(driver.keys("jc4"), Effect::None);
    assert_eq!(driver.chosen_class(), Class::Low);
    assert_eq!(driver.keys("\x1b"), Effect::None);
    assert_eq!(driver.ui.state.mode, Mode::Browse);
    let set = Request::Set(Change {
        pid: 4242,
        class: Some(Class::Realtime),
        ..Change::default()
    });
    assert_eq!(asked(driver.keys("c+\n")), set);
    let later = Settled {
        joined: false,
        ..settled(4242, Class::Realtime)
    };
    assert_eq!(
        driver.answer(set.clone(), Ok(Response::Settled(later))),
        "pid 4242 is realtime as soon as it joins"
    );
    let refusal = "not allowed: run xtop with sudo";
    assert_eq!(driver.answer(set, Err(refusal)), refusal);
    driver.now += NOTICE_TIME;
    driver.send(Msg::Tick);
    assert_eq!(driver.notice(), "");
}

#[test]
fn weights_and_targets_are_typed() {
    let mut driver = Driver::connected(Access::Full);
    let set = asked(driver.keys("jw250\n"));
    let weight = Weight::new(250).expect("a weight");
    let change = Change {
        pid: 4242,
        weight: Some(weight),
        ..Change::default()
    };
    assert_eq!(set, Request::Set(change));
    let now = Settled {
        weight,
        ..settled(4242, Class::High)
    };
    assert_eq!(
        driver.answer(set, Ok(Response::Settled(now))),
        "pid 4242 has weight 250 in class high"
    );
    // Letters are text here, and what is wrong keeps the question.
    assert_eq!(driver.keys("lq\n"), Effect::None);
    assert!(driver.question().request().is_err());
    driver.key(KeyCode::Backspace);
    let set = asked(driver.keys("7ms\n"));
    let now = Settled {
        slo_p99_ns: Some(Nanos::from_millis(7)),
        ..settled(4242, Class::High)
    };
    assert_eq!(
        driver.answer(set, Ok(Response::Settled(now))),
        "pid 4242 is to keep its P99 within 7.00 ms"
    );
    let off = asked(driver.keys("loff\n"));
    let change = Change {
        pid: 4242,
        slo_p99_ns: Some(Nanos::ZERO),
        ..Change::default()
    };
    assert_eq!(off, Request::Set(change));
    assert_eq!(
        driver.answer(off, Ok(Response::Settled(settled(4242, Class::High)))),
        "pid 4242 has no latency target"
    );
}

#[test]
fn boosts_and_suspensions_end_by_themselves_or_by_hand() {
    let mut driver = Driver::connected(Access::Full);
    assert!(!driver.ui.state.can(Action::Ask(Ask::Resume)));
    let boost = asked(driver.keys("b1m\n"));
    let expected = Request::Boost {
        pid: 977,
        duration_ms: 60_000,
    };
    assert_eq!(boost, expected);
    let hold = OverrideRow {
        hold: Override::Boosted,
        remaining_ns: Nanos::from_secs(60),
    };
    let now = Settled {
        hold: Some(hold),
        ..settled(977, Class::Low)
    };
    assert_eq!(
        driver.answer(boost, Ok(Response::Settled(now))),
        "pid 977 is boosted for 60 s"
    );
    driver.keys("z");
    driver.key(KeyCode::Up);
    let expected = Request::Suspend {
        pid: 977,
        timeout_ms: 60_000,
    };
    assert_eq!(asked(driver.keys("\n")), expected);

    driver.keys("r");
    assert!(driver.notice().contains("neither boosted nor suspended"));
    let mut next = typical();
    next.processes[0].hold = Some(hold);
    driver.receive(next);
    assert!(driver.ui.state.can(Action::Ask(Ask::Resume)));
    let resume = asked(driver.keys("r\n"));
    assert_eq!(resume, Request::Resume { pid: 977 });
    assert_eq!(
        driver.answer(resume, Ok(Response::Settled(settled(977, Class::Low)))),
        "pid 977 is low again"
    );
}

#[test]
fn sharing_is_changed_on_one_device_or_all() {
    let mut driver = Driver::connected(Access::Full);
    assert_eq!(driver.keys("m"), Effect::None, "not among processes");
    assert_eq!(driver.ui.state.mode, Mode::Browse);
    driver.keys("3");
    assert_eq!(driver.keys("m\n"), Effect::None);
    assert!(driver.notice().ends_with("stays shared by slo"));
    let set = asked(driver.keys("m2\n"));
    let device = Some("0000:03:00.0".to_owned());
    let mode = SharingMode::Share;
    let expected = Request::SetMode {
        device: device.clone(),
        mode,
    };
    assert_eq!(set, expected);
    assert_eq!(
        driver.answer(set, Ok(Response::ModeSet(ModeSet { device, mode }))),
        "0000:03:00.0 is shared by share"
    );
    driver.keys("m");
    driver.key(KeyCode::Right);
    let all = Request::SetMode {
        device: None,
        mode: SharingMode::Fixed,
    };
    driver.key(KeyCode::Down);
    assert_eq!(asked(driver.keys("\n")), all);
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
    assert_eq!(driver.chosen_class(), Class::Low);
    driver.keys("+++++");
    assert_eq!(driver.chosen_class(), Class::Realtime);
    driver.keys("4");
    assert_eq!(driver.keys("\n"), Effect::None, "already low");
    assert_eq!(driver.notice(), "pid 977 stays low");
}

#[test]
fn readonly_and_disconnected_refuse_changes() {
    let mut driver = Driver::connected(Access::ReadOnly);
    for keys in ["c", "w", "l", "b", "z", "r", "3m"] {
        driver.keys(keys);
        assert_eq!(driver.ui.state.mode, Mode::Browse, "{keys}");
        assert!(driver.notice().starts_with("read-only"));
        driver.ui.state.notice = None;
    }
    assert!(!driver.ui.state.can(Action::Ask(Ask::Class(0))));
    driver.keys("1");
    assert!(
        driver.ui.state.can(Action::Diagnose),
        "which changes nothing"
    );
    let mut driver = Driver::connected(Access::Full);
    driver.send(Msg::Link(LinkEvent::Lost {
        error: "gone".into(),
        retry_in: Duration::from_secs(1),
    }));
    assert_eq!(driver.keys("c4\n"), Effect::None);
    assert!(driver.notice().starts_with("not connected"));
    assert_eq!(driver.pids().len(), 3, "the last data stays on screen");
}
