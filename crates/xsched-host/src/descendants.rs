//! How many processes descend from one, for whoever changes its attributes.

use std::fs;

use xsched_common::api::MAX_DESCENDANTS;

/// Files of /proc that are read for one count.
const MAX_READS: usize = 4096;

/// The processes that descend from `pid` and run now, at most
/// [`MAX_DESCENDANTS`]. `None` where the kernel does not tell
/// (`CONFIG_PROC_CHILDREN`), or where they have too many threads.
///
/// /proc/PID/task/TID/children (proc_pid_task_children(5)) may leave out what
/// comes and goes meanwhile. It takes no lock of the process's own.
pub fn descendants(pid: u32) -> Option<u32> {
    let mut to_ask = vec![pid];
    let (mut found, mut reads) = (0, 0);
    while let Some(parent) = to_ask.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
            // It has ended.
            continue;
        };
        for thread in threads.flatten() {
            if reads == MAX_READS {
                return None;
            }
            reads += 1;
            let children = match fs::read_to_string(thread.path().join("children")) {
                Ok(children) => children,
                Err(_) if thread.path().exists() => return None,
                Err(_) => continue,
            };
            for child in children.split_ascii_whitespace() {
                found += 1;
                if found == MAX_DESCENDANTS {
                    return Some(found);
                }
                to_ask.extend(child.parse::<u32>());
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    #[test]
    fn children_and_theirs_are_counted() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & sh -c 'sleep 60 & echo; wait' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut said = [0];
        let mut out = shell.stdout.take().expect("piped");
        out.read_exact(&mut said).expect("the last one runs");
        let three = descendants(shell.id());
        let all: Vec<u32> = tree(shell.id());
        for pid in all {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        shell.wait().expect("ends");
        match three {
            Some(count) => assert_eq!(count, 3),
            None => eprintln!("LEFT OUT: this kernel does not tell of children"),
        }
        assert_eq!(descendants(u32::MAX), Some(0), "nobody");
    }

    fn tree(pid: u32) -> Vec<u32> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let below = children
            .split_ascii_whitespace()
            .filter_map(|c| c.parse().ok());
        below.flat_map(tree).chain([pid]).collect()
    }
}
