//! A client that joins as the shim does and acts on its pages by hand.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Release, SeqCst};

use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::{Hello, REPLY_FDS, Reply};
use xsched_common::page::{ControlPage, Edges, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::PciAddress;

/// A process that has joined: this one, or a child it stands in for.
pub struct FakeClient {
    /// Its connection.
    pub socket: OwnedFd,
    /// What the agent answered to its hello.
    pub reply: Reply,
    /// Its doorbell.
    pub bell: OwnedFd,
    /// The memory of its control page, for others to look at.
    pub control_fd: OwnedFd,
    /// And of its status page.
    pub status_fd: OwnedFd,
    control: NonNull<ControlPage>,
    status: NonNull<StatusPage>,
}

/// Connects to an agent's joining socket.
pub fn connect(run_dir: &RunDir) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(run_dir.join_socket())?)?;
    Ok(socket)
}

impl FakeClient {
    /// Joins, and says nothing of its devices yet. An agent that refuses is
    /// an error.
    pub fn try_join(run_dir: &RunDir) -> io::Result<FakeClient> {
        let client = FakeClient::try_join_unheard(run_dir)?;
        client.ring()?;
        Ok(client)
    }

    /// As shims did that do not ring once they have mapped their pages.
    pub fn try_join_unheard(run_dir: &RunDir) -> io::Result<FakeClient> {
        FakeClient::try_join_with(run_dir, Hello::new(std::process::id()))
    }

    /// With a hello of its own.
    pub fn try_join_with(run_dir: &RunDir, hello: Hello) -> io::Result<FakeClient> {
        let socket = connect(run_dir)?;
        rustix::net::send(&socket, &hello.encode(), SendFlags::NOSIGNAL)?;
        let mut bytes = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPLY_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let reply = Reply::decode(&bytes[..received.bytes]).map_err(io::Error::other)?;
        let [control_fd, status, bell]: [OwnedFd; REPLY_FDS] = fds
            .try_into()
            .map_err(|_| io::Error::other(format!("the agent says {:?}", reply.verdict)))?;
        Ok(FakeClient {
            socket,
            reply,
            bell,
            control: map(&control_fd, ProtFlags::READ)?,
            status: map(&status, ProtFlags::READ | ProtFlags::WRITE)?,
            control_fd,
            status_fd: status,
        })
    }

    /// Names its device: the first of the shim's fake runtime.
    pub fn introduce(&self) {
        let status = self.status();
        status.devices[0].set_pci(PciAddress {
            bus: 0xc1,
            ..PciAddress::default()
        });
        status.device_count.store(1, Release);
    }

    /// What the agent writes.
    pub fn control(&self) -> &ControlPage {
        // SAFETY: mapped for the process's life; the fields are atomics.
        unsafe { self.control.as_ref() }
    }

    /// What it writes.
    pub fn status(&self) -> &StatusPage {
        // SAFETY: as above.
        unsafe { self.status.as_ref() }
    }

    /// Its gate on the first device.
    pub fn mode(&self) -> GateMode {
        GateWord(self.control().devices[0].word.load(SeqCst)).mode()
    }

    /// As the shim at its first launch: rings if the agent wants it.
    pub fn become_active(&self) {
        if self.status().devices[0].set_active() {
            self.ring_for(Edges::ACTIVE);
        }
    }

    /// As the shim when its work is drained.
    pub fn become_idle(&self) {
        if self.status().devices[0].set_idle() {
            self.ring_for(Edges::IDLE);
        }
    }

    /// Whether the agent wants to hear of it.
    pub fn wants(&self, edge: Edges) -> bool {
        Edges(self.control().devices[0].wanted_edges.load(SeqCst)).contains(edge)
    }

    fn ring_for(&self, edge: Edges) {
        if self.wants(edge) {
            self.ring().expect("rings");
        }
    }

    /// Whatever for.
    pub fn ring(&self) -> io::Result<()> {
        rustix::io::write(&self.bell, &1u64.to_ne_bytes())?;
        Ok(())
    }
}

// SAFETY: the pages stay mapped and are used through their atomics.
unsafe impl Send for FakeClient {}
// SAFETY: as above.
unsafe impl Sync for FakeClient {}

/// A page of an agent's.
pub fn map<T>(fd: &impl AsFd, prot: ProtFlags) -> io::Result<NonNull<T>> {
    // SAFETY: a fresh mapping, never unmapped.
    let at = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            size_of::<T>(),
            prot,
            MapFlags::SHARED,
            fd,
            0,
        )?
    };
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at null"))
}
