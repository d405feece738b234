//! What the agent was asked about a process and what it said.

use super::row::Identity;

/// Answers that are kept.
const MAX_KEPT: usize = 16;

/// How far an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The agent is at it.
    Running,
    /// What it said.
    Done(T),
    /// Why there is no answer.
    Failed(String),
}

/// The last answers, one per process.
#[derive(Clone, Debug)]
pub struct Answers<T>(Vec<(Identity, Answer<T>)>);

impl<T> Default for Answers<T> {
    fn default() -> Answers<T> {
        Answers(Vec::new())
    }
}

impl<T> Answers<T> {
    /// That about a process.
    pub fn get(&self, target: Identity) -> Option<&Answer<T>> {
        let found = self.0.iter().find(|(identity, _)| *identity == target);
        found.map(|(_, answer)| answer)
    }

    /// What was said about a process, if it has been.
    pub fn done(&self, target: Identity) -> Option<&T> {
        match self.get(target) {
            Some(Answer::Done(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Replaces that about a process.
    pub fn set(&mut self, target: Identity, answer: Answer<T>) {
        self.0.retain(|(identity, _)| *identity != target);
        if self.0.len() >= MAX_KEPT {
            self.0.remove(0);
        }
        self.0.push((target, answer));
    }

    /// Forgets those without an answer, so that they are asked for again.
    pub fn forget_failures(&mut self) {
        self.0
            .retain(|(_, answer)| !matches!(answer, Answer::Failed(_)));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
