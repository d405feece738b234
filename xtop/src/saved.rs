//! What the user chose and finds again: columns, order, interval, screen. Not
//! the configuration, which is the user's to write.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Screen;
use crate::column::{Column, Direction};
use crate::state::{Sort, State};

/// The longest file that is read, bytes.
const MAX_FILE: u64 = 16 << 10;

/// The file. What it lacks, or says in words of a later version, is as if it
/// had never been chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    sort: Option<String>,
    interval_ms: Option<u64>,
    screen: Option<String>,
    hidden_columns: Vec<String>,
}

/// `$XDG_STATE_HOME/xsched/xtop.toml`, in `~/.local/state` by default (XDG Base
/// Directory Specification).
pub fn path() -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || Some(absolute("HOME")?.join(".local/state"));
    Some(
        absolute("XDG_STATE_HOME")
            .or_else(home)?
            .join("xsched/xtop.toml"),
    )
}

impl Saved {
    /// What the file says; nothing where it cannot be read.
    pub fn load() -> Saved {
        let read = || -> Option<Saved> {
            let mut text = String::new();
            let file = fs::File::open(path()?).ok()?;
            file.take(MAX_FILE).read_to_string(&mut text).ok()?;
            toml::from_str(&text).ok()
        };
        read().unwrap_or_default()
    }

    /// What `state` comes to.
    pub fn of(state: &State) -> Saved {
        let Sort { column, direction } = state.processes.sort();
        let direction = match direction {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        };
        let hidden = state.processes.hidden().iter();
        Saved {
            sort: Some(format!("{}:{direction}", column.name())),
            interval_ms: u64::try_from(state.settings.interval.as_millis()).ok(),
            screen: Some(state.screen.name().to_owned()),
            hidden_columns: hidden.map(|column| column.name().to_owned()).collect(),
        }
    }

    /// Writes the file: whole or not at all.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn store(&self) -> io::Result<()> {
        let Some(path) = path() else { return Ok(()) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
            // With sudo -E it is another user's, who may have put anything there.
            if fs::metadata(folder)?.uid() != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("the folder is another user's"));
            }
        }
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        // Of a process that had this id and was killed.
        let _ = fs::remove_file(&draft);
        fs::File::create_new(&draft)?.write_all(text.as_bytes())?;
        fs::rename(&draft, &path)
    }

    /// The order to begin with.
    pub fn sort(&self) -> Option<Sort> {
        self.sort.as_deref()?.parse().ok()
    }

    /// Time between snapshots.
    pub fn interval(&self) -> Option<Duration> {
        let interval = Duration::from_millis(self.interval_ms?);
        let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
        Some(interval).filter(|interval| bounds.contains(interval))
    }

    /// The screen to begin with; that of a process is there no more.
    pub fn screen(&self) -> Screen {
        let name = self.screen.as_deref();
        let found = Screen::ALL.into_iter().find(|s| Some(s.name()) == name);
        found
            .filter(|s| *s != Screen::Process)
            .unwrap_or(Screen::Processes)
    }

    /// The columns that are not shown.
    pub fn hidden(&self) -> Vec<Column> {
        let names = self.hidden_columns.iter();
        names.filter_map(|name| Column::from_name(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{showing, typical};
    use crate::state::Size;

    #[test]
    fn what_was_chosen_is_found_again() {
        let size = Size {
            width: 80,
            height: 24,
        };
        // The cursor of the menu of columns begins at the command.
        let ui = showing(size, typical(), "i3");
        let mut state = ui.state;
        state.processes.toggle(Column::Bypass);
        state.processes.toggle(Column::Pid);
        let text = toml::to_string(&Saved::of(&state)).expect("serialises");
        let saved: Saved = toml::from_str(&text).expect("parses");
        assert_eq!(saved.sort(), Some(state.processes.sort()));
        assert_eq!(saved.screen(), Screen::Devices);
        assert_eq!(saved.interval(), Some(state.settings.interval));
        assert_eq!(saved.hidden(), [Column::Bypass], "a row keeps its pid");
    }

    #[test]
    fn words_of_a_later_version_are_as_if_never_chosen() {
        let text = "sort = 'colour'\nscreen = 'map'\ninterval_ms = 1\nhidden_columns = ['x']\n";
        let saved: Saved = toml::from_str(text).expect("parses");
        assert_eq!((saved.sort(), saved.interval()), (None, None));
        assert_eq!(saved.screen(), Screen::Processes);
        assert!(saved.hidden().is_empty());
    }
}
