//! An agent that does what the test says.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::handshake::{HELLO_LEN, Hello, HelloResult, Part, Reply};
use xsched_common::page::{ControlPage, DeviceStatus, Edges, StatusPage};
use xsched_common::run_dir::RunDir;
use xsched_common::units::Class;

/// How the agent answers a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Normal,
    /// It refuses the client's ABI.
    OtherAbi,
    /// It accepts the connection and says nothing.
    Mute,
    /// It sends pages that could be shrunk.
    Unsealed,
    /// It is of the version before groups.
    BeforeGroups,
    /// Its doorbell is a pipe: full, it would block; closed, it would kill.
    PipeForDoorbell,
}

/// A running agent.
pub struct Agent {
    dir: TempDir,
    clients: Arc<Mutex<Vec<Arc<Client>>>>,
    accepted: Arc<AtomicUsize>,
    alive: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One joined process, seen from the agent.
pub struct Client {
    control: *mut ControlPage,
    status: *mut StatusPage,
    doorbell: OwnedFd,
    socket: OwnedFd,
    /// What it said.
    pub hello: Hello,
}

// SAFETY: the pages stay mapped and are used through their atomics.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Agent {
    /// One that serves in a directory of its own.
    pub fn start() -> Agent {
        Agent::start_in(tempfile::tempdir().expect("a directory"), Manner::Normal)
    }

    /// One with bad manners.
    pub fn start_with(manner: Manner) -> Agent {
        Agent::start_in(tempfile::tempdir().expect("a directory"), manner)
    }

    /// One that takes over another's directory.
    pub fn start_in(dir: TempDir, manner: Manner) -> Agent {
        let path = RunDir(dir.path().to_owned()).join_socket();
        let _ = std::fs::remove_file(&path);
        let listener = listen(&path);
        let clients: Arc<Mutex<Vec<Arc<Client>>>> = Arc::default();
        let alive = Arc::new(AtomicBool::new(true));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (c, a, connections) = (clients.clone(), alive.clone(), accepted.clone());
        let acceptor = std::thread::spawn(move || {
            let mut mute = Vec::new();
            while a.load(Relaxed) {
                // SAFETY: a new descriptor or -1.
                let fd = unsafe {
                    libc::accept4(
                        listener.as_raw_fd(),
                        std::ptr::null_mut(),
                        std::ptr::null_mut(),
                        libc::SOCK_CLOEXEC,
                    )
                };
                if fd < 0 {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                // SAFETY: new and owned by nobody else.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                connections.fetch_add(1, Relaxed);
                match manner {
                    Manner::Mute => mute.push(socket),
                    _ => {
                        let id = c.lock().expect("not poisoned").len() as u64;
                        if let Some(client) = serve(socket, id, manner) {
                            c.lock().expect("not poisoned").push(Arc::new(client));
                        }
                    }
                }
            }
        });
        let (c, a) = (clients.clone(), alive.clone());
        let heart = std::thread::spawn(move || {
            while a.load(Relaxed) {
                for client in c.lock().expect("not poisoned").iter() {
                    client.page().heartbeat.fetch_add(1, Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Agent {
            dir,
            clients,
            accepted,
            alive,
            threads: vec![acceptor, heart],
        }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The `n`th client, waiting for it to join.
    pub fn client(&self, n: usize) -> Arc<Client> {
        let mut found = None;
        super::eventually("joining", || {
            found = self.clients.lock().expect("not poisoned").get(n).cloned();
            found.is_some()
        });
        found.expect("just found")
    }

    /// How many connections were made.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }

    /// How many have joined.
    pub fn joined(&self) -> usize {
        self.clients.lock().expect("not poisoned").len()
    }

    /// Dies at once, as if killed: pages stay, nothing beats, sockets close.
    pub fn kill(mut self) -> TempDir {
        self.stop();
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"))
    }

    fn stop(&mut self) {
        self.alive.store(false, Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the agent's threads do not panic");
        }
        let _ = std::fs::remove_file(RunDir(self.dir.path().to_owned()).join_socket());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Client {
    /// The control page.
    pub fn page(&self) -> &ControlPage {
        // SAFETY: mapped until the test ends.
        unsafe { &*self.control }
    }

    /// The status page.
    pub fn status(&self) -> &StatusPage {
        // SAFETY: mapped until the test ends.
        unsafe { &*self.status }
    }

    /// A device's status.
    pub fn device(&self, index: usize) -> &DeviceStatus {
        &self.status().devices[index]
    }

    /// Gives it a class.
    pub fn set_class(&self, class: Class) {
        self.page().class.store(class as u32, Relaxed);
    }

    /// Sets a device's gate and wakes who waits there.
    pub fn set(&self, device: usize, mode: GateMode) {
        let word = &self.page().devices[device].word;
        let next = GateWord(word.load(Relaxed)).next(mode);
        word.store(next.0, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the word is mapped.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    /// Opens a device's gate and wakes one thread, as the agent does.
    pub fn open_for_one(&self, device: usize) {
        let word = &self.page().devices[device].word;
        let next = GateWord(word.load(Relaxed)).next(GateMode::Open);
        word.store(next.0, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the word is mapped.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
    }

    /// Fills what may change of the control page, as an agent that has lost
    /// its mind.
    pub fn scribble(&self, mut next: impl FnMut() -> u32) {
        let words = self.control.cast::<AtomicU32>();
        for i in offset_of!(ControlPage, heartbeat) / 4..size_of::<ControlPage>() / 4 {
            // SAFETY: inside of the page, which is mapped until the test ends.
            unsafe { &*words.add(i) }.store(next(), Relaxed);
        }
    }

    /// Asks for the doorbell.
    pub fn want(&self, device: usize, edges: Edges) {
        self.page().devices[device]
            .wanted_edges
            .store(edges.0, std::sync::atomic::Ordering::SeqCst);
    }

    /// How often the doorbell rang since the last call.
    pub fn rings(&self) -> u64 {
        let mut value = [0; 8];
        // SAFETY: eight writable bytes; the eventfd does not block.
        let n = unsafe { libc::read(self.doorbell.as_raw_fd(), value.as_mut_ptr().cast(), 8) };
        if n == 8 { u64::from_ne_bytes(value) } else { 0 }
    }

    /// Whether the client's end of the connection is closed.
    pub fn hung_up(&self) -> bool {
        let mut byte = 0u8;
        // SAFETY: one writable byte.
        let n = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                libc::MSG_DONTWAIT,
            )
        };
        n == 0 || (n < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECONNRESET))
    }
}

fn listen(path: &Path) -> OwnedFd {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: a new descriptor; the address is complete and bounded.
    unsafe {
        let fd = libc::socket(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        );
        assert!(fd >= 0);
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as u16;
        let bytes = path.as_os_str().as_bytes();
        assert!(bytes.len() < address.sun_path.len());
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        let len = size_of::<libc::sockaddr_un>() as u32;
        assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
        assert_eq!(libc::listen(fd, 64), 0);
        OwnedFd::from_raw_fd(fd)
    }
}

fn serve(socket: OwnedFd, id: u64, manner: Manner) -> Option<Client> {
    let mut bytes = [0u8; HELLO_LEN];
    // SAFETY: the buffer's own length.
    let n = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            0,
        )
    };
    let hello = Hello::decode(bytes.get(..usize::try_from(n).ok()?)?).ok()?;
    let mut reply = Reply {
        abi: xsched_common::ABI,
        verdict: HelloResult::Accepted,
        epoch: 1,
        client_id: id,
    };
    if manner == Manner::OtherAbi {
        reply.verdict = HelloResult::AbiMismatch;
        reply.abi.major += 1;
        send(&socket, reply, &[]);
        return None;
    }
    let mut first = ControlPage::new(1, id);
    if manner == Manner::BeforeGroups {
        first.header.abi.minor = xsched_common::GROUPS_SINCE - 1;
    }
    if let Part::Group(wish) = hello.part {
        // Every wish is granted.
        first.class.store(wish.class as u32, Relaxed);
    }
    let (control_fd, control) = page(first);
    let (status_fd, status) = page(StatusPage::new());
    if manner != Manner::Unsealed {
        let both = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: no memory is passed.
        unsafe {
            let control_seals = both | libc::F_SEAL_FUTURE_WRITE;
            assert_eq!(
                libc::fcntl(control_fd.as_raw_fd(), libc::F_ADD_SEALS, control_seals),
                0
            );
            assert_eq!(
                libc::fcntl(status_fd.as_raw_fd(), libc::F_ADD_SEALS, both),
                0
            );
        }
    }
    let doorbell = match manner {
        Manner::PipeForDoorbell => {
            let (_closed, writer) = super::pipe(libc::O_NONBLOCK);
            writer
        }
        _ => super::eventfd(),
    };
    let fds = [&control_fd, &status_fd, &doorbell].map(AsRawFd::as_raw_fd);
    send(&socket, reply, &fds);
    Some(Client {
        control,
        status,
        doorbell,
        socket,
        hello,
    })
}

fn page<T>(value: T) -> (OwnedFd, *mut T) {
    // SAFETY: a new descriptor and a new mapping of the page's size.
    unsafe {
        let fd = libc::memfd_create(
            c"page".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        );
        assert!(fd >= 0);
        assert_eq!(libc::ftruncate(fd, size_of::<T>() as i64), 0);
        let at = libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        at.cast::<T>().write(value);
        (OwnedFd::from_raw_fd(fd), at.cast())
    }
}

fn send(socket: &OwnedFd, reply: Reply, fds: &[RawFd]) {
    #[repr(C, align(8))]
    struct Ancillary([u8; 64]);
    let bytes = reply.encode();
    let mut ancillary = Ancillary([0; 64]);
    // SAFETY: all buffers outlive the call and have the lengths given.
    unsafe {
        let mut iov = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            let len = size_of_val(fds) as u32;
            message.msg_control = ancillary.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(len) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len) as usize;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (i, &fd) in fds.iter().enumerate() {
                data.add(i).write_unaligned(fd);
            }
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL);
    }
}
