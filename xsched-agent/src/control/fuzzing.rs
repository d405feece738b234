//! Hostile bytes for the control thread's readers.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::join::{Hello, Verdict};
use xsched_common::page::StatusPage;
use xsched_common::units::{Class, Nanos};

use super::clients::{Client, ClientShared, Joiner};
use super::gates::{News, Round};
use super::join;
use crate::policy::{ClientId, Settings, Terms};
use crate::process::ProcessId;

/// Any packet on the joining socket: whoever is accepted has said sizes that
/// fit into the agent's pages.
pub fn hello(bytes: &[u8]) {
    let Ok(hello) = Hello::decode(bytes) else {
        return;
    };
    if join::verdict(&hello) == Verdict::Accepted {
        assert_eq!(hello.abi.major, xsched_common::ABI.major);
        assert!(hello.status_size as usize <= size_of::<StatusPage>());
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}

/// Clients whose pages hold whatever is written there, one of each class.
pub struct Scribblers {
    clients: BTreeMap<ClientId, Client>,
    round: Round,
    settings: Settings,
    now: Nanos,
    /// When the last round wanted to decide again, with news of all.
    due: Option<Nanos>,
}

impl Default for Scribblers {
    fn default() -> Scribblers {
        let nothing = || OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null"));
        let process = ProcessId {
            pid: 1,
            start_time: 0,
        };
        let clients = Class::ALL.iter().zip(1..).map(|(class, id)| {
            let id = ClientId(id);
            let joiner = Joiner {
                process,
                uid: 0,
                abi: xsched_common::ABI,
                gate: GateMode::Open,
            };
            let client = Client::new(1, id, joiner, nothing(), nothing()).expect("memfds");
            client.shared.set_terms(Terms::of_class(*class));
            (id, client)
        });
        Scribblers {
            clients: clients.collect(),
            round: Round::default(),
            settings: Settings::default(),
            now: Nanos::from_secs(1),
            due: None,
        }
    }
}

impl Scribblers {
    /// Writes `bytes` into the page of one of them, some time passes, and the
    /// control thread decides: gates hold modes that exist, and the next time
    /// to decide lies ahead.
    pub fn write(&mut self, bytes: &[u8]) {
        let [which, at_low, at_high, time, content @ ..] = bytes else {
            return;
        };
        let at = usize::from(u16::from_le_bytes([*at_low, *at_high]));
        let (&id, client) = self
            .clients
            .iter()
            .nth(usize::from(*which) % self.clients.len())
            .expect("four clients");
        let room = size_of::<StatusPage>() - at % size_of::<StatusPage>();
        let content = &content[..content.len().min(room)];
        let at = (size_of::<StatusPage>() - room) as u64;
        rustix::io::pwrite(&client.shared.status, content, at).expect("its own page");
        self.now = self.now + Nanos(1 << (time % 34));
        let now = self.now;
        let nobody = |_| ();
        // Whoever has written has rung, but for some; what is due comes first.
        let overdue = self.due.is_some_and(|due| due <= now);
        let news = match time % 2 {
            1 if !overdue => News::Of([id].into()),
            _ => News::OfAll,
        };
        self.due = self
            .round
            .run(news, &self.settings, &mut self.clients, &nobody, || now);
        assert!(self.due.is_none_or(|due| due > now));
        for client in self.clients.values() {
            for device in &client.shared.control.devices {
                if let GateMode::Capped(cap) = GateWord(device.word.load(Relaxed)).mode() {
                    assert!(cap >= 1);
                }
            }
        }
    }

    /// The pages, for other readers.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &ClientShared> {
        self.clients.values().map(|client| &*client.shared)
    }
}
