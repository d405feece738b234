//! What was given to a process by hand.

use serde::{Deserialize, Serialize};
use xsched_common::api::{Attr, ChangeWay};

use crate::rules::SchedAttrPatch;

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
    pub set: SchedAttrPatch,
    /// By `run`, with full rights.
    pub run: SchedAttrPatch,
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
    /// The attributes, of which those above the process's own count for nothing.
    pub attr: SchedAttrPatch,
}

impl Given {
    /// Takes in a change.
    pub fn change(&mut self, patch: SchedAttrPatch, way: ChangeWay, right: Right, by: String) {
        match (right, way) {
            (Right::Full, ChangeWay::Set) => self.set = patch.or(self.set),
            (Right::Full, ChangeWay::Run) => self.run = patch.or(self.run),
            (Right::Lower { uid }, _) => {
                let before = self.lowered.filter(|lowered| lowered.uid == uid);
                let attr = patch.or(before.map(|lowered| lowered.attr).unwrap_or_default());
                self.lowered = Some(Lowered { uid, attr });
            }
        }
        // What is given with full rights holds, whatever the user had lowered.
        if let (Right::Full, Some(lowered)) = (right, &mut self.lowered) {
            lowered.attr = lowered.attr.without(patch);
        }
        self.by = by;
    }

    /// Forgets what was set by hand. Full rights end what its user lowered as
    /// well; what `run` gave stays, since it is no change of anybody's mind.
    pub fn unset(&mut self, attr: &[Attr], right: Right, by: String) {
        let before = self.clone();
        if right == Right::Full {
            self.set = self.set.forgetting(attr);
        }
        self.lowered = self.lowered.and_then(|lowered| {
            let may = match right {
                Right::Full => true,
                Right::Lower { uid } => lowered.uid == uid,
            };
            let attr = match may {
                true => lowered.attr.forgetting(attr),
                false => lowered.attr,
            };
            (!attr.is_empty()).then_some(Lowered { attr, ..lowered })
        });
        if *self != before {
            self.by = by;
        }
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.run.is_empty() && self.lowered.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::units::{Class, Weight};

    #[test]
    fn what_was_set_is_taken_back_by_whoever_may() {
        let low = SchedAttrPatch {
            class: Some(Class::Low),
            weight: Some(Weight::MIN),
            slo_p99: None,
        };
        let (root, user) = (Right::Full, Right::Lower { uid: 1000 });
        let mut given = Given::default();
        given.change(low, ChangeWay::Run, root, "root".into());
        given.change(low, ChangeWay::Set, root, "root".into());
        given.change(low, ChangeWay::Set, user, "ann".into());
        let before = given.clone();
        given.unset(&Attr::ALL, Right::Lower { uid: 7 }, "eve".into());
        assert_eq!(given, before, "nothing of hers");
        given.unset(&[Attr::Class], user, "ann".into());
        assert_eq!(given.set, low, "root's stays");
        let lowered = given.lowered.expect("the weight is left").attr;
        assert_eq!((lowered.class, lowered.weight), (None, Some(Weight::MIN)));
        given.unset(&Attr::ALL, root, "root".into());
        assert_eq!(
            (given.set, given.lowered),
            (SchedAttrPatch::default(), None)
        );
        assert_eq!((given.run, given.is_empty()), (low, false));
        given.run = SchedAttrPatch::default();
        assert!(given.is_empty());
    }

    #[test]
    fn full_rights_replace_what_the_user_lowered() {
        let class = |class| SchedAttrPatch {
            class: Some(class),
            ..SchedAttrPatch::default()
        };
        let mut given = Given::default();
        let user = Right::Lower { uid: 1000 };
        let low = SchedAttrPatch {
            weight: Some(Weight::MIN),
            ..class(Class::Low)
        };
        given.change(low, ChangeWay::Set, user, "ann".into());
        assert_eq!(given.lowered.expect("lowered").attr, low);
        given.change(
            class(Class::High),
            ChangeWay::Set,
            Right::Full,
            "root".into(),
        );
        let lowered = given.lowered.expect("the weight is left").attr;
        assert_eq!((lowered.class, lowered.weight), (None, Some(Weight::MIN)));
        assert_eq!(given.set, class(Class::High));
        let other = Right::Lower { uid: 7 };
        given.change(class(Class::Low), ChangeWay::Run, other, "eve".into());
        assert_eq!(given.lowered.expect("eve's").attr, class(Class::Low));
    }
}
