//! What a rule asks of a process, and the answer with its reason.

mod cluster;
mod feigned;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use xsched_host::cgroup::{self, Placement};

pub use cluster::ClusterConditions;
pub use feigned::Feigner;

use super::facts::{Facts, Unknown};
use super::pattern::Pattern;

/// Conditions: all that are given must hold; of each, one of its patterns.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The executable: its path, or its file name where the pattern has no
    /// slash.
    pub exe: Vec<Pattern>,
    /// Some argument, `argv[0]` included.
    pub arg: Vec<Pattern>,
    /// All arguments, joined by blanks.
    pub command_line: Vec<Pattern>,
    /// The user, if it is one: real, effective and saved ids alike.
    pub user: Vec<Account>,
    /// Its group or a supplementary one, under the same condition.
    pub group: Vec<Account>,
    /// The control group's path, as far as root made it.
    pub cgroup: Vec<Pattern>,
    /// A systemd unit that root put it into, at any level.
    pub unit: Vec<Pattern>,
    /// A unit of its own user's service manager, at any level.
    pub user_unit: Vec<Pattern>,
    /// The id, its first twelve digits or more, or the name of a container
    /// that root made.
    pub container: Vec<Pattern>,
    /// Variables of the environment it was started with.
    pub env: BTreeMap<String, Vec<Pattern>>,
    /// What its pod or job is.
    pub cluster: ClusterConditions,
}

/// A user or group of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As it was written.
    pub name: String,
    /// Its number here; `None` if this machine does not know it.
    pub id: Option<u32>,
}

/// Whether conditions hold, and why (not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchOutcome {
    /// All do. For people: what was met.
    Holds(String),
    /// One does not. For people: which.
    Fails(String),
    /// It takes facts that were not to be read.
    Undecided,
}

impl Conditions {
    /// Whether there is none: such a rule would apply to every process.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(|(given, _)| !given)
    }

    /// Whether they ask for more than executable and arguments.
    pub fn needs_more_than_a_command_line(&self) -> bool {
        let of_command_line = Conditions {
            exe: self.exe.clone(),
            arg: self.arg.clone(),
            command_line: self.command_line.clone(),
            ..Conditions::default()
        };
        let given = |conditions: &Conditions| conditions.parts().map(|(given, _)| given);
        given(self) != given(&of_command_line)
    }

    /// Each condition: whether it is given, and how a process is asked; first
    /// those that never wait for it.
    fn parts(&self) -> [(bool, Ask); 11] {
        let Conditions {
            exe,
            arg,
            command_line,
            user,
            group,
            cgroup,
            unit,
            user_unit,
            container,
            env,
            cluster,
        } = self;
        [
            (!user.is_empty(), Conditions::check_user),
            (!group.is_empty(), Conditions::check_group),
            (!exe.is_empty(), Conditions::check_exe),
            (!cgroup.is_empty(), Conditions::check_cgroup),
            (!unit.is_empty(), Conditions::check_unit),
            (!user_unit.is_empty(), Conditions::check_user_unit),
            (!container.is_empty(), Conditions::check_container),
            (!cluster.is_empty(), Conditions::check_cluster),
            (!arg.is_empty(), Conditions::check_arg),
            (!command_line.is_empty(), Conditions::check_command_line),
            (!env.is_empty(), Conditions::check_env),
        ]
    }

    /// Asks the process.
    pub fn evaluate(&self, facts: &Facts) -> MatchOutcome {
        let mut met = Vec::new();
        for (_, check) in self.parts().into_iter().filter(|(given, _)| *given) {
            match check(self, facts) {
                Ok(text) => met.push(text),
                Err(Not::Met(text)) => return MatchOutcome::Fails(text),
                Err(Not::Known(Unknown::NotRead)) => return MatchOutcome::Undecided,
                Err(Not::Known(Unknown::Unreadable(text))) => return MatchOutcome::Fails(text),
            }
        }
        MatchOutcome::Holds(met.join(", "))
    }

    fn check_user(&self, facts: &Facts) -> Check {
        let credentials = facts.credentials()?;
        let uid = credentials.uid;
        if credentials.is_mixed {
            return not_met(MIXED.to_owned());
        }
        match self.user.iter().find(|account| account.id == Some(uid)) {
            Some(account) => met(format!("user {}", account.name)),
            None => not_met(format!("its user is {uid}, not {}", names(&self.user))),
        }
    }

    fn check_group(&self, facts: &Facts) -> Check {
        let credentials = facts.credentials()?;
        if credentials.is_mixed {
            return not_met(MIXED.to_owned());
        }
        let has = |id| credentials.gid == id || credentials.groups.contains(&id);
        match self
            .group
            .iter()
            .find(|account| account.id.is_some_and(has))
        {
            Some(account) => met(format!("group {}", account.name)),
            None => not_met(format!("it is not in group {}", names(&self.group))),
        }
    }

    fn check_exe(&self, facts: &Facts) -> Check {
        let path = facts.exe()?;
        let matches = |pattern: &&Pattern| {
            let text = if pattern.has_slash() {
                Some(path.as_os_str())
            } else {
                path.file_name()
            };
            text.is_some_and(|text| pattern.matches(text))
        };
        let shown = path.display();
        match self.exe.iter().find(matches) {
            Some(pattern) => met(format!("executable {shown} is {}", pattern.text())),
            None => not_met(format!(
                "its executable is {shown}, not {}",
                texts(&self.exe)
            )),
        }
    }

    fn check_cgroup(&self, facts: &Facts) -> Check {
        let place = facts.placement()?;
        let path = place.given();
        match first(&self.cgroup, OsStr::new(path)) {
            Some(_) => met(format!("control group {path}")),
            None => not_met(format!(
                "its control group is {path}, not {}{}",
                texts(&self.cgroup),
                unheeded(place)
            )),
        }
    }

    fn check_unit(&self, facts: &Facts) -> Check {
        let place = facts.placement()?;
        let path = place.given();
        let named = |unit: &&str| first(&self.unit, OsStr::new(unit)).is_some();
        if let Some(unit) = cgroup::units(path).find(named) {
            return met(format!("unit {unit}"));
        }
        // What looks like it and does not count has its reason said.
        if let Some((rest, delegate)) = place.rest()
            && let Some(unit) = cgroup::units(rest).find(named)
        {
            let hint = match place.user_manager() {
                Some(_) => "; user_unit matches a user's own units",
                None => "",
            };
            return not_met(format!(
                "unit {unit} is not root's: it lies below {path}, and {delegate}{hint}"
            ));
        }
        match cgroup::units(path).next() {
            Some(unit) => not_met(format!("its unit is {unit}, not {}", texts(&self.unit))),
            None => not_met(format!("it is in no systemd unit ({})", place.path())),
        }
    }

    fn check_user_unit(&self, facts: &Facts) -> Check {
        let place = facts.placement()?;
        let uid = facts.credentials()?.uid;
        let wanted = texts(&self.user_unit);
        let Some((owner, path)) = place.user_manager() else {
            let path = place.path();
            return not_met(format!("it is in no unit of a user's own manager ({path})"));
        };
        if owner != uid {
            return not_met(format!(
                "it runs as user {uid}, in a unit of user {owner}'s manager"
            ));
        }
        let found =
            cgroup::units(path).find(|unit| first(&self.user_unit, OsStr::new(unit)).is_some());
        match (found, cgroup::units(path).next()) {
            (Some(unit), _) => met(format!("user {uid}'s unit {unit}")),
            (None, Some(unit)) => not_met(format!("its user's unit is {unit}, not {wanted}")),
            (None, None) => not_met("it is in no unit of its user's manager".to_owned()),
        }
    }

    fn check_container(&self, facts: &Facts) -> Check {
        let place = facts.placement()?;
        let Some(id) = cgroup::container(place.given()) else {
            let (path, why) = (place.path(), unheeded(place));
            return not_met(format!("it is in no container of root's ({path}){why}"));
        };
        let matches = |pattern: &Pattern| {
            let text = pattern.text();
            pattern.matches(OsStr::new(id)) || cgroup::is_short_id(text) && id.starts_with(text)
        };
        if self.container.iter().any(matches) {
            met(format!("container {id}"))
        } else {
            not_met(format!(
                "its container is {id}, not {}",
                texts(&self.container)
            ))
        }
    }

    fn check_cluster(&self, facts: &Facts) -> Check {
        self.cluster.check(facts)
    }

    fn check_arg(&self, facts: &Facts) -> Check {
        let arguments = facts.arguments()?;
        let found = arguments.iter().find(|arg| first(&self.arg, arg).is_some());
        match found {
            Some(arg) => met(format!("argument {}", arg.to_string_lossy())),
            None => not_met(format!("no argument is {}", texts(&self.arg))),
        }
    }

    fn check_command_line(&self, facts: &Facts) -> Check {
        let line = facts.arguments()?.join(OsStr::new(" "));
        match first(&self.command_line, &line) {
            Some(pattern) => met(format!("command line is {}", pattern.text())),
            None => not_met(format!(
                "its command line is not {}",
                texts(&self.command_line)
            )),
        }
    }

    fn check_env(&self, facts: &Facts) -> Check {
        let environ = facts.environ()?;
        for (name, patterns) in &self.env {
            let value = environ.iter().find_map(|entry| value_of(entry, name));
            match value {
                None => return not_met(format!("{name} is not set in its environment")),
                // The value stays unsaid: environments hold secrets.
                Some(value) if first(patterns, value).is_none() => {
                    return not_met(format!(
                        "{name} is set to something else in its environment"
                    ));
                }
                Some(_) => {}
            }
        }
        let names: Vec<&str> = self.env.keys().map(String::as_str).collect();
        met(format!("environment has {}", names.join(" and ")))
    }
}

impl fmt::Display for Conditions {
    /// As the file says it: `exe = "a", user = ["b", "c"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<'t>(texts: impl Iterator<Item = &'t str>) -> String {
            let texts: Vec<String> = texts.map(quoted).collect();
            match texts.as_slice() {
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            }
        }
        let patterns = |of: &Vec<Pattern>| list(of.iter().map(Pattern::text));
        let accounts = |of: &Vec<Account>| list(of.iter().map(|account| account.name.as_str()));
        let Conditions {
            exe,
            arg,
            command_line,
            user,
            group,
            cgroup,
            unit,
            user_unit,
            container,
            env,
            cluster,
        } = self;
        let mut parts = Vec::new();
        for (key, of) in [("user", user), ("group", group)] {
            if !of.is_empty() {
                parts.push(format!("{key} = {}", accounts(of)));
            }
        }
        for (key, of) in [
            ("exe", exe),
            ("arg", arg),
            ("command_line", command_line),
            ("cgroup", cgroup),
            ("unit", unit),
            ("user_unit", user_unit),
            ("container", container),
        ] {
            if !of.is_empty() {
                parts.push(format!("{key} = {}", patterns(of)));
            }
        }
        for (key, of) in cluster.lists() {
            if !of.is_empty() {
                parts.push(format!("{key} = {}", patterns(of)));
            }
        }
        for (key, of) in [("label", &cluster.label), ("env", env)] {
            let pairs = of.iter();
            let pairs: Vec<String> = pairs
                .map(|(name, of)| format!("{} = {}", quoted(name), patterns(of)))
                .collect();
            if !pairs.is_empty() {
                parts.push(format!("{key} = {{ {} }}", pairs.join(", ")));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Why users and groups do not count.
const MIXED: &str =
    "its real, effective and saved ids differ, as in a program with the set-user-ID bit";

/// Why the rest of a path is not looked at, if there is one.
fn unheeded(place: &Placement) -> String {
    place.rest().map_or_else(String::new, |(rest, delegate)| {
        format!("; {rest} below {} is not heeded: {delegate}", place.given())
    })
}

/// What is met, or why not, for people.
type Check = Result<String, Not>;

/// How a process is asked about one condition.
type Ask = fn(&Conditions, &Facts) -> Check;

enum Not {
    Met(String),
    Known(Unknown),
}

impl From<Unknown> for Not {
    fn from(unknown: Unknown) -> Not {
        Not::Known(unknown)
    }
}

fn met(text: String) -> Check {
    Ok(text)
}

fn not_met(text: String) -> Check {
    Err(Not::Met(text))
}

fn first<'p>(patterns: &'p [Pattern], text: &OsStr) -> Option<&'p Pattern> {
    patterns.iter().find(|pattern| pattern.matches(text))
}

fn value_of<'e>(entry: &'e OsString, name: &str) -> Option<&'e OsStr> {
    let rest = entry.as_bytes().strip_prefix(name.as_bytes())?;
    rest.strip_prefix(b"=").map(OsStr::from_bytes)
}

fn texts(patterns: &[Pattern]) -> String {
    let texts: Vec<&str> = patterns.iter().map(Pattern::text).collect();
    texts.join(" or ")
}

fn names(accounts: &[Account]) -> String {
    let names: Vec<String> = accounts
        .iter()
        .map(|account| match account.id {
            Some(_) => account.name.clone(),
            None => format!("{} (unknown on this machine)", account.name),
        })
        .collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests;
