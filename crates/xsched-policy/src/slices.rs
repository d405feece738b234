//! Time slices: how long a device goes on with one process's work before it
//! turns to the next one's, where the driver lets that be said from outside.
//!
//! A slice bounds what no gate can: a kernel that is on the device already,
//! and the work of programs that have no gate. It gives nobody more than its
//! turn: a device with one runnable process runs it whatever its slice is.

use std::cmp::Ordering;
use std::fmt;

use xsched_common::units::{Class, Nanos};

use crate::OverrideKind;

/// Low work beside a higher class. On an H200 a service that waits 40 times
/// per request takes 21.4 ms with it, 20.3 ms with 1 us, 23.6 with 100 us and
/// 100 with the driver's own 2,048 us, and the batch beside it makes 83 to 85
/// iterations/s with each. Beside normal work, whose slice is the driver's, it
/// leaves about 1% of the device, as gates do.
pub const SHORT: Nanos = Nanos::from_micros(30);

/// The same where several such processes are at work: they take turns with
/// each other, too, and a turn costs 0.17 ms beside its slice. Two batches
/// keep nine tenths of what they make with the driver's own.
pub const SHARED: Nanos = Nanos::from_millis(1);

/// The highest class, alone in it, beside lower ones: its own work is not
/// interrupted for their turns. Longer requests than this are rare, and a
/// lower class waits for it at most this long.
pub const LONG: Nanos = Nanos::from_millis(100);

/// All that are ever set.
pub const LENGTHS: [Nanos; 3] = [SHORT, SHARED, LONG];

/// A process that has work on one device now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceUser {
    /// The highest class of its parts.
    pub class: Class,
    /// Whether parts of it have lower ones.
    pub parts: Parts,
    /// A boost or suspension in force.
    pub hold: Option<OverrideKind>,
    /// Whether it has launched anything of late.
    pub activity: Activity,
    /// What bounds its work beside a higher class without a slice.
    pub bounded: Bounded,
    /// Whether its slice is to be set at all.
    pub choice: SliceChoice,
}

/// Whether all of a process's work has one class: a slice is the process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// One.
    Alike,
    /// Threads or streams of it that have launched are in a lower one.
    Mixed,
}

/// What bounds what a process has on the device when a higher class arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Its gate: K T is below the budget. It drains sooner than turns are
    /// taken: on an H200 a turn costs 0.17 ms beside the slice, and a batch of
    /// 60 us kernels with a gate and short slices made 87 iterations/s where
    /// it made 99 with the gate alone, for the same latencies beside it.
    ByGate,
    /// Nothing: it has no gate, or its kernels are long.
    ByNothing,
}

/// Whether a process uses the device at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It has launched work in the last seconds.
    AtWork,
    /// It only could. Its class counts all the same: its next request is not
    /// to find the slices of a device that it does not use.
    Idle,
}

/// Whether a process's slice may be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SliceChoice {
    /// By its class.
    #[default]
    ByClass,
    /// It keeps the driver's.
    Leave,
}

/// What a process's slice should be, and so why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// The driver's own: it is not to be set.
    Left,
    /// The driver's own: nobody else uses the device.
    Alone,
    /// The driver's own: nobody has a lower class, or another process at work
    /// has the same one, whose turn must not wait for a long slice.
    Equal,
    /// The driver's own: lower parts of it would have the long slice, too.
    Mixed,
    /// The driver's own: its gate bounds it already.
    Gated,
    /// The driver's own: normal work is what drivers make theirs for.
    Normal,
    /// [`SHORT`]: a higher class is on the device.
    Below,
    /// [`SHARED`]: the same, and others of its class are at work.
    BelowWithOthers,
    /// [`LONG`]: there are lower classes, no higher one, and nobody else of
    /// this one is at work.
    Above,
}

impl Slice {
    /// Its length; `None` for the driver's own.
    pub const fn length(self) -> Option<Nanos> {
        match self {
            Slice::Left
            | Slice::Alone
            | Slice::Equal
            | Slice::Mixed
            | Slice::Gated
            | Slice::Normal => None,
            Slice::Below => Some(SHORT),
            Slice::BelowWithOthers => Some(SHARED),
            Slice::Above => Some(LONG),
        }
    }
}

impl fmt::Display for Slice {
    /// Why, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slice::Left => "the configuration leaves its slice alone",
            Slice::Alone => "nobody else uses this device",
            Slice::Equal => "no lower class is on this device, or others of its own are at work",
            Slice::Mixed => "parts of it have a lower class",
            Slice::Gated => "its gate bounds its short kernels",
            Slice::Normal => "normal work keeps the driver's slice",
            Slice::Below => "a higher class is on this device",
            Slice::BelowWithOthers => {
                "a higher class is on this device, and others of its own are at work"
            }
            Slice::Above => "only lower classes are at work beside it",
        })
    }
}

/// What the slices of one device's users should be, in their order.
pub fn slices(users: &[SliceUser]) -> Vec<Slice> {
    let of = |at: usize, user: &SliceUser| match user.choice {
        SliceChoice::Leave => Slice::Left,
        SliceChoice::ByClass => slice(at, users),
    };
    users
        .iter()
        .enumerate()
        .map(|(at, user)| of(at, user))
        .collect()
}

fn slice(at: usize, all: &[SliceUser]) -> Slice {
    let own = Rank::of(all[at]);
    let others = all.iter().enumerate().filter(|(other, _)| *other != at);
    let (mut above, mut below, mut equal) = (false, false, false);
    for (_, other) in others {
        match Rank::of(*other).cmp(&own) {
            Ordering::Greater => above = true,
            Ordering::Less => below = true,
            Ordering::Equal => equal |= other.activity == Activity::AtWork,
        }
    }
    match own {
        _ if all.len() <= 1 => Slice::Alone,
        Rank::Low if above => match all[at].bounded {
            Bounded::ByGate => Slice::Gated,
            Bounded::ByNothing if equal => Slice::BelowWithOthers,
            Bounded::ByNothing => Slice::Below,
        },
        Rank::Normal => Slice::Normal,
        Rank::High | Rank::Realtime | Rank::Boosted if !above && below && !equal => {
            match all[at].parts {
                Parts::Alike => Slice::Above,
                Parts::Mixed => Slice::Mixed,
            }
        }
        Rank::Low | Rank::High | Rank::Realtime | Rank::Boosted => Slice::Equal,
    }
}

/// Lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A suspended process is not stopped by this, only least in the way.
    Low,
    Normal,
    High,
    Realtime,
    Boosted,
}

impl Rank {
    fn of(user: SliceUser) -> Rank {
        match (user.hold, user.class) {
            (Some(OverrideKind::Boosted), _) => Rank::Boosted,
            (Some(OverrideKind::Suspended), _) | (None, Class::Low) => Rank::Low,
            (None, Class::Normal) => Rank::Normal,
            (None, Class::High) => Rank::High,
            (None, Class::Realtime) => Rank::Realtime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(class: Class) -> SliceUser {
        SliceUser {
            class,
            parts: Parts::Alike,
            hold: None,
            activity: Activity::AtWork,
            bounded: Bounded::ByNothing,
            choice: SliceChoice::ByClass,
        }
    }

    fn decided(classes: &[Class]) -> Vec<Slice> {
        let users: Vec<_> = classes.iter().copied().map(of).collect();
        slices(&users)
    }

    #[test]
    fn whoever_is_alone_keeps_the_driver_s() {
        for class in Class::ALL {
            assert_eq!(decided(&[class]), [Slice::Alone], "{class}");
        }
    }

    #[test]
    fn low_work_is_short_only_beside_higher() {
        use Class::{High, Low, Normal, Realtime};
        assert_eq!(decided(&[Low, Low]), [Slice::Equal, Slice::Equal]);
        for above in [Normal, High, Realtime] {
            assert_eq!(decided(&[Low, above])[0], Slice::Below, "{above}");
        }
        assert_eq!(decided(&[Normal, Realtime]), [Slice::Normal, Slice::Above]);
    }

    #[test]
    fn low_work_that_takes_turns_with_its_like_has_longer_ones() {
        use Class::{High, Low};
        let both = decided(&[Low, High, Low]);
        let with_others = Slice::BelowWithOthers;
        assert_eq!(both, [with_others, Slice::Above, with_others]);
        let idle = SliceUser {
            activity: Activity::Idle,
            ..of(Low)
        };
        let one = slices(&[of(Low), of(High), idle]);
        assert_eq!(one, [Slice::Below, Slice::Above, with_others]);
    }

    #[test]
    fn short_kernels_behind_a_gate_need_no_short_slice() {
        let gated = SliceUser {
            bounded: Bounded::ByGate,
            ..of(Class::Low)
        };
        let decided = slices(&[gated, of(Class::High)]);
        assert_eq!(decided, [Slice::Gated, Slice::Above]);
    }

    #[test]
    fn two_equal_services_take_turns_as_the_driver_has_it() {
        use Class::{High, Low, Realtime};
        let two = decided(&[High, High, Low]);
        assert_eq!(two, [Slice::Equal, Slice::Equal, Slice::Below]);
        let idle = SliceUser {
            activity: Activity::Idle,
            ..of(High)
        };
        let spare = slices(&[of(High), idle, of(Low)]);
        assert_eq!(spare, [Slice::Above, Slice::Equal, Slice::Below]);
        let beneath = decided(&[High, Realtime, Low]);
        assert_eq!(beneath, [Slice::Equal, Slice::Above, Slice::Below]);
    }

    #[test]
    fn a_long_slice_is_for_no_trainer_in_a_server() {
        let mixed = SliceUser {
            parts: Parts::Mixed,
            ..of(Class::High)
        };
        let decided = slices(&[mixed, of(Class::Low)]);
        assert_eq!(decided, [Slice::Mixed, Slice::Below]);
    }

    #[test]
    fn boosts_and_suspensions_come_before_classes() {
        let boosted = SliceUser {
            hold: Some(OverrideKind::Boosted),
            ..of(Class::Low)
        };
        let suspended = SliceUser {
            hold: Some(OverrideKind::Suspended),
            ..of(Class::High)
        };
        let slices = slices(&[boosted, suspended, of(Class::Realtime)]);
        assert_eq!(slices, [Slice::Above, Slice::Below, Slice::Equal]);
    }

    proptest! {
        #[test]
        fn who_is_to_be_left_is_left_and_still_counts(classes in prop::collection::vec(0u8..4, 1..9), left in 0usize..9) {
            let mut users: Vec<_> = classes
                .iter()
                .map(|raw| of(Class::from_raw(*raw).expect("a class")))
                .collect();
            let before = slices(&users);
            let left = left % users.len();
            users[left].choice = SliceChoice::Leave;
            let after = slices(&users);
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                prop_assert_eq!(*after, if at == left { Slice::Left } else { *before });
            }
            prop_assert!(before.iter().filter(|slice| **slice == Slice::Above).count() <= 1);
        }
    }
}
