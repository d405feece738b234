//! What the agent is asked about a process.

use xsched_common::api::{
    Diagnosis, ExplainStep, Explanation, Finding, History, HistoryPoint, Request, Response,
    Settled, Severity,
};
use xsched_common::units::{Class, Nanos, Weight};

use super::*;

fn query(topic: Topic, request: Request) -> Query {
    Query { topic, request }
}

impl Driver {
    /// On the screen of the service, whose past is being asked for.
    fn on_service() -> (Driver, Identity, Query) {
        let mut driver = Driver::connected(Access::Full);
        driver.keys("j");
        let target = driver.ui.state.subject().expect("a process").identity();
        let past = query(
            Topic::Past(target),
            Request::History {
                pid: Some(target.pid),
            },
        );
        assert_eq!(driver.keys("\n"), Effect::Ask(past.clone()));
        (driver, target, past)
    }
}

#[test]
fn an_examination_is_asked_for_once_and_its_findings_are_events() {
    let (mut driver, target, _) = Driver::on_service();
    let ask = query(
        Topic::Diagnosis(target),
        Request::Diagnose {
            pid: 4242,
            duration_ms: 2_000,
        },
    );
    assert_eq!(driver.keys("d"), Effect::Ask(ask.clone()));
    assert_eq!(driver.keys("d"), Effect::None, "already at it");
    let finding = Finding {
        code: "symbol-version-bypass".into(),
        severity: Severity::Error,
        pid: 4242,
        platform: Default::default(),
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
    driver.send(Msg::Answer(ask.clone(), Ok(Response::Diagnosis(diagnosis))));
    let newest = driver
        .ui
        .state
        .events
        .newest_first()
        .next()
        .expect("an event");
    assert_eq!((newest.kind.name(), newest.pid), ("finding", Some(4242)));
    assert_eq!(driver.keys("d"), Effect::Ask(ask.clone()), "again");
    driver.send(Msg::Answer(ask, Err("pid 4242 is root's".into())));
    assert_eq!(driver.notice(), "pid 4242 is root's");
}

#[test]
fn terms_are_explained_on_demand() {
    let (mut driver, target, _) = Driver::on_service();
    let ask = query(Topic::Explanation(target), Request::Explain { pid: 4242 });
    assert_eq!(driver.keys("e"), Effect::Ask(ask.clone()));
    assert_eq!(driver.keys("e"), Effect::None, "already at it");
    let explanation = Explanation {
        settled: Settled {
            pid: 4242,
            class: Class::High,
            weight: Weight::default(),
            slo_p99_ns: None,
            hold: None,
            joined: true,
            ..Settled::default()
        },
        steps: vec![ExplainStep {
            source: "rule \"serving\"".into(),
            applied: true,
            because: "its arguments match serve.py".into(),
        }],
    };
    let response = Response::Explanation(explanation.clone());
    driver.send(Msg::Answer(ask, Ok(response)));
    assert_eq!(
        driver.ui.state.explanations.done(target),
        Some(&explanation)
    );
}

#[test]
fn the_past_is_asked_for_once_and_again_after_a_failure_or_a_restart() {
    let (mut driver, target, ask) = Driver::on_service();
    assert_eq!(driver.send(Msg::Tick), Effect::None, "already asked");
    let past = History {
        pid: Some(4242),
        interval_ns: Nanos::from_secs(1),
        points: vec![HistoryPoint::default()],
    };
    let failed = Err("busy".to_owned());
    driver.send(Msg::Answer(ask.clone(), failed));
    assert_eq!(driver.notice(), "", "nobody asked for it");
    assert_eq!(driver.send(Msg::Tick), Effect::None);
    driver.send(Msg::Link(LinkEvent::Lost {
        error: "gone".into(),
        retry_in: Duration::from_secs(1),
    }));
    let event = LinkEvent::Snapshot(Box::new(typical()));
    assert_eq!(driver.send(Msg::Link(event)), Effect::Ask(ask.clone()));
    let answer = Response::History(past.clone());
    driver.send(Msg::Answer(ask.clone(), Ok(answer)));
    assert_eq!(driver.ui.state.past.done(target), Some(&past));

    let mut restarted = typical();
    restarted.agent.pid += 1;
    let event = LinkEvent::Snapshot(Box::new(restarted));
    assert_eq!(driver.send(Msg::Link(event)), Effect::Ask(ask));

    let devices = query(Topic::DevicesPast, Request::History { pid: None });
    assert_eq!(driver.keys("3"), Effect::Ask(devices));
    assert_eq!(driver.send(Msg::Tick), Effect::None);
    let mut recorded = Driver::connected(Access::Recorded);
    assert_eq!(recorded.keys("\n"), Effect::None, "nobody to ask");
}
