//! The keys in force.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent};

use super::key::has_ctrl_or_alt;
use super::{Key, KeyContext, NoKey, table};
use crate::action::Action;

/// Keys that do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Any of these.
    pub keys: Vec<Key>,
    /// What they do.
    pub action: Action,
    /// The word in the footer, if it is there.
    pub footer: Option<&'static str>,
    /// The line in the help, if it is there.
    pub help: Option<&'static str>,
    name: &'static str,
}

/// What each key does in each place.
#[derive(Clone, Debug)]
pub struct Keymap(Vec<(KeyContext, Vec<Binding>)>);

/// Why keys cannot be mapped so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeymapError {
    /// There is no such action.
    #[error("no action '{name}': use one of {}", Keymap::names().join(", "))]
    NoAction {
        /// What was written.
        name: String,
    },
    /// There is no such key.
    #[error("keys of {name}: {source}")]
    NoKey {
        /// The action.
        name: String,
        /// What is wrong.
        source: NoKey,
    },
    /// One key for two actions.
    #[error("key {key} would mean both {first} and {second}: give one of them other keys")]
    Twice {
        /// The key.
        key: Key,
        /// One action.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// There would be no way out.
    #[error("{name} needs a key")]
    NoWayOut {
        /// The action.
        name: &'static str,
    },
}

impl Default for Keymap {
    fn default() -> Keymap {
        let shown = |text: &'static str| (!text.is_empty()).then_some(text);
        let bindings = |place| {
            let rows = table::rows(place);
            rows.map(|row| Binding {
                keys: row.keys.to_vec(),
                action: row.action,
                footer: shown(row.footer),
                help: shown(row.help),
                name: row.name,
            })
            .collect()
        };
        Keymap(
            KeyContext::ALL
                .map(|place| (place, bindings(place)))
                .to_vec(),
        )
    }
}

impl Keymap {
    /// The default keys, with those of some actions replaced by others.
    pub fn with(own: &BTreeMap<String, Vec<String>>) -> Result<Keymap, KeymapError> {
        let mut map = Keymap::default();
        for (name, keys) in own {
            let parse = |key: &String| {
                key.parse::<Key>().map_err(|source| KeymapError::NoKey {
                    name: name.clone(),
                    source,
                })
            };
            let keys: Vec<Key> = keys.iter().map(parse).collect::<Result<_, _>>()?;
            let mut found = false;
            let all = map.0.iter_mut().flat_map(|(_, bindings)| bindings);
            for binding in all.filter(|b| !b.name.is_empty() && b.name == name) {
                binding.keys.clone_from(&keys);
                found = true;
            }
            if !found {
                return Err(KeymapError::NoAction { name: name.clone() });
            }
        }
        map.check()?;
        Ok(map)
    }

    /// The names of actions whose keys can be changed.
    pub fn names() -> Vec<&'static str> {
        let mut names: Vec<&'static str> = KeyContext::ALL
            .into_iter()
            .flat_map(table::rows)
            .map(|row| row.name)
            .filter(|name| !name.is_empty())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn check(&self) -> Result<(), KeymapError> {
        for (_, bindings) in &self.0 {
            let mut seen: Vec<(Key, &'static str)> = Vec::new();
            for binding in bindings {
                if binding.keys.is_empty() && matches!(binding.name, "quit" | "keep" | "give-up") {
                    return Err(KeymapError::NoWayOut { name: binding.name });
                }
                for &key in &binding.keys {
                    if let Some(&(_, first)) = seen.iter().find(|(k, _)| *k == key) {
                        let second = binding.name;
                        return Err(KeymapError::Twice { key, first, second });
                    }
                    seen.push((key, binding.name));
                }
            }
        }
        Ok(())
    }

    /// The keys of `place`, in the order of the footer.
    pub fn bindings(&self, place: KeyContext) -> &[Binding] {
        let found = self.0.iter().find(|(p, _)| *p == place);
        found.map_or(&[], |(_, bindings)| bindings)
    }

    /// What the help lists: each line once.
    pub fn help(&self) -> Vec<&Binding> {
        let mut lines: Vec<&Binding> = Vec::new();
        for binding in self.0.iter().flat_map(|(_, bindings)| bindings) {
            if binding.help.is_some() && !lines.iter().any(|line| line.help == binding.help) {
                lines.push(binding);
            }
        }
        lines
    }

    /// What `event` does in `place`.
    pub fn action(&self, place: KeyContext, event: KeyEvent) -> Option<Action> {
        let bound = self
            .bindings(place)
            .iter()
            .find(|binding| binding.keys.iter().any(|key| key.matches(event)))
            .map(|binding| binding.action);
        match (bound, place, event.code) {
            (None, KeyContext::Filter | KeyContext::Entry, KeyCode::Char(c))
                if !has_ctrl_or_alt(event) =>
            {
                Some(Action::Type(c))
            }
            (bound, ..) => bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;
    use crate::action::Screen;

    const BROWSE: KeyContext = KeyContext::Screen(Screen::Processes);

    fn own(name: &str, keys: &[&str]) -> BTreeMap<String, Vec<String>> {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        BTreeMap::from([(name.to_owned(), keys)])
    }

    #[test]
    fn no_key_means_two_things_and_there_is_a_way_out() {
        let map = Keymap::default();
        assert_eq!(map.check(), Ok(()));
        for place in KeyContext::ALL {
            let all = map.bindings(place).iter().flat_map(|b| &b.keys);
            assert!(all.copied().any(|key| key == Key::Ctrl('c')), "{place:?}");
        }
    }

    #[test]
    fn letters_are_text_while_a_filter_is_typed() {
        let map = Keymap::default();
        let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(map.action(KeyContext::Filter, q), Some(Action::Type('q')));
        assert_eq!(map.action(BROWSE, q), Some(Action::Quit));
        let alt = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(map.action(KeyContext::Filter, alt), None);
        assert_eq!(map.action(BROWSE, alt), None);
    }

    #[test]
    fn keys_can_be_replaced() {
        let map = Keymap::with(&own("quit", &["Q", "F10"])).expect("a keymap");
        let press = |code| map.action(BROWSE, KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(press(KeyCode::F(10)), Some(Action::Quit));
        assert_eq!(press(KeyCode::Char('q')), None);
        let help = map.help();
        let quit = help.iter().find(|b| b.action == Action::Quit);
        assert_eq!(quit.expect("in the help").keys[0].to_string(), "Q");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |name, keys| {
            Keymap::with(&own(name, keys))
                .expect_err("wrong")
                .to_string()
        };
        assert!(error("quid", &["q"]).contains("no action 'quid': use one of agent, back"));
        assert!(error("quit", &["Hyper-q"]).contains("keys of quit: no key 'Hyper-q'"));
        assert!(error("quit", &["j"]).contains("key j would mean both quit and down"));
        assert!(error("quit", &[]).contains("quit needs a key"));
    }
}
