//! The configuration file: where it is, what it says, what is wrong with it.
//!
//! A text becomes a [`Config`] whole or not at all, so that a reload can
//! apply it at once and a bad file changes nothing.

mod agent;
mod check;
mod effective;
mod file;
mod gated;
mod places;
mod platform;
mod problems;
mod recover;
mod schema;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xsched_policy::{SchedAttr, Settings, SliceChoice};

pub use agent::{AgentOverrides, AgentSettings, MetricsAt, Observe, OverheadBudget};
pub use effective::{
    Effective, EffectiveAttr, EffectivePassthrough, EffectiveSharing, EffectiveThreads,
};
pub use places::{CONFIG_ENV, SYSTEM_FILE, for_agent};
pub use platform::{QUEUE_PRIORITY_IN, QueueChoice, TIME_SLICES_IN};
pub use problems::{Problem, Severity};
pub use schema::schema;
pub use values::Time;

use crate::control::Passthrough;
use crate::rules::{Rule, ThreadClasses};

/// The example that is shipped; every line of it is checked by a test.
pub const EXAMPLE: &str = include_str!("../../../config/xsched.toml");

/// The largest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// A valid configuration. Cheap to hand around: nothing in it changes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file; `None` if there is none and the defaults hold.
    pub path: Option<PathBuf>,
    /// What holds from the agent's start.
    pub agent: AgentSettings,
    /// Members of this group may do what root may.
    pub authorised_group: Option<u32>,
    /// The attributes of processes that nothing else applies to.
    pub defaults: SchedAttr,
    /// How devices are shared.
    pub sharing: Settings,
    /// Libraries that no gate holds back.
    pub passthrough: Passthrough,
    /// Whether time slices follow the classes.
    pub time_slices: SliceChoice,
    /// Whether hardware queues have priorities by class.
    pub queue_priority: QueueChoice,
    /// Classes of threads, where no rule says anything of them.
    pub threads: Arc<ThreadClasses>,
    /// In the order of the file.
    pub rules: Arc<[Rule]>,
}

/// No configuration could be made of a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is wrong; the first error, and how many more there are.
    #[error("{}:{first}{more}; `xsched-agent config check {0}` shows all", .path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Where and what.
        first: Problem,
        /// " and N more", or nothing.
        more: String,
        /// All of them.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    fn bad(path: &Path, problems: Vec<Problem>) -> ConfigError {
        let mut errors = problems.iter().filter(|p| p.severity == Severity::Error);
        let first = errors.next().cloned().unwrap_or(Problem {
            severity: Severity::Error,
            line: 1,
            column: 1,
            message: "refused".to_owned(),
        });
        let more = match errors.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ConfigError::Bad {
            path: path.to_owned(),
            first,
            more,
            problems,
        }
    }
}

/// A configuration and what is worth a second look in its file.
#[derive(Debug)]
pub struct Checked {
    /// What the file says.
    pub config: Config,
    /// Warnings only.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a file.
///
/// # Errors
/// It cannot be read or has errors; nothing of it counts then.
pub fn load(path: &Path) -> Result<Checked, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = read(path).map_err(unreadable)?;
    match check::check(&text) {
        Ok((config, warnings)) => Ok(Checked {
            config: Config {
                path: Some(path.to_owned()),
                ..config
            },
            warnings,
        }),
        Err(problems) => Err(ConfigError::bad(path, problems)),
    }
}

/// As [`load`]; no file at `path` means the defaults, unless it was asked for.
///
/// # Errors
/// As [`load`].
pub fn load_if_there(path: &Path) -> Result<Checked, ConfigError> {
    match load(path) {
        Err(ConfigError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            let (config, warnings) =
                check::check("").map_err(|problems| ConfigError::bad(path, problems))?;
            Ok(Checked { config, warnings })
        }
        other => other,
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}
