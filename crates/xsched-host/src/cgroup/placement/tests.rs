//! Trees of directories as the kernel would show them, and who made which.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use super::*;

const ID: &str = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8";
const AGENT: u32 = 0;

/// A control group's directory, as far as it is looked at.
fn make(top: &Path, path: &str, owner: u32) {
    let directory = top.join(path.trim_start_matches('/'));
    fs::create_dir_all(&directory).expect("creates");
    for door in ["cgroup.procs", "tasks"] {
        let door = directory.join(door);
        fs::write(&door, "").expect("creates");
        chown(&door, Some(owner), None).expect("root may");
    }
    chown(&directory, Some(owner), None).expect("root may");
}

fn open(top: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    rustix::fs::open(top, flags, Mode::empty()).expect("opens")
}

fn placed(top: &Path, hierarchy: Hierarchy, path: &str) -> Placement {
    let path = path.to_owned();
    let group = ControlGroup { hierarchy, path };
    let (given, handed_to) = follow(&open(top), &group, AGENT);
    Placement {
        path: group.path,
        given,
        handed_to,
    }
}

/// `None` where this test cannot give directories away.
fn tree() -> Option<tempfile::TempDir> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("LEFT OUT: only root can give directories away");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    make(dir.path(), "/", 0);
    Some(dir)
}

#[test]
fn what_root_made_is_root_s_word() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    make(top, "/system.slice", 0);
    make(top, "/system.slice/serve.service", 0);
    make(top, "/system.slice/serve.service/worker", 0);
    let path = "/system.slice/serve.service/worker";
    for hierarchy in [Hierarchy::Unified, Hierarchy::Systemd] {
        let placement = placed(top, hierarchy, path);
        assert_eq!((placement.given(), placement.rest()), (path, None));
        let top = placed(top, hierarchy, "/");
        assert_eq!((top.given(), top.rest()), ("/", None));
    }
}

#[test]
fn below_a_user_s_directory_nothing_counts() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    make(top, "/user.slice", 0);
    make(top, "/user.slice/user-1000.slice", 0);
    make(top, manager, 1000);
    let path = format!("{manager}/serve.service");
    // Even where root owns it: who may write above can put another there.
    make(top, &path, 0);
    let placement = placed(top, Hierarchy::Unified, &path);
    assert_eq!(placement.given(), manager);
    let rest = Some(("/serve.service", &Delegate::User(1000)));
    assert_eq!(placement.rest(), rest);
    assert_eq!(placement.user_manager(), Some((1000, "/serve.service")));
    // In version 1 its owner brings in processes from anywhere.
    let placement = placed(top, Hierarchy::Systemd, &path);
    assert_eq!(placement.given(), "/user.slice/user-1000.slice");
    assert_eq!(placement.user_manager(), Some((1000, "/serve.service")));
    // A forged manager of somebody else is none.
    let forged = format!("{path}/user@1001.service/x.service");
    make(top, &forged, 1000);
    let placement = placed(top, Hierarchy::Unified, &forged);
    let manager = placement.user_manager().expect("the true one");
    assert_eq!(manager.0, 1000);
}

/// A service of a user that asked for delegation: root named it, and the
/// kernel lets nobody in from outside.
#[test]
fn the_directory_that_is_handed_over_has_its_name_from_root() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    make(top, "/system.slice", 0);
    make(top, "/system.slice/serve.service", 1000);
    make(top, "/system.slice/serve.service/high.service", 1000);
    let path = "/system.slice/serve.service/high.service";
    let given = |hierarchy| placed(top, hierarchy, path).given().to_owned();
    assert_eq!(given(Hierarchy::Unified), "/system.slice/serve.service");
    assert_eq!(given(Hierarchy::Systemd), "/system.slice");
}

#[test]
fn a_door_or_a_mode_that_lets_others_in_ends_it() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    make(top, "/a.slice", 0);
    make(top, "/a.slice/b.service", 0);
    let given = || placed(top, Hierarchy::Unified, "/a.slice/b.service");
    assert_eq!(given().given(), "/a.slice/b.service");
    let door = top.join("a.slice/cgroup.procs");
    chown(&door, Some(1000), None).expect("root may");
    assert_eq!(given().given(), "/a.slice");
    chown(&door, Some(0), None).expect("root may");
    let mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(top.join("a.slice"), mode).expect("chmod");
    };
    mode(0o757);
    let open = given();
    assert_eq!(open.rest(), Some(("/b.service", &Delegate::Others(0o757))));
    mode(0o775);
    assert_eq!(given().given(), "/a.slice/b.service", "root's group");
    chown(top.join("a.slice"), None, Some(100)).expect("root may");
    mode(0o775);
    assert_eq!(given().given(), "/a.slice");
}

#[test]
fn the_inside_of_a_container_is_its_own() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    let container = format!("/system.slice/docker-{ID}.scope");
    let path = format!("{container}/system.slice/serve.service");
    make(top, "/system.slice", 0);
    make(top, &container, 0);
    make(top, &format!("{container}/system.slice"), 0);
    make(top, &path, 0);
    let placement = placed(top, Hierarchy::Unified, &path);
    assert_eq!(placement.given(), container);
    let rest = ("/system.slice/serve.service", &Delegate::Container);
    assert_eq!(placement.rest(), Some(rest));
    make(top, "/lxc", 0);
    make(top, "/lxc/web", 0);
    make(top, "/lxc/web/serve.service", 0);
    let placement = placed(top, Hierarchy::Systemd, "/lxc/web/serve.service");
    assert_eq!(placement.given(), "/lxc/web");
}

#[test]
fn systemd_s_mark_is_heeded() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    make(top, "/a.service", 0);
    make(top, "/a.service/b.service", 0);
    let flags = rustix::fs::XattrFlags::empty();
    let set = |name, value| {
        let path = top.join("a.service");
        rustix::fs::setxattr(path, name, value, flags)
    };
    let names = ["user.delegate", "trusted.delegate"];
    let names = names.map(|name| (name, set(name, b"0").is_ok()));
    if names.iter().all(|(_, works)| !works) {
        eprintln!("LEFT OUT: the temporary directory takes no extended attributes");
        return;
    }
    let placement = || placed(top, Hierarchy::Unified, "/a.service/b.service");
    assert_eq!(placement().given(), "/a.service/b.service");
    for (name, _) in names.iter().filter(|(_, works)| *works) {
        set(name, b"1").expect("sets");
        let marked = placement();
        assert_eq!(
            marked.rest(),
            Some(("/b.service", &Delegate::Service)),
            "{name}"
        );
        set(name, b"0").expect("sets");
    }
}

#[test]
fn what_cannot_be_seen_does_not_count() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    make(top, "/a.service", 0);
    std::os::unix::fs::symlink(top.join("a.service"), top.join("link.service")).expect("links");
    for path in ["/gone.service", "/../a.service", "/link.service"] {
        let placement = placed(top, Hierarchy::Unified, path);
        assert_eq!(placement.given(), "/", "{path}");
        assert!(matches!(placement.rest(), Some((_, Delegate::Unseen(_)))));
    }
}

#[test]
fn moving_about_in_one_s_own_part_changes_nothing() {
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    let placement = Placement::known(manager, "/a", Some(Delegate::User(1000)));
    assert!(placement.still_holds(&format!("{manager}/b/c")));
    assert!(placement.still_holds(manager));
    assert!(!placement.still_holds("/system.slice/serve.service"));
    assert!(!placement.still_holds(&format!("{manager}x")));
    let whole = Placement::known("/system.slice", "", None);
    assert!(!whole.still_holds("/system.slice/serve.service"));
    let top = Placement::known("/", "", None);
    assert!(top.still_holds("/") && !top.still_holds("/a"));
}

/// It is asked for each process that a rule may match.
#[test]
fn looking_up_is_quick() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    let mut path = String::new();
    for name in ["/a.slice", "/b.slice", "/c.slice", "/d.service"] {
        path += name;
        make(top, &path, 0);
    }
    let top = open(top);
    let group = ControlGroup {
        hierarchy: Hierarchy::Unified,
        path,
    };
    let mut times: Vec<std::time::Duration> = (0..500)
        .map(|_| {
            let began = std::time::Instant::now();
            assert_eq!(follow(&top, &group, AGENT).0, group.path.len());
            began.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    eprintln!("following four levels takes {median:?}");
    assert!(median < std::time::Duration::from_millis(1), "{median:?}");
}

/// Slurm's daemon is root and asks for delegation; in version 1 it gives steps to
/// their users.
#[test]
fn jobs_are_root_s_word_and_what_is_in_them_is_not() {
    let Some(tree) = tree() else { return };
    let top = tree.path();
    let scope = "/system.slice/n1_slurmstepd.scope";
    make(top, "/system.slice", 0);
    make(top, scope, 0);
    let flags = rustix::fs::XattrFlags::empty();
    let marked = top.join(scope.trim_start_matches('/'));
    let _ = rustix::fs::setxattr(&marked, "user.delegate", b"1", flags);
    let _ = rustix::fs::setxattr(&marked, "trusted.delegate", b"1", flags);
    for part in ["/job_7", "/job_7/step_0", "/job_7/step_0/user"] {
        make(top, &format!("{scope}{part}"), 0);
    }
    let inner = format!("{scope}/job_7/step_0/user/task_0");
    make(top, &inner, 1000);
    make(top, &format!("{inner}/job_8"), 1000);
    let placement = placed(top, Hierarchy::Unified, &format!("{inner}/job_8"));
    assert_eq!(placement.given(), inner);
    let job = |path: &str, hierarchy| match workload(placed(top, hierarchy, path).given()) {
        Some(Workload::Job(job)) => Some((job.id, job.step)),
        _ => None,
    };
    let found = job(&inner, Hierarchy::Unified);
    assert_eq!(found, Some((7, Some("0".to_owned()))));
    let freezer = Hierarchy::Controller(process::Controller::Freezer);
    for part in ["/slurm", "/slurm/uid_1000", "/slurm/uid_1000/job_9"] {
        make(top, part, 0);
    }
    make(top, "/slurm/uid_1000/job_9/step_0", 1000);
    let found = job("/slurm/uid_1000/job_9/step_0", freezer);
    assert_eq!(found, Some((9, None)), "the step is its user's word");
    // Another's scope of this name is nobody's.
    make(top, "/user.slice", 1000);
    make(top, "/user.slice/slurm", 1000);
    assert_eq!(job("/user.slice/slurm/uid_0/job_1", freezer), None);
    make(top, "/slurm_x", 1000);
    make(top, "/slurm_x/uid_0", 1000);
    make(top, "/slurm_x/uid_0/job_1", 1000);
    assert_eq!(job("/slurm_x/uid_0/job_1", freezer), None);
}

/// Of a process that exists, whatever is mounted here.
#[test]
fn this_process_is_somewhere() {
    let placement = Placement::of(std::process::id()).expect("I exist");
    let path = process::cgroup(std::process::id()).expect("I exist");
    assert_eq!(placement.path(), path);
    assert!(path.starts_with(placement.given()));
}
