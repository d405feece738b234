//! Slurm's jobs: what the prolog, which slurmd runs as root, has written of
//! each (deploy/slurm/prolog.sh), and what a job's environment says of it,
//! which is its user's word.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::asks::Asks;

/// The largest record that is read, bytes.
const MAX_RECORD: u64 = 4096;

/// A job, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// The partition that it runs in.
    pub partition: Option<String>,
    /// Its quality of service.
    pub qos: Option<String>,
    /// The account that it is charged to.
    pub account: Option<String>,
    /// What it asks for.
    pub asks: Asks,
}

/// Reads a job's record; none where there is none, or another than root and
/// the agent's user may have written it.
pub(super) fn read(dir: &Path, id: u32) -> Option<Job> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = dir.join(id.to_string());
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let own = [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
    let regular = stat.st_mode & 0o170_000 == 0o100_000;
    if !own || !regular || stat.st_mode & 0o022 != 0 {
        return None;
    }
    let mut text = String::new();
    let mut file = File::from(file).take(MAX_RECORD);
    file.read_to_string(&mut text).ok()?;
    Some(parse(&text))
}

/// Lines of `key=value`; of two with one key the first counts.
fn parse(text: &str) -> Job {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find_map(|(name, value)| (name == key).then_some(value))
    };
    let name = |key: &str| value(key).and_then(name_of);
    Job {
        partition: name("partition"),
        qos: name("qos"),
        account: name("account"),
        asks: Asks::of_words(value("asks").unwrap_or_default().split_whitespace()),
    }
}

/// What its environment says: `SLURM_JOB_PARTITION` and the like, and
/// `XSCHED_ASKS`.
pub fn of_environment(environ: &[OsString]) -> Job {
    let value = |key: &str| {
        let entries = environ.iter().filter_map(|entry| entry.to_str());
        let mut pairs = entries.filter_map(|entry| entry.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    };
    let name = |key: &str| value(key).and_then(name_of);
    Job {
        partition: name("SLURM_JOB_PARTITION"),
        qos: name("SLURM_JOB_QOS"),
        account: name("SLURM_JOB_ACCOUNT"),
        asks: Asks::of_words(value("XSCHED_ASKS").unwrap_or_default().split_whitespace()),
    }
}

fn name_of(text: &str) -> Option<String> {
    let is_name = !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use xsched_common::units::Class;

    #[test]
    fn a_record_that_a_user_may_have_written_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("7");
        fs::write(&file, "partition=gpu\nqos=high\nasks=low\nqos=forged\n").expect("written");
        let job = read(dir.path(), 7).expect("a record");
        assert_eq!(job.qos.as_deref(), Some("high"));
        assert_eq!((job.account, job.asks.class), (None, Some(Class::Low)));
        assert_eq!(read(dir.path(), 8), None);
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
        mode(0o666).expect("chmod");
        assert_eq!(read(dir.path(), 7), None);
        mode(0o644).expect("chmod");
        if rustix::process::geteuid().is_root() {
            chown(&file, Some(1000), None).expect("root may");
            assert_eq!(read(dir.path(), 7), None);
        }
    }

    #[test]
    fn an_environment_is_read_as_it_is() {
        let environ = [
            "SLURM_JOB_QOS=low",
            "XSCHED_ASKS=low",
            "SLURM_JOB_QOS=x",
            "A",
        ];
        let environ: Vec<OsString> = environ.into_iter().map(OsString::from).collect();
        let job = of_environment(&environ);
        assert_eq!(job.qos.as_deref(), Some("low"));
        assert_eq!(job.asks.class, Some(Class::Low));
        assert_eq!(job.partition, None);
    }

    proptest! {
        #[test]
        fn any_record_is_read(text in "(\\PC|\\n){0,200}") {
            let _ = parse(&text);
        }
    }
}
