//! The machines that are watched: one, or several side by side.

use std::time::Duration;

use crossterm::event::Event;
use tokio::sync::mpsc::{self, Sender};

use crate::state::{Effect, Host, Link, Msg, Query, Tone};
use crate::ui::Ui;

/// What reaches the loop.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "few wait at a time, and most are the large one"
)]
pub enum Message {
    /// From a machine, by its place.
    Of(usize, Msg),
    /// From the terminal.
    Terminal(Event),
    /// The terminal is gone.
    TerminalLost,
    /// Time passed.
    Tick,
}

/// Messages that may wait between a machine and the loop.
const QUEUE: usize = 4;

/// A way to the loop on which each message gets the place of its machine.
#[derive(Debug)]
pub struct Tagged;

impl Tagged {
    /// That of the machine at `node`.
    pub fn of(node: usize, to: &Sender<Message>) -> Sender<Msg> {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let to = to.clone();
        tokio::spawn(async move {
            while let Some(msg) = receiver.recv().await {
                if to.send(Message::Of(node, msg)).await.is_err() {
                    return;
                }
            }
        });
        sender
    }
}

/// All of them, and the one that is shown; never none.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<(String, Ui)>,
    here: usize,
}

impl Nodes {
    /// With at least one.
    pub fn new(nodes: Vec<(String, Ui)>) -> Nodes {
        debug_assert!(!nodes.is_empty());
        Nodes { nodes, here: 0 }
    }

    /// The place of the one that is shown.
    pub fn here(&self) -> usize {
        self.here
    }

    /// The one that is shown.
    pub fn shown(&self) -> &Ui {
        &self.nodes[self.here].1
    }

    /// The one that is shown.
    pub fn shown_mut(&mut self) -> &mut Ui {
        &mut self.nodes[self.here].1
    }

    /// Connects to each.
    pub fn watch(&self, to: &Sender<Message>) {
        for (node, (_, ui)) in self.nodes.iter().enumerate() {
            let settings = &ui.state.settings;
            tokio::spawn(xsched_client::watch(
                settings.endpoint.clone(),
                settings.interval,
                Tagged::of(node, to),
            ));
        }
    }

    /// Asks one of them; the answer comes as a message.
    pub fn ask(&self, node: usize, query: Query, to: &Sender<Message>) {
        let Some((_, ui)) = self.nodes.get(node) else {
            return;
        };
        let (endpoint, to) = (ui.state.settings.endpoint.clone(), to.clone());
        tokio::spawn(async move {
            let result = xsched_client::ask(&endpoint, &query.request).await;
            let result = result.map_err(|error| error.to_string());
            // A closed channel means that nobody waits any more.
            let _ = to.send(Message::Of(node, Msg::Answer(query, result))).await;
        });
    }

    /// Something happened on one of them.
    pub fn update(&mut self, node: usize, now: Duration, msg: Msg) -> Effect {
        match self.nodes.get_mut(node) {
            Some((_, ui)) => ui.update(now, msg),
            None => Effect::None,
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Effect {
        for (node, (_, ui)) in self.nodes.iter_mut().enumerate() {
            if node != self.here {
                // What a screen that nobody sees would ask for can wait.
                let _ = ui.update(now, Msg::Tick);
            }
        }
        self.shown_mut().update(now, Msg::Tick)
    }

    /// The user did something; all know how large the terminal is.
    pub fn event(&mut self, now: Duration, event: &Event) -> Effect {
        if let Event::Resize(..) = event {
            for (_, ui) in &mut self.nodes {
                let _ = ui.event(now, event);
            }
        }
        self.shown_mut().event(now, event)
    }

    /// Shows another one, on the same screen.
    pub fn step(&mut self, steps: isize) {
        let screen = self.shown().state.screen;
        let place = self.here as isize + steps;
        self.here = place.rem_euclid(self.nodes.len() as isize) as usize;
        self.shown_mut().state.screen = screen;
    }

    /// Tells the one that is shown how all of them stand, where they are
    /// several.
    pub fn sum_up(&mut self) {
        if self.nodes.len() < 2 {
            return;
        }
        let hosts = self.nodes.iter().map(|(name, ui)| {
            let state = &ui.state;
            let tally = state.processes.tally();
            let (tone, text) = match (&state.link, tally.missed) {
                (Link::Lost { .. }, _) => (Tone::Bad, "lost".to_owned()),
                (Link::Connecting, _) => (Tone::Bad, "connecting".to_owned()),
                (Link::Connected, 0) => (Tone::Good, state.processes.total().to_string()),
                (Link::Connected, missed) => (Tone::Bad, format!("{missed} missed")),
            };
            let name = name.clone();
            Host { name, tone, text }
        });
        let hosts = hosts.collect();
        let here = self.here;
        self.shown_mut().state.hosts = (hosts, here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Screen;
    use crate::fixture::{showing, typical};
    use crate::state::Size;

    #[test]
    fn machines_are_summed_up_and_keep_the_screen() {
        let size = Size {
            width: 120,
            height: 24,
        };
        let mut missing = typical();
        if let Some(slo) = &mut missing.processes[1].slo {
            slo.state = xsched_common::api::SloState::Adapting;
        }
        let named = |name: &str, ui| (name.to_owned(), ui);
        let mut nodes = Nodes::new(vec![
            named("gpu7", showing(size, typical(), "3")),
            named("gpu8", showing(size, missing, "")),
            named(
                "gpu9",
                crate::fixture::start(size, crate::state::Access::Full),
            ),
        ]);
        nodes.step(1);
        assert_eq!(nodes.shown().state.screen, Screen::Devices);
        nodes.sum_up();
        let (hosts, here) = &nodes.shown().state.hosts;
        let text: Vec<String> = hosts
            .iter()
            .map(|h| format!("{} {}", h.name, h.text))
            .collect();
        assert_eq!(text, ["gpu7 3", "gpu8 1 missed", "gpu9 connecting"]);
        assert_eq!((*here, hosts[1].tone), (1, Tone::Bad));
        nodes.step(-2);
        assert_eq!(nodes.here(), 2);
    }
}
