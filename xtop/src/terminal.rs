//! The terminal, taken over and given back.

use std::io::{self, Stdout, Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;

/// What is drawn on.
pub type Terminal = ratatui::Terminal<CrosstermBackend<Stdout>>;

/// Whether there is something to give back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours; dropping it gives it back, a panic too.
#[derive(Debug)]
pub struct Screen {
    /// What is drawn on.
    pub terminal: Terminal,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter() -> io::Result<Screen> {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // First the terminal, so that the message can be read.
            restore();
            previous(info);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let entered = execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match entered {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Screen {
    /// Gives the terminal back and stops this program; takes it over again when
    /// the shell continues it.
    pub fn stop(&mut self) -> io::Result<()> {
        restore();
        // Raw mode keeps the terminal from doing it.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        // Knows nothing of what is on the screen, so that all is drawn; clearing
        // would ask the terminal for its cursor, and the answer is taken for
        // a key.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Failures have nowhere to go: the terminal is gone.
fn restore() {
    // Leaving the alternate screen twice would put the cursor back to where
    // it was before, over a panic's message.
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = stdout();
    let _ = execute!(
        out,
        DisableMouseCapture,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = out.flush();
    let _ = disable_raw_mode();
}
