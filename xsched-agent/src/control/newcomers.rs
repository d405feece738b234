//! Clients to be: who has said hello and is being identified, and who has its
//! pages but is not looked at yet.
//!
//! A client's page is read only once it is sealed: until then its client can
//! make whoever reads it wait ([`super::pages::StatusDraft`]). It cannot be
//! sealed before its client has mapped it for writing, which a shim says by
//! its first ring.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::EventfdFlags;
use xsched_common::Abi;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::{Hello, Part};
#[cfg(any(test, feature = "fuzzing"))]
use xsched_common::page::StatusPage;
use xsched_common::page::{ControlPage, Edges};
use xsched_common::units::{Class, Nanos};
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;
use xsched_policy::ClientId;

use super::admission::PendingConnection;
#[cfg(any(test, feature = "fuzzing"))]
use super::clients::Client;
use super::identity::{PeerProcess, Unidentified};
use super::pages::{SharedPage, StatusDraft};

/// How long a client has to map its page, if it does not ring before. A shim
/// older than the first ring maps it within microseconds, and its first
/// launch rings.
const SILENCE: Nanos = Nanos::from_secs(1);

/// How long sealing may take beyond that, and being identified.
const READ_TIMEOUT: Nanos = Nanos::from_secs(10);

/// Who joins.
#[derive(Clone, Debug)]
pub(super) struct Joiner {
    pub process: ProcessId,
    /// Its user when it connected.
    pub uid: u32,
    /// Whose it is, however many users that one has.
    pub tenant: Arc<Tenant>,
    /// What its shim understands.
    pub abi: Abi,
    /// Which part of the process it is.
    pub part: Part,
}

impl Joiner {
    /// The user whose share of a device its time is: subordinate ids give no
    /// more.
    pub fn payer(&self) -> u32 {
        match self.tenant.uid {
            Tenant::NOBODY => self.uid,
            uid => uid,
        }
    }
}

/// What a client is handed.
pub(super) struct Handout {
    pub control: SharedPage<ControlPage>,
    pub doorbell: OwnedFd,
    /// Gone while it is being sealed.
    pub draft: Option<StatusDraft>,
}

impl Handout {
    pub fn new(epoch: u64, id: ClientId) -> io::Result<Handout> {
        let control = SharedPage::control(ControlPage::new(epoch, id.0))?;
        // Until its attributes are known: a thread that asks for another class at
        // once must not find it here.
        control.class.store(Class::default() as u32, Relaxed);
        for device in &control.devices {
            // The first launch tells which devices the client uses.
            device.wanted_edges.store(Edges::ACTIVE.0, Relaxed);
        }
        Ok(Handout {
            control,
            doorbell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            draft: Some(StatusDraft::new(id.0)?),
        })
    }

    /// What its gates allow until it is decided about.
    pub fn begin_with(&self, gate: GateMode) {
        for device in &self.control.devices {
            device.word.store(GateWord::new(gate, 0).0, Relaxed);
        }
    }
}

/// Who has said hello, and what it will be handed.
pub(crate) struct Identified {
    pub(super) process: ProcessId,
    pub(super) handout: Handout,
}

impl Identified {
    /// Not for the control thread: making pages takes memory, and reading what
    /// /proc says of a process may take as long as that likes.
    pub(super) fn find(
        peer_process: &PeerProcess,
        epoch: u64,
        id: ClientId,
    ) -> Result<Identified, Unidentified> {
        let process = peer_process.identify()?;
        let handout = Handout::new(epoch, id);
        let handout = handout.map_err(|e| Unidentified::Resources(process.pid, e))?;
        handout.control.pid.store(process.pid, Relaxed);
        Ok(Identified { process, handout })
    }
}

/// Who is being identified.
#[derive(Default)]
pub(super) struct Candidates {
    by_id: BTreeMap<ClientId, (PendingConnection, Hello)>,
}

impl Candidates {
    pub fn insert(&mut self, id: ClientId, pending: PendingConnection, hello: Hello) {
        self.by_id.insert(id, (pending, hello));
    }

    pub fn remove(&mut self, id: ClientId) -> Option<(PendingConnection, Hello)> {
        self.by_id.remove(&id)
    }

    /// Those that were not identified although there was time: their user's
    /// thread is held up, which is that user's doing.
    pub fn overdue(&mut self, now: Nanos) -> Vec<PendingConnection> {
        let overdue = |_: &ClientId, (pending, _): &mut (PendingConnection, Hello)| {
            now.since(pending.since) >= READ_TIMEOUT
        };
        let overdue = self.by_id.extract_if(.., overdue);
        overdue.map(|(_, (pending, _))| pending).collect()
    }
}

/// A client to be.
pub(super) struct Newcomer {
    pub joiner: Joiner,
    pub handout: Handout,
    pub connection: OwnedFd,
    /// Readable once the process has exited.
    pub pidfd: OwnedFd,
}

impl Newcomer {
    /// A client that is no process, and its page as its process would have
    /// it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn settled(id: ClientId, process: ProcessId) -> io::Result<(Client, &'static StatusPage)> {
        Newcomer::settled_part(id, process, Part::Process)
    }

    /// The same of a part of it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn settled_part(
        id: ClientId,
        process: ProcessId,
        part: Part,
    ) -> io::Result<(Client, &'static StatusPage)> {
        let nothing = || std::fs::File::open("/dev/null").map(OwnedFd::from);
        let mut newcomer = Newcomer {
            joiner: Joiner {
                process,
                uid: 0,
                tenant: Arc::new(Tenant::known_by(0)),
                abi: xsched_common::ABI,
                part,
            },
            handout: Handout::new(1, id)?,
            connection: nothing()?,
            pidfd: nothing()?,
        };
        let draft = newcomer.handout.draft.take().expect("new");
        let page = draft.of_client();
        let status = draft.seal()?;
        Ok((Client::new(id, newcomer, status), page))
    }
}

/// All of them, and until when each may stay silent.
#[derive(Default)]
pub(super) struct Newcomers {
    by_id: BTreeMap<ClientId, (Nanos, Newcomer)>,
}

impl Newcomers {
    pub fn insert(&mut self, id: ClientId, newcomer: Newcomer, now: Nanos) {
        self.by_id.insert(id, (now + SILENCE, newcomer));
    }

    pub fn get(&self, id: ClientId) -> Option<&Newcomer> {
        self.by_id.get(&id).map(|(_, newcomer)| newcomer)
    }

    pub fn remove(&mut self, id: ClientId) -> Option<Newcomer> {
        self.by_id.remove(&id).map(|(_, newcomer)| newcomer)
    }

    pub fn values(&self) -> impl Iterator<Item = &Newcomer> {
        self.by_id.values().map(|(_, newcomer)| newcomer)
    }

    /// The page of one that has rung, and whose it is; it is given once.
    pub fn take_draft(&mut self, id: ClientId) -> Option<(Arc<Tenant>, StatusDraft)> {
        let (_, newcomer) = self.by_id.get_mut(&id)?;
        let draft = newcomer.handout.draft.take()?;
        Some((Arc::clone(&newcomer.joiner.tenant), draft))
    }

    /// Those whose pages were not sealed although there was time: their user's
    /// thread is held up, which is that user's doing.
    pub fn overdue(&self, now: Nanos) -> Vec<ClientId> {
        let overdue = self.by_id.iter();
        let overdue = overdue.filter(|(_, (until, _))| *until + READ_TIMEOUT <= now);
        overdue.map(|(id, _)| *id).collect()
    }

    /// Those that have been silent for too long.
    pub fn silent(&self, now: Nanos) -> Vec<ClientId> {
        let silent = self
            .by_id
            .iter()
            .filter(|(_, (until, newcomer))| *until <= now && newcomer.handout.draft.is_some());
        silent.map(|(id, _)| *id).collect()
    }
}
