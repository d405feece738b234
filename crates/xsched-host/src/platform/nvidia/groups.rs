//! The channel groups of a process, found by asking its session for them.
//!
//! Handles are numbers that a program's driver library chooses; nothing says
//! which is what but the resource manager. The library counts them up from
//! one base, and the resource manager counts sessions up from another, so
//! asking for the class of the next few thousand finds all there are: 4 us
//! each on an H200.

use std::cell::Cell;

use xsched_common::units::Nanos;

use super::super::PciAddress;
use super::super::slices::{Group, GroupId, Scan, SliceError};
use super::rm::{CALL_FAILED, Command, Control, OK};

/// `RS_CLIENT_HANDLE_BASE`, and the numbers above it that are sessions'.
const CLIENTS: u32 = 0xc1d0_0000;
const CLIENT_NUMBERS: u32 = 0x10_0000;

/// Questions about sessions in one look.
const CLIENTS_PER_LOOK: u32 = 2048;

/// Where libcuda's handles begin.
const OBJECTS: u32 = 0x5c00_0000;

/// So many handles without an object end the search: a program frees memory
/// and then makes a context on its next device.
const OBJECT_GAP: u32 = 1024;

/// The most questions of one look, in all sessions and about whatever: a process
/// can fill its sessions with objects of its choice.
const MOST_QUESTIONS: u32 = 8192;

/// Groups that are kept: a process has four per device.
const MOST_GROUPS: usize = 256;

/// Devices of a session that are asked about.
const MOST_DEVICES: usize = 64;

/// Of the questions, those that are kept for what was found: three about a
/// device, two about a group.
const ABOUT_FOUND: u32 = 3 * MOST_DEVICES as u32 + 2 * MOST_GROUPS as u32;

/// `KEPLER_CHANNEL_GROUP_A`.
const CHANNEL_GROUP: u32 = 0xa06c;

/// `NV20_SUBDEVICE_0`.
const SUBDEVICE: u32 = 0x2080;

/// The indices of `NV0000_CTRL_CMD_CLIENT_GET_HANDLE_INFO`.
const PARENT: u32 = 1;
const CLASS: u32 = 2;

/// A session that answers so many more questions.
struct Metered<'a> {
    session: &'a dyn Control,
    left: &'a Cell<u32>,
}

impl Control for Metered<'_> {
    fn control(&self, client: u32, object: u32, command: Command, parameters: &mut [u32]) -> u32 {
        let Some(left) = self.left.get().checked_sub(1) else {
            return CALL_FAILED;
        };
        self.left.set(left);
        self.session.control(client, object, command, parameters)
    }
}

/// See [`super::super::slices::SliceDriver::look`]. `newest` makes a
/// session, younger than the process's: the search begins there.
pub fn look(
    pid: u32,
    sessions: &[&dyn Control],
    newest: impl FnOnce() -> Result<u32, SliceError>,
    scan: &mut Scan,
) -> Result<Vec<Group>, SliceError> {
    if scan.descriptors != sessions.len() {
        // One more or less than when it was searched.
        let clients = std::mem::take(&mut scan.clients);
        *scan = Scan {
            clients,
            descriptors: sessions.len(),
            ..Scan::default()
        };
    }
    let left = Cell::new(MOST_QUESTIONS);
    let metered = sessions.iter().map(|session| Metered {
        session: *session,
        left: &left,
    });
    let metered: Vec<Metered<'_>> = metered.collect();
    let sessions: Vec<&dyn Control> = metered.iter().map(|one| one as &dyn Control).collect();
    let mut known: Vec<(&dyn Control, u32)> = Vec::new();
    for session in &sessions {
        let is_its = |client: &u32| class(*session, *client, *client).is_some();
        known.extend(
            scan.clients
                .iter()
                .copied()
                .find(is_its)
                .map(|c| (*session, c)),
        );
    }
    if known.len() < sessions.len() {
        let found = |session: &dyn Control| {
            known
                .iter()
                .any(|(other, _)| std::ptr::addr_eq(*other, session))
        };
        let missing: Vec<&dyn Control> = sessions
            .iter()
            .copied()
            .filter(|session| !found(*session))
            .collect();
        known.extend(search(missing, newest()?, scan));
    }
    scan.clients = known.iter().map(|(_, client)| *client).collect();
    scan.is_complete = known.len() == sessions.len() || scan.left == 0;
    let mut groups = Vec::new();
    for (session, client) in known {
        groups.extend(of_client(pid, session, client, &left));
    }
    groups.truncate(MOST_GROUPS);
    Ok(groups)
}

/// Asks for sessions that belong to these descriptors: those made since the
/// last look, then on from where the last look ended, downwards and, since the
/// numbers begin again at 0, down from the highest.
fn search<'a>(
    mut missing: Vec<&'a dyn Control>,
    newest: u32,
    scan: &mut Scan,
) -> Vec<(&'a dyn Control, u32)> {
    const MASK: u32 = CLIENT_NUMBERS - 1;
    // One number is asked for on each descriptor.
    let numbers = CLIENTS_PER_LOOK / missing.len().max(1) as u32;
    let mut found = Vec::new();
    let mut ask = |from: u32, count: u32| {
        for below in 1..=count {
            if missing.is_empty() {
                return;
            }
            let client = CLIENTS + (from.wrapping_sub(below) & MASK);
            let mut sessions = missing.iter();
            if let Some(at) = sessions.position(|its| class(*its, client, client).is_some()) {
                found.push((missing.swap_remove(at), client));
            }
        }
    };
    let newest = newest.wrapping_sub(CLIENTS) & MASK;
    let made_since = match scan.newest {
        Some(before) => newest.wrapping_sub(before) & MASK,
        None => CLIENT_NUMBERS,
    };
    if made_since <= numbers {
        ask(newest, made_since);
    } else {
        (scan.next, scan.left) = (newest, CLIENT_NUMBERS);
    }
    scan.newest = Some(newest);
    let count = scan.left.min(numbers);
    ask(scan.next, count);
    scan.next = scan.next.wrapping_sub(count) & MASK;
    scan.left -= count;
    found
}

fn of_client(pid: u32, session: &dyn Control, client: u32, left: &Cell<u32>) -> Vec<Group> {
    let (mut groups, mut subdevices) = (Vec::new(), Vec::new());
    let mut gap = 0;
    for object in OBJECTS.. {
        if left.get() <= ABOUT_FOUND {
            break;
        }
        match class(session, client, object) {
            None => gap += 1,
            Some(class) => {
                gap = 0;
                match class {
                    CHANNEL_GROUP => groups.push(object),
                    SUBDEVICE if subdevices.len() < MOST_DEVICES => subdevices.push(object),
                    _ => {}
                }
            }
        }
        if gap > OBJECT_GAP || groups.len() >= MOST_GROUPS {
            break;
        }
    }
    let devices: Vec<(u32, PciAddress)> = subdevices
        .into_iter()
        .filter_map(|at| {
            let device = info(session, client, at, PARENT)?;
            Some((device, address(session, client, at)?))
        })
        .collect();
    let mut described = Vec::new();
    for object in groups {
        let parent = info(session, client, object, PARENT);
        let device = devices.iter().find(|(device, _)| Some(*device) == parent);
        let id = GroupId { client, object };
        // It may go between two questions.
        if let (Some((_, device)), Ok(slice)) = (device, slice_of(pid, session, id)) {
            described.push(Group {
                id,
                device: *device,
                slice,
            });
        }
    }
    described
}

/// Whether the driver keeps a descriptor from another's session: `session` has
/// `its` and not `others`.
pub fn compares(session: &dyn Control, its: u32, others: u32) -> bool {
    class(session, its, its).is_some() && class(session, others, others).is_none()
}

/// What sort of object a handle is, if it is one.
fn class(session: &dyn Control, client: u32, object: u32) -> Option<u32> {
    info(session, client, object, CLASS)
}

fn info(session: &dyn Control, client: u32, object: u32, index: u32) -> Option<u32> {
    // hObject, index, and a union of 8 bytes.
    let mut parameters = [object, index, 0, 0];
    let status = session.control(client, client, Command::HandleInfo, &mut parameters);
    (status == OK).then_some(parameters[2])
}

fn address(session: &dyn Control, client: u32, subdevice: u32) -> Option<PciAddress> {
    let mut id = [0];
    if session.control(client, subdevice, Command::GpuId, &mut id) != OK {
        return None;
    }
    // gpuId, domain, and bus and slot of 16 bits each.
    let mut parameters = [id[0], 0, 0];
    if session.control(client, client, Command::PciInfo, &mut parameters) != OK {
        return None;
    }
    let [_, domain, place] = parameters;
    Some(PciAddress {
        domain,
        bus: place as u8,
        device: (place >> 16) as u8,
        function: 0,
        reserved: 0,
    })
}

fn slice_of(pid: u32, session: &dyn Control, group: GroupId) -> Result<Nanos, SliceError> {
    let mut parameters = [0, 0];
    let status = session.control(
        group.client,
        group.object,
        Command::GetTimeSlice,
        &mut parameters,
    );
    match status {
        OK => {
            let micros = u64::from(parameters[0]) | u64::from(parameters[1]) << 32;
            Ok(Nanos(micros.saturating_mul(1000)))
        }
        status => Err(SliceError::Refused {
            pid,
            what: "its time slice",
            status,
        }),
    }
}

/// See [`super::super::slices::SliceDriver::set`].
pub fn set(
    pid: u32,
    sessions: &[&dyn Control],
    group: GroupId,
    slice: Nanos,
) -> Result<Nanos, SliceError> {
    let GroupId { client, object } = group;
    // The handle may be another object's by now.
    let session = sessions
        .iter()
        .find(|session| class(**session, client, object) == Some(CHANNEL_GROUP))
        .ok_or(SliceError::NoSession(pid))?;
    let micros = slice.0 / 1000;
    let mut parameters = [micros as u32, (micros >> 32) as u32];
    match session.control(client, object, Command::SetTimeSlice, &mut parameters) {
        OK => slice_of(pid, *session, group),
        status => Err(SliceError::Refused {
            pid,
            what: "another time slice",
            status,
        }),
    }
}
