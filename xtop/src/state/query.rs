//! What the agent is asked about a process, and its answers.

use xsched_common::api::{Diagnosis, Request, Response};

use super::{Access, Answer, Effect, EventKind, Link, Query, State, Tone, Topic};
use crate::action::Screen;

/// How long a diagnosis observes calls, ms.
const OBSERVATION_MS: u64 = 2_000;

/// What is said when an answer is none to the question.
const UNASKED: &str = "the agent answered something else";

impl State {
    /// Has the process examined.
    pub(super) fn diagnose(&mut self) -> Effect {
        let Some(target) = self.askable() else {
            return Effect::None;
        };
        if self.examinations.get(target) == Some(&Answer::Running) {
            return Effect::None;
        }
        self.examinations.set(target, Answer::Running);
        Effect::Ask(Query {
            topic: Topic::Diagnosis(target),
            request: Request::Diagnose {
                pid: target.pid,
                duration_ms: OBSERVATION_MS,
            },
        })
    }

    /// Asks where the attributes of the process come from.
    pub(super) fn explain(&mut self) -> Effect {
        let Some(target) = self.askable() else {
            return Effect::None;
        };
        if self.explanations.get(target) == Some(&Answer::Running) {
            return Effect::None;
        }
        self.explanations.set(target, Answer::Running);
        Effect::Ask(Query {
            topic: Topic::Explanation(target),
            request: Request::Explain { pid: target.pid },
        })
    }

    /// The process to ask about, if anything can be asked.
    fn askable(&mut self) -> Option<super::Identity> {
        if let Some(refusal) = self.refusal(false) {
            self.notify(Tone::Bad, refusal.into());
            return None;
        }
        self.subject().map(super::Row::identity)
    }

    /// Asks for what happened before xtop's start, where the screen shows it
    /// and the agent was not asked yet.
    pub(super) fn ask_for_the_past(&mut self) -> Effect {
        if self.settings.access == Access::Recorded || self.link != Link::Connected {
            return Effect::None;
        }
        let (topic, pid) = match self.screen {
            Screen::Process => match self.subject().map(super::Row::identity) {
                Some(target) if self.past.get(target).is_none() => {
                    self.past.set(target, Answer::Running);
                    (Topic::Past(target), Some(target.pid))
                }
                _ => return Effect::None,
            },
            Screen::Devices if self.devices_past.is_none() => {
                self.devices_past = Some(Answer::Running);
                (Topic::DevicesPast, None)
            }
            _ => return Effect::None,
        };
        let request = Request::History { pid };
        Effect::Ask(Query { topic, request })
    }

    /// Takes in what the agent said.
    pub(super) fn answered(&mut self, query: Query, result: Result<Response, String>) {
        match query.topic {
            Topic::Change => self.changed(&query.request, result),
            Topic::Diagnosis(target) => {
                let answer = self.answer(match result {
                    Ok(Response::Diagnosis(diagnosis)) => Ok(diagnosis),
                    Ok(_) => Err(UNASKED.to_owned()),
                    Err(error) => Err(error),
                });
                if let Answer::Done(Diagnosis { findings, .. }) = &answer {
                    for finding in findings {
                        let text = format!("{}: {}", finding.code, finding.title);
                        let kind = EventKind::Finding(finding.severity);
                        self.events.add(kind, Some(target.pid), text);
                    }
                }
                self.examinations.set(target, answer);
            }
            Topic::Explanation(target) => {
                let answer = self.answer(match result {
                    Ok(Response::Explanation(explanation)) => Ok(explanation),
                    Ok(_) => Err(UNASKED.to_owned()),
                    Err(error) => Err(error),
                });
                self.explanations.set(target, answer);
            }
            Topic::Past(_) | Topic::DevicesPast => {
                let answer = match result {
                    Ok(Response::History(past)) => Answer::Done(past),
                    Ok(_) => Answer::Failed(UNASKED.to_owned()),
                    // Nobody asked for it: the screen says what is missing.
                    Err(error) => Answer::Failed(error),
                };
                match query.topic {
                    Topic::Past(target) => self.past.set(target, answer),
                    _ => self.devices_past = Some(answer),
                }
            }
        }
    }

    fn answer<T>(&mut self, result: Result<T, String>) -> Answer<T> {
        match result {
            Ok(answer) => Answer::Done(answer),
            Err(error) => {
                self.notify(Tone::Bad, error.clone());
                Answer::Failed(error)
            }
        }
    }
}
