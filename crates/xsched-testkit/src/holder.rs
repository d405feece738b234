//! A process that holds the lock of its own memory map (holder.c): reading
//! its mappings or arguments takes until it is dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Compiles the program to `to`.
pub fn compile(to: &Path) {
    let source = super::c_sources().join("holder.c");
    let compiled = Command::new("cc")
        .args(["-O1", "-w", "-o"])
        .args([to, &source])
        .status()
        .expect("a C compiler named cc");
    assert!(compiled.success(), "{}", source.display());
}

/// A running one.
pub struct Holder {
    server: Child,
    /// Of the process that holds the lock.
    pub pid: u32,
    _dir: tempfile::TempDir,
}

impl Holder {
    /// Starts one and waits until it holds. `None`, said loudly, where that
    /// cannot be had: it takes root, FUSE, and a kernel that waits for the
    /// write (6.16).
    pub fn start() -> Option<Holder> {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("holder");
        compile(&program);
        let mount = dir.path().join("mount");
        std::fs::create_dir(&mount).expect("a directory");
        let mut server = Command::new(program)
            .arg(mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let said = BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line);
        said.expect("it speaks");
        let mut holder = Holder {
            server,
            pid: 0,
            _dir: dir,
        };
        let Some(pid) = line.strip_prefix("ready ") else {
            eprintln!("LEFT OUT: a process that holds its memory map: it {line}");
            return None;
        };
        holder.pid = pid.trim().parse().expect("a pid");
        let mut told = holder.server.stdin.as_ref().expect("a pipe");
        told.write_all(b"hold\n").expect("it listens");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holder.holds() {
            if Instant::now() > deadline || !Path::new(&format!("/proc/{}", holder.pid)).exists() {
                eprintln!("LEFT OUT: this kernel does not wait for a write under the map's lock");
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(holder)
    }

    /// Whether it waits in the kernel for its file system.
    fn holds(&self) -> bool {
        let wait = std::fs::read_to_string(format!("/proc/{}/wchan", self.pid));
        wait.is_ok_and(|place| place.contains("folio_wait"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its file system ends with it, and the wait with that.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
