//! One process in the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::bpf::CallRoute;
use xsched_common::page::HistogramCounts;
use xsched_common::platform::Platform;
use xsched_common::units::{Nanos, StreamClass};
use xsched_host::process::{self, ProcessId};
use xsched_policy::ClientId;

use super::WINDOW;
use super::details::{Details, shown};
use super::device_times::Claim;
use super::gates::GateWindow;
use super::groups::Groups;
use super::observation::{ApiCount, Bypass, LaunchCount};
use super::page_reader::{PageChange, PageLaunches, PageReader};
use super::window::{Totals, Window};
use super::workloads::Belonging;
use crate::control::ClientShared;
use crate::workloads::Workloads;

/// Calling libraries that are told apart. A process may name any number (its
/// page is its own to write); more share one row.
const MAX_CALLERS: usize = 256;

/// The row they share; a full page uses the same name.
const OTHERS: &str = "(others)";

/// Time between two looks at the memory of a process that has not joined: it
/// may load the shim, or run another program.
const LOOK: Nanos = Nanos::from_secs(2);

/// Ticks after a client's joining in which its direct calls are not counted:
/// the probes on its shim may be younger than its first launches, which then
/// look as if they had not come through it.
const SETTLING: u32 = 2;

pub(super) struct Process {
    pub id: ProcessId,
    pub parent: Option<u32>,
    pub cgroup: Option<String>,
    /// Its pod or job.
    pub belonging: Option<Belonging>,
    pub uid: u32,
    pub command: String,
    pub arguments: String,
    pub shim_mapped: bool,
    /// Whose runtime it maps; of several the first.
    pub platform: Option<Platform>,
    /// Of several clients, one for each platform that it uses, the one that it
    /// is shown by.
    pub client: Option<Arc<ClientShared>>,
    pub callers: BTreeMap<String, Caller>,
    pub window: Window,
    pub gates: GateWindow,
    pub bypass: Bypass,
    pub apis: Vec<ApiCount>,
    /// What has joined of it with classes of its own.
    pub groups: Groups,
    /// Of all its clients, until they leave.
    readers: Vec<(ClientId, PageReader)>,
    /// Device time that is not charged yet.
    claims: Vec<Claim>,
    observed: BTreeMap<(String, u8, u8), u64>,
    observed_bursts: HistogramCounts,
    /// Sums since the process was first seen, shared with the window.
    totals: Arc<Totals>,
    /// When its memory was last read, or asked for.
    looked: Option<Nanos>,
    ticks_joined: u32,
}

/// Launches of one library since the process was first seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller {
    /// By the page.
    pub page: PageLaunches,
    /// By the observer: calls that did not come through the shim.
    pub direct: u64,
    /// Of these, on the default stream.
    pub direct_default: u64,
}

impl Caller {
    pub fn default_stream(&self) -> u64 {
        self.page.default_stream.saturating_add(self.direct_default)
    }
}

fn caller_row(callers: &mut BTreeMap<String, Caller>, name: String) -> &mut Caller {
    let full = callers.len() >= MAX_CALLERS && !callers.contains_key(&name);
    let name = if full { OTHERS.to_owned() } else { name };
    callers.entry(name).or_default()
}

impl Process {
    /// A process of which only is known what the kernel itself keeps.
    pub fn new(id: ProcessId, workloads: &Workloads) -> Process {
        let stat = process::stat(id.pid).ok();
        Process {
            id,
            uid: process::uid(id.pid).unwrap_or(u32::MAX),
            cgroup: process::cgroup(id.pid)
                .map(|path| shown(path.as_bytes()))
                .ok()
                .filter(|path| path != "/"),
            belonging: Belonging::of(id.pid, workloads),
            parent: stat.as_ref().map(|stat| stat.parent),
            command: stat.map_or_else(String::new, |s| shown(s.comm.as_bytes())),
            arguments: String::new(),
            shim_mapped: false,
            platform: None,
            client: None,
            callers: BTreeMap::new(),
            window: Window::default(),
            gates: GateWindow::default(),
            bypass: Bypass::default(),
            apis: Vec::new(),
            groups: Groups::default(),
            readers: Vec::new(),
            claims: Vec::new(),
            observed: BTreeMap::new(),
            observed_bursts: HistogramCounts::default(),
            totals: Arc::default(),
            looked: None,
            ticks_joined: 0,
        }
    }

    /// Takes in the observer's totals for this process.
    pub fn take_counts<'a>(&mut self, counts: impl Iterator<Item = &'a LaunchCount>) {
        // Call sites of one library are separate counts: sum, then compare.
        let mut now: BTreeMap<(String, u8, u8), u64> = BTreeMap::new();
        for count in counts {
            let key = (count.caller.clone(), count.stream as u8, count.route as u8);
            *now.entry(key).or_default() += count.total;
        }
        for ((caller, stream, route), total) in now {
            let before = self
                .observed
                .insert((caller.clone(), stream, route), total)
                .unwrap_or(0);
            let new = total.saturating_sub(before);
            // What came through the shim is on its page, unless it has not
            // joined and therefore keeps none.
            let settling = self.ticks_joined < SETTLING;
            if self.client.is_some() && (route == CallRoute::Shim as u8 || settling) {
                continue;
            }
            let caller = caller_row(&mut self.callers, caller);
            let stream = StreamClass::from_raw(stream).unwrap_or(StreamClass::Created);
            if new > 0 {
                caller.direct += new;
                if stream.is_default() {
                    caller.direct_default += new;
                }
                Arc::make_mut(&mut self.totals).add_direct(new, stream);
            }
        }
    }

    /// Takes in the observer's totals of whole bursts. A joined process's are
    /// on its page.
    pub fn take_bursts(&mut self, counts: Option<&HistogramCounts>) {
        let Some(counts) = counts else { return };
        // Totals go back when the process runs another program.
        let restarted = counts.total() < self.observed_bursts.total();
        let new = match restarted {
            true => counts.clone(),
            false => counts.since(&self.observed_bursts),
        };
        self.observed_bursts = counts.clone();
        if self.client.is_none() && new.total() > 0 {
            Arc::make_mut(&mut self.totals).bursts.add(&new);
        }
    }

    /// Takes in the pages of its clients, if the process has joined.
    pub fn take_pages(&mut self, clients: &[Arc<ClientShared>]) {
        let shown = self.shown_by(clients);
        let id = |client: &Option<Arc<ClientShared>>| client.as_ref().map(|client| client.id);
        if id(&self.client) != id(&shown) {
            self.client = shown;
            self.ticks_joined = 0;
        }
        for client in clients {
            let known = self.readers.iter().position(|(id, _)| *id == client.id);
            // A new client has a new page that counts from zero. The reader of one
            // in whose place it is stays: that one's page is read once more.
            let at = known.unwrap_or_else(|| {
                self.readers.push((client.id, PageReader::default()));
                self.readers.len() - 1
            });
            let reader = &mut self.readers[at].1;
            if !reader.is_current(&client.status) {
                let change = reader.read(&client.status);
                self.take_change(client, change);
            }
        }
    }

    /// Takes in what the page of a client that has left said last.
    pub fn take_last(&mut self, client: &Arc<ClientShared>) {
        let known = self.readers.iter().position(|(id, _)| *id == client.id);
        let mut reader = match known {
            Some(at) => self.readers.swap_remove(at).1,
            None => PageReader::default(),
        };
        let change = reader.read(&client.status);
        self.client.get_or_insert_with(|| Arc::clone(client));
        self.take_change(client, change);
    }

    fn take_change(&mut self, client: &ClientShared, change: PageChange) {
        if self.client.as_ref().map(|shown| shown.id) == Some(client.id) {
            // Each client numbers the devices for itself.
            self.claims.extend(Claim::of(client, change.busy_ns));
        }
        Arc::make_mut(&mut self.totals).add_page(&change);
        for (name, launches) in change.callers {
            caller_row(&mut self.callers, name).page.add(launches);
        }
    }

    /// The client that has launched most; the one from before until another
    /// has launched twice as much.
    fn shown_by(&self, clients: &[Arc<ClientShared>]) -> Option<Arc<ClientShared>> {
        let launched = |client: &Arc<ClientShared>| -> u64 {
            let devices = client.status.devices.iter();
            let counts = devices.map(|device| device.admitted.load(Relaxed));
            let sum = counts.fold(0, u64::saturating_add);
            match &self.client {
                Some(shown) if shown.id == client.id => sum.saturating_mul(2).saturating_add(1),
                _ => sum,
            }
        };
        clients
            .iter()
            .max_by_key(|client| launched(client))
            .cloned()
    }

    /// Whether it is time to have its memory read, which has to be done
    /// elsewhere.
    pub fn wants_look(&self, now: Nanos) -> bool {
        match self.looked {
            None => true,
            Some(looked) => self.client.is_none() && now.since(looked) >= LOOK,
        }
    }

    /// Takes note that its memory is being read.
    pub fn look_asked(&mut self, now: Nanos) {
        self.looked = Some(now);
    }

    /// Takes in what its memory says.
    pub fn take_details(&mut self, details: Details) {
        self.arguments = details.arguments;
        self.shim_mapped = details.shim_mapped;
        self.platform = details.platform;
    }

    /// The device time that it and its groups claim in this tick.
    pub fn claims(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.claims.iter_mut().chain(self.groups.claims())
    }

    /// Closes a tick, in which device time has been shared out: a sample for the
    /// window.
    pub fn tick(&mut self, now: Nanos) {
        for claim in self.claims.drain(..) {
            Arc::make_mut(&mut self.totals).add_busy(claim.index, claim.time);
        }
        self.groups.tick(now);
        if self.client.is_some() {
            self.shim_mapped = true;
            self.ticks_joined = self.ticks_joined.saturating_add(1);
        }
        self.window.push(now, WINDOW, &self.totals);
        let client = self.client.as_deref();
        self.gates.push(now, WINDOW, client);
    }

    /// Launches since the process was first seen.
    pub fn launches(&self) -> u64 {
        self.totals.launches
    }
}

#[cfg(test)]
mod tests {
    use super::super::device_times::DeviceTimes;
    use super::*;
    use crate::control::stand_in;
    use xsched_common::handshake::Part;
    use xsched_common::page::StatusPage;
    use xsched_common::units::Class;

    /// A process that has joined once, and whatever else it is.
    fn joined(number: u64) -> (Process, Arc<ClientShared>, &'static StatusPage) {
        let id = ProcessId {
            pid: u32::MAX,
            start_time: number,
        };
        let (client, page) = stand_in(number, id, Part::Process, Class::Low);
        page.device_count.store(1, Relaxed);
        (Process::new(id, &Workloads::default()), client, page)
    }

    /// One whose page has changed hands is not read from the beginning again.
    #[test]
    fn a_client_in_whose_place_is_another_is_counted_once() {
        let (mut process, before, page) = joined(1);
        let (_, after, _) = joined(2);
        assert!(page.callers[0].claim(b"liba.so"));
        let launches = &page.callers[0].launches[0][0];
        launches.store(5, Relaxed);
        process.take_pages(std::slice::from_ref(&before));
        process.take_pages(std::slice::from_ref(&after));
        launches.store(7, Relaxed);
        process.take_last(&before);
        assert_eq!(process.launches(), 7);
        assert!(process.readers.iter().all(|(id, _)| *id == after.id));
    }

    /// Each counts what it waits for the other.
    #[test]
    fn processes_on_one_device_are_charged_no_more_than_passes() {
        let mut processes = [joined(1), joined(2)];
        let mut now = Nanos::from_secs(1);
        let mut times = DeviceTimes::new(now);
        let begun = now;
        for _ in 0..40 {
            for ((process, client, page), ms) in processes.iter_mut().zip([200, 330]) {
                let busy = &page.devices[0].busy_ns;
                busy.fetch_add(Nanos::from_millis(ms).0, Relaxed);
                process.take_pages(std::slice::from_ref(client));
            }
            now = now + Nanos::from_millis(500);
            let claims = processes
                .iter_mut()
                .flat_map(|(process, ..)| process.claims());
            times.share(now, claims);
            for (process, ..) in &mut processes {
                process.tick(now);
            }
        }
        let charged = processes
            .each_ref()
            .map(|(process, ..)| process.totals.busy_ns[0]);
        let of_all = charged.iter().sum::<u64>() as f64 / now.since(begun).0 as f64;
        assert!((0.98..1.02).contains(&of_all), "{charged:?}");
    }

    #[test]
    fn callers_without_end_share_a_row() {
        let mut callers = BTreeMap::new();
        for i in 0..1_000 {
            caller_row(&mut callers, format!("lib{i}.so")).direct += 1;
        }
        assert_eq!(callers.len(), MAX_CALLERS + 1);
        assert_eq!(callers[OTHERS].direct, 1_000 - MAX_CALLERS as u64);
        caller_row(&mut callers, "lib0.so".into()).direct += 1;
        assert_eq!(callers["lib0.so"].direct, 2);
    }
}
