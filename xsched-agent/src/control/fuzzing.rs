//! Hostile bytes for the control thread's readers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::{Hello, HelloResult};
use xsched_common::page::StatusPage;
use xsched_common::units::{Class, Nanos};
use xsched_host::process::ProcessId;
use xsched_policy::{ClientId, SchedAttr};

use super::clients::{Client, ClientShared};
use super::gates::{DecisionPass, News, Rules};
use super::join;
use super::newcomers::Newcomer;

/// Any packet on the joining socket: whoever is accepted has said sizes that
/// fit into the agent's pages.
pub fn hello(bytes: &[u8]) {
    let Ok(hello) = Hello::decode(bytes) else {
        return;
    };
    if join::verdict(&hello) == HelloResult::Accepted {
        assert_eq!(hello.abi.major, xsched_common::ABI.major);
        assert!(hello.status_size as usize <= size_of::<StatusPage>());
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}

/// Clients whose pages hold whatever is written there, one of each class.
pub struct Scribblers {
    clients: BTreeMap<ClientId, Client>,
    /// As their processes have them.
    pages: Vec<&'static StatusPage>,
    pass: DecisionPass,
    rules: Rules,
    now: Nanos,
    /// When the last pass wanted to decide again, with news of all.
    due: Option<Nanos>,
}

impl Default for Scribblers {
    fn default() -> Scribblers {
        let process = ProcessId {
            pid: 1,
            start_time: 0,
        };
        let (mut clients, mut pages) = (BTreeMap::new(), Vec::new());
        for (class, id) in Class::ALL.iter().zip(1..) {
            let id = ClientId(id);
            let (client, page) = Newcomer::settled(id, process).expect("memfds");
            client.shared.set_attr(SchedAttr::of_class(*class));
            clients.insert(id, client);
            pages.push(page);
        }
        Scribblers {
            clients,
            pages,
            pass: DecisionPass::default(),
            rules: Rules::default(),
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
        let which = usize::from(*which) % self.clients.len();
        let id = *self.clients.keys().nth(which).expect("four clients");
        let room = size_of::<StatusPage>() - at % size_of::<StatusPage>();
        let content = &content[..content.len().min(room)];
        let start = std::ptr::from_ref(self.pages[which]).cast::<AtomicU8>();
        for (byte, at) in content.iter().zip(size_of::<StatusPage>() - room..) {
            // SAFETY: within the page, which is shared memory of atomics.
            unsafe { (*start.add(at)).store(*byte, Relaxed) };
        }
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
            .pass
            .run(news, &self.rules, &mut self.clients, &nobody, || now);
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
