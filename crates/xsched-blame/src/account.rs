//! From facts to an account.

use xsched_common::api::{BlameCause, BlameSource};
use xsched_common::units::Nanos;

use super::Facts;
use super::own::by_length;

/// Without a target a burst is slow beyond so much of its time alone.
const SLOW_PERCENT: u64 = 150;

/// What a burst takes beyond its time alone is noise up to this part of it.
const NOISE_PERCENT: u64 = 110;

/// The longest kernel that a launch past the gate is thought to be, where
/// nothing tells: longer ones are rare, and a process that launches seldom
/// must not be blamed for everything.
const LONGEST_KERNEL: Nanos = Nanos::from_millis(250);

/// An account of some time, in sums, so that accounts add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Whose.
    pub pid: u32,
    /// The time.
    pub over: Nanos,
    /// Bursts.
    pub bursts: u64,
    /// Beyond it a burst is slow; `None` while nobody can tell.
    pub limit: Option<Nanos>,
    /// Slow ones.
    pub slow: u64,
    /// How long they took, in sum.
    pub slow_time: Nanos,
    /// How long they take alone, in sum; `None` where that is not known.
    pub own_time: Option<Nanos>,
    /// What they lost.
    pub loss: Nanos,
    /// Where it went.
    pub parts: Vec<Part>,
}

/// One cause's part of a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub cause: BlameCause,
    /// Whose work it is, if it is a process's.
    pub pid: Option<u32>,
    /// What it cost.
    pub time: Nanos,
    /// What it can have cost.
    pub at_most: Nanos,
    /// How that is known.
    pub known: BlameSource,
    /// Launches past the gate.
    pub launches: f64,
    /// Commands in flight when a burst began, and how long each takes.
    pub in_flight: f64,
    /// See `in_flight`.
    pub kernel: Nanos,
}

impl Part {
    fn of(cause: BlameCause, known: BlameSource, pid: Option<u32>) -> Part {
        Part {
            cause,
            pid,
            time: Nanos::ZERO,
            at_most: Nanos::ZERO,
            known,
            launches: 0.0,
            in_flight: 0.0,
            kernel: Nanos::ZERO,
        }
    }
}

/// Bursts by whether they were slow.
#[derive(Default)]
struct Slow {
    count: u64,
    time: f64,
    loss: f64,
    /// What all bursts took beyond their time alone.
    excess: f64,
}

impl Slow {
    fn of(facts: &Facts, base: Nanos, limit: Nanos) -> Slow {
        let noise = Nanos(base.0.saturating_mul(NOISE_PERCENT) / 100);
        let mut slow = Slow::default();
        for (time, count) in by_length(&facts.bursts) {
            let lost = time.since(base).0 as f64 * count as f64;
            if time > noise {
                slow.excess += lost;
            }
            if time > limit {
                slow.count += count;
                slow.time += time.0 as f64 * count as f64;
                slow.loss += lost;
            }
        }
        slow
    }

    /// The part of what all bursts lost that the slow ones did.
    fn part(&self) -> f64 {
        match self.excess > 0.0 {
            true => (self.loss / self.excess).min(1.0),
            false => 0.0,
        }
    }
}

/// What a cause may have taken.
struct Claim {
    part: Part,
    /// What it should have cost by itself.
    expected: f64,
    /// What it can have cost.
    bound: f64,
    /// Its part of what is left over when everybody has what is expected: how
    /// much of the time it was at work. Zero for what was measured.
    weight: f64,
}

impl Claim {
    fn measured(cause: BlameCause, pid: Option<u32>, expected: f64, bound: f64) -> Claim {
        Claim::of(
            Part::of(cause, BlameSource::Measured, pid),
            expected,
            bound,
            0.0,
        )
    }

    fn of(part: Part, expected: f64, bound: f64, weight: f64) -> Claim {
        Claim {
            part: Part {
                at_most: Nanos(bound.ceil() as u64),
                ..part
            },
            expected: expected.clamp(0.0, bound),
            bound,
            weight: weight.clamp(0.0, 1.0),
        }
    }

    fn settle(self, time: f64) -> Part {
        Part {
            time: Nanos(time.min(self.bound) as u64),
            ..self.part
        }
    }
}

/// Accounts for the slow bursts.
pub fn account(facts: &Facts) -> Account {
    // Nobody makes it faster than it is alone: what is remembered of bursts of
    // about this size may be too long for these.
    let now = facts.bursts.quantile(0.5).unwrap_or(Nanos(u64::MAX));
    let own_p50 = facts.own.as_ref().map(|own| own.p50().min(now));
    let limit = facts.target.or_else(|| {
        let own = own_p50?;
        Some(Nanos(own.0.saturating_mul(SLOW_PERCENT) / 100))
    });
    let empty = Account {
        pid: facts.pid,
        over: facts.over,
        bursts: facts.bursts.total(),
        limit,
        ..Account::default()
    };
    let Some(limit) = limit else { return empty };
    let base = own_p50.map_or(limit, |own| own.min(limit));
    let slow = Slow::of(facts, base, limit);
    if slow.count == 0 {
        return empty;
    }
    let own = own_work(facts, &slow, base, limit);
    let mut claims = measured(facts, &slow, base);
    claims.extend(others(facts, &slow, base));
    let mut parts = share_out(slow.loss - own.time.0 as f64, claims);
    parts.push(own);
    parts.retain(|part| part.time > Nanos::ZERO);
    let parts = merge(parts, slow.loss);
    Account {
        slow: slow.count,
        slow_time: Nanos(slow.time as u64),
        own_time: own_p50.map(|own| own.times(slow.count)),
        loss: Nanos(slow.loss.ceil() as u64),
        parts,
        ..empty
    }
}

/// One part for each cause and process: own work that was known and what was
/// added to it lately, groups of one process. No part can be more than the loss.
fn merge(parts: Vec<Part>, loss: f64) -> Vec<Part> {
    let loss = Nanos(loss.ceil() as u64);
    let mut merged: Vec<Part> = Vec::new();
    for part in parts {
        let same = |known: &&mut Part| (known.cause, known.pid) == (part.cause, part.pid);
        match merged.iter_mut().find(same) {
            None => merged.push(part),
            Some(known) => {
                known.time = known.time + part.time;
                known.at_most = known.at_most + part.at_most;
                known.in_flight += part.in_flight;
                known.kernel = known.kernel.max(part.kernel);
            }
        }
    }
    for part in &mut merged {
        part.at_most = part.at_most.min(loss);
    }
    merged
}

/// What it loses even alone: nobody else took that.
fn own_work(facts: &Facts, slow: &Slow, base: Nanos, limit: Nanos) -> Part {
    let own = facts.own.as_ref().map_or(0.0, |own| {
        own.loss_per_burst(base, limit) * facts.bursts.total() as f64
    });
    let own = own.min(slow.loss);
    Claim::measured(BlameCause::OwnWork, None, own, own).settle(own)
}

/// What was measured.
fn measured(facts: &Facts, slow: &Slow, base: Nanos) -> Vec<Claim> {
    let mut claims: Vec<Claim> = [
        (BlameCause::GateWait, facts.gate_wait),
        (BlameCause::ServiceCpu, facts.service_delay),
        (BlameCause::HostGaps, facts.host_gaps),
    ]
    .into_iter()
    .map(|(cause, time)| {
        // Threads wait at the same time, and while nobody's burst is longer for it.
        let time = (time.0 as f64).min(slow.excess);
        Claim::measured(cause, None, time * slow.part(), time)
    })
    .collect();
    for work in &facts.in_flight {
        let kernel = work.kernel.0 as f64 * slow.count as f64;
        let commands = work.commands.clamp(0.0, f64::from(work.cap));
        // The one that runs is half done, on the mean; and processes that share
        // a device take no more of it than each other.
        let left = commands * (1.0 - 0.5 / commands.max(1.0));
        let own = base.0 as f64 * slow.count as f64;
        let expected = (left * kernel).min(own);
        let bound = f64::from(work.cap) * kernel;
        let part = Part {
            in_flight: commands,
            kernel: work.kernel,
            ..Part::of(BlameCause::InFlight, BlameSource::Measured, Some(work.pid))
        };
        // It may just have begun: of what is left over it takes as much as it
        // is of the burst.
        claims.push(Claim::of(part, expected, bound, expected / own.max(1.0)));
    }
    claims
}

/// Others of whom only is known that they were at work. Processes that share
/// a device equally take as much of it as the service does itself.
fn others(facts: &Facts, slow: &Slow, base: Nanos) -> Vec<Claim> {
    let own = base.0 as f64 * slow.count as f64;
    let remainder = |cause, pid| Part::of(cause, BlameSource::Remainder, pid);
    let mut claims = Vec::new();
    if facts.alone && facts.own.is_some() {
        // Its work has grown: nobody else was there.
        let part = remainder(BlameCause::OwnWork, None);
        claims.push(Claim::of(part, 0.0, slow.loss, 1.0));
    }
    let held = (facts.agent.delay.0 as f64).min(slow.time);
    let part = remainder(BlameCause::AgentHeldUp, None);
    claims.push(Claim::of(part, held / 2.0, held, held / slow.time.max(1.0)));
    // Bursts of the time, which a peer's work is compared with.
    let in_bursts: f64 = by_length(&facts.bursts)
        .map(|(time, count)| time.0 as f64 * count as f64)
        .sum();
    for peer in &facts.peers {
        let weight = (peer.busy.0 as f64 / in_bursts.max(1.0)).min(1.0);
        let busy = (peer.busy.0 as f64 * slow.part()).min(slow.time);
        let part = remainder(BlameCause::Peer, Some(peer.pid));
        claims.push(Claim::of(part, own * weight, busy, weight));
    }
    let mean = slow.time / slow.count as f64;
    let unscheduled = facts.unscheduled_busy.map(|busy| busy.0 as f64);
    for work in &facts.past_gate {
        let launches = work.launches.max(0.0);
        let per_burst = launches * mean / facts.over.0.max(1) as f64;
        let bound = (launches * LONGEST_KERNEL.0 as f64)
            .min(unscheduled.unwrap_or(f64::MAX))
            .min(slow.loss);
        // As likely as that it launches during a burst.
        let weight = 1.0 - (-per_burst).exp();
        let part = Part {
            launches,
            ..remainder(BlameCause::PastGate, Some(work.pid))
        };
        claims.push(Claim::of(part, own * weight, bound, weight));
    }
    claims
}

/// Divides a loss: by what is expected of each cause, scaled down where that
/// is more than there is, since causes at the same time hide each other; what
/// is left over by weights, to each up to its bound.
fn share_out(loss: f64, mut claims: Vec<Claim>) -> Vec<Part> {
    let expected: f64 = claims.iter().map(|claim| claim.expected).sum();
    let scale = match expected > loss {
        true => (loss / expected).max(0.0),
        false => 1.0,
    };
    let mut rest = loss - expected;
    let mut parts = Vec::new();
    for claim in claims.extract_if(.., |claim| rest < 1.0 || claim.weight == 0.0) {
        let time = claim.expected * scale;
        parts.push(claim.settle(time));
    }
    while !claims.is_empty() {
        let weights: f64 = claims.iter().map(|claim| claim.weight).sum();
        let wants = |claim: &Claim| claim.expected + rest * claim.weight / weights;
        let full: Vec<Claim> = claims
            .extract_if(.., |claim| claim.bound <= wants(claim))
            .collect();
        if full.is_empty() {
            let times: Vec<f64> = claims.iter().map(wants).collect();
            let settled = claims.drain(..).zip(times);
            parts.extend(settled.map(|(claim, time)| claim.settle(time)));
        }
        for claim in full {
            rest -= claim.bound - claim.expected;
            let bound = claim.bound;
            parts.push(claim.settle(bound));
        }
    }
    parts
}

impl Account {
    /// Adds what another time was like.
    pub fn add(&mut self, more: &Account) {
        self.pid = more.pid;
        self.over = self.over + more.over;
        self.bursts += more.bursts;
        self.own_time = match (self.slow, more.slow) {
            (0, _) => more.own_time,
            (_, 0) => self.own_time,
            _ => self.own_time.zip(more.own_time).map(|(a, b)| a + b),
        };
        self.limit = more.limit.or(self.limit);
        self.slow += more.slow;
        self.slow_time = self.slow_time + more.slow_time;
        self.loss = self.loss + more.loss;
        for part in &more.parts {
            let same = |known: &&mut Part| (known.cause, known.pid) == (part.cause, part.pid);
            match self.parts.iter_mut().find(same) {
                None => self.parts.push(*part),
                Some(known) => {
                    let (before, new) = (known.time.0 as f64, part.time.0 as f64);
                    let mean = |a: f64, b: f64| (a * before + b * new) / (before + new).max(1.0);
                    known.in_flight = mean(known.in_flight, part.in_flight);
                    known.kernel = Nanos(mean(known.kernel.0 as f64, part.kernel.0 as f64) as u64);
                    known.launches += part.launches;
                    known.time = known.time + part.time;
                    known.at_most = known.at_most + part.at_most;
                }
            }
        }
    }

    /// What no part accounts for.
    pub fn unexplained(&self) -> Nanos {
        let explained = self.parts.iter().map(|part| part.time.0).sum();
        self.loss.since(Nanos(explained))
    }
}

#[cfg(test)]
mod tests;
