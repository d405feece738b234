//! The interactive program: moves messages between connection, terminal,
//! state and screen.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::Event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};
use xsched_client::{Endpoint, LinkEvent};

use crate::cli::Tape;
use crate::input::Keymap;
use crate::replay::{self, Command, Writer};
use crate::state::{Effect, Msg, Query, Settings, Size, State, Tone, Users};
use crate::terminal::Screen;
use crate::theme::Theme;
use crate::ui::Ui;

/// How often the age of the data is drawn anew.
const TICK: Duration = Duration::from_millis(500);

/// Messages that may wait; a slow terminal slows the connection down instead
/// of filling memory.
const QUEUE: usize = 64;

/// What reaches the loop.
enum Input {
    Message(Msg),
    Terminal(Event),
    TerminalLost,
}

impl<T: Into<Msg>> From<T> for Input {
    fn from(message: T) -> Input {
        Input::Message(message.into())
    }
}

/// Why the loop ended.
enum End {
    Quit,
    Signal(u8),
    NoTerminal,
}

/// Shows the screen until the user quits.
pub async fn run(settings: Settings, looks: (Keymap, Theme), tape: Tape) -> ExitCode {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!("xtop: not on a terminal: use --once or --batch");
        return ExitCode::from(2);
    }
    match show(settings, looks, tape).await {
        Ok(End::Quit) => ExitCode::SUCCESS,
        // The shell's convention for a program ended by a signal.
        Ok(End::Signal(number)) => ExitCode::from(128 + number),
        Ok(End::NoTerminal) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtop: terminal: {error}; use --once or --batch for plain text");
            ExitCode::FAILURE
        }
    }
}

async fn show(settings: Settings, (keys, theme): (Keymap, Theme), tape: Tape) -> io::Result<End> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (width, height) = crossterm::terminal::size()?;
    let state = State::new(settings, Users::of_machine(), Size { width, height });
    let screen = Screen::enter()?;
    let (commands, obeyed) = mpsc::channel(QUEUE);
    match tape.replay {
        Some(recording) => {
            tokio::spawn(replay::play(recording, obeyed, sender.clone()));
        }
        None => {
            tokio::spawn(xsched_client::watch(
                state.settings.endpoint.clone(),
                state.settings.interval,
                sender.clone(),
            ));
        }
    }
    let input = sender.clone();
    std::thread::Builder::new()
        .name("xtop-input".into())
        .spawn(move || read_terminal(&input))?;
    // The screen is dropped, and the terminal restored, before any message.
    let helpers = Helpers {
        endpoint: state.settings.endpoint.clone(),
        sender,
        commands,
    };
    let ui = Ui { state, keys, theme };
    event_loop(screen, ui, helpers, receiver, tape.record).await
}

/// Those who do what the state asks for.
struct Helpers {
    endpoint: Endpoint,
    sender: Sender<Input>,
    commands: Sender<Command>,
}

impl Helpers {
    fn ask(&self, query: Query) {
        let (endpoint, sender) = (self.endpoint.clone(), self.sender.clone());
        tokio::spawn(async move {
            let result = xsched_client::ask(&endpoint, &query.request).await;
            let result = result.map_err(|error| error.to_string());
            // A closed channel means that nobody waits any more.
            let _ = sender.send(Msg::Answer(query, result).into()).await;
        });
    }

    fn steer(&self, command: Command) {
        // A player that is busy with many commands may miss some.
        let _ = self.commands.try_send(command);
    }
}

async fn event_loop(
    mut screen: Screen,
    mut ui: Ui,
    helpers: Helpers,
    mut messages: Receiver<Input>,
    mut record: Option<Writer>,
) -> io::Result<End> {
    let start = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        screen.terminal.draw(|frame| ui.draw(frame))?;
        let first = tokio::select! {
            message = messages.recv() => message.unwrap_or(Input::Message(Msg::Tick)),
            _ = tick.tick() => Input::Message(Msg::Tick),
            _ = terminate.recv() => return Ok(End::Signal(15)),
            _ = interrupt.recv() => return Ok(End::Signal(2)),
            _ = hangup.recv() => return Ok(End::Signal(1)),
        };
        // Everything that waits is one frame.
        let waiting = std::iter::from_fn(|| messages.try_recv().ok()).take(QUEUE);
        for message in std::iter::once(first).chain(waiting) {
            let message = match message {
                Input::Message(message) => Some(message),
                Input::Terminal(event) => ui.message(&event),
                Input::TerminalLost => return Ok(End::NoTerminal),
            };
            let Some(message) = message else { continue };
            if let (Some(writer), Msg::Link(LinkEvent::Snapshot(snapshot))) =
                (&mut record, &message)
                && let Err(error) = writer.push(start.elapsed(), snapshot)
            {
                record = None;
                ui.state
                    .notify(Tone::Bad, format!("recording ended: {error}"));
            }
            match ui.update(start.elapsed(), message) {
                Effect::None => {}
                Effect::Quit => return Ok(End::Quit),
                Effect::Ask(query) => helpers.ask(query),
                Effect::Replay(command) => helpers.steer(command),
            }
        }
    }
}

/// Passes terminal events on until the terminal or the program is gone.
fn read_terminal(sender: &Sender<Input>) {
    loop {
        let input = match crossterm::event::read() {
            Ok(event) => Input::Terminal(event),
            Err(_) => Input::TerminalLost,
        };
        let last = matches!(input, Input::TerminalLost);
        if sender.blocking_send(input).is_err() || last {
            return;
        }
    }
}
