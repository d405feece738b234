//! Strict class priority, work-conserving: a class gets the time that no
//! higher class wants.
//!
//! Two numbers make it work on a device that cannot preempt. The **cap**
//! bounds how much of a lower class is in flight when a higher one arrives,
//! so it waits for about one budget of time, not for a ring of 10,000
//! launches. The **linger** keeps lower classes out for a moment after the
//! higher one drained, because a program that synchronises 50 times per
//! request would otherwise find a kernel of the others on the device after
//! each of the 50.

use xsched_common::gate::GateMode;
use xsched_common::page::Edges;
use xsched_common::units::{Class, Nanos};

use super::{ClientId, ClientState, Decision, DeviceSettings, Presence, Reason};

/// Time from an opened gate to the first kernel's start: futex wake and
/// launch. Part of what a burst of the higher class loses when the gate
/// opens too early.
const DISPATCH: Nanos = Nanos::from_micros(50);

/// The most that a cap allows: enough to keep the device fed with the
/// shortest kernels.
const MAX_CAP: u16 = 256;

/// The cap while T is not known.
const UNMEASURED_CAP: u16 = 4;

/// How many commands of `kernel_time` each may be in flight: one running
/// plus as many behind it as the budget holds, so K T <= budget + T. Kernels
/// longer than the budget go one at a time.
pub fn cap_for(budget: Nanos, kernel_time: Option<Nanos>) -> u16 {
    match kernel_time {
        None | Some(Nanos::ZERO) => UNMEASURED_CAP,
        Some(t) if t > budget => 1,
        Some(t) => u16::try_from(budget.0 / t.0 + 1)
            .unwrap_or(MAX_CAP)
            .min(MAX_CAP),
    }
}

/// How long `holder` keeps lower classes out after it drained: as long as
/// its own gaps within a request are (P95), and at least as long as it would
/// take to get the device back (K T + dispatch), within the limits.
/// `reclaim` is the largest K T of the classes below.
pub fn linger_for(settings: &DeviceSettings, holder: &ClientState, reclaim: Nanos) -> Nanos {
    let (min, max) = settings.linger.limits();
    (reclaim + DISPATCH)
        .max(holder.gap.unwrap_or(Nanos::ZERO))
        .clamp(min, max)
}

/// What matters of one class on a device. Gathered once per decision, which
/// so takes time in proportion to the clients: the control thread's heart
/// must beat whatever their number.
#[derive(Clone, Copy, Default)]
struct Rank {
    present: bool,
    /// Largest K T.
    in_flight: Nanos,
    /// Who keeps lower classes out the longest, and until when.
    holder: Option<(Nanos, ClientId)>,
}

/// By class, lowest first.
type Ranks = [Rank; Class::ALL.len()];

/// One decision.
struct Strict<'a> {
    settings: &'a DeviceSettings,
}

impl Strict<'_> {
    fn ranks(&self, now: Nanos, clients: &[ClientState]) -> Ranks {
        let mut ranks = Ranks::default();
        for client in clients {
            let rank = &mut ranks[client.terms.class as usize];
            rank.present = true;
            let held = client
                .kernel_time
                .map(|t| t.times(u64::from(cap_for(self.settings.budget, Some(t)))));
            rank.in_flight = rank.in_flight.max(held.unwrap_or(Nanos::ZERO));
        }
        for client in clients {
            let until = self.holds_until(now, client, &ranks);
            let holder = &mut ranks[client.terms.class as usize].holder;
            if let Some(until) = until
                && holder.is_none_or(|(longest, _)| until > longest)
            {
                *holder = Some((until, client.id));
            }
        }
        ranks
    }

    /// Until when `client` keeps lower classes out; `None` if it does not.
    fn holds_until(&self, now: Nanos, client: &ClientState, ranks: &Ranks) -> Option<Nanos> {
        match client.presence {
            Presence::Active => Some(Nanos::MAX),
            Presence::Idle { since } => {
                let below = ranks[..client.terms.class as usize].iter();
                let reclaim = below.map(|rank| rank.in_flight).max();
                let end = since + linger_for(self.settings, client, reclaim.unwrap_or(Nanos::ZERO));
                (end > now).then_some(end)
            }
            Presence::Never => None,
        }
    }

    /// A client without anybody below it never rings. During the linger it
    /// does not ring either: the timer that ends the linger looks at its
    /// page, so 50 short gaps cost no system call.
    fn edges(&self, now: Nanos, client: &ClientState, ranks: &Ranks) -> Edges {
        if !ranks[..client.terms.class as usize]
            .iter()
            .any(|rank| rank.present)
        {
            return Edges::NONE;
        }
        match client.presence {
            Presence::Active => Edges::IDLE,
            Presence::Idle { .. } if self.holds_until(now, client, ranks).is_some() => Edges::NONE,
            Presence::Idle { .. } | Presence::Never => Edges::ACTIVE,
        }
    }
}

pub(super) fn decide(
    settings: &DeviceSettings,
    now: Nanos,
    clients: &[ClientState],
    out: &mut Vec<Decision>,
) -> Option<Nanos> {
    let strict = Strict { settings };
    let ranks = strict.ranks(now, clients);
    let mut again: Option<Nanos> = None;
    for client in clients {
        let above = &ranks[client.terms.class as usize + 1..];
        let holder = above
            .iter()
            .filter_map(|rank| rank.holder)
            .max_by_key(|h| h.0);
        let (mode, reason) = match holder {
            Some((until, id)) => {
                if until != Nanos::MAX {
                    again = Some(again.map_or(until, |a| a.min(until)));
                }
                (GateMode::Closed, Reason::HeldBy(id))
            }
            None if above.iter().any(|rank| rank.present) => (
                GateMode::Capped(cap_for(settings.budget, client.kernel_time)),
                Reason::RivalIdle,
            ),
            None => (GateMode::Open, Reason::Unrivalled),
        };
        out.push(Decision {
            id: client.id,
            mode,
            edges: strict.edges(now, client, &ranks),
            reason,
        });
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Terms;
    use proptest::prelude::*;

    fn client(id: u64, class: Class, presence: Presence) -> ClientState {
        ClientState {
            presence,
            kernel_time: Some(Nanos::from_micros(60)),
            ..ClientState::new(ClientId(id), Terms::of_class(class))
        }
    }

    fn decide(now: Nanos, clients: &[ClientState]) -> (Vec<Decision>, Option<Nanos>) {
        let mut out = Vec::new();
        let settings = DeviceSettings::default();
        let again = super::decide(&settings, now, clients, &mut out);
        (out, again)
    }

    const NOW: Nanos = Nanos::from_secs(1);

    #[test]
    fn a_lone_process_pays_nothing() {
        let (out, again) = decide(NOW, &[client(1, Class::Low, Presence::Active)]);
        assert_eq!(
            (out[0].mode, out[0].edges, again),
            (GateMode::Open, Edges::NONE, None)
        );
    }

    #[test]
    fn equals_do_not_gate_each_other() {
        let (out, _) = decide(
            NOW,
            &[
                client(1, Class::Normal, Presence::Active),
                client(2, Class::Normal, Presence::Active),
            ],
        );
        assert!(
            out.iter()
                .all(|d| d.mode == GateMode::Open && d.edges == Edges::NONE)
        );
    }

    #[test]
    fn an_active_higher_class_closes_lower_ones() {
        let (out, again) = decide(
            NOW,
            &[
                client(1, Class::High, Presence::Active),
                client(2, Class::Low, Presence::Active),
            ],
        );
        assert_eq!((out[0].mode, out[0].edges), (GateMode::Open, Edges::IDLE));
        assert_eq!(out[1].mode, GateMode::Closed);
        assert_eq!(out[1].reason, Reason::HeldBy(ClientId(1)));
        assert_eq!(again, None, "only an edge can change this");
    }

    #[test]
    fn a_lingering_class_closes_until_its_linger_ends() {
        let since = NOW - Nanos::from_micros(50);
        let idle = Presence::Idle { since };
        let mut clients = [
            client(1, Class::High, idle),
            client(2, Class::Low, Presence::Active),
        ];
        let (out, again) = decide(NOW, &clients);
        assert_eq!((out[0].edges, out[1].mode), (Edges::NONE, GateMode::Closed));
        let linger = linger_for(
            &DeviceSettings::default(),
            &clients[0],
            Nanos::from_micros(9 * 60),
        );
        assert_eq!(again, Some(since + linger));

        clients[0].presence = Presence::Idle {
            since: NOW - linger,
        };
        let (out, again) = decide(NOW, &clients);
        assert_eq!(
            (out[0].edges, out[1].mode),
            (Edges::ACTIVE, GateMode::Capped(9))
        );
        assert_eq!(again, None);
    }

    #[test]
    fn linger_follows_the_holders_own_gaps_within_limits() {
        let policy = DeviceSettings::default();
        let reclaim = Nanos::from_micros(9 * 60);
        let mut high = client(1, Class::High, Presence::Active);
        assert_eq!(
            linger_for(&policy, &high, reclaim),
            Nanos::from_micros(9 * 60 + 50)
        );
        high.gap = Some(Nanos::from_millis(2));
        assert_eq!(linger_for(&policy, &high, reclaim), Nanos::from_millis(2));
        high.gap = Some(Nanos::MAX);
        assert_eq!(
            linger_for(&policy, &high, reclaim),
            policy.linger.limits().1
        );
    }

    #[test]
    fn caps_follow_the_kernel_time() {
        let budget = Nanos::from_micros(500);
        for (t_us, cap) in [(60, 9), (300, 2), (500, 2), (501, 1), (5_000, 1)] {
            assert_eq!(
                cap_for(budget, Some(Nanos::from_micros(t_us))),
                cap,
                "T = {t_us} us"
            );
        }
        assert_eq!(cap_for(budget, Some(Nanos(1))), 256);
        assert_eq!(cap_for(budget, None), UNMEASURED_CAP);
    }

    /// Seconds of heartbeats were lost when this took time in proportion to
    /// the cube of the number.
    #[test]
    fn thousands_of_clients_are_decided_in_no_time() {
        let clients: Vec<_> = (0..4_000)
            .map(|i| {
                let idle = Presence::Idle { since: NOW };
                client(i, Class::ALL[i as usize % 4], idle)
            })
            .collect();
        let start = std::time::Instant::now();
        decide(NOW, &clients);
        assert!(start.elapsed() < std::time::Duration::from_millis(200));
    }

    fn any_client() -> impl Strategy<Value = ClientState> {
        (
            0..4u8,
            0..3u8,
            any::<u64>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
        )
            .prop_map(|(class, presence, since, t, gap)| ClientState {
                presence: match presence {
                    0 => Presence::Never,
                    1 => Presence::Active,
                    _ => Presence::Idle {
                        since: Nanos(since % (2 * NOW.0)),
                    },
                },
                kernel_time: t.map(Nanos),
                gap: gap.map(Nanos),
                ..ClientState::new(
                    ClientId(0),
                    Terms::of_class(Class::from_raw(class).expect("0 to 3")),
                )
            })
    }

    proptest! {
        /// Whatever clients say about themselves: the highest class present
        /// is open, a gate closes only for a higher class that has (or just
        /// had) work, and no cap exceeds its budget.
        #[test]
        fn strictness_holds(mut clients in prop::collection::vec(any_client(), 1..12)) {
            for (i, c) in clients.iter_mut().enumerate() {
                c.id = ClientId(i as u64);
            }
            let (out, again) = decide(NOW, &clients);
            prop_assert_eq!(out.len(), clients.len());
            let top = clients.iter().map(|c| c.terms.class).max().expect("not empty");
            for (c, d) in clients.iter().zip(&out) {
                prop_assert_eq!(c.id, d.id);
                let active_above = clients.iter().any(|r| r.terms.class > c.terms.class && r.presence == Presence::Active);
                match (d.mode, d.reason) {
                    (GateMode::Open, Reason::Unrivalled) => prop_assert_eq!(c.terms.class, top),
                    (GateMode::Closed, Reason::HeldBy(holder)) => {
                        let holder = clients[holder.0 as usize];
                        prop_assert!(holder.terms.class > c.terms.class && holder.presence != Presence::Never);
                    }
                    (GateMode::Capped(cap), Reason::RivalIdle) => {
                        prop_assert!(!active_above && cap >= 1);
                        if let Some(t) = c.kernel_time.filter(|t| t.0 > 0) {
                            let held = t.times(u64::from(cap));
                            prop_assert!(cap == 1 || held <= DeviceSettings::default().budget + t);
                        }
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
                if active_above {
                    prop_assert_eq!(d.mode, GateMode::Closed);
                }
            }
            if let Some(again) = again {
                prop_assert!(again > NOW && again < NOW.times(2) + DeviceSettings::default().linger.limits().1);
            }
        }
    }
}
