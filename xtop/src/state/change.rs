//! Changes: from the key to the question, to the request, to what came of it.

use std::time::Duration;

use xsched_client::Endpoint;
use xsched_common::api::{Override, Request, Response, Settled};
use xsched_common::units::Nanos;

use super::question::{AttrQuestion, NothingToDo, Question};
use super::{Access, Effect, Link, Mode, Query, State, Tone, Topic};
use crate::action::Ask;
use crate::format;

impl State {
    /// Why nothing can be asked of an agent now.
    pub(super) fn refusal(&self, changes: bool) -> Option<&'static str> {
        match self.settings.access {
            Access::Recorded if changes => Some("this is a recording: nothing can be changed"),
            Access::Recorded => Some("this is a recording: there is no agent to ask"),
            Access::ReadOnly if changes => Some("read-only: start xtop without --readonly"),
            _ if self.link != Link::Connected => {
                Some("not connected: the agent cannot be asked now")
            }
            Access::Full | Access::ReadOnly => None,
        }
    }

    /// Why the selected process can be sent no signal from here.
    pub(super) fn signal_refusal(&self) -> Option<&'static str> {
        let uid = self.settings.uid;
        match self.subject() {
            _ if self.settings.access != Access::Full => self.refusal(true),
            _ if !matches!(self.settings.endpoint, Endpoint::Socket(_)) => {
                Some("signals reach processes of this machine alone")
            }
            Some(row) if uid != 0 && row.process.uid != uid => {
                Some("another user's process: only root may send it signals")
            }
            _ => None,
        }
    }

    /// Opens the question.
    pub(super) fn ask(&mut self, ask: Ask) {
        let refusal = match ask {
            Ask::Signal => self.signal_refusal(),
            _ => self.refusal(true),
        };
        if let Some(refusal) = refusal {
            return self.notify(Tone::Bad, refusal.into());
        }
        let question = match ask {
            Ask::Sharing => self.sharing_question(),
            _ => {
                self.processes.pin();
                match self.subject() {
                    Some(row) => Question::of_process(ask, row),
                    None => {
                        let text = "there is no process to change".to_owned();
                        Err(NothingToDo::AlreadySo(text))
                    }
                }
            }
        };
        match question {
            Ok(question) => self.mode = Mode::Ask(question),
            Err(nothing) => self.notify(Tone::Bad, nothing.to_string()),
        }
    }

    fn sharing_question(&self) -> Result<Question, NothingToDo> {
        let devices = self.seen.iter().flat_map(|seen| &seen.devices);
        let devices: Vec<_> = devices
            .map(|device| (device.address.clone(), device.mode))
            .collect();
        let Some((_, chosen)) = devices.first().cloned() else {
            let text = "no joined process uses a device".to_owned();
            return Err(NothingToDo::AlreadySo(text));
        };
        Ok(Question::Sharing {
            device: Some(0),
            devices,
            chosen,
        })
    }

    /// What the confirmed question asks the agent for.
    pub(super) fn confirm(&mut self, question: Question) -> Effect {
        if let Question::Process { target, .. } = &question {
            // The request names a pid; by now it may be another process's.
            if self.processes.find(*target).is_none() {
                let text = format!("pid {} has exited: nothing was changed", target.pid);
                self.notify(Tone::Bad, text);
                return Effect::None;
            }
        }
        if let Question::Process {
            target,
            attr: AttrQuestion::Signal(signal),
            ..
        } = question
        {
            return Effect::Signal(target, signal);
        }
        match question.request() {
            Ok(request) => Effect::Ask(Query {
                topic: Topic::Change,
                request,
            }),
            Err(NothingToDo::AlreadySo(text)) => {
                self.notify(Tone::Good, text);
                Effect::None
            }
            // The popup says what is wrong.
            Err(NothingToDo::Unusable(_)) => {
                self.mode = Mode::Ask(question);
                Effect::None
            }
        }
    }

    /// Says what came of a change.
    pub(super) fn changed(&mut self, request: &Request, result: Result<Response, String>) {
        let response = match result {
            Ok(response) => response,
            Err(error) => return self.notify(Tone::Bad, error),
        };
        match response {
            Response::Settled(settled) => {
                let other_class = match request {
                    Request::Set(change) => change.class.is_some(),
                    Request::Unset { .. } => true,
                    _ => false,
                };
                if other_class {
                    self.events.changed_here(settled.pid, settled.class);
                }
                let when = match settled.joined {
                    true => "",
                    false => " as soon as it joins",
                };
                let text = format!("pid {} {}{when}", settled.pid, said(request, &settled));
                self.notify(Tone::Good, text);
            }
            Response::ModeSet(set) => {
                let device = set.device.as_deref().unwrap_or("every device");
                self.notify(Tone::Good, format!("{device} is shared by {}", set.mode));
            }
            _ => {
                let text = "the agent answered something else: was it changed?".to_owned();
                self.notify(Tone::Bad, text);
            }
        }
    }
}

/// The attributes in force, as far as they were asked for.
fn said(request: &Request, settled: &Settled) -> String {
    let Settled {
        class,
        weight,
        slo_p99_ns,
        hold,
        ..
    } = settled;
    if let (Request::Boost { .. } | Request::Suspend { .. }, Some(hold)) = (request, hold) {
        let left = format::age(Duration::from_nanos(hold.remaining_ns.0));
        return match hold.hold {
            Override::Boosted => format!("is boosted for {left}"),
            Override::Suspended => format!("is suspended for {left}"),
        };
    }
    match request {
        Request::Set(change) if change.weight.is_some() => {
            format!("has weight {weight} in class {class}")
        }
        Request::Set(change) if change.slo_p99_ns.is_some() => {
            match slo_p99_ns.filter(|target| *target > Nanos::ZERO) {
                Some(target) => format!("is to keep its P99 within {target}"),
                None => "has no latency target".to_owned(),
            }
        }
        Request::Unset { .. } => format!("is {class}, with nothing set by hand"),
        Request::Resume { .. } => format!("is {class} again"),
        _ => format!("is {class}"),
    }
}
