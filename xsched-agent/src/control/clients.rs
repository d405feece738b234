//! A joined process: its pages, its doorbell, and what is known of it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use rustix::event::EventfdFlags;
use rustix::io;
use xsched_common::page::{Activity, ControlPage, Edges, MAX_DEVICES, StatusPage};
use xsched_common::units::{Class, DeviceIndex, Nanos, PciAddress};

use super::pages::SharedPage;
use crate::policy::{ClientId, ClientState, Presence, Reason};
use crate::process::ProcessId;

/// The part of a client that the model reads while the control thread works
/// on it.
pub struct ClientShared {
    /// Its number in this epoch.
    pub id: ClientId,
    /// Who it is, from SO_PEERCRED.
    pub process: ProcessId,
    /// Agent-written.
    pub control: SharedPage<ControlPage>,
    /// Client-written: distrust it.
    pub status: SharedPage<StatusPage>,
    class: AtomicU8,
    reasons: [AtomicU64; MAX_DEVICES],
}

const UNRIVALLED: u64 = 0;
const RIVAL_IDLE: u64 = 1;
const HELD_BY: u64 = 2;

impl ClientShared {
    /// The class it has now.
    pub fn class(&self) -> Class {
        Class::from_raw(self.class.load(Relaxed)).unwrap_or_default()
    }

    pub(super) fn set_class(&self, class: Class) {
        self.class.store(class as u8, Relaxed);
        self.control.class.store(class as u32, Relaxed);
    }

    /// Why its gate on `device` is as it is.
    pub fn reason(&self, device: DeviceIndex) -> Reason {
        let raw = self
            .reasons
            .get(device.0 as usize)
            .map_or(UNRIVALLED, |r| r.load(Relaxed));
        match raw & 3 {
            HELD_BY => Reason::HeldBy(ClientId(raw >> 2)),
            RIVAL_IDLE => Reason::RivalIdle,
            _ => Reason::Unrivalled,
        }
    }

    pub(super) fn set_reason(&self, device: DeviceIndex, reason: Reason) {
        let raw = match reason {
            Reason::Unrivalled => UNRIVALLED,
            Reason::RivalIdle => RIVAL_IDLE,
            Reason::HeldBy(id) => HELD_BY | id.0 << 2,
        };
        if let Some(to) = self.reasons.get(device.0 as usize) {
            to.store(raw, Relaxed);
        }
    }
}

/// What identifies a device between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKey {
    /// By its bus address.
    Pci(PciAddress),
    /// The client did not say; its own number stands in, which is right as
    /// long as nobody renumbers (HIP_VISIBLE_DEVICES).
    Unnamed(DeviceIndex),
}

impl std::fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceKey::Pci(pci) => pci.fmt(f),
            DeviceKey::Unnamed(index) => write!(f, "device {}", index.0),
        }
    }
}

/// The control thread's own part.
pub(super) struct Client {
    pub shared: std::sync::Arc<ClientShared>,
    pub bell: OwnedFd,
    pub connection: OwnedFd,
    pub pidfd: Option<OwnedFd>,
    /// The process and its ancestors when it joined: whose class it has. An
    /// ancestor that exits later takes nothing away.
    pub lineage: Vec<ProcessId>,
    tracked: [Tracked; MAX_DEVICES],
}

#[derive(Clone, Copy)]
struct Tracked {
    seen: Activity,
    presence: Presence,
}

const UNSEEN: Tracked = Tracked {
    seen: Activity {
        active: false,
        transitions: 0,
    },
    presence: Presence::Never,
};

impl Client {
    pub fn new(
        epoch: u64,
        id: ClientId,
        lineage: Vec<ProcessId>,
        class: Class,
        connection: OwnedFd,
        pidfd: Option<OwnedFd>,
    ) -> io::Result<Client> {
        let process = *lineage.first().ok_or(io::Errno::INVAL)?;
        let control = SharedPage::control(ControlPage::new(epoch, id.0))?;
        for device in &control.devices {
            // The first launch tells which devices the client uses.
            device.wanted_edges.store(Edges::ACTIVE.0, Relaxed);
        }
        let shared = ClientShared {
            id,
            process,
            control,
            status: SharedPage::status(StatusPage::new())?,
            class: AtomicU8::new(0),
            reasons: [const { AtomicU64::new(UNRIVALLED) }; MAX_DEVICES],
        };
        shared.set_class(class);
        Ok(Client {
            shared: std::sync::Arc::new(shared),
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            connection,
            pidfd,
            lineage,
            tracked: [UNSEEN; MAX_DEVICES],
        })
    }

    /// Looks at the client's page; whether its activity on any device has
    /// changed since the last look.
    pub fn observe(&mut self, now: Nanos) -> bool {
        let mut changed = false;
        for (device, status) in self.shared.status.devices() {
            let tracked = &mut self.tracked[device.0 as usize];
            let activity = status.activity();
            if activity == tracked.seen {
                continue;
            }
            tracked.seen = activity;
            tracked.presence = if activity.active {
                Presence::Active
            } else {
                Presence::Idle { since: now }
            };
            changed = true;
        }
        changed
    }

    /// The devices on which the client counts. One that it has never
    /// launched on does not, unless it is the only one it can use: a process
    /// that sees eight devices and works on one must not hold back others on
    /// the remaining seven.
    pub fn states(&self) -> impl Iterator<Item = (DeviceKey, DeviceIndex, ClientState)> {
        let only_one = self.shared.status.devices().count() == 1;
        self.shared
            .status
            .devices()
            .filter_map(move |(device, status)| {
                let presence = self.tracked[device.0 as usize].presence;
                if presence == Presence::Never && !only_one {
                    return None;
                }
                let key = status
                    .pci()
                    .map_or(DeviceKey::Unnamed(device), DeviceKey::Pci);
                let known = |raw: &AtomicU64| Some(Nanos(raw.load(Relaxed))).filter(|t| t.0 > 0);
                let state = ClientState {
                    id: self.shared.id,
                    class: self.shared.class(),
                    presence,
                    kernel_time: known(&status.kernel_ns),
                    gap: known(&status.gap_ns),
                };
                Some((key, device, state))
            })
    }
}
