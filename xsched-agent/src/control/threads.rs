//! Classes of single threads and streams of a process: by rule, and as far as
//! the program's own hints go.

use std::fmt;

use xsched_common::handshake::{Origin, Wish};
use xsched_common::page::{HintPolicy, ThreadPattern};
use xsched_common::units::Class;

/// What a process's threads and streams may have for classes beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadClasses {
    /// By the threads' names, the first that matches.
    pub rules: Vec<(ThreadPattern, Class)>,
    /// What the program's hints may do.
    pub hints: HintPolicy,
    /// With [`HintPolicy::Within`]: the highest class that a hint gives.
    pub hints_up_to: Option<Class>,
}

impl ThreadClasses {
    /// The class that a group gets which wants `wish`, in a process of class
    /// `own`. Whoever says that a rule wants it may lie, and gains what renaming a
    /// thread would have brought.
    pub fn granted(&self, own: Class, wish: Wish) -> Class {
        let ruled = self.rules.iter().map(|(_, class)| *class);
        match wish.origin {
            Origin::Rule if ruled.clone().any(|class| class == wish.class) => wish.class,
            Origin::Rule => own,
            Origin::Hint => match self.hints {
                // A shim asks so only for a thread of which no rule speaks, or
                // one that gives more than is asked for.
                HintPolicy::Off => ruled
                    .filter(|rule| *rule > wish.class)
                    .fold(own, Class::min),
                HintPolicy::Lower => wish.class.min(own),
                HintPolicy::Within => {
                    let most = ruled.chain(self.hints_up_to).fold(own, Class::max);
                    wish.class.min(most)
                }
            },
        }
    }

    /// The highest class that a thread may get by it.
    pub fn highest(&self) -> Option<Class> {
        let ruled = self.rules.iter().map(|(_, class)| *class);
        let hinted = self
            .hints_up_to
            .filter(|_| self.hints == HintPolicy::Within);
        ruled.chain(hinted).max()
    }
}

impl fmt::Display for ThreadClasses {
    /// For people: `train*: low; hints lower`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pattern, class) in &self.rules {
            let name = String::from_utf8_lossy(pattern.bytes());
            write!(f, "{name}: {class}; ")?;
        }
        match (self.hints, self.hints_up_to) {
            (HintPolicy::Lower, _) => f.write_str("hints lower"),
            (HintPolicy::Within, Some(class)) => write!(f, "hints raise up to {class}"),
            (HintPolicy::Within, None) => f.write_str("hints raise up to what the rule gives"),
            (HintPolicy::Off, _) => f.write_str("hints do nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{High, Low, Normal, Realtime};

    fn hint(class: Class) -> Wish {
        Wish {
            class,
            origin: Origin::Hint,
        }
    }

    fn rule(class: Class) -> Wish {
        Wish {
            class,
            origin: Origin::Rule,
        }
    }

    #[test]
    fn hints_lower_and_raise_up_to_what_a_rule_allows() {
        let lower = ThreadClasses::default();
        assert_eq!(lower.granted(Normal, hint(Low)), Low);
        assert_eq!(lower.granted(Normal, hint(Realtime)), Normal);
        assert_eq!(lower.granted(Low, hint(Normal)), Low);
        assert_eq!(lower.granted(Normal, rule(High)), Normal, "there is none");
        let off = ThreadClasses {
            hints: HintPolicy::Off,
            ..ThreadClasses::default()
        };
        assert_eq!(off.granted(Normal, hint(Low)), Normal);
        // There are shims that ask by hint although hints are off.
        let ruled = |class| ThreadClasses {
            rules: vec![("serve".parse().expect("a pattern"), class)],
            ..off.clone()
        };
        assert_eq!(ruled(Normal).granted(High, hint(Low)), Normal, "the rule's");
        assert_eq!(ruled(Low).granted(High, hint(Low)), High, "of no rule");
        assert_eq!(ruled(Realtime).granted(High, hint(Low)), High);
        let within = ThreadClasses {
            hints: HintPolicy::Within,
            hints_up_to: Some(High),
            ..ThreadClasses::default()
        };
        assert_eq!(within.granted(Normal, hint(Realtime)), High);
        assert_eq!(within.granted(Normal, hint(Low)), Low);
        assert_eq!(within.granted(Realtime, hint(Realtime)), Realtime);
    }

    #[test]
    fn a_rule_gives_what_it_says_and_nothing_else() {
        let train = "train*".parse().expect("a pattern");
        let serve = "serve".parse().expect("a pattern");
        let threads = ThreadClasses {
            rules: vec![(train, Low), (serve, High)],
            ..ThreadClasses::default()
        };
        assert_eq!(threads.granted(Normal, rule(Low)), Low);
        assert_eq!(threads.granted(Normal, rule(High)), High);
        assert_eq!(threads.granted(Normal, rule(Realtime)), Normal);
        assert_eq!(threads.granted(Normal, hint(High)), Normal, "hints lower");
        assert_eq!(threads.highest(), Some(High));
        let within = ThreadClasses {
            hints: HintPolicy::Within,
            ..threads
        };
        assert_eq!(within.granted(Normal, hint(Realtime)), High);
    }
}
