//! Many clients of all classes that come, work, rest, leave and are killed,
//! and what must hold meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags};
use xsched_common::api::{Change, Request};
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::{ControlPage, Edges, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::{Class, Nanos};
use xsched_policy::{ClientId, ClientState, DeviceMemory, DeviceSettings, Presence, SchedAttr};
use xsched_testkit::{Agent, FakeClient, fake_peer};

use crate::times;

/// xorshift64 (Marsaglia): the same churn for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

/// A process that works and rests at random until its stdin closes.
pub fn tenant() {
    if std::env::var_os("RIVAL").is_none_or(|fake_peer| fake_peer != "tenant") {
        return;
    }
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let join = || {
        let client = FakeClient::join(&RunDir::for_agent(0));
        // For the checker, which sees pages only.
        client.status().waits.store(client.reply.client_id, Relaxed);
        client
    };
    let mut client = join();
    let ms = Duration::from_millis;
    loop {
        std::thread::sleep(ms(random.below(20)));
        client.become_active();
        let work = match random.below(5) {
            0 => 300 + random.below(900),
            _ => 1 + random.below(15),
        };
        for _ in 0..work.div_ceil(5) {
            std::thread::sleep(ms(work.min(5)));
            client.status().devices[0].admitted.fetch_add(1, Relaxed);
        }
        client.become_idle();
        if random.below(100) == 0 {
            client = join();
        }
    }
}

/// A page of somebody else's, for looking at.
struct Seen<T>(NonNull<T>);

impl<T> Seen<T> {
    fn map(file: &File) -> Option<Seen<T>> {
        // SAFETY: a fresh mapping, and the pages are sealed against shrinking.
        let at = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        NonNull::new(at.ok()?.cast()).map(Seen)
    }

    fn page(&self) -> &T {
        // SAFETY: mapped until dropped; the fields are atomics.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Seen<T> {
    fn drop(&mut self) {
        // SAFETY: exactly our own mapping.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Every page that the agent has, as the kernel knows them.
#[derive(Default)]
struct Pages {
    controls: HashMap<u64, Seen<ControlPage>>,
    statuses: HashMap<u64, Seen<StatusPage>>,
    /// By client: its heartbeat, and since when.
    beats: HashMap<u64, (u64, Instant)>,
}

impl Pages {
    fn look(&mut self, agent: &Agent) {
        let mut controls = HashMap::new();
        let mut statuses = HashMap::new();
        let fds = format!("/proc/{}/fd", agent.child.id());
        for entry in std::fs::read_dir(fds).expect("it runs").flatten() {
            let name = std::fs::read_link(entry.path()).unwrap_or_default();
            let name = name.to_string_lossy();
            if !name.contains("memfd:xsched-") {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            let Ok(inode) = file.metadata().map(|m| m.ino()) else {
                continue;
            };
            if name.contains("control") {
                let known = self.controls.remove(&inode);
                controls.extend(known.or_else(|| Seen::map(&file)).map(|page| (inode, page)));
            } else {
                let known = self.statuses.remove(&inode);
                statuses.extend(known.or_else(|| Seen::map(&file)).map(|page| (inode, page)));
            }
        }
        (self.controls, self.statuses) = (controls, statuses);
    }

    /// Clients: number, class, gate, whether it has work. One that has left
    /// keeps its pages for up to a tick of the agent's model: its heart stands
    /// still.
    fn clients(&mut self, now: Instant) -> Vec<(u64, Class, GateMode, bool)> {
        let active: HashMap<u64, bool> = self
            .statuses
            .values()
            .map(|seen| {
                let page = seen.page();
                (page.waits.load(Relaxed), page.devices[0].activity().active)
            })
            .collect();
        let beats = &mut self.beats;
        self.controls
            .values()
            .filter_map(|seen| {
                let page = seen.page();
                let beat = page.heartbeat.load(Relaxed);
                let last = beats.entry(page.client_id).or_insert((beat, now));
                if last.0 != beat {
                    *last = (beat, now);
                } else if now - last.1 > Duration::from_millis(75) {
                    return None;
                }
                let class = Class::from_raw(page.class.load(Relaxed) as u8)?;
                let mode = GateWord(page.devices[0].word.load(SeqCst)).mode();
                Some((page.client_id, class, mode, *active.get(&page.client_id)?))
            })
            .collect()
    }
}

/// How long a state that must not last may be seen: far beyond the longest
/// linger (5 ms), because this machine has gaps of 100 ms and more.
const LASTING: Duration = Duration::from_millis(400);

/// Longest time that a client with work may be held without a single opening:
/// the minimum share grants one at least this often.
const HELD: Duration = Duration::from_secs(2);

/// How long each client has been in a state without a break. A look that
/// comes late counts as one in time: in a gap of this machine much may have
/// happened unseen.
#[derive(Default)]
struct Lasting {
    of: HashMap<u64, Duration>,
    longest: Duration,
}

impl Lasting {
    fn is(&mut self, id: u64, holds: bool, since_last_look: Duration) {
        if !holds {
            self.of.remove(&id);
            return;
        }
        let lasts = self.of.entry(id).or_default();
        *lasts += since_last_look.min(Duration::from_millis(5));
        self.longest = self.longest.max(*lasts);
    }
}

const TENANTS: usize = 24;

/// The real control thread, 24 processes.
#[test]
fn order_and_bounds_hold_in_a_churn_of_tenants() {
    let _machine = crate::alone();
    let agent = Agent::start();
    let start = || -> Child {
        fake_peer::command(&agent.run_dir)
            .env("RIVAL", "tenant")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts")
    };
    let mut random = Random(0x5eed);
    let mut tenants: Vec<Child> = (0..TENANTS).map(|_| start()).collect();
    let mut pages = Pages::default();
    let (mut unheld, mut overheld, mut starved) = <(Lasting, Lasting, Lasting)>::default();
    let (mut kills, mut samples, mut most) = (0, 0, 0);
    let end = Instant::now() + Duration::from_secs(times(5, 300) as u64);
    let mut next_change = Instant::now();
    let (mut looked, mut last) = (Instant::now(), Instant::now());
    pages.look(&agent);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
        let now = Instant::now();
        if now >= next_change {
            next_change = now + Duration::from_millis(50);
            let at = random.below(TENANTS as u64) as usize;
            let class = Class::ALL[random.below(4) as usize];
            // It may be just gone: that is an answer, too.
            agent.ask(&Request::Set(Change {
                pid: tenants[at].id(),
                class: Some(class),
                ..Change::default()
            }));
            if random.below(4) == 0 {
                let mut killed = std::mem::replace(&mut tenants[at], start());
                killed.kill().expect("kills");
                killed.wait().expect("ends");
                kills += 1;
            }
        }
        if now - looked > Duration::from_millis(20) {
            looked = now;
            pages.look(&agent);
        }
        let clients = pages.clients(now);
        let gap = now - std::mem::replace(&mut last, now);
        samples += 1;
        most = most.max(clients.len());
        for &(id, class, mode, active) in &clients {
            let above = clients.iter().any(|&(_, c, _, a)| a && c > class);
            unheld.is(id, active && above && mode == GateMode::Open, gap);
            overheld.is(id, !above && mode == GateMode::Closed, gap);
            starved.is(id, active && mode == GateMode::Closed, gap);
        }
    }
    println!(
        "{samples} looks at up to {most} clients, {kills} killed; longest: open beside a higher class \
         with work {:.1?}, closed without one {:.1?} (bound {LASTING:?}), held without an opening \
         {:.1?} (bound {HELD:?})",
        unheld.longest, overheld.longest, starved.longest
    );
    for mut tenant in tenants {
        tenant.kill().expect("kills");
        tenant.wait().expect("ends");
    }
    assert!(most >= TENANTS * 3 / 4, "{most} clients");
    assert!(unheld.longest < LASTING, "priority");
    assert!(overheld.longest < LASTING, "work conservation");
    assert!(starved.longest < HELD, "bounded waits");
}

/// A tenant in virtual time.
struct Virtual {
    state: ClientState,
    active: bool,
    changes_at: Nanos,
    edges: Edges,
}

/// Conservation: the sum of all that is charged is the time in which anybody
/// had work, within 2%, whoever comes, goes and lies idle. The policy is asked
/// when the control thread would: at rings that it wants, at times that it
/// names, and at the heartbeat.
#[test]
fn charged_time_is_conserved_in_a_churn() {
    let _machine = crate::in_company();
    const BEAT: Nanos = Nanos::from_millis(50);
    let settings = DeviceSettings::default();
    let mut random = Random(0xc0ffee);
    let mut memory = DeviceMemory::default();
    let mut next_id = 0;
    let mut arrive = |random: &mut Random, now: Nanos| {
        next_id += 1u64;
        let class = Class::ALL[random.below(4) as usize];
        Virtual {
            state: ClientState::new(ClientId(next_id), SchedAttr::of_class(class)),
            active: false,
            changes_at: now + Nanos(random.below(30_000_000)),
            edges: Edges::ACTIVE,
        }
    };
    let start = Nanos::from_secs(1);
    let end = start + Nanos::from_secs(times(60, 300) as u64);
    let mut tenants: Vec<Virtual> = (0..TENANTS).map(|_| arrive(&mut random, start)).collect();
    let (mut now, mut busy, mut gone) = (start, Nanos::ZERO, Nanos::ZERO);
    let (mut again, mut beat) = (start, start);
    while now < end {
        // To the next thing that happens, with somebody at work or not.
        let change = tenants.iter().map(|t| t.changes_at).min().expect("tenants");
        let next = change.min(again).min(beat).max(now);
        if tenants.iter().any(|t| t.active) {
            busy = busy + next.since(now);
        }
        now = next;
        let mut ask = now >= again || now >= beat;
        for tenant in &mut tenants {
            if now < tenant.changes_at {
                continue;
            }
            tenant.active = !tenant.active;
            let edge = if tenant.active {
                Edges::ACTIVE
            } else {
                Edges::IDLE
            };
            ask |= tenant.edges.contains(edge);
            let time = match (tenant.active, random.below(5)) {
                (true, 0) => 100_000_000 + random.below(300_000_000),
                (true, _) => 200_000 + random.below(10_000_000),
                (false, _) => 5_000_000 + random.below(4_000_000_000),
            };
            tenant.changes_at = now + Nanos(time);
            if !tenant.active && random.below(200) == 0 {
                gone = gone + memory.charged(tenant.state.id).unwrap_or(Nanos::ZERO);
                *tenant = arrive(&mut random, now);
                ask = true;
            }
        }
        tenants.sort_by_key(|tenant| tenant.state.id);
        if !ask {
            continue;
        }
        beat = beat.max(now + BEAT);
        for tenant in &mut tenants {
            let state = &mut tenant.state;
            let was = state.presence;
            state.presence = match (tenant.active, was) {
                (true, _) => Presence::Active,
                (false, Presence::Active) => Presence::Idle { since: now },
                (false, other) => other,
            };
            state.progress += u64::from(tenant.active);
        }
        let states: Vec<ClientState> = tenants.iter().map(|t| t.state).collect();
        let mut decisions = Vec::new();
        let named = xsched_policy::decide(&settings, &mut memory, now, &states, &mut decisions);
        again = named.unwrap_or(Nanos::MAX);
        for (tenant, decision) in tenants.iter_mut().zip(&decisions) {
            tenant.edges = decision.edges;
        }
    }
    let charged = tenants
        .iter()
        .filter_map(|t| memory.charged(t.state.id))
        .fold(gone, |sum, more| sum + more);
    let off = (charged.0 as f64 / busy.0 as f64 - 1.0) * 100.0;
    println!(
        "charged {charged} of {busy} with work within {}: {off:+.2}%",
        end.since(start)
    );
    assert!(busy.0 * 10 > end.since(start).0, "somebody worked");
    assert!(off.abs() < 2.0, "{off:+.2}%");
}
