//! Control: joins shims, asks the policy, writes the control pages.
//!
//! One thread of its own, driven by epoll. It never blocks on a client, takes
//! no lock, and talks to the rest of the agent through channels only.

mod admission;
mod bells;
mod clients;
mod device;
mod event_loop;
#[doc(hidden)]
pub mod fuzzing;
mod gates;
mod identity;
mod join;
mod pages;
mod rate;
mod scheduling;
mod token;
mod vitals;
mod waiting;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, atomic::AtomicBool};
use std::thread::JoinHandle;

use xsched_common::Abi;
use xsched_common::page::{
    ControlPage, GateScope, ListMeaning, PassthroughError, PassthroughList, TooManyApis,
};
use xsched_common::run_dir::RunDir;

pub use clients::{ClientShared, DeviceKey};
pub use join::{Peer, peer, peer_groups};
pub(crate) use rate::{Meter, Rate};
pub use scheduling::Scheduling;
pub use vitals::Vitals;

use crate::policy::{ClientId, Hold, Settings, Sharing, SloVerdict, Terms};
use crate::process::ProcessId;

/// What keeps control from starting.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another agent serves the same directory.
    #[error(
        "another agent{} already serves {}: stop it first, or set XSCHED_RUN_DIR to serve another directory",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .directory.display()
    )]
    AlreadyServed {
        /// The directory.
        directory: PathBuf,
        /// The other agent, if it left its number.
        pid: Option<u32>,
    },
    /// The directory is somebody else's, who could put sockets in place of ours.
    #[error(
        "cannot serve {0}: user {owner} owns it and could answer in the agent's place; `chown {euid} {0}` \
         if nobody else needs it, or set XSCHED_RUN_DIR to another directory",
        .directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: u32,
        /// The agent's user.
        euid: u32,
    },
    /// Others may write to the directory.
    #[error(
        "cannot serve {0}: others may write to it (mode {mode:04o}) and could answer in the agent's place; \
         `chmod go-w {0}`, or set XSCHED_RUN_DIR to another directory",
        .directory.display()
    )]
    Writable {
        /// The directory.
        directory: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no such directory, and it is not where directories are made.
    #[error(
        "there is no directory {0}: make it (`mkdir -m 755 {0}`), or set XSCHED_RUN_DIR to one in /run \
         or in $XDG_RUNTIME_DIR, which the agent makes itself",
        .directory.display()
    )]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory or a socket in it cannot be made.
    #[error("cannot serve {}: {source}; set XSCHED_RUN_DIR to a directory you may write (its name at most 96 bytes long){}", .path.display(), crate::text::or_root())]
    Unservable {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused an epoll, an eventfd or a thread.
    #[error("cannot start the control thread: {0}")]
    Resources(#[from] io::Error),
}

/// An order to the control thread.
pub(crate) enum Command {
    /// Gives joined processes their terms.
    Settle {
        settlements: Vec<Settlement>,
        /// Called once they are in force.
        then: Box<dyn FnOnce() + Send>,
    },
    /// Shares devices by these settings from the next round on.
    Configure(Settings),
    /// Tells every client of these libraries that has none of its own.
    Passthrough(Passthrough),
}

/// The terms of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which; one that has not joined is not concerned.
    pub process: ProcessId,
    /// What it gets.
    pub terms: Terms,
    /// A boost or suspension in place of the one before.
    pub hold: Option<Hold>,
    /// In place of what every client is told.
    pub passthrough: Option<Arc<Passthrough>>,
}

/// Which work no gate holds back, as every client is told, or those of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passthrough {
    libraries: NameList,
    apis: NameList,
}

/// Names, and whether what they name passes or is all that is gated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// Beginnings of libraries' file names, or functions.
    pub names: Vec<String>,
    /// How they are meant.
    pub meaning: ListMeaning,
}

impl NameList {
    /// What these name passes.
    pub fn passing(names: Vec<String>) -> NameList {
        NameList {
            names,
            meaning: ListMeaning::Passes,
        }
    }
}

/// Names that fit into no control page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassthrough {
    /// Of libraries.
    #[error(transparent)]
    Libraries(#[from] PassthroughError),
    /// Of functions.
    #[error(transparent)]
    Apis(#[from] TooManyApis),
}

/// The first version of the pages that lists can be turned round in.
const SCOPES_SINCE: u16 = 2;

impl Passthrough {
    /// # Errors
    /// The names do not fit in a control page, or one is none.
    pub fn new(libraries: NameList, apis: NameList) -> Result<Passthrough, BadPassthrough> {
        PassthroughList::new().set(&libraries.names)?;
        GateScope::new().set_apis(apis.meaning, &apis.names)?;
        Ok(Passthrough { libraries, apis })
    }

    /// By library.
    pub fn libraries(&self) -> &NameList {
        &self.libraries
    }

    /// By function.
    pub fn apis(&self) -> &NameList {
        &self.apis
    }

    /// Whether all is gated that can be.
    pub fn is_empty(&self) -> bool {
        *self == Passthrough::default()
    }

    /// Tells a shim of version `abi`. One that would take a list for its
    /// contrary gets none, and gates everything.
    fn write_to(&self, page: &ControlPage, abi: Abi) {
        let Passthrough { libraries, apis } = self;
        let turned = libraries.meaning == ListMeaning::OnlyGated;
        let names = match turned && abi.minor < SCOPES_SINCE {
            true => &[],
            false => libraries.names.as_slice(),
        };
        page.scope.set_libraries(libraries.meaning);
        let written = page.passthrough.set(names);
        debug_assert!(written.is_ok(), "checked when it was made");
        let written = page.scope.set_apis(apis.meaning, &apis.names);
        debug_assert!(written.is_ok(), "checked when it was made");
    }
}

impl fmt::Display for Passthrough {
    /// For people: `libraries librocfft pass; only functions hipLaunchKernel
    /// are gated`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Passthrough { libraries, apis } = self;
        let part = |what: &str, list: &NameList| {
            let names = list.names.join(", ");
            match list.meaning {
                ListMeaning::Passes if list.names.is_empty() => None,
                ListMeaning::Passes => Some(format!("{what} {names} pass")),
                ListMeaning::OnlyGated => Some(format!("only {what} {names} are gated")),
            }
        };
        let parts = [part("libraries", libraries), part("functions", apis)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => f.write_str("everything is gated"),
            false => f.write_str(&parts.join("; ")),
        }
    }
}

/// What others must know about clients.
#[derive(Clone)]
pub enum RosterEvent {
    /// A client has joined.
    Joined(Arc<ClientShared>),
    /// A client is gone.
    Left(ClientId),
    /// How a device is shared from now on.
    Shared(DeviceKey, Sharing),
    /// How a client's latency target goes.
    Target(ClientId, SloVerdict),
}

/// What the control thread starts with.
pub struct Setup {
    /// What the policy goes by.
    pub settings: Settings,
    /// Told to every client.
    pub passthrough: Passthrough,
    /// A listening joining socket that somebody else made and keeps; without,
    /// one is made in the directory.
    pub listener: Option<OwnedFd>,
    /// How the thread competes for a processor.
    pub scheduling: Scheduling,
    /// Called on the control thread for every client that comes or goes, and
    /// for what changes of devices and targets: must not wait.
    pub roster: Box<dyn Fn(RosterEvent) + Send>,
}

/// The running control thread.
pub struct Control {
    handle: ControlHandle,
    vitals: Arc<Vitals>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// To be removed at the end, if it is ours.
    socket: Option<PathBuf>,
    /// The last to go: until then no other agent makes sockets here.
    _claim: Claim,
}

/// A way to give the control thread orders.
#[derive(Clone)]
pub struct ControlHandle {
    commands: Sender<Command>,
    bell: Arc<OwnedFd>,
}

impl ControlHandle {
    /// Gives joined processes their terms; `then` runs on the control thread
    /// once they are in force.
    pub fn settle(&self, settlements: Vec<Settlement>, then: impl FnOnce() + Send + 'static) {
        let then = Box::new(then);
        // A closed channel means that the agent stops: nobody to tell.
        let _ = self.commands.send(Command::Settle { settlements, then });
        self.ring();
    }

    /// Tells every client that has no list of its own of these libraries in
    /// place of those before.
    pub fn pass_through(&self, passthrough: Passthrough) {
        // As above.
        let _ = self.commands.send(Command::Passthrough(passthrough));
        self.ring();
    }

    /// Shares devices by these settings from the next round on: all of them
    /// at once.
    pub fn configure(&self, settings: Settings) {
        // As above: nobody to tell.
        let _ = self.commands.send(Command::Configure(settings));
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
    }
}

impl Control {
    /// Claims `run_dir`, listens there unless `setup` brings a socket, and
    /// starts the thread.
    ///
    /// # Errors
    /// Another agent is there, or the directory or the kernel does not allow it.
    pub fn start(run_dir: &RunDir, setup: Setup) -> Result<Control, ControlError> {
        let Setup {
            settings,
            passthrough,
            listener,
            scheduling,
            roster,
        } = setup;
        let claim = claim(run_dir)?;
        let (listener, socket) = match listener {
            Some(listener) => {
                rustix::io::ioctl_fionbio(&listener, true).map_err(io::Error::from)?;
                (listener, None)
            }
            None => {
                let path = run_dir.join_socket();
                let listener = join::listen(&path).map_err(|source| ControlError::Unservable {
                    path: path.clone(),
                    source,
                })?;
                (listener, Some(path))
            }
        };
        let (commands, orders) = channel();
        let bell = Arc::new(join::eventfd()?);
        let stop = Arc::new(AtomicBool::new(false));
        let vitals = Arc::new(Vitals::default());
        let event_loop = event_loop::EventLoop::new(event_loop::Parts {
            listener,
            bell: bell.clone(),
            orders,
            roster,
            settings,
            passthrough,
            scheduling,
            vitals: vitals.clone(),
            stop: stop.clone(),
        })?;
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || event_loop.run())?;
        Ok(Control {
            handle: ControlHandle { commands, bell },
            vitals,
            stop,
            thread: Some(thread),
            socket,
            _claim: claim,
        })
    }

    /// How the thread is doing.
    pub fn vitals(&self) -> Arc<Vitals> {
        self.vitals.clone()
    }

    /// For the parts that give orders.
    pub fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }
}

impl Drop for Control {
    /// Stops the thread and removes its socket. The thread opens every gate
    /// first: a stopped agent must not cost its clients even the lease.
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        self.handle.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Holds a directory for one agent: the kernel drops the lock with the file,
/// however the agent ends.
struct Claim {
    _lock: std::fs::File,
}

/// Makes the directory, open to all and writable for the agent alone, whatever
/// the umask is. One that is there is taken if nobody else can put sockets in
/// place of ours: in /tmp anybody can make one of any name. Root's agent is no
/// exception: its clients trust whatever answers there. A user's own agent may
/// serve a directory of root's, who can do anything to it as it is.
fn own_directory(directory: &std::path::Path) -> Result<(), ControlError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let unservable = |source| ControlError::Unservable {
        path: directory.to_owned(),
        source,
    };
    if !directory.exists() {
        let euid = rustix::process::geteuid().as_raw();
        if !RunDir(directory.to_owned()).may_be_made(euid) {
            return Err(ControlError::Missing {
                directory: directory.to_owned(),
            });
        }
        std::fs::create_dir_all(directory).map_err(unservable)?;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory, open).map_err(unservable)?;
    }
    let metadata = std::fs::metadata(directory).map_err(unservable)?;
    let euid = rustix::process::geteuid().as_raw();
    if ![0, euid].contains(&metadata.uid()) {
        return Err(ControlError::Foreign {
            directory: directory.to_owned(),
            owner: metadata.uid(),
            euid,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(ControlError::Writable {
            directory: directory.to_owned(),
            mode,
        });
    }
    Ok(())
}

fn claim(run_dir: &RunDir) -> Result<Claim, ControlError> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = run_dir.0.join("agent.lock");
    let unservable = |path: &std::path::Path| {
        let path = path.to_owned();
        |source| ControlError::Unservable { path, source }
    };
    own_directory(&run_dir.0)?;
    let mut lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(unservable(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = (&lock).take(16).read_to_string(&mut text);
            return Err(ControlError::AlreadyServed {
                directory: run_dir.0.clone(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(unservable(&path)(e)),
    }
    // For people, and a full file system is no reason to refuse.
    let _ = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(Claim { _lock: lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_shim_is_not_told_a_list_that_it_would_take_for_its_contrary() {
        let page = ControlPage::new(1, 1);
        let old = Abi { major: 1, minor: 1 };
        let only = NameList {
            names: vec!["libtorch".to_owned()],
            meaning: ListMeaning::OnlyGated,
        };
        let turned = Passthrough::new(only, NameList::default()).expect("fits");
        turned.write_to(&page, old);
        assert!(page.passthrough.is_empty(), "it gates everything");
        turned.write_to(&page, xsched_common::ABI);
        assert!(page.passthrough.passes(b"libtorch_hip.so"));
        assert_eq!(page.scope.libraries(), ListMeaning::OnlyGated);
        let passing = NameList::passing(vec!["libfoo".to_owned()]);
        let passing = Passthrough::new(passing, NameList::default()).expect("fits");
        passing.write_to(&page, old);
        assert!(page.passthrough.passes(b"libfoo.so"));
        assert_eq!(page.scope.libraries(), ListMeaning::Passes);
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        std::fs::create_dir(&run_dir.0).expect("creates");
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        for open in [0o1777, 0o757, 0o2775] {
            std::fs::set_permissions(&run_dir.0, mode(open)).expect("chmod");
            let refused = claim(&run_dir).err().expect("refused").to_string();
            let path = run_dir.0.display();
            assert!(refused.contains(&format!("(mode {open:04o})")), "{refused}");
            assert!(
                refused.contains(&format!("`chmod go-w {path}`")),
                "{refused}"
            );
        }
        std::fs::set_permissions(&run_dir.0, mode(0o700)).expect("chmod");
        std::os::unix::fs::symlink("/dev/null", run_dir.0.join("agent.lock")).expect("links");
        assert!(matches!(
            claim(&run_dir),
            Err(ControlError::Unservable { .. })
        ));
    }

    #[test]
    fn a_directory_of_another_user_is_refused_to_root_too() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("LEFT OUT: only root can give a directory away");
            return;
        }
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        std::fs::create_dir(&run_dir.0).expect("creates");
        std::os::unix::fs::chown(&run_dir.0, Some(65_534), None).expect("chown");
        let refused = claim(&run_dir).err().expect("refused").to_string();
        let next = format!("`chown 0 {}`", run_dir.0.display());
        assert!(
            refused.contains("user 65534 owns it") && refused.contains(&next),
            "{refused}"
        );
        assert!(!run_dir.0.join("agent.lock").exists());
    }

    #[test]
    fn a_second_agent_refuses_and_names_the_first() {
        let dir = tempfile::tempdir().expect("temp dir");
        let run_dir = RunDir(dir.path().join("run"));
        let missing = claim(&run_dir).err().expect("not made here").to_string();
        assert!(missing.contains("`mkdir -m 755 "), "{missing}");
        std::fs::create_dir(&run_dir.0).expect("creates");
        let first = claim(&run_dir).expect("free");
        match claim(&run_dir) {
            Err(ControlError::AlreadyServed { pid, .. }) => {
                assert_eq!(pid, Some(std::process::id()))
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("two agents in one directory"),
        }
        drop(first);
        assert!(claim(&run_dir).is_ok());
    }
}
