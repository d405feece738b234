//! What a user may do with files, taken on by one thread for a moment.

use std::io;
use std::marker::PhantomData;

use rustix::process::{Gid, getgroups};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups,
};

use crate::process::Credentials;

/// What it takes to give the rights back. Any other capability may open or
/// show what the user could not: by its permissions, or as /proc does.
const NEEDED: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// The file rights of a process, as those that name files must have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It runs as we do.
    Own,
    /// Another user's.
    Of(Credentials),
}

impl Rights {
    /// The rights of whoever has these credentials.
    pub fn of(credentials: Credentials) -> Rights {
        match credentials.uid == rustix::process::geteuid().as_raw() {
            true => Rights::Own,
            false => Rights::Of(credentials),
        }
    }

    /// Does `act` with these rights. Only this thread has them meanwhile
    /// (setfsuid(2), credentials(7)).
    ///
    /// # Errors
    /// They cannot be taken on: that needs CAP_SETUID and CAP_SETGID.
    pub fn exercise<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Rights::Own => act(),
            Rights::Of(who) => {
                let _taken = Taken::on(who)?;
                act()
            }
        }
    }
}

/// Gives back on drop what this thread had. Not to be sent to another one.
struct Taken {
    groups: Vec<Gid>,
    uid: u32,
    gid: u32,
    capabilities: CapabilitySets,
    _of_this_thread: PhantomData<*const ()>,
}

impl Taken {
    fn on(who: &Credentials) -> io::Result<Taken> {
        let before = capabilities(None)?;
        // From here on a failure gives back what is taken so far.
        let taken = Taken {
            groups: getgroups()?,
            uid: file_uid(),
            gid: file_gid(),
            capabilities: before,
            _of_this_thread: PhantomData,
        };
        let groups: Vec<Gid> = who.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        set_thread_groups(&groups)?;
        let bare = CapabilitySets {
            effective: before.effective & NEEDED,
            ..before
        };
        set_file_ids(who.uid, who.gid);
        if (file_uid(), file_gid()) != (who.uid, who.gid) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        set_capabilities(None, bare)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Each was had before, so none is refused.
        set_file_ids(self.uid, self.gid);
        let _ = set_capabilities(None, self.capabilities);
        let _ = set_thread_groups(&self.groups);
    }
}

fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: both take a number and change this thread alone; without the
    // right to do so they change nothing.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// An id that nobody has changes nothing, and the answer is the current one
/// (setfsuid(2)).
fn file_uid() -> u32 {
    // SAFETY: as above.
    unsafe { libc::setfsuid(u32::MAX) as u32 }
}

fn file_gid() -> u32 {
    // SAFETY: as above.
    unsafe { libc::setfsgid(u32::MAX) as u32 }
}
