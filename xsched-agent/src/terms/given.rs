//! What was given to a process by hand.

use serde::{Deserialize, Serialize};
use xsched_common::api::ChangeWay;

use crate::rules::TermsPatch;

/// What somebody may do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Anything.
    Full,
    /// Lower it: this user's own process.
    Lower {
        /// The user.
        uid: u32,
    },
}

/// Everything that was given to one process by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// By `set`, with full rights.
    pub set: TermsPatch,
    /// By `run`, with full rights.
    pub run: TermsPatch,
    /// By its own user: only ever below what it would have otherwise.
    pub lowered: Option<Lowered>,
    /// Who changed it last.
    pub by: String,
}

/// What a user took from an own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// The user. It does not hold for children that run as somebody else: a
    /// user must not slow down what sudo started.
    pub uid: u32,
    /// The terms, of which those above the process's own count for nothing.
    pub terms: TermsPatch,
}

impl Given {
    /// Takes in a change.
    pub fn change(&mut self, patch: TermsPatch, way: ChangeWay, right: Right, by: String) {
        match (right, way) {
            (Right::Full, ChangeWay::Set) => self.set = patch.or(self.set),
            (Right::Full, ChangeWay::Run) => self.run = patch.or(self.run),
            (Right::Lower { uid }, _) => {
                let before = self.lowered.filter(|lowered| lowered.uid == uid);
                let terms = patch.or(before.map(|lowered| lowered.terms).unwrap_or_default());
                self.lowered = Some(Lowered { uid, terms });
            }
        }
        // What is given with full rights holds, whatever the user had lowered.
        if let (Right::Full, Some(lowered)) = (right, &mut self.lowered) {
            lowered.terms = lowered.terms.without(patch);
        }
        self.by = by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::{Class, Weight};

    #[test]
    fn full_rights_replace_what_the_user_lowered() {
        let class = |class| TermsPatch {
            class: Some(class),
            ..TermsPatch::default()
        };
        let mut given = Given::default();
        let user = Right::Lower { uid: 1000 };
        let low = TermsPatch {
            weight: Some(Weight::MIN),
            ..class(Class::Low)
        };
        given.change(low, ChangeWay::Set, user, "ann".into());
        assert_eq!(given.lowered.expect("lowered").terms, low);
        given.change(
            class(Class::High),
            ChangeWay::Set,
            Right::Full,
            "root".into(),
        );
        let lowered = given.lowered.expect("the weight is left").terms;
        assert_eq!((lowered.class, lowered.weight), (None, Some(Weight::MIN)));
        assert_eq!(given.set, class(Class::High));
        let other = Right::Lower { uid: 7 };
        given.change(class(Class::Low), ChangeWay::Run, other, "eve".into());
        assert_eq!(given.lowered.expect("eve's").terms, class(Class::Low));
    }
}
