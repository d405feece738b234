//! The interactive program: moves messages between connections, terminal,
//! state and screen.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};
use xsched_client::{LinkEvent, Proxy};

use crate::cli::Tape;
use crate::input::Keymap;
use crate::nodes::{Message, Nodes, Tagged};
use crate::replay::{self, Command, Writer};
use crate::saved::Saved;
use crate::state::{Effect, Msg, Settings, Size, State, Tone};
use crate::terminal::Screen;
use crate::theme::Theme;
use crate::ui::Ui;

/// How often the age of the data is drawn anew.
const TICK: Duration = Duration::from_millis(500);

/// Messages that may wait; a slow terminal slows the connections down instead
/// of filling memory.
const QUEUE: usize = 64;

/// Whether what the user chooses is for the next time, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// It is.
    AtTheEnd,
    /// It is not.
    Never,
}

/// How it begins.
#[derive(Debug)]
pub struct Start {
    /// How xtop was started.
    pub settings: Settings,
    /// What the keys do.
    pub keys: Keymap,
    /// How it looks.
    pub theme: Theme,
    /// What was chosen last time.
    pub saved: Saved,
    /// What of now is for the next time.
    pub saves: Saves,
    /// The machines, where they have names.
    pub hosts: Vec<String>,
}

/// Why the loop ended.
enum End {
    Quit,
    Signal(u8),
    NoTerminal,
}

/// Shows the screen until the user quits.
pub async fn run(start: Start, tape: Tape) -> ExitCode {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!("xtop: not on a terminal: use --once or --batch");
        return ExitCode::from(2);
    }
    match show(start, tape).await {
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

async fn show(start: Start, tape: Tape) -> io::Result<End> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (width, height) = crossterm::terminal::size()?;
    let ui = |settings: Settings| {
        let size = Size { width, height };
        let mut state = State::new(settings, size);
        state.processes.hide(start.saved.hidden());
        state.screen = start.saved.screen();
        Ui {
            state,
            keys: start.keys.clone(),
            theme: start.theme.clone(),
        }
    };
    let nodes = match start.hosts.as_slice() {
        [] => vec![(String::new(), ui(start.settings.clone()))],
        hosts => hosts
            .iter()
            .map(|host| {
                let endpoint = xsched_client::Endpoint::Command(Proxy::ssh(host));
                let settings = Settings {
                    endpoint,
                    ..start.settings.clone()
                };
                (host.clone(), ui(settings))
            })
            .collect(),
    };
    let nodes = Nodes::new(nodes);
    let screen = Screen::enter()?;
    let (commands, obeyed) = mpsc::channel(QUEUE);
    match tape.replay {
        Some(recording) => {
            tokio::spawn(replay::play(recording, obeyed, Tagged::of(0, &sender)));
        }
        None => nodes.watch(&sender),
    }
    let input = sender.clone();
    std::thread::Builder::new()
        .name("xtop-input".into())
        .spawn(move || read_terminal(&input))?;
    // The screen is dropped, and the terminal restored, before any message.
    let helpers = Helpers { sender, commands };
    let (end, nodes) = event_loop(screen, nodes, helpers, receiver, tape.record).await?;
    if start.saves == Saves::AtTheEnd {
        // The next time begins as the first did: nothing is lost by that.
        let _ = Saved::of(&nodes.shown().state).store();
    }
    Ok(end)
}

/// Those who do what the state asks for.
struct Helpers {
    sender: Sender<Message>,
    commands: Sender<Command>,
}

async fn event_loop(
    mut screen: Screen,
    mut nodes: Nodes,
    helpers: Helpers,
    mut messages: Receiver<Message>,
    mut record: Option<Writer>,
) -> io::Result<(End, Nodes)> {
    let start = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        nodes.sum_up();
        screen.terminal.draw(|frame| nodes.shown().draw(frame))?;
        let first = tokio::select! {
            message = messages.recv() => message.unwrap_or(Message::Tick),
            _ = tick.tick() => Message::Tick,
            _ = terminate.recv() => return Ok((End::Signal(15), nodes)),
            _ = interrupt.recv() => return Ok((End::Signal(2), nodes)),
            _ = hangup.recv() => return Ok((End::Signal(1), nodes)),
        };
        // Everything that waits is one frame.
        let waiting = std::iter::from_fn(|| messages.try_recv().ok()).take(QUEUE);
        for message in std::iter::once(first).chain(waiting) {
            let now = start.elapsed();
            if let (Some(writer), Message::Of(_, Msg::Link(LinkEvent::Snapshot(snapshot)))) =
                (&mut record, &message)
                && let Err(error) = writer.push(now, snapshot)
            {
                record = None;
                let text = format!("recording ended: {error}");
                nodes.shown_mut().state.notify(Tone::Bad, text);
            }
            let (node, effect) = match message {
                Message::Of(node, msg) => (node, nodes.update(node, now, msg)),
                Message::Tick => (nodes.here(), nodes.tick(now)),
                Message::Terminal(event) => (nodes.here(), nodes.event(now, &event)),
                Message::TerminalLost => return Ok((End::NoTerminal, nodes)),
            };
            match effect {
                Effect::None => {}
                Effect::Quit => return Ok((End::Quit, nodes)),
                Effect::Ask(query) => nodes.ask(node, query, &helpers.sender),
                Effect::Replay(command) => {
                    // A player that is busy with many commands may miss some.
                    let _ = helpers.commands.try_send(command);
                }
                Effect::Signal(target, signal) => {
                    let (tone, text) = match crate::signal::send(target, signal) {
                        Ok(text) => (Tone::Good, text),
                        Err(text) => (Tone::Bad, text),
                    };
                    nodes.shown_mut().state.notify(tone, text);
                }
                Effect::Stop => screen.stop()?,
                Effect::OtherHost(steps) => nodes.step(steps),
            }
        }
    }
}

/// Passes terminal events on until the terminal or the program is gone.
fn read_terminal(sender: &Sender<Message>) {
    loop {
        let message = match crossterm::event::read() {
            Ok(event) => Message::Terminal(event),
            Err(_) => Message::TerminalLost,
        };
        let last = matches!(message, Message::TerminalLost);
        if sender.blocking_send(message).is_err() || last {
            return;
        }
    }
}
