//! What /proc says, read.

use super::*;
use proptest::prelude::*;

#[test]
fn this_process_can_be_read() {
    let me = ProcessId::of(std::process::id()).expect("I exist");
    assert!(me.is_alive());
    assert!(
        !ProcessId {
            start_time: me.start_time + 1,
            ..me
        }
        .is_alive()
    );
    let maps = maps(me.pid).expect("my maps");
    let code = this_process_can_be_read as *const () as u64;
    let mine = maps
        .iter()
        .find(|m| m.range.contains(&code))
        .expect("my code is mapped");
    assert!(mine.executable && !mine.writable && mine.inode != 0);
    // SAFETY: geteuid has no preconditions.
    assert_eq!(uid(me.pid).expect("my uid"), unsafe { libc::geteuid() });
    assert!(!arguments(me.pid).expect("my arguments").is_empty());
    assert!(stat(me.pid).expect("my stat").parent > 0);
}

#[test]
fn nobody_is_gone() {
    assert!(matches!(
        ProcessId::of(u32::MAX),
        Err(ProcessError::Gone(_))
    ));
}

#[test]
fn odd_command_names_do_not_shift_fields() {
    let raw = b"7 (a) b (c) S 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 99 0";
    let stat = parse_stat(raw).expect("parses");
    assert_eq!(
        (stat.comm.as_str(), stat.parent, stat.start_time),
        ("a) b (c", 3, 99)
    );
    assert!(!stat.stopped && !stat.ended);
    let ended = |threads| {
        let unused = "0 ".repeat(15);
        let raw = format!("7 (a) Z 3 {unused}{threads} 0 99 0");
        parse_stat(raw.as_bytes()).expect("parses").ended
    };
    assert!(ended(1) && !ended(2));
}

#[test]
fn the_effective_ids_count() {
    let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
    let expected = Credentials {
        uid: 2,
        gid: 6,
        groups: vec![9, 10],
        is_mixed: true,
    };
    let user = |ids: &str| parse_credentials(ids).expect("parses").user();
    assert_eq!(user("Uid:\t1 1 1 4\nGid:\t5 5 5 5\n"), Some(1));
    assert_eq!(user("Uid:\t1000 0 0 0\nGid:\t5 5 5 5\n"), None, "su");
    assert_eq!(user("Uid:\t1 1 1 1\nGid:\t5 6 6 6\n"), None, "wall");
    assert_eq!(parse_credentials(status), Some(expected));
    assert_eq!(parse_credentials("Uid:\t1\n"), None);
}

#[test]
fn control_groups_of_both_versions() {
    let path = "/system.slice/a:b.service";
    let parsed = |text: &str| parse_cgroup(text).map(|group| (group.hierarchy, group.path));
    let unit = |hierarchy| Some((hierarchy, path.to_owned()));
    assert_eq!(parsed(&format!("0::{path}\n")), unit(Hierarchy::Unified));
    let both = format!("4:memory:/m\n1:name=systemd:{path}\n0::/\n");
    assert_eq!(parsed(&both), unit(Hierarchy::Systemd));
    let top = Some((Hierarchy::Unified, "/".to_owned()));
    assert_eq!(parsed("0::/\n"), top);
    assert_eq!(parsed("nonsense"), None);
}

#[test]
fn deleted_files_and_blanks_in_paths() {
    let line =
        b"7f00-7f10 r-xp 00001000 fe:01 42                         /opt/a b/lib x.so (deleted)";
    let m = parse_mapping(line).expect("parses");
    assert_eq!(
        (m.path.as_str(), m.deleted, m.inode),
        ("/opt/a b/lib x.so", true, 42)
    );
    assert_eq!(
        (m.range.clone(), m.offset, m.device),
        (0x7f00..0x7f10, 0x1000, (0xfe, 1))
    );
    assert_eq!(m.basename(), "lib x.so");
    let anonymous = parse_mapping(b"1000-2000 rw-p 00000000 00:00 0 ").expect("parses");
    assert_eq!(anonymous.basename(), "");
}

#[test]
fn maps_that_are_cut_end_with_a_whole_line() {
    let raw = b"1000-2000 r-xp 0 08:01 5 /lib/a.so\n2000-3000 r-xp 0 08:01 6 /lib/b.so.real";
    let paths = |cut| {
        let maps = parse_maps(raw, cut);
        assert_eq!(maps.whole, !cut);
        let paths = maps.mappings.into_iter().map(|m| m.path);
        paths.collect::<Vec<_>>()
    };
    assert_eq!(paths(false), ["/lib/a.so", "/lib/b.so.real"]);
    assert_eq!(paths(true), ["/lib/a.so"]);
    assert_eq!(parse_maps(b"1000-20", true).mappings, []);
}

proptest! {
    #[test]
    fn any_bytes_parse_or_not(line: Vec<u8>) {
        let _ = parse_mapping(&line);
        let _ = parse_stat(&line);
        let _ = parse_credentials(&String::from_utf8_lossy(&line));
    }
}

#[test]
fn controllers_of_version_1_are_told_apart() {
    let text =
        "9:name=systemd:/\n6:freezer:/slurm/uid_0/job_1\n4:cpu,memory:/a:b\n3:cpuset:/\n0::/\n";
    let found: Vec<_> = parse_controllers(text)
        .into_iter()
        .map(|group| (group.hierarchy, group.path))
        .collect();
    let of = Hierarchy::Controller;
    let expected = [
        (of(Controller::Freezer), "/slurm/uid_0/job_1".to_owned()),
        (of(Controller::Memory), "/a:b".to_owned()),
    ];
    assert_eq!(found, expected);
}
