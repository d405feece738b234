//! Examinations that were asked for.

use xsched_common::api::Diagnosis;

use super::row::Identity;

/// Results that are kept.
const MAX_KEPT: usize = 16;

/// How far an examination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Examination {
    /// The agent is at it.
    Running,
    /// What it found.
    Done(Diagnosis),
    /// Why there is no result.
    Failed(String),
}

/// The last examinations, one per process.
#[derive(Clone, Debug, Default)]
pub struct Examinations(Vec<(Identity, Examination)>);

impl Examinations {
    /// That of a process.
    pub fn get(&self, target: Identity) -> Option<&Examination> {
        let found = self.0.iter().find(|(identity, _)| *identity == target);
        found.map(|(_, examination)| examination)
    }

    /// Replaces that of a process.
    pub fn set(&mut self, target: Identity, examination: Examination) {
        self.0.retain(|(identity, _)| *identity != target);
        if self.0.len() >= MAX_KEPT {
            self.0.remove(0);
        }
        self.0.push((target, examination));
    }
}
