//! The status page: what one client tells about itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::activity::{Activity, ActivityWord, Settled};
use super::{CALLER_SLOTS, CallerSlot, Histogram, MAX_DEVICES, PageHeader, STATUS_MAGIC};
use crate::gate::Guard;
use crate::units::{DeviceIndex, DeviceInstance, Nanos, PciAddress};

/// How a launch that reached the shim went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Route {
    /// Through the gate.
    Gated = 0,
    /// Past it, on purpose: a passthrough library, a collective, a capture; a
    /// passthrough function where the gate was not open.
    Passthrough = 1,
}

impl Route {
    /// How many there are.
    pub const COUNT: usize = 2;
}

/// Client-written; mapped read-only by the agent, which believes none of it
/// beyond what can only harm the client itself.
#[repr(C, align(64))]
pub struct StatusPage {
    /// Magic, ABI and size.
    pub header: PageHeader,
    /// The writer's process id in its own namespace; for people.
    pub pid: AtomicU32,
    /// Devices in use: `devices[..device_count]`.
    pub device_count: AtomicU32,
    /// Launches that passed by a guard, by [`Guard`].
    pub guards: [AtomicU64; Guard::COUNT],
    /// Launches that waited at the gate.
    pub waits: AtomicU64,
    /// By [`DeviceIndex`].
    pub devices: [DeviceStatus; MAX_DEVICES],
    /// Bursts: first launch after idle until known to be drained.
    pub bursts: Histogram,
    /// Waits at the gate, those of zero length left out.
    pub gate_waits: Histogram,
    /// Launches by calling library; the last slot is "(others)".
    pub callers: [CallerSlot; CALLER_SLOTS],
    /// Intervals between two events of a program that asks for such times, split
    /// by a gate that was not open. Since ABI 1.3.
    pub split_intervals: AtomicU64,
    /// By [`DeviceIndex`]: how its work becomes known to be complete. Since
    /// ABI 1.4.
    pub paces: [Pace; MAX_DEVICES],
    /// The client's platform ([`Platform::from_raw`](crate::platform::Platform));
    /// zero, the first, in pages of shims that knew no other.
    pub platform: AtomicU32,
    /// Zero.
    pub pad: u32,
    /// By [`DeviceIndex`]: which part of the device it is; zero for the whole.
    /// Since ABI 1.5.
    instances: [AtomicU64; MAX_DEVICES],
    /// Zero: room for additions.
    pub reserved: [u8; 1008 - (size_of::<Pace>() + size_of::<u64>()) * MAX_DEVICES],
}

/// How a device's work becomes known to be complete.
#[repr(C)]
pub struct Pace {
    /// Commands of whose completion the program's own calls and functions
    /// have told.
    pub told: AtomicU64,
    /// While [watched](super::Edges::WATCH): how long after its beginning the
    /// burst should last, by what has been launched so far and what such work
    /// took before, ns; 0 while unknown.
    pub lasts_ns: AtomicU64,
}

/// One device's part of a [`StatusPage`].
#[repr(C, align(64))]
pub struct DeviceStatus {
    activity: ActivityWord,
    /// Gated commands handed over and not known to be complete.
    pub in_flight: AtomicU32,
    /// Threads waiting at the gate, the first in line and those behind it. A
    /// thread counts itself before it sleeps on the control word: the agent
    /// wakes nobody where this is zero, and need not wake more than one
    /// elsewhere ([`super::DeviceControl::word`]).
    pub waiting: AtomicU32,
    /// The measured kernel time T, ns; 0 while unknown.
    pub kernel_ns: AtomicU64,
    /// 95th percentile of the process's own gaps between two bursts, of
    /// those short enough to linger over, ns; 0 while unknown.
    pub gap_ns: AtomicU64,
    /// Gated commands admitted since the start.
    pub admitted: AtomicU64,
    /// Device time of drained commands as far as the client can tell, ns.
    pub busy_ns: AtomicU64,
    /// `domain << 32 | bus << 16 | device << 8 | function`, plus
    /// [`PCI_KNOWN`]; 0 while unknown.
    pci: AtomicU64,
    /// Gaps short enough to linger over, since the start: beside the bursts
    /// it tells whether those are requests or parts of some. 0 from shims
    /// that do not count them.
    pub short_gaps: AtomicU64,
}

const PCI_KNOWN: u64 = 1 << 63;

const _: () = {
    assert!(size_of::<DeviceStatus>() == 64);
    assert!(core::mem::offset_of!(StatusPage, devices) == 64);
};

impl DeviceStatus {
    const fn new() -> DeviceStatus {
        DeviceStatus {
            activity: ActivityWord(AtomicU64::new(0)),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            kernel_ns: AtomicU64::new(0),
            gap_ns: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            pci: AtomicU64::new(0),
            short_gaps: AtomicU64::new(0),
        }
    }

    /// The device's activity.
    #[inline]
    pub fn activity(&self) -> Activity {
        self.activity.load()
    }

    /// Enters the active state; whether this call made the change.
    pub fn set_active(&self) -> bool {
        self.activity.set_active()
    }

    /// Leaves the active state; whether this call made the change.
    pub fn set_idle(&self) -> bool {
        self.activity.set_idle()
    }

    /// Leaves the active state unless `busy`, see [`ActivityWord::settle`].
    pub fn settle(&self, busy: impl Fn() -> bool) -> Settled {
        self.activity.settle(busy)
    }

    /// Names the physical device.
    pub fn set_pci(&self, pci: PciAddress) {
        let raw = u64::from(pci.domain & 0x7fff_ffff) << 32
            | u64::from(pci.bus) << 16
            | u64::from(pci.device) << 8
            | u64::from(pci.function);
        self.pci.store(raw | PCI_KNOWN, Relaxed);
    }

    /// The physical device, once the client has said it.
    pub fn pci(&self) -> Option<PciAddress> {
        let raw = self.pci.load(Relaxed);
        (raw & PCI_KNOWN != 0).then_some(PciAddress {
            domain: (raw >> 32) as u32 & 0x7fff_ffff,
            bus: (raw >> 16) as u8,
            device: (raw >> 8) as u8,
            function: raw as u8,
            reserved: 0,
        })
    }
}

impl Default for StatusPage {
    fn default() -> StatusPage {
        StatusPage::new()
    }
}

impl StatusPage {
    /// An empty page, as the agent creates it for the client.
    pub const fn new() -> StatusPage {
        StatusPage {
            header: PageHeader::new(STATUS_MAGIC, size_of::<StatusPage>()),
            pid: AtomicU32::new(0),
            device_count: AtomicU32::new(0),
            guards: [const { AtomicU64::new(0) }; Guard::COUNT],
            waits: AtomicU64::new(0),
            devices: [const { DeviceStatus::new() }; MAX_DEVICES],
            bursts: Histogram::new(),
            gate_waits: Histogram::new(),
            callers: [const { CallerSlot::new() }; CALLER_SLOTS],
            split_intervals: AtomicU64::new(0),
            paces: [const {
                Pace {
                    told: AtomicU64::new(0),
                    lasts_ns: AtomicU64::new(0),
                }
            }; MAX_DEVICES],
            platform: AtomicU32::new(0),
            pad: 0,
            instances: [const { AtomicU64::new(0) }; MAX_DEVICES],
            reserved: [0; _],
        }
    }

    /// Devices the client says it has, as far as the page has room.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceIndex, &DeviceStatus)> {
        let count = (self.device_count.load(Relaxed) as usize).min(MAX_DEVICES);
        self.devices[..count]
            .iter()
            .enumerate()
            .map(|(i, device)| (DeviceIndex(i as u8), device))
    }

    /// Says of the client and its devices what `other` says, a page of the same
    /// process.
    pub fn introduce_as(&self, other: &StatusPage) {
        for (to, from) in self.devices.iter().zip(&other.devices) {
            to.pci.store(from.pci.load(Relaxed), Relaxed);
        }
        for (to, from) in self.instances.iter().zip(&other.instances) {
            to.store(from.load(Relaxed), Relaxed);
        }
        for (to, from) in [
            (&self.pid, &other.pid),
            (&self.platform, &other.platform),
            (&self.device_count, &other.device_count),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
    }

    /// Says that a device is a part of one, known by this identifier.
    pub fn set_instance(&self, device: DeviceIndex, uuid: [u8; 16]) {
        let first = (u128::from_be_bytes(uuid) >> 64) as u64;
        if let Some(slot) = self.instances.get(device.0 as usize) {
            slot.store(first.max(1), Relaxed);
        }
    }

    /// Which part of a device this one is; `None` for the whole.
    pub fn instance(&self, device: DeviceIndex) -> Option<DeviceInstance> {
        let raw = self.instances.get(device.0 as usize)?.load(Relaxed);
        (raw != 0).then_some(DeviceInstance(raw))
    }

    /// Launches by route and by whether the stream was the default one,
    /// summed over the callers.
    pub fn launch_totals(&self) -> LaunchTotals {
        let mut totals = LaunchTotals::default();
        for slot in &self.callers {
            for (route, streams) in slot.launches.iter().enumerate() {
                for (stream, count) in streams.iter().enumerate() {
                    let n = count.load(Relaxed);
                    totals.by_route[route] = totals.by_route[route].wrapping_add(n);
                    totals.by_stream[stream] = totals.by_stream[stream].wrapping_add(n);
                }
            }
        }
        totals
    }

    /// T of a device as a time, if measured.
    pub fn kernel_time(&self, device: DeviceIndex) -> Option<Nanos> {
        let raw = self.devices.get(device.0 as usize)?.kernel_ns.load(Relaxed);
        (raw != 0).then_some(Nanos(raw))
    }
}

/// Sums over a page's callers; counts are modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchTotals {
    /// By [`Route`].
    pub by_route: [u64; Route::COUNT],
    /// By [`crate::units::StreamClass`].
    pub by_stream: [u64; crate::units::StreamClass::COUNT],
}

impl LaunchTotals {
    /// All launches that reached the shim.
    pub fn total(&self) -> u64 {
        self.by_route.iter().fold(0, |sum, &n| sum.wrapping_add(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_counts_its_changes() {
        let device = DeviceStatus::new();
        assert!(!device.set_idle());
        assert!(device.set_active());
        assert!(!device.set_active());
        assert_eq!(
            device.activity(),
            Activity {
                active: true,
                transitions: 0
            }
        );
        assert!(device.set_idle());
        assert_eq!(
            device.activity(),
            Activity {
                active: false,
                transitions: 1
            }
        );
    }

    #[test]
    fn pci_addresses_round_trip() {
        let device = DeviceStatus::new();
        assert_eq!(device.pci(), None);
        let pci = PciAddress {
            domain: 0x10,
            bus: 0xc1,
            device: 2,
            function: 1,
            reserved: 0,
        };
        device.set_pci(pci);
        assert_eq!(device.pci(), Some(pci));
        device.set_pci(PciAddress::default());
        assert_eq!(device.pci(), Some(PciAddress::default()));
    }

    #[test]
    fn a_lying_device_count_is_clamped() {
        let page = StatusPage::new();
        page.device_count.store(u32::MAX, Relaxed);
        assert_eq!(page.devices().count(), MAX_DEVICES);
    }

    #[test]
    fn totals_sum_over_callers() {
        let page = StatusPage::new();
        page.callers[0].launches[0][1].store(5, Relaxed);
        page.callers[63].launches[1][0].store(2, Relaxed);
        let totals = page.launch_totals();
        assert_eq!(totals.total(), 7);
        assert_eq!(totals.by_stream, [2, 5, 0, 0]);
        assert_eq!(totals.by_route, [5, 2]);
    }
}
