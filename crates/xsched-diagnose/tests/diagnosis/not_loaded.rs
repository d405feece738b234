//! Processes without a shim: why it is not there.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn nobody_asked() {
    let report = examine(&fixtures().start("program", None, &[]));
    let evidence = only(&report, "shim-not-loaded", Severity::Error);
    assert!(evidence.contains("LD_PRELOAD is not set"), "{evidence}");
    assert!(
        evidence.contains("program: 1 launch function"),
        "{evidence}"
    );
    assert_eq!(report.shim, None);
}

#[test]
fn an_unknown_preload_that_takes_the_launches_is_pointed_out() {
    let set = fixtures();
    let report = examine(&set.start("program", Some(&set.text("libmine.so")), &[]));
    let evidence = only(&report, "shim-not-loaded", Severity::Error);
    assert!(
        evidence.contains("libmine.so receives launches"),
        "{evidence}"
    );
    assert!(evidence.contains("--shim"), "{evidence}");
}

#[test]
fn the_named_file_does_not_exist() {
    let set = fixtures();
    let path = set.text("nowhere/libxsched_shim.so");
    let report = examine(&set.start("program", Some(&path), &[]));
    let evidence = only(&report, "preload-missing", Severity::Error);
    assert!(
        evidence.contains(&path) && evidence.contains("does not exist"),
        "{evidence}"
    );
    assert!(!evidence.contains("mount namespace"), "{evidence}");
}

#[test]
fn a_bare_name_is_in_no_directory() {
    let report = examine(&fixtures().start("program", Some("libxsched_shim_of_nobody.so"), &[]));
    let evidence = only(&report, "preload-missing", Severity::Error);
    assert!(evidence.contains("LD_LIBRARY_PATH"), "{evidence}");
}

#[test]
fn the_named_file_is_no_library() {
    let set = fixtures();
    std::fs::create_dir_all(set.path("text")).expect("writable");
    set.write("text/libxsched_shim.so", "not a library");
    let path = set.text("text/libxsched_shim.so");
    let report = examine(&set.start("program", Some(&path), &[]));
    let evidence = only(&report, "preload-missing", Severity::Error);
    assert!(evidence.contains("is not an ELF file"), "{evidence}");
}

#[test]
fn the_named_file_came_too_late() {
    let set = fixtures();
    std::fs::create_dir_all(set.path("late")).expect("writable");
    let path = set.text("late/libxsched_shim.so");
    let process = set.start("program", Some(&path), &[]);
    // The start time has a resolution of a tick, the file's of a second.
    std::thread::sleep(Duration::from_millis(2_100));
    std::fs::copy(set.path("libxsched_shim.so"), &path).expect("writable");
    let evidence = only(&examine(&process), "preload-missing", Severity::Error);
    assert!(evidence.contains("after the process started"), "{evidence}");
}

#[test]
fn a_shim_behind_a_symbolic_link_is_mapped() {
    let set = fixtures();
    std::fs::create_dir_all(set.path("linked")).expect("writable");
    std::os::unix::fs::symlink(set.path("libxsched_shim.so"), set.path("linked/current.so"))
        .expect("writable");
    let report = examine(&set.start("program", Some(&set.text("linked/current.so")), &[]));
    assert_eq!(codes(&report), [], "{report}");
}

#[test]
fn another_missing_preload_is_nobodys_affair_when_the_shim_is_there() {
    let set = fixtures();
    let both = format!("/nowhere/libother.so:{}", set.text("libxsched_shim.so"));
    let report = examine(&set.start("program", Some(&both), &[]));
    assert_eq!(codes(&report), [], "{report}");
}

#[test]
fn a_static_program_that_should_have_been_preloaded() {
    let set = fixtures();
    let shim = set.text("libxsched_shim.so");
    let report = examine(&set.start("static", Some(&shim), &[]));
    let evidence = only(&report, "static-binary", Severity::Error);
    assert!(evidence.contains("no interpreter"), "{evidence}");
}

#[test]
fn a_static_program_that_nobody_wants_scheduled_is_refused() {
    let process = fixtures().start("static", None, &[]);
    let refused = diagnose_with(&options(process.pid()), None);
    assert!(matches!(refused, Err(Error::NoRuntime(_))));
}

#[test]
fn a_set_user_id_program_is_not_preloaded_into() {
    if !is_root("making a set-user-ID file of another user") {
        return;
    }
    let set = fixtures();
    let file = set.path("raised");
    xsched_testkit::copy_program(set.path("program"), &file);
    std::os::unix::fs::chown(&file, Some(65_534), None).expect("root may");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).expect("root may");
    set.open_to_all();
    let report = examine(&set.start("raised", Some(&set.text("libxsched_shim.so")), &[]));
    let evidence = only(&report, "secure-exec", Severity::Error);
    assert!(evidence.contains("AT_SECURE"), "{evidence}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("root may");
    let twin = examine(&set.start("raised", Some(&set.text("libxsched_shim.so")), &[]));
    assert_eq!(codes(&twin), [], "{twin}");
}

#[test]
fn a_file_that_exists_outside_the_mount_namespace_only() {
    if !is_root("making a mount namespace") {
        return;
    }
    let set = fixtures();
    std::fs::create_dir_all(set.path("hidden")).expect("writable");
    let shim = set.text("hidden/libxsched_shim.so");
    std::fs::copy(set.path("libxsched_shim.so"), &shim).expect("writable");
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c"]).arg(format!(
        "mount -t tmpfs none {} && LD_PRELOAD={shim} exec ./program",
        set.text("hidden")
    ));
    let report = examine(&set.spawn(command));
    let evidence = only(&report, "preload-missing", Severity::Error);
    assert!(
        evidence.contains("although it exists outside"),
        "{evidence}"
    );
}
