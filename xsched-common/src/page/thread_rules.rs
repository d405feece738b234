//! Which threads of a process have classes of their own, by their names: in
//! the control page.
//!
//! Since ABI 1.6, in space that older agents leave zero (no thread has) and
//! older shims do not read.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::units::Class;

/// Rules that a page has room for.
pub const MAX_THREAD_RULES: usize = 15;
/// Bytes of a pattern: as long as a thread's name may be.
pub const THREAD_PATTERN_LEN: usize = 15;

/// Agent-written, at any time; read by the shim when a thread launches for the
/// first time, has another name or finds the generation changed.
#[repr(C)]
pub struct ThreadRules {
    /// Changes with every write; zero while nothing was written.
    generation: AtomicU32,
    /// A [`HintPolicy`].
    hints: AtomicU32,
    /// [`Ceilings`], as classes plus one: no shim reads them, but what the agent
    /// grants changes with them, and so does the generation.
    ceilings: [AtomicU32; 2],
    /// [`THREAD_PATTERN_LEN`] bytes of pattern and, behind them, the class plus
    /// one; zero behind the last.
    rules: [[AtomicU64; 2]; MAX_THREAD_RULES],
}

const _: () = assert!(size_of::<ThreadRules>() == 256);

/// Up to where the agent grants what threads want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// The highest class that a hint gives.
    pub of_hints: Option<Class>,
    /// The highest class that any thread gets.
    pub of_all: Option<Class>,
}

/// What hints of a program may do; the agent sees to it, whatever a shim does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "api", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[repr(u32)]
pub enum HintPolicy {
    /// Lower the class of threads and streams below the process's own.
    #[default]
    Lower = 0,
    /// Raise it as well, up to the highest class that a rule gives the process
    /// or one of its threads.
    Within = 1,
    /// Nothing.
    Off = 2,
}

impl HintPolicy {
    /// All of them.
    pub const ALL: [HintPolicy; 3] = [HintPolicy::Lower, HintPolicy::Within, HintPolicy::Off];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            HintPolicy::Lower => "lower",
            HintPolicy::Within => "within",
            HintPolicy::Off => "off",
        }
    }

    const fn from_raw(raw: u32) -> HintPolicy {
        match raw {
            1 => HintPolicy::Within,
            2 => HintPolicy::Off,
            _ => HintPolicy::Lower,
        }
    }
}

/// A pattern for names of threads: `*` stands for anything, `?` for one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadPattern {
    bytes: [u8; THREAD_PATTERN_LEN],
    len: u8,
}

/// A text that is no [`ThreadPattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadThreadPattern;

impl core::fmt::Display for BadThreadPattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "a pattern for a thread's name has 1 to {THREAD_PATTERN_LEN} bytes, as the name has; * and ? are special in it"
        )
    }
}

impl core::error::Error for BadThreadPattern {}

impl core::str::FromStr for ThreadPattern {
    type Err = BadThreadPattern;

    fn from_str(text: &str) -> Result<ThreadPattern, BadThreadPattern> {
        let mut bytes = [0; THREAD_PATTERN_LEN];
        let len = text.len();
        let has_room = (1..=THREAD_PATTERN_LEN).contains(&len);
        if !has_room || text.bytes().any(|byte| byte < b' ') || text.starts_with("re:") {
            return Err(BadThreadPattern);
        }
        bytes[..len].copy_from_slice(text.as_bytes());
        let len = len as u8;
        Ok(ThreadPattern { bytes, len })
    }
}

impl ThreadPattern {
    /// As it was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether a thread of this name is meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        glob(self.bytes(), name)
    }

    fn pack(self, class: Class) -> [u64; 2] {
        let mut raw = [0; 16];
        raw[..THREAD_PATTERN_LEN].copy_from_slice(&self.bytes);
        raw[THREAD_PATTERN_LEN] = class as u8 + 1;
        let (low, high) = raw.split_at(8);
        [low, high].map(|half| half.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn unpack(raw: [u64; 2]) -> Option<(ThreadPattern, Class)> {
        let [low, high] = raw.map(u64::to_le_bytes);
        let mut bytes = [0; THREAD_PATTERN_LEN];
        bytes[..8].copy_from_slice(&low);
        bytes[8..].copy_from_slice(&high[..7]);
        let class = Class::from_raw(high[7].checked_sub(1)?)?;
        let len = bytes.iter().position(|byte| *byte == 0);
        let len = len.unwrap_or(THREAD_PATTERN_LEN) as u8;
        Some((ThreadPattern { bytes, len }, class))
    }
}

/// Greedy, with one place to go back to: linear for patterns of this length.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, matched)) = star else {
                    return false;
                };
                star = Some((at, matched + 1));
                (p, n) = (at + 1, matched + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

impl ThreadRules {
    /// None; all bytes zero.
    pub const fn new() -> ThreadRules {
        ThreadRules {
            generation: AtomicU32::new(0),
            hints: AtomicU32::new(0),
            ceilings: [const { AtomicU32::new(0) }; 2],
            rules: [const { [const { AtomicU64::new(0) }; 2] }; MAX_THREAD_RULES],
        }
    }

    /// Replaces the rules, those beyond the page's room left out, and what
    /// hints may do. Only the agent calls this, from one thread; a reader that
    /// meets it finds the generation changed afterwards.
    pub fn write(&self, rules: &[(ThreadPattern, Class)], hints: HintPolicy, ceilings: Ceilings) {
        let packed = rules.iter().map(|(pattern, class)| pattern.pack(*class));
        let packed = packed.chain(core::iter::repeat([0; 2]));
        let mut changed = self.hints.swap(hints as u32, Relaxed) != hints as u32;
        let Ceilings { of_hints, of_all } = ceilings;
        for (to, from) in self.ceilings.iter().zip([of_hints, of_all]) {
            let raw = from.map_or(0, |class| class as u32 + 1);
            changed |= to.swap(raw, Relaxed) != raw;
        }
        for (to, from) in self.rules.iter().zip(packed) {
            for (to, from) in to.iter().zip(from) {
                changed |= to.swap(from, Relaxed) != from;
            }
        }
        if changed {
            self.generation.fetch_add(1, Release);
        }
    }

    /// Changes with every write.
    pub fn generation(&self) -> u32 {
        self.generation.load(Acquire)
    }

    /// What hints may do.
    pub fn hints(&self) -> HintPolicy {
        HintPolicy::from_raw(self.hints.load(Relaxed))
    }

    /// Whether no thread is meant by its name.
    pub fn is_empty(&self) -> bool {
        self.rules[0][1].load(Relaxed) == 0
    }

    /// The class of a thread of this name by the first rule that means it.
    /// Reads any bytes without harm.
    pub fn class_of(&self, name: &[u8]) -> Option<Class> {
        self.rules
            .iter()
            .map_while(|raw| ThreadPattern::unpack(raw.each_ref().map(|half| half.load(Relaxed))))
            .find(|(pattern, _)| pattern.matches(name))
            .map(|(_, class)| class)
    }
}

impl Default for ThreadRules {
    fn default() -> ThreadRules {
        ThreadRules::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn pattern(text: &str) -> ThreadPattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn patterns_cover_the_whole_name() {
        let means = |text: &str, name: &str| pattern(text).matches(name.as_bytes());
        assert!(means("train*", "train-7") && means("train*", "train"));
        assert!(!means("train", "train-7") && !means("train*", "a train"));
        assert!(means("*", "") && means("*-?", "io-7") && !means("*-?", "io-"));
        assert!(means("*a*b*", "xxaxxbxx") && !means("*a*b*", "xxbxxaxx"));
        assert!(means("pt_data_worker*", "pt_data_worker"));
        for bad in ["", "sixteen-bytes-xx", "re:train", "a\nb"] {
            assert_eq!(bad.parse::<ThreadPattern>(), Err(BadThreadPattern), "{bad}");
        }
    }

    #[test]
    fn the_first_rule_that_means_a_name_counts() {
        let rules = ThreadRules::new();
        assert!(rules.is_empty() && rules.class_of(b"train").is_none());
        let all = [
            (pattern("serve"), Class::Realtime),
            (pattern("*"), Class::Low),
        ];
        rules.write(&all, HintPolicy::Within, Ceilings::default());
        assert_eq!((rules.generation(), rules.hints()), (1, HintPolicy::Within));
        rules.write(&all, HintPolicy::Within, Ceilings::default());
        assert_eq!(rules.generation(), 1, "nothing is new");
        let ceilings = Ceilings {
            of_all: Some(Class::Normal),
            ..Ceilings::default()
        };
        rules.write(&all, HintPolicy::Within, ceilings);
        assert_eq!(rules.generation(), 2, "others are granted");
        assert_eq!(rules.class_of(b"serve"), Some(Class::Realtime));
        assert_eq!(rules.class_of(b"server"), Some(Class::Low));
        let many: Vec<_> = core::iter::repeat_n((pattern("x"), Class::High), 99).collect();
        rules.write(&many, HintPolicy::Off, Ceilings::default());
        assert_eq!(rules.class_of(b"y"), None);
        rules.write(&[], HintPolicy::Off, Ceilings::default());
        assert!(rules.is_empty() && rules.generation() == 4);
    }

    proptest! {
        #[test]
        fn rules_are_read_as_written(text in "[!-~]{1,15}", raw in 0u8..4) {
            prop_assume!(!text.starts_with("re:"));
            let class = Class::from_raw(raw).expect("a class");
            let unpacked = ThreadPattern::unpack(pattern(&text).pack(class));
            prop_assert_eq!(unpacked, Some((pattern(&text), class)));
        }

        #[test]
        fn any_bytes_are_rules(raw: [[u64; 2]; MAX_THREAD_RULES], name: Vec<u8>) {
            let rules = ThreadRules::new();
            for (to, from) in rules.rules.iter().zip(raw) {
                to[0].store(from[0], Relaxed);
                to[1].store(from[1], Relaxed);
            }
            let _ = rules.class_of(&name);
        }

        /// Against a matcher that tries everything.
        #[test]
        fn globs_are_what_they_are_everywhere(text in "[ab*?]{1,8}", name in "[ab]{0,8}") {
            fn slow(p: &[u8], n: &[u8]) -> bool {
                match p.split_first() {
                    None => n.is_empty(),
                    Some((b'*', rest)) => (0..=n.len()).any(|at| slow(rest, &n[at..])),
                    Some((b'?', rest)) => !n.is_empty() && slow(rest, &n[1..]),
                    Some((byte, rest)) => n.first() == Some(byte) && slow(rest, &n[1..]),
                }
            }
            let text: String = text;
            prop_assert_eq!(
                pattern(&text).matches(name.as_bytes()),
                slow(text.as_bytes(), name.as_bytes())
            );
        }
    }
}
