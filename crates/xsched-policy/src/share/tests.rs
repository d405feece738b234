//! Turns over minutes: who has the device for how long.

use std::collections::HashMap;

use xsched_common::api::SharingMode;
use xsched_common::gate::GateMode;
use xsched_common::units::{Class, Nanos, Weight};

use crate::{
    ClientId, ClientState, Concurrency, Decision, DeviceMemory, DeviceSettings, Owner, Presence,
    Reason, SchedAttr,
};

const NOW: Nanos = Nanos::from_secs(1);

fn of(id: u64, owner: u32, weight: u16) -> ClientState {
    ClientState {
        presence: Presence::Active,
        kernel_time: Some(Nanos::from_micros(60)),
        owner: Owner::of(owner, None),
        attr: SchedAttr {
            weight: Weight::new(weight).expect("a weight"),
            ..SchedAttr::of_class(Class::Normal)
        },
        ..ClientState::new(ClientId(id), SchedAttr::of_class(Class::Normal))
    }
}

/// A device in mode `share`, from decision to decision.
struct Device {
    memory: DeviceMemory,
    now: Nanos,
    /// The longest time between two decisions.
    step: Nanos,
}

impl Device {
    fn new(concurrency: Concurrency) -> Device {
        let mut memory = DeviceMemory::default();
        memory.set_concurrency(concurrency);
        Device {
            memory,
            now: NOW,
            step: Nanos::from_millis(5),
        }
    }

    /// How long each had a gate that is not closed, in seconds. Whoever has one makes progress; all say that they are always busy; `step` changes the clients after
    /// each decision.
    fn run(
        &mut self,
        mut clients: Vec<ClientState>,
        length: Nanos,
        mut step: impl FnMut(&mut Vec<ClientState>, &[Decision]),
    ) -> HashMap<ClientId, f64> {
        let settings = DeviceSettings {
            mode: SharingMode::Share,
            ..DeviceSettings::default()
        };
        for client in &mut clients {
            client.busy = self.now;
        }
        let end = self.now + length;
        let mut held = HashMap::new();
        let mut out = Vec::new();
        while self.now < end {
            out.clear();
            let memory = &mut self.memory;
            let again = crate::decide(&settings, memory, self.now, &clients, &mut out);
            let next = again.unwrap_or(end).min(self.now + self.step);
            for (client, decision) in clients.iter_mut().zip(&out) {
                let has = decision.mode != GateMode::Closed;
                client.busy = next;
                if has && client.presence == Presence::Active {
                    client.progress += 1;
                    *held.entry(client.id).or_insert(0.0) += next.since(self.now).0 as f64 / 1e9;
                }
            }
            step(&mut clients, &out);
            self.now = next;
        }
        held
    }
}

/// Device time of each after a minute of turns in which all have work.
fn shares(clients: &[ClientState]) -> Vec<f64> {
    let mut device = Device::new(Concurrency::Together);
    let held = device.run(clients.to_vec(), Nanos::from_secs(60), |_, _| ());
    let all: f64 = held.values().sum();
    let times = clients.iter().map(|client| held[&client.id] / all);
    times.collect()
}

#[test]
fn who_starts_more_processes_has_no_more_time() {
    let near = |share: f64, wanted: f64| (share - wanted).abs() < 0.02;
    // Ten of one user beside one of another.
    let crowd: Vec<_> = (1..=10).map(|id| of(id, 1000, 100)).collect();
    let clients = [crowd.as_slice(), &[of(11, 1001, 100)]].concat();
    let found = shares(&clients);
    assert!(near(found[10], 0.5), "{found:?}");
    assert!(
        found[..10].iter().all(|share| near(*share, 0.05)),
        "{found:?}"
    );
    // Weights hold within a user, and between users that of the heaviest.
    let clients = [of(1, 1000, 100), of(2, 1000, 300), of(3, 1001, 100)];
    let found = shares(&clients);
    assert!(near(found[2], 0.25), "{found:?}");
    assert!(
        near(found[0], 0.75 / 4.0) && near(found[1], 0.75 * 3.0 / 4.0),
        "{found:?}"
    );
    // One user's processes share as they always did.
    let clients = [of(1, 0, 100), of(2, 0, 200), of(3, 0, 100)];
    let found = shares(&clients);
    assert!(near(found[0], 0.25) && near(found[1], 0.5), "{found:?}");
}

/// The passes of one rank say nothing in another, where nobody may have worked
/// for as long.
#[test]
fn a_change_of_class_starves_nobody() {
    let second = Nanos::from_secs(1);
    let mut device = Device::new(Concurrency::Together);
    let low = |id, owner| {
        let mut client = of(id, owner, 100);
        client.attr.class = Class::Low;
        client
    };
    device.run(
        vec![low(1, 1000), low(2, 1001)],
        second.times(600),
        |_, _| (),
    );
    // One of them joins a rank where two took turns for a moment.
    let clients = vec![of(1, 1000, 100), of(3, 1002, 100), of(4, 1003, 100)];
    let held = device.run(clients.clone(), second, |_, _| ());
    assert!((held[&ClientId(1)] - 1.0 / 3.0).abs() < 0.03, "{held:?}");
    // And back, beside the one who stayed and one who is new there.
    let clients = vec![low(1, 1000), low(2, 1001), low(5, 1000)];
    let held = device.run(clients, second, |_, _| ());
    assert!((held[&ClientId(2)] - 0.5).abs() < 0.03, "{held:?}");
}

/// Whoever leaves after its turn and comes back still has had it.
#[test]
fn leaving_forgives_no_debt() {
    let mut device = Device::new(Concurrency::Together);
    let mut clients: Vec<_> = (2..=10).map(|id| of(id, 1000 + id as u32, 100)).collect();
    let nomad = of(1, 1001, 100);
    let mut away = false;
    clients.insert(0, nomad);
    let held = device.run(clients, Nanos::from_secs(20), |clients, decisions| {
        let had = clients[0].id == nomad.id && decisions[0].mode != GateMode::Closed;
        if away {
            clients.insert(0, nomad);
        } else if had {
            clients.remove(0);
        }
        away = !away && had;
    });
    let share = held[&nomad.id] / 20.0;
    assert!(share < 0.12, "{share} of the device instead of a tenth");
}

/// One of a lower rank that says that it drains for as long as its friend has
/// the turn takes nothing off the friend's time.
#[test]
fn a_drain_of_another_rank_spares_nobody_his_turn() {
    let mut device = Device::new(Concurrency::Together);
    let mut liar = of(3, 1000, 100);
    liar.attr.class = Class::Low;
    let clients = vec![of(1, 1000, 100), of(2, 1001, 100), liar];
    let held = device.run(clients, Nanos::from_secs(20), |clients, decisions| {
        let of_friend = decisions[0].mode != GateMode::Closed;
        clients[2].in_flight = u32::from(of_friend);
    });
    let ratio = held[&ClientId(1)] / held[&ClientId(2)];
    assert!((ratio - 1.0).abs() < 0.05, "{held:?}");
}

/// It launches once, never asks, and sleeps: turns do not excuse that.
#[test]
fn who_makes_no_progress_has_no_turns_for_ever() {
    let mut device = Device::new(Concurrency::Together);
    let clients = vec![of(1, 1000, 100), of(2, 1001, 100)];
    let held = device.run(clients, Nanos::from_secs(20), |clients, _| {
        clients[1].progress = 7;
    });
    // A second of its own, in turns of 5 ms, before the limit.
    assert!((0.9..1.3).contains(&held[&ClientId(2)]), "{held:?}");
}

/// Two that run at once would have the driver turn between them: the next one
/// begins when the last one has drained, or is late with that.
#[test]
fn a_turn_begins_when_the_last_one_has_drained() {
    let mut device = Device::new(Concurrency::InTurns);
    let clients = vec![of(1, 1000, 100), of(2, 1001, 100)];
    let mut both_closed = [0, 0];
    let mut says_so = true;
    let mut last = None;
    let mut look = |clients: &mut Vec<ClientState>, decisions: &[Decision], says_so: bool| {
        let open = decisions.iter().position(|d| d.mode != GateMode::Closed);
        match open {
            Some(open) => {
                clients[open].in_flight = 30;
                if last.is_some_and(|last| last != open) {
                    assert!(!says_so || clients[1 - open].in_flight == 0);
                }
                last = Some(open);
            }
            None => {
                both_closed[usize::from(says_so)] += 1;
                let of_last = last.expect("somebody had a turn");
                let reasons = [ClientId(2), ClientId(1)].map(Reason::WaitsFor);
                assert_eq!([decisions[0].reason, decisions[1].reason], reasons);
                if says_so {
                    clients[of_last].in_flight = 0;
                }
            }
        }
    };
    let second = Nanos::from_secs(1);
    let held = device.run(clients.clone(), second, |clients, decisions| {
        look(clients, decisions, says_so);
    });
    assert!(held.values().sum::<f64>() > 0.9, "{held:?}");
    // Who never says so is waited for, and pays for it.
    says_so = false;
    let held = device.run(clients, second, |clients, decisions| {
        look(clients, decisions, says_so);
    });
    assert!(held.values().sum::<f64>() > 0.65, "{held:?}");
    assert!(both_closed.iter().all(|&n| n > 10), "{both_closed:?}");
}

/// Threads that trickle through a closed gate make their page say that the
/// device was busy for as long as they waited.
#[test]
fn who_waits_pays_for_nobody_s_turn() {
    let mut device = Device::new(Concurrency::InTurns);
    let clients = vec![of(1, 1000, 10), of(2, 1001, 90)];
    let length = Nanos::from_secs(60);
    let held = device.run(clients, length, |clients, decisions| {
        for (client, decision) in clients.iter_mut().zip(decisions) {
            client.in_flight = match decision.mode {
                GateMode::Closed => client.in_flight / 2,
                _ => 30,
            };
        }
    });
    let share = held[&ClientId(1)] / held.values().sum::<f64>();
    let charged = [1, 2].map(|id| device.memory.charged(ClientId(id)));
    assert!((share - 0.1).abs() < 0.015, "{share} {held:?} {charged:?}");
}

/// Whoever comes back is owed a turn, and does not wait for another's end.
#[test]
fn who_comes_back_has_a_turn_at_once() {
    let mut device = Device::new(Concurrency::Together);
    let mut clients: Vec<_> = (1..=3).map(|id| of(id, 1000 + id as u32, 100)).collect();
    clients[2].presence = Presence::Idle { since: NOW };
    device.run(clients.clone(), Nanos::from_millis(1_003), |_, _| ());
    clients[2].presence = Presence::Active;
    let held = device.run(clients, Nanos::from_millis(5), |_, _| ());
    assert!(held[&ClientId(3)] > 0.004, "{held:?}");
}

/// A batch waits for its kernels after every few: who fills in meanwhile has
/// little in flight, for it would be waited for each time.
#[test]
fn who_fills_in_has_little_in_flight() {
    for owners in [[1000, 1001], [1000, 1000]] {
        let mut device = Device::new(Concurrency::InTurns);
        let clients = vec![of(1, owners[0], 10), of(2, owners[1], 90)];
        let (mut turns, mut fills, mut now) = (0, 0, NOW);
        let length = Nanos::from_secs(2);
        device.run(clients, length, |clients, decisions| {
            now = now + Nanos::from_millis(5);
            match (decisions[0].mode, clients[1].presence) {
                (GateMode::Capped(cap), Presence::Idle { .. }) if cap < 10 => fills += 1,
                (GateMode::Capped(cap), Presence::Idle { .. }) => turns += u32::from(cap > 30),
                _ => {}
            }
            clients[1].presence = match clients[1].presence {
                Presence::Active => Presence::Idle {
                    since: clients[1].busy,
                },
                _ => Presence::Active,
            };
        });
        assert!(fills > 100 && turns < fills / 4, "{fills} and {turns}");
    }
}

/// One that becomes the next one and goes idle before the last one has drained,
/// again and again, had nothing that could be waited for.
#[test]
fn who_only_says_that_it_comes_holds_nobody_up() {
    let mut device = Device::new(Concurrency::InTurns);
    let clients = vec![of(1, 1000, 100), of(2, 1001, 100)];
    let length = Nanos::from_secs(2);
    let held = device.run(clients, length, |clients, decisions| {
        let open = decisions[0].mode != GateMode::Closed;
        clients[0].in_flight = if open { 30 } else { clients[0].in_flight / 2 };
        clients[1].in_flight = 1_000;
        clients[1].presence = match open {
            true => Presence::Active,
            false => Presence::Idle { since: NOW },
        };
    });
    assert!(held[&ClientId(1)] > 1.2, "{held:?}");
}

/// A batch that waits for its kernels every 40 ms of device time and is back with
/// work half a millisecond later, beside one that always has some.
#[test]
fn who_pauses_for_a_moment_keeps_its_share() {
    for concurrency in [Concurrency::Together, Concurrency::InTurns] {
        let mut device = Device::new(concurrency);
        device.step = Nanos::from_micros(100);
        let clients = vec![of(1, 1000, 10), of(2, 1001, 90)];
        let (mut worked, mut paused) = (0, 0);
        let held = device.run(clients, Nanos::from_secs(20), |clients, decisions| {
            let open = decisions[1].mode != GateMode::Closed;
            match clients[1].presence {
                Presence::Active => {
                    worked += i32::from(open);
                    if worked == 400 {
                        (worked, paused) = (0, 5);
                        clients[1].presence = Presence::Idle {
                            since: clients[1].busy,
                        };
                    }
                }
                _ => {
                    paused -= 1;
                    if paused == 0 {
                        clients[1].presence = Presence::Active;
                    }
                }
            }
        });
        let share = held[&ClientId(1)] / held.values().sum::<f64>();
        assert!(
            (share - 0.1).abs() < 0.015,
            "{concurrency:?}: {share} {held:?}"
        );
    }
}

/// It pauses nearly all the time: what it has a claim to does not add up, however
/// long a turn of the third one's, a friend's, takes to make up for.
#[test]
fn a_claim_of_one_that_pauses_is_bounded() {
    let mut device = Device::new(Concurrency::InTurns);
    let clients = vec![of(1, 1000, 100), of(2, 1001, 100), of(3, 1002, 1)];
    device.step = Nanos::from_millis(1);
    let mut steps = 0;
    device.run(clients.clone(), Nanos::from_secs(10), |clients, _| {
        steps += 1;
        clients[1].presence = match steps % 15 {
            0 => Presence::Active,
            _ => Presence::Idle {
                since: clients[1].busy,
            },
        };
    });
    let held = device.run(clients, Nanos::from_millis(800), |_, _| ());
    assert!(held[&ClientId(1)] > 0.2, "{held:?}");
}

fn suspended(clients: &mut [ClientState], id: u64, until: Nanos) {
    for client in clients
        .iter_mut()
        .filter(|client| client.id == ClientId(id))
    {
        client.hold = Some(crate::Override {
            kind: crate::OverrideKind::Suspended,
            until,
        });
    }
}

#[test]
fn who_was_suspended_does_not_shut_out_its_owners_others() {
    let mut device = Device::new(Concurrency::Together);
    let clients = vec![of(1, 1000, 100), of(2, 1000, 100), of(3, 1001, 100)];
    device.run(clients.clone(), Nanos::from_secs(2), |_, _| ());
    let mut held_back = clients.clone();
    suspended(&mut held_back, 1, device.now + Nanos::from_secs(20));
    device.run(held_back, Nanos::from_secs(20), |_, _| ());
    let held = device.run(clients, Nanos::from_secs(4), |_, _| ());
    assert!(held[&ClientId(2)] > 0.5, "{held:?}");
}

#[test]
fn who_was_suspended_is_not_shut_out_by_a_newcomer() {
    let mut device = Device::new(Concurrency::Together);
    let clients = vec![of(1, 1000, 100), of(3, 1001, 100)];
    device.run(clients.clone(), Nanos::from_secs(20), |_, _| ());
    let mut held_back = clients.clone();
    suspended(&mut held_back, 1, device.now + Nanos::from_secs(2));
    let alone: Vec<_> = held_back;
    device.run(alone, Nanos::from_secs(2), |_, _| ());
    let clients = vec![of(1, 1000, 100), of(3, 1001, 100), of(4, 1000, 100)];
    let held = device.run(clients, Nanos::from_secs(4), |_, _| ());
    assert!(held[&ClientId(1)] > 0.5, "{held:?}");
}

/// Nobody above for long, then somebody.
#[test]
fn what_was_had_at_open_gates_is_not_held_against_anybody() {
    let mut memory = DeviceMemory::default();
    memory.set_concurrency(Concurrency::InTurns);
    let settings = DeviceSettings::default();
    let mut clients = vec![of(1, 1000, 100)];
    for id in 2..11 {
        clients.push(of(id, 1001, 100));
    }
    let mut now = NOW;
    let mut held: HashMap<u32, f64> = HashMap::new();
    let high_at = now + Nanos::from_secs(20);
    let end = high_at + Nanos::from_secs(5);
    while now < end {
        if now >= high_at && clients.len() == 10 {
            clients.push(ClientState {
                presence: Presence::Idle { since: now },
                ..ClientState::new(ClientId(20), SchedAttr::of_class(Class::High))
            });
        }
        let mut out = Vec::new();
        let again = crate::decide(&settings, &mut memory, now, &clients, &mut out);
        let next = again.unwrap_or(end).min(now + Nanos::from_millis(5));
        for (client, decision) in clients.iter_mut().zip(&out) {
            if client.id == ClientId(20) {
                continue;
            }
            client.busy = next;
            if decision.mode != GateMode::Closed {
                client.progress += 1;
                if now > high_at + Nanos::from_millis(100) {
                    let owner = if client.id == ClientId(1) { 1 } else { 2 };
                    *held.entry(owner).or_default() += next.since(now).0 as f64 / 1e9;
                }
            }
        }
        now = next;
    }
    let second = held.get(&2).copied().unwrap_or_default();
    assert!(second > 1.5, "{held:?}");
}

/// How long one that always has work waits at once, beside one that pauses for two
/// seconds with a helper of the least weight, of its own user, and then works on.
#[test]
fn nobody_waits_for_more_than_a_turn_of_each() {
    for helper in [None, Some(100), Some(1)] {
        let mut device = Device::new(Concurrency::InTurns);
        device.step = Nanos::from_micros(500);
        let mut clients = vec![of(1, 1000, 100), of(2, 1001, 100)];
        clients.extend(helper.map(|weight| of(3, 1001, weight)));
        let (mut had, mut longest) = (NOW, Nanos::ZERO);
        device.run(clients, Nanos::from_secs(4), |clients, decisions| {
            let now = clients[0].busy;
            if decisions[0].mode != GateMode::Closed {
                had = now;
            }
            longest = longest.max(now.since(had));
            let late = now > NOW + Nanos::from_secs(2);
            let works = now.0 / 500_000 % 30 == 0 || late;
            for client in &mut clients[1..] {
                let helps = now < NOW + Nanos::from_millis(2_015);
                client.presence = match works && (helps || client.id != ClientId(3)) {
                    true => Presence::Active,
                    _ => Presence::Idle { since: client.busy },
                };
            }
        });
        assert!(longest < Nanos::from_millis(60), "{helper:?}: {longest}");
    }
}
