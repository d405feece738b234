//! What a workload asks for: a pod by annotations or labels, a job by its
//! comment. Whoever may create one writes this, so it is a wish: rules say how
//! far it is heard (`may_ask`), and by itself it only lowers.

use std::collections::BTreeMap;

use xsched_common::units::{Class, Nanos, Weight};

/// A target beyond this is none.
const LONGEST_TARGET: Nanos = Nanos::from_secs(3600);

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// A class.
    pub class: Option<Class>,
    /// A weight.
    pub weight: Option<Weight>,
    /// A P99 to reach; zero asks for none.
    pub slo_p99: Option<Nanos>,
    /// What cannot be understood, for people.
    pub unclear: Vec<String>,
}

impl Asks {
    /// The keys in annotations and labels.
    const CLASS: &str = "xsched.io/class";
    const WEIGHT: &str = "xsched.io/weight";
    const TARGET: &str = "xsched.io/slo-p99";

    /// Of a pod; annotations come before labels.
    pub(super) fn of_pod(
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Asks {
        let mut asks = Asks::default();
        for key in [Asks::CLASS, Asks::WEIGHT, Asks::TARGET] {
            if let Some(value) = annotations.get(key).or_else(|| labels.get(key)) {
                asks.take(key, value);
            }
        }
        asks
    }

    /// Of words such as `low` or `weight=50`, as a job's comment has them.
    pub(super) fn of_words<'w>(words: impl Iterator<Item = &'w str>) -> Asks {
        let mut asks = Asks::default();
        for word in words {
            match word.split_once('=') {
                Some(("weight", value)) => asks.take(Asks::WEIGHT, value),
                Some(("slo-p99", value)) => asks.take(Asks::TARGET, value),
                Some(("class", value)) => asks.take(Asks::CLASS, value),
                _ => asks.take(Asks::CLASS, word),
            }
        }
        asks
    }

    fn take(&mut self, key: &str, value: &str) {
        let understood = match key {
            Asks::CLASS => set(&mut self.class, value.parse().ok()),
            Asks::WEIGHT => {
                let weight = value.parse().ok().and_then(|n| Weight::new(n).ok());
                set(&mut self.weight, weight)
            }
            _ => set(&mut self.slo_p99, target(value)),
        };
        if !understood && self.unclear.len() < 3 {
            let value: String = value.chars().take(40).collect();
            self.unclear.push(format!("{key} = {value:?}"));
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Asks::default()
    }
}

fn set<T>(to: &mut Option<T>, value: Option<T>) -> bool {
    let is_one = value.is_some();
    *to = value.or(to.take());
    is_one
}

fn target(text: &str) -> Option<Nanos> {
    if text == "none" {
        return Some(Nanos::ZERO);
    }
    let time = humantime::parse_duration(text).ok()?;
    let time = Nanos(u64::try_from(time.as_nanos()).ok()?);
    (Nanos(1_000)..=LONGEST_TARGET)
        .contains(&time)
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn annotations_come_before_labels() {
        let annotations = map(&[("xsched.io/class", "low"), ("xsched.io/slo-p99", "30ms")]);
        let labels = map(&[("xsched.io/class", "high"), ("xsched.io/weight", "300")]);
        let asks = Asks::of_pod(&annotations, &labels);
        assert_eq!(asks.class, Some(Class::Low));
        assert_eq!(asks.weight, Weight::new(300).ok());
        assert_eq!(asks.slo_p99, Some(Nanos::from_millis(30)));
        assert!(asks.unclear.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_said_and_asks_nothing() {
        let annotations = map(&[
            ("xsched.io/class", "urgent\n"),
            ("xsched.io/weight", "0"),
            ("xsched.io/slo-p99", "2h"),
        ]);
        let asks = Asks::of_pod(&annotations, &BTreeMap::new());
        assert_eq!((asks.class, asks.weight, asks.slo_p99), (None, None, None));
        assert_eq!(asks.unclear.len(), 3);
        assert_eq!(asks.unclear[0], r#"xsched.io/class = "urgent\n""#);
    }

    #[test]
    fn words_of_a_comment() {
        let asks = Asks::of_words("low weight=50 slo-p99=none".split(' '));
        assert_eq!(asks.class, Some(Class::Low));
        assert_eq!(asks.weight, Weight::new(50).ok());
        assert_eq!(asks.slo_p99, Some(Nanos::ZERO));
        assert!(Asks::of_words("".split_whitespace()).is_empty());
    }

    proptest! {
        #[test]
        fn any_words_are_read(text in "\\PC{0,80}") {
            let asks = Asks::of_words(text.split(' '));
            prop_assert!(asks.unclear.len() <= 3);
        }
    }
}
