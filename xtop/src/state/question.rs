//! Changes that await their confirmation.

use std::time::Duration;

use xsched_common::api::{Change, MAX_OVERRIDE_MS, OverrideRow, Request, SharingMode};
use xsched_common::units::{Class, Nanos, Weight};

use super::entry::{self, Entry};
use super::parts::SignalName;
use super::row::{Identity, Row};
use crate::action::Ask;

/// A change that awaits its confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Of a process's attributes.
    Process {
        /// The process.
        target: Identity,
        /// Its command.
        command: String,
        /// What.
        attr: AttrQuestion,
    },
    /// Of the way devices are shared.
    Sharing {
        /// Addresses and present modes.
        devices: Vec<(String, SharingMode)>,
        /// Which of them; none for all.
        device: Option<usize>,
        /// The mode it is to get.
        chosen: SharingMode,
    },
}

/// What of a process's attributes is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttrQuestion {
    /// Its class.
    Class {
        /// Its class now.
        current: Class,
        /// The class it is to get.
        chosen: Class,
    },
    /// What its rules and ancestors say, again.
    Unset,
    /// Its share within the class.
    Weight {
        /// Its weight now, if the agent says it.
        current: Option<Weight>,
        /// The weight it is to get.
        entry: Entry,
    },
    /// Its latency target.
    Target {
        /// Its target now.
        current: Option<Nanos>,
        /// The target it is to get.
        entry: Entry,
    },
    /// Above all classes for a while.
    Boost(Entry),
    /// Gates closed for a while.
    Suspend(Entry),
    /// As its class again.
    Resume(OverrideRow),
    /// A signal.
    Signal(SignalName),
}

/// Why there is nothing to confirm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToDo {
    /// What is asked for is so already.
    #[error("{0}")]
    AlreadySo(String),
    /// What was typed cannot be used; the question stands.
    #[error("{0}")]
    Unusable(String),
}

impl Question {
    /// What `ask` asks about the process of `row`; none where it makes no
    /// sense.
    pub fn of_process(ask: Ask, row: &Row) -> Result<Question, NothingToDo> {
        let process = &row.process;
        let pid = process.pid;
        let attr = match ask {
            Ask::Class(steps) => AttrQuestion::Class {
                current: process.class,
                chosen: neighbour(process.class, steps),
            },
            Ask::Unset => AttrQuestion::Unset,
            Ask::Weight => {
                let current = row.weight();
                let entry = Entry::new(current.unwrap_or_default().to_string());
                AttrQuestion::Weight { current, entry }
            }
            Ask::Target => {
                let current = process.slo.as_ref().map(|slo| slo.target_p99_ns);
                let begin = current.or(process.burst.map(|burst| burst.p99_ns));
                let entry = Entry::new(begin.map_or("5ms".into(), entry::round_time));
                AttrQuestion::Target { current, entry }
            }
            Ask::Boost => AttrQuestion::Boost(Entry::new("30s")),
            Ask::Suspend => AttrQuestion::Suspend(Entry::new("30s")),
            Ask::Resume => match process.hold {
                Some(hold) => AttrQuestion::Resume(hold),
                None => {
                    let text = format!("pid {pid} is neither boosted nor suspended");
                    return Err(NothingToDo::AlreadySo(text));
                }
            },
            Ask::Signal => AttrQuestion::Signal(SignalName::Terminate),
            Ask::Sharing => {
                let text = "sharing is changed on the screen of devices: press 3".to_owned();
                return Err(NothingToDo::AlreadySo(text));
            }
        };
        Ok(Question::Process {
            target: row.identity(),
            command: row.command.clone(),
            attr,
        })
    }

    /// The text being typed, where there is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Question::Process { attr, .. } => match attr {
                AttrQuestion::Weight { entry, .. }
                | AttrQuestion::Target { entry, .. }
                | AttrQuestion::Boost(entry)
                | AttrQuestion::Suspend(entry) => Some(entry),
                _ => None,
            },
            Question::Sharing { .. } => None,
        }
    }

    /// See [`Question::entry`].
    pub fn entry_mut(&mut self) -> Option<&mut Entry> {
        match self {
            Question::Process { attr, .. } => match attr {
                AttrQuestion::Weight { entry, .. }
                | AttrQuestion::Target { entry, .. }
                | AttrQuestion::Boost(entry)
                | AttrQuestion::Suspend(entry) => Some(entry),
                _ => None,
            },
            Question::Sharing { .. } => None,
        }
    }

    /// Chooses the next larger value, or the next smaller when negative.
    pub fn adjust(&mut self, steps: isize) {
        match self {
            Question::Process { attr, .. } => match attr {
                AttrQuestion::Class { chosen, .. } => *chosen = neighbour(*chosen, steps),
                AttrQuestion::Weight { entry, .. } => entry.step_weight(steps),
                AttrQuestion::Target { entry, .. } => entry.step_time(steps),
                AttrQuestion::Boost(entry) | AttrQuestion::Suspend(entry) => {
                    entry.step_duration(steps)
                }
                AttrQuestion::Signal(chosen) => {
                    let all = SignalName::ALL;
                    let place = all.iter().position(|s| s == chosen).unwrap_or(0);
                    *chosen = all[clamped(place, -steps, all.len())];
                }
                AttrQuestion::Unset | AttrQuestion::Resume(_) => {}
            },
            Question::Sharing { chosen, .. } => {
                let all = SharingMode::ALL;
                let place = all.iter().position(|mode| mode == chosen).unwrap_or(0);
                // The list stands from top to bottom: up is towards its start.
                *chosen = all[clamped(place, -steps, all.len())];
            }
        }
    }

    /// Chooses the `n`-th of the values listed, from 0.
    pub fn pick(&mut self, n: usize) {
        match self {
            Question::Process {
                attr: AttrQuestion::Class { chosen, .. },
                ..
            } => {
                if let Some(class) = Class::ALL.into_iter().rev().nth(n) {
                    *chosen = class;
                }
            }
            Question::Process {
                attr: AttrQuestion::Signal(chosen),
                ..
            } => {
                if let Some(&signal) = SignalName::ALL.get(n) {
                    *chosen = signal;
                }
            }
            Question::Sharing { chosen, .. } => {
                if let Some(&mode) = SharingMode::ALL.get(n) {
                    *chosen = mode;
                }
            }
            Question::Process { .. } => {}
        }
    }

    /// Asks about another device, or all of them.
    pub fn other_device(&mut self, steps: isize) {
        if let Question::Sharing {
            devices,
            device,
            chosen,
        } = self
        {
            let place = device.map_or(0, |index| index + 1);
            let place = (place as isize + steps).rem_euclid(devices.len() as isize + 1);
            *device = (place as usize).checked_sub(1);
            if let Some((_, mode)) = device.and_then(|index| devices.get(index)) {
                *chosen = *mode;
            }
        }
    }

    /// What to ask the agent for.
    pub fn request(&self) -> Result<Request, NothingToDo> {
        match self {
            Question::Process { target, attr, .. } => attr.request(target.pid),
            Question::Sharing {
                devices,
                device,
                chosen,
            } => {
                let one = device.and_then(|index| devices.get(index));
                if let Some((address, mode)) = one.filter(|(_, mode)| mode == chosen) {
                    let text = format!("{address} stays shared by {mode}");
                    return Err(NothingToDo::AlreadySo(text));
                }
                Ok(Request::SetMode {
                    device: one.map(|(address, _)| address.clone()),
                    mode: *chosen,
                })
            }
        }
    }
}

impl AttrQuestion {
    fn request(&self, pid: u32) -> Result<Request, NothingToDo> {
        let unusable = NothingToDo::Unusable;
        let stays = |what: String| Err(NothingToDo::AlreadySo(format!("pid {pid} {what}")));
        let change = Change {
            pid,
            ..Change::default()
        };
        Ok(match self {
            AttrQuestion::Class { current, chosen } if current == chosen => {
                return stays(format!("stays {current}"));
            }
            AttrQuestion::Class { chosen, .. } => Request::Set(Change {
                class: Some(*chosen),
                ..change
            }),
            AttrQuestion::Weight { current, entry } => {
                let weight = entry.weight().map_err(unusable)?;
                if *current == Some(weight) {
                    return stays(format!("keeps weight {weight}"));
                }
                Request::Set(Change {
                    weight: Some(weight),
                    ..change
                })
            }
            AttrQuestion::Target { current, entry } => {
                let target = entry.target().map_err(unusable)?;
                if current.unwrap_or_default() == target {
                    return stays(match current {
                        None => "has no target and gets none".into(),
                        Some(target) => format!("keeps its target of {target}"),
                    });
                }
                Request::Set(Change {
                    slo_p99_ns: Some(target),
                    ..change
                })
            }
            AttrQuestion::Boost(entry) => Request::Boost {
                pid,
                duration_ms: override_ms(entry.duration().map_err(unusable)?),
            },
            AttrQuestion::Suspend(entry) => Request::Suspend {
                pid,
                timeout_ms: override_ms(entry.duration().map_err(unusable)?),
            },
            AttrQuestion::Unset => Request::Unset {
                pid,
                terms: Vec::new(),
            },
            AttrQuestion::Resume(_) => Request::Resume { pid },
            // The kernel is asked for that, not the agent.
            AttrQuestion::Signal(signal) => {
                return stays(format!("gets no {} from the agent", signal.name()));
            }
        })
    }
}

fn override_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(MAX_OVERRIDE_MS, |ms| ms.min(MAX_OVERRIDE_MS))
}

/// The class `steps` above, or the last on the way.
fn neighbour(class: Class, steps: isize) -> Class {
    Class::ALL[clamped(class as usize, steps, Class::ALL.len())]
}

fn clamped(place: usize, steps: isize, length: usize) -> usize {
    place.saturating_add_signed(steps).min(length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::service;

    fn request(ask: Ask, typed: &str) -> Result<Request, NothingToDo> {
        let mut question = Question::of_process(ask, &service())?;
        if let Some(entry) = question.entry_mut() {
            *entry = Entry::new(typed);
        }
        question.request()
    }

    #[test]
    fn what_is_typed_becomes_a_request() {
        let change = Change {
            pid: 4242,
            ..Change::default()
        };
        let weight = Change {
            weight: Weight::new(300).ok(),
            ..change
        };
        assert_eq!(request(Ask::Weight, "300"), Ok(Request::Set(weight)));
        let target = |ns| Change {
            slo_p99_ns: Some(Nanos(ns)),
            ..change
        };
        let set = |ns| Ok(Request::Set(target(ns)));
        assert_eq!(request(Ask::Target, "2.5 ms"), set(2_500_000));
        let boost = Request::Boost {
            pid: 4242,
            duration_ms: 90_000,
        };
        assert_eq!(request(Ask::Boost, "1.5m"), Ok(boost));
        let suspend = Request::Suspend {
            pid: 4242,
            timeout_ms: 5_000,
        };
        assert_eq!(request(Ask::Suspend, "5"), Ok(suspend));
    }

    #[test]
    fn what_cannot_be_used_keeps_the_question() {
        for (ask, typed) in [
            (Ask::Weight, "0"),
            (Ask::Weight, "10001"),
            (Ask::Target, "5"),
            (Ask::Target, "fast"),
            (Ask::Boost, "2h"),
            (Ask::Suspend, "0s"),
            (Ask::Suspend, ""),
        ] {
            let refused = request(ask, typed);
            assert!(
                matches!(refused, Err(NothingToDo::Unusable(_))),
                "{typed}: {refused:?}"
            );
        }
    }

    #[test]
    fn what_is_so_already_is_said() {
        let said = |ask, typed| request(ask, typed).expect_err("nothing").to_string();
        assert_eq!(said(Ask::Class(0), ""), "pid 4242 stays high");
        assert_eq!(said(Ask::Weight, "100"), "pid 4242 keeps weight 100");
        assert_eq!(
            said(Ask::Target, "5ms"),
            "pid 4242 keeps its target of 5.00 ms"
        );
        assert!(said(Ask::Resume, "").contains("neither boosted nor suspended"));
    }
}
