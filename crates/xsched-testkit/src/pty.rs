//! A program in a pseudo-terminal whose screen can be read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::DEADLINE;

/// A program on a terminal of its own.
pub struct Pty {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Pty {
    /// Starts `program` on a terminal of `columns` x `lines`.
    pub fn start(program: impl AsRef<OsStr>, arguments: &[&OsStr], size: (u16, u16)) -> Pty {
        let (columns, lines) = size;
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = open(&name, flags, Mode::empty()).expect("opens");
        let winsize = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, winsize).expect("a size");
        let before = tcgetattr(&terminal).expect("settings");
        let end = || terminal.try_clone().expect("another end");
        let child = Command::new(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("RUST_BACKTRACE", "0")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("starts");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(lines, columns, 0)));
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("another end");
        let parser = Arc::clone(&screen);
        // Ends when the last user of the terminal is gone.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                parser.lock().expect("the screen").process(&bytes[..n]);
            }
        });
        Pty {
            child,
            keyboard,
            terminal,
            before,
            screen,
        }
    }

    /// Its pid.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().expect("the screen").screen().contents()
    }

    /// Waits until the screen satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !wanted(&self.text()) {
            assert!(Instant::now() < deadline, "no {what} in:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signalled");
    }

    /// Waits for the end of the program.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the program has taken the terminal over.
    pub fn is_taken(&self) -> bool {
        let now = tcgetattr(&self.terminal).expect("settings");
        let parser = self.screen.lock().expect("the screen");
        let screen = parser.screen();
        now.local_modes != self.before.local_modes
            && screen.alternate_screen()
            && screen.hide_cursor()
            && screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }

    /// Waits until everything is as it was before the program.
    pub fn assert_restored(&self) {
        let now = tcgetattr(&self.terminal).expect("settings");
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(now.input_modes, self.before.input_modes);
        assert_eq!(now.output_modes, self.before.output_modes);
        assert_eq!(now.control_modes, self.before.control_modes);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let parser = self.screen.lock().expect("the screen");
            let screen = parser.screen();
            if !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
            {
                return;
            }
            assert!(Instant::now() < deadline, "not restored");
            drop(parser);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Fails when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
