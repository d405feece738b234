use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::process::{Credentials, maps};

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("LEFT OUT: only root has rights to give up");
    }
    root
}

#[test]
fn what_is_no_regular_file_is_refused_and_does_not_block() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).expect("mkfifo");
    assert!(open_regular(fifo.to_str().expect("utf-8")).is_err());
    assert!(open_regular("/dev/null").is_err());
    assert!(open_regular("/proc").is_err());
    // It shows more to those with more rights, whoever has opened it.
    assert!(open_regular("/proc/self/maps").is_err());
    assert!(open_regular("/proc/self/exe").is_ok());
}

/// A mapping of this process, of a file of its own.
fn mapped(path: &std::path::Path) -> Mapping {
    std::fs::write(path, [7; 4096]).expect("written");
    let file = File::open(path).expect("opened");
    // SAFETY: a new mapping, which nothing reads.
    unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            4096,
            rustix::mm::ProtFlags::READ,
            rustix::mm::MapFlags::PRIVATE,
            &file,
            0,
        )
        .expect("mapped");
    }
    let name = path.to_str().expect("utf-8");
    let maps = maps(std::process::id()).expect("mine");
    maps.into_iter().find(|m| m.path == name).expect("mapped")
}

#[test]
fn a_mapping_opens_the_mapped_file_whatever_its_name_leads_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let me = std::process::id();
    let path = dir.path().join("library");
    let mapping = mapped(&path);
    let len = |file: File| file.metadata().expect("stat").len();
    assert_eq!(by_path(me, &mapping).map(len).expect("opens"), 4096);

    // A secret in place of it, by a link and by a directory on the way.
    let secret = dir.path().join("secret");
    std::fs::create_dir(&secret).expect("made");
    std::fs::write(secret.join("library"), "secret").expect("written");
    std::fs::rename(&path, dir.path().join("away")).expect("renamed");
    symlink(secret.join("library"), &path).expect("linked");
    assert!(by_path(me, &mapping).is_err());
    let behind_link = Mapping {
        path: dir.path().join("link/library").display().to_string(),
        ..mapping.clone()
    };
    symlink(&secret, dir.path().join("link")).expect("linked");
    assert!(by_path(me, &behind_link).is_err());
    std::fs::remove_file(&path).expect("removed");
    std::fs::copy(secret.join("library"), &path).expect("copied");
    assert!(matches!(by_path(me, &mapping), Err(BehindError::Replaced)));
    // What is mapped is found all the same by whoever may.
    if root() {
        assert_eq!(behind(me, &mapping).map(len).expect("opens"), 4096);
    }
    // Nothing lies there any more: the name does not stand in for it.
    let elsewhere = Mapping {
        range: 0x1000..0x2000,
        ..mapping
    };
    assert!(!root() || matches!(behind(me, &elsewhere), Err(BehindError::Io(_))));
}

#[test]
fn rights_are_taken_on_and_given_back() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let set_mode = |path: &std::path::Path, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("ours");
    };
    set_mode(dir.path(), 0o755);
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret").expect("written");
    let read = || {
        let mut text = String::new();
        open_regular(secret.to_str().expect("utf-8"))?.read_to_string(&mut text)?;
        Ok(text)
    };
    let nobody = |groups| {
        Rights::of(Credentials {
            uid: 65534,
            gid: 65534,
            groups,
            is_mixed: false,
        })
    };
    for (mode, groups, may) in [
        (0o600, vec![], false),
        // Our own groups, among them root's, do not count.
        (0o640, vec![], false),
        (0o640, vec![0], true),
        (0o644, vec![], true),
    ] {
        set_mode(&secret, mode);
        let got = nobody(groups).exercise(read);
        assert_eq!(got.is_ok(), may, "{mode:o}");
        assert_eq!(read().expect("ours"), "secret", "given back");
    }
    let own = Rights::of(Credentials::default());
    assert_eq!(own, Rights::Own);
}
