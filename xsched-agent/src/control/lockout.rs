//! Keeps a user who floods the joining door away from it, by an access
//! control list of the socket's file (acl(5)).
//!
//! All connections wait in one queue, which one process fills faster than
//! anybody can empty it; whoever finds it full is turned away by the kernel.
//! A connection that the file does not permit is refused before it takes a
//! place there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use xsched_common::units::Nanos;

/// How long a user is kept away the first time. Who floods again soon after
/// is kept away for twice as long.
const FIRST: Nanos = Nanos::from_secs(1);

/// The longest.
const LONGEST: Nanos = Nanos::from_secs(60);

/// Users at once: the list of a tmpfs holds a few thousand.
const MOST_USERS: usize = 512;

/// Who is kept away.
#[derive(Default)]
pub(super) struct Lockout {
    users: BTreeMap<u32, Ban>,
}

#[derive(Clone, Copy)]
struct Ban {
    until: Nanos,
    length: Nanos,
}

impl Ban {
    fn is_over(self, now: Nanos) -> bool {
        self.until <= now
    }
}

impl Lockout {
    /// Keeps a user away from now on. Whether the list has changed.
    pub fn shut(&mut self, uid: u32, now: Nanos) -> bool {
        let full = self.users.len() >= MOST_USERS;
        let length = match self.users.get(&uid) {
            Some(ban) if !ban.is_over(now) => return false,
            Some(ban) => ban.length.times(2).min(LONGEST),
            None if full => return false,
            None => FIRST,
        };
        let until = now + length;
        self.users.insert(uid, Ban { until, length });
        true
    }

    /// Keeps those of the list away for longer to whom `still` applies.
    pub fn prolong(&mut self, last: Nanos, now: Nanos, still: impl Fn(u32) -> bool) {
        for (uid, ban) in &mut self.users {
            if ban.until > last && ban.is_over(now) && still(*uid) {
                ban.until = now + FIRST;
            }
        }
    }

    /// Whether a user's time was up since `last`, up to `now`; forgets those
    /// who have kept quiet since for as long as they were kept away.
    pub fn has_ended(&mut self, last: Nanos, now: Nanos) -> bool {
        self.users.retain(|_, ban| now < ban.until + ban.length);
        let mut bans = self.users.values();
        bans.any(|ban| ban.until > last && ban.is_over(now))
    }

    /// Whom the list keeps away.
    pub fn list(&self, now: Nanos) -> Vec<u32> {
        let shut = self.users.iter().filter(|(_, ban)| !ban.is_over(now));
        shut.map(|(uid, _)| *uid).collect()
    }
}

/// The socket's file.
#[derive(Clone, Debug)]
pub(super) struct DoorFile(pub PathBuf);

/// linux/posix_acl_xattr.h
const ACCESS: &str = "system.posix_acl_access";

impl DoorFile {
    /// Keeps these users away and nobody else. May wait for the file system.
    ///
    /// # Errors
    /// The file system has no such lists, or the file is not ours.
    pub fn keep_away(&self, users: &[u32]) -> io::Result<()> {
        let DoorFile(path) = self;
        if users.is_empty() {
            return match rustix::fs::removexattr(path, ACCESS) {
                Ok(()) | Err(rustix::io::Errno::NODATA) => Ok(()),
                Err(e) => Err(e.into()),
            };
        }
        let list = encode(mode(path)?, users);
        Ok(rustix::fs::setxattr(
            path,
            ACCESS,
            &list,
            XattrFlags::empty(),
        )?)
    }
}

fn mode(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata(path)?.mode())
}

/// The mask is the group's permissions, so the file's mode stays as it is and
/// is right again without the list.
fn encode(mode: u32, users: &[u32]) -> Vec<u8> {
    const VERSION: u32 = 2;
    const NOBODY: u32 = u32::MAX;
    const USER_OBJ: u16 = 0x01;
    const USER: u16 = 0x02;
    const GROUP_OBJ: u16 = 0x04;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let mut out = VERSION.to_le_bytes().to_vec();
    let mut entry = |tag: u16, permissions: u32, id: u32| {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&(permissions as u16 & 7).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    };
    entry(USER_OBJ, mode >> 6, NOBODY);
    // In ascending order, which the kernel wants.
    users.iter().for_each(|uid| entry(USER, 0, *uid));
    entry(GROUP_OBJ, mode >> 3, NOBODY);
    entry(MASK, mode >> 3, NOBODY);
    entry(OTHER, mode, NOBODY);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_again_is_kept_away_for_longer_and_who_is_quiet_is_forgotten() {
        let mut lockout = Lockout::default();
        let start = Nanos::from_secs(100);
        assert!(lockout.shut(1000, start));
        assert!(!lockout.shut(1000, start), "it is already");
        assert_eq!(lockout.list(start), [1000]);
        let end = start + FIRST;
        assert!(lockout.has_ended(start, end));
        assert_eq!(lockout.list(end), [0; 0]);
        assert!(!lockout.has_ended(end, end + Nanos(1)), "told once");
        assert!(lockout.shut(1000, end + Nanos(1)));
        let again = end + Nanos(1) + FIRST;
        assert_eq!(lockout.list(again), [1000], "twice as long");
        assert!(lockout.shut(1001, again));
        let later = again + Nanos::from_secs(1_000);
        lockout.has_ended(again, later);
        assert!(lockout.users.is_empty());
        let mut many = Lockout::default();
        let shut = (0..10_000).filter(|uid| many.shut(*uid, start));
        assert_eq!(shut.count(), MOST_USERS);
    }

    /// Let in, it would be turned away at once, and each time hold more.
    #[test]
    fn nobody_comes_back_while_its_thread_is_behind() {
        let mut lockout = Lockout::default();
        let (start, mut last) = (Nanos::from_secs(100), Nanos::from_secs(100));
        lockout.shut(1000, start);
        lockout.shut(1001, start);
        for seconds in 1..100 {
            let now = start + Nanos::from_secs(seconds);
            lockout.prolong(last, now, |uid| uid == 1000);
            assert_eq!(lockout.has_ended(last, now), seconds == 1, "{seconds}");
            assert_eq!(lockout.list(now), [1000]);
            last = now;
        }
        let now = last + FIRST;
        lockout.prolong(last, now, |_| false);
        assert!(lockout.has_ended(last, now) && lockout.list(now).is_empty());
    }

    #[test]
    fn a_list_keeps_a_user_away_and_its_end_leaves_the_mode_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("door");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let mode_of = || mode(&path).expect("is there") & 0o7777;
        for permissions in [0o666, 0o660] {
            let permissions = std::fs::Permissions::from_mode(permissions);
            std::fs::set_permissions(&path, permissions.clone()).expect("chmod");
            let file = DoorFile(path.clone());
            match file.keep_away(&[1000, 1001]) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                    eprintln!("LEFT OUT: no access control lists at {}", path.display());
                    return;
                }
                set => set.expect("sets"),
            }
            let mut list = [0; 128];
            let len = rustix::fs::getxattr(&path, ACCESS, &mut list[..]).expect("has one");
            assert_eq!(list[..len], encode(permissions.mode(), &[1000, 1001]));
            assert_eq!(mode_of(), permissions.mode() & 0o7777);
            file.keep_away(&[]).expect("removes");
            file.keep_away(&[]).expect("nothing to remove");
            assert_eq!(mode_of(), permissions.mode() & 0o7777);
        }
    }
}
