//! Calls to the resource manager, by the control device.
//!
//! The structures and numbers are those of NVIDIA's published driver
//! (open-gpu-kernel-modules: `nvos.h`, `ctrla06c.h`, `ctrl0000client.h`,
//! `ctrl0000gpu.h`, `ctrl2080gpu.h`). A session belongs to the descriptor that
//! it was made through, and whoever holds that descriptor and has the same
//! user as its process, or is root, may use it (`osValidateClientTokens`, and
//! the strict comparison of descriptors that is the driver's default).

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use super::super::slices::SliceError;

/// The control device.
pub const NODE: &str = "/dev/nvidiactl";

/// Its number; fixed by the driver.
pub const NODE_NUMBER: (u32, u32) = (195, 255);

/// A command that the resource manager knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// `NV0000_CTRL_CMD_CLIENT_GET_HANDLE_INFO`.
    HandleInfo = 0xd02,
    /// `NV0000_CTRL_CMD_GPU_GET_PCI_INFO`.
    PciInfo = 0x21b,
    /// `NV2080_CTRL_CMD_GPU_GET_ID`.
    GpuId = 0x2080_0142,
    /// `NVA06C_CTRL_CMD_SET_TIMESLICE`.
    SetTimeSlice = 0xa06c_0103,
    /// `NVA06C_CTRL_CMD_GET_TIMESLICE`.
    GetTimeSlice = 0xa06c_0104,
}

/// `NV_OK`.
pub const OK: u32 = 0;

/// Not the resource manager's: what [`Session::control`] returns when the
/// kernel refused the call itself.
pub const CALL_FAILED: u32 = u32::MAX;

/// What carries commands to a session.
pub trait Control {
    /// Sends a command about `object` of `client`; `parameters` go in and
    /// come back. Returns the resource manager's status.
    fn control(&self, client: u32, object: u32, command: Command, parameters: &mut [u32]) -> u32;
}

/// A process's descriptor of the control device, for as long as a look takes:
/// it keeps the session alive, and with it the memory that a process which
/// ends would give back.
pub struct Session(OwnedFd);

impl Session {
    /// `fd` is one of [`NODE`].
    pub fn new(fd: OwnedFd) -> Session {
        Session(fd)
    }
}

/// `NVOS54_PARAMETERS`.
#[repr(C)]
struct ControlParameters {
    client: u32,
    object: u32,
    command: u32,
    flags: u32,
    parameters: u64,
    size: u32,
    status: u32,
}

/// `NVOS21_PARAMETERS`.
#[repr(C)]
#[derive(Default)]
struct AllocParameters {
    root: u32,
    parent: u32,
    new: u32,
    class: u32,
    parameters: u64,
    size: u32,
    status: u32,
}

/// `NV_ESC_RM_CONTROL` and `NV_ESC_RM_ALLOC`.
const CONTROL: libc::Ioctl = request(0x2a, size_of::<ControlParameters>());
const ALLOC: libc::Ioctl = request(0x2b, size_of::<AllocParameters>());

/// `_IOWR('F', number, size)`.
const fn request(number: u32, size: usize) -> libc::Ioctl {
    (3 << 30 | (size as u32) << 16 | (b'F' as u32) << 8 | number) as libc::Ioctl
}

/// `NV01_ROOT_CLIENT`.
const ROOT_CLIENT: u32 = 0x41;

impl Control for Session {
    fn control(&self, client: u32, object: u32, command: Command, parameters: &mut [u32]) -> u32 {
        let mut call = ControlParameters {
            client,
            object,
            command: command as u32,
            flags: 0,
            parameters: parameters.as_mut_ptr() as u64,
            size: size_of_val(parameters) as u32,
            status: 0,
        };
        // SAFETY: the structure that belongs to the number, and parameters
        // that live through the call, of the size that is said.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), CONTROL, &raw mut call) };
        match done {
            0 => call.status,
            _ => CALL_FAILED,
        }
    }
}

/// A session of the agent's own, and its number. It ends with the descriptor.
fn own_session() -> Result<(Session, u32), SliceError> {
    let failed = |error| SliceError::Node { node: NODE, error };
    let node: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(NODE)
        .map_err(failed)?;
    let mut call = AllocParameters {
        class: ROOT_CLIENT,
        ..AllocParameters::default()
    };
    // SAFETY: the structure that belongs to the number; a session has no
    // parameters.
    let done = unsafe { libc::ioctl(node.as_raw_fd(), ALLOC, &raw mut call) };
    match (done, call.status) {
        (0, OK) => Ok((Session::new(node.into()), call.new)),
        (0, status) => Err(failed(io::Error::other(format!("status {status:#x}")))),
        _ => Err(failed(io::Error::last_os_error())),
    }
}

/// The number of a session made now. They are numbered one after the other,
/// so those of processes that are there already are the ones before it.
pub fn newest_client() -> Result<u32, SliceError> {
    own_session().map(|(_, client)| client)
}

/// Two sessions of the agent's own: what the driver says of one through the
/// other's descriptor tells how it compares them.
pub fn own_sessions() -> Result<[(Session, u32); 2], SliceError> {
    Ok([own_session()?, own_session()?])
}
