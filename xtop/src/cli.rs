//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use xsched_client::{Endpoint, Proxy};
use xsched_common::run_dir::RunDir;

use crate::config::{self, Config};
use crate::manual;
use crate::replay::{self, Recording, Writer};
use crate::saved::Saved;
use crate::state::{Filter, Sort};
use crate::theme::{self, Charset, Palette, Theme};

/// Live view of the processes that use a GPU runtime: who launches how much,
/// who waits at its gate, who bypasses it. Shows what xsched-agent serves.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 the agent went away, 2 cannot connect or bad usage."
)]
pub struct Args {
    /// The agent's API socket [default: $XSCHED_RUN_DIR/api.sock, else the
    /// user's own agent, else /run/xsched/api.sock].
    #[arg(long, value_name = "PATH", group = "agent")]
    socket: Option<PathBuf>,

    /// The agent of another machine, through `ssh HOST xsched-agent proxy`;
    /// ssh must be able to log in without asking for anything.
    #[arg(long, value_name = "HOST", group = "agent")]
    ssh: Option<String>,

    /// The agents of several machines, through ssh as with --ssh; o shows the
    /// next one, and all are summed up beside the tabs.
    #[arg(long, value_name = "NAME,...", group = "agent", value_delimiter = ',')]
    host: Vec<String>,

    /// A shell command that leads to the agent's API, such as
    /// 'ssh -p 2222 gpu7 /opt/xsched/bin/xsched-agent proxy'.
    #[arg(long, value_name = "COMMAND", group = "agent")]
    command: Option<String>,

    /// Print one snapshot and leave.
    #[arg(long, conflicts_with = "batch", group = "text")]
    once: bool,

    /// Print snapshots instead of showing a screen.
    #[arg(long, group = "text")]
    batch: bool,

    /// With --batch: how many snapshots [default: until stopped].
    #[arg(short = 'n', long, value_name = "N", requires = "batch")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Time between snapshots, as 2s, 500ms or plain seconds: 100ms to 60s
    /// [default: as last time, else 1s].
    #[arg(short, long, value_name = "TIME", value_parser = parse_delay)]
    delay: Option<Duration>,

    /// With --once or --batch: json (the agent's snapshot, one per line), csv
    /// (times in ns, shares from 0 to 1) or table.
    #[arg(long, requires = "text", default_value = "table")]
    format: Format,

    /// Show only matching processes: words are searched in command, pid, user
    /// and class; also /REGEX/, COLUMN:TEXT, COLUMN:/REGEX/, p99:>=5ms,
    /// bypass:<1%, gate:- (unknown); ! before a term turns it round.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "",
        hide_default_value = true
    )]
    #[arg(value_parser = parse_filter)]
    filter: String,

    /// Sort by this column; COLUMN:asc or COLUMN:desc sets the direction
    /// [default: launches].
    #[arg(long, value_name = "COLUMN", value_parser = str::parse::<Sort>)]
    sort: Option<Sort>,

    /// Refuse to change anything.
    #[arg(long)]
    readonly: bool,

    /// Write every snapshot to FILE, which must not exist yet.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    record: Option<PathBuf>,

    /// Show or print the snapshots that --record wrote to FILE.
    #[arg(long, value_name = "FILE", conflicts_with = "agent")]
    replay: Option<PathBuf>,

    /// Begin without what was chosen last time (columns, order, interval,
    /// screen), and forget what is chosen now.
    #[arg(long)]
    fresh: bool,

    /// Keys and colours [default: $XDG_CONFIG_HOME/xsched/xtop.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Colours [default: mono with NO_COLOR, 16 on simple terminals, else dark].
    #[arg(long)]
    theme: Option<Palette>,

    /// Draw with ASCII characters only [default: where the locale is not UTF-8].
    #[arg(long)]
    ascii: bool,

    #[command(flatten)]
    manual: manual::Options,
}

/// How a snapshot is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The agent's JSON, one snapshot per line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Aligned text.
    Table,
}

const SHORTEST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

fn parse_delay(text: &str) -> Result<Duration, String> {
    let fits = |delay: &Duration| (SHORTEST_DELAY..=LONGEST_DELAY).contains(delay);
    let delay = crate::state::duration(text.trim()).filter(fits);
    delay.ok_or_else(|| "write a time from 100ms to 60s: 2s, 500ms or plain seconds".into())
}

fn parse_filter(text: &str) -> Result<String, String> {
    let parsed = text.parse::<Filter>();
    parsed.map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// Where snapshots come from and where else they go.
#[derive(Debug)]
pub struct Tape {
    /// Played instead of asking an agent.
    pub replay: Option<Recording>,
    /// Written besides.
    pub record: Option<Writer>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show the screen.
    Interactive,
    /// Print snapshots.
    Print {
        /// How many; none means until stopped.
        count: Option<u64>,
        /// How.
        format: Format,
    },
}

impl Args {
    /// What is asked about the command line itself.
    pub fn manual(&self) -> &manual::Options {
        &self.manual
    }

    /// What is to be done.
    pub fn task(&self) -> Task {
        let count = if self.once { Some(1) } else { self.count };
        match self.once || self.batch {
            false => Task::Interactive,
            true => Task::Print {
                count,
                format: self.format,
            },
        }
    }

    /// Opens the recordings that are asked for.
    pub fn tape(&self) -> Result<Tape, replay::Error> {
        Ok(Tape {
            replay: self.replay.as_deref().map(Recording::open).transpose()?,
            record: self.record.as_deref().map(Writer::create).transpose()?,
        })
    }

    /// What cannot be done together, beyond what clap knows.
    pub fn contradiction(&self) -> Option<&'static str> {
        let of_one = self.once || self.batch || self.record.is_some();
        (of_one && self.host.len() > 1)
            .then_some("--once, --batch and --record are of one machine: give one --host")
    }

    /// Reads the user's own keys and colours.
    pub fn config(&self) -> Result<Config, config::Error> {
        config::load(self.config.as_deref())
    }

    /// How to do it.
    pub fn settings(&self, saved: &Saved) -> crate::state::Settings {
        use crate::state::Access;
        let ssh = self.ssh.as_ref().or(self.host.first());
        let endpoint = match (ssh, &self.command, &self.socket) {
            (Some(host), ..) => Endpoint::Command(Proxy::ssh(host)),
            (_, Some(line), _) => Endpoint::Command(Proxy::shell(line)),
            (.., Some(socket)) => Endpoint::Socket(socket.clone()),
            (None, None, None) => Endpoint::Socket(
                RunDir::for_client(rustix::process::geteuid().as_raw()).api_socket(),
            ),
        };
        crate::state::Settings {
            endpoint,
            interval: self
                .delay
                .or(saved.interval())
                .unwrap_or(Duration::from_secs(1)),
            access: match (&self.replay, self.readonly) {
                (Some(_), _) => Access::Recorded,
                (None, true) => Access::ReadOnly,
                (None, false) => Access::Full,
            },
            sort: self.sort.or(saved.sort()).unwrap_or_default(),
            filter: self.filter.clone(),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// The machines that are watched, by name; none for one without a name.
    pub fn hosts(&self) -> &[String] {
        &self.host
    }

    /// What was chosen last time, as far as it counts: scripts get the same
    /// whatever somebody chose on a screen.
    pub fn saved(&self) -> Saved {
        match (self.fresh, self.task()) {
            (false, Task::Interactive) => Saved::load(),
            _ => Saved::default(),
        }
    }

    /// Whether what is chosen now is for the next time, too.
    pub fn saves(&self) -> bool {
        !self.fresh && self.replay.is_none()
    }

    /// Colours and symbols.
    pub fn theme(&self, config: &Config) -> Theme {
        let environment = theme::palette_of_environment();
        let palette = match (self.theme, config.palette, environment) {
            (Some(asked), ..) => asked,
            // NO_COLOR is stronger than a file: it is said here and now.
            (None, Some(_), Palette::Mono) => Palette::Mono,
            (None, own, environment) => own.unwrap_or(environment),
        };
        let charset = match self.ascii {
            true => Charset::Ascii,
            false => theme::charset_of_environment(),
        };
        let mut theme = Theme::new(palette, charset);
        for &(role, colour) in &config.colours {
            if palette != Palette::Mono {
                theme.recolour(role, colour);
            }
        }
        theme
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "xtop --format json",
            "xtop -n 3",
            "xtop --once --batch",
            "xtop --sort colour",
            "xtop --filter colour:red",
            "xtop -d 0",
            "xtop --batch -n 0",
            "xtop --record a --replay b",
            "xtop --replay b --socket c",
            "xtop --replay b --ssh host",
            "xtop --ssh host --socket c",
            "xtop --filter /(/",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn several_hosts_are_only_shown() {
        let of = |line: &str| {
            let args = Args::try_parse_from(line.split(' ')).expect("parses");
            args.contradiction().is_some()
        };
        assert!(of("xtop --host a,b --once") && of("xtop --host a,b --record c"));
        assert!(!of("xtop --host a,b") && !of("xtop --host a --batch"));
    }

    #[test]
    fn once_is_one_snapshot() {
        let args = Args::try_parse_from(["xtop", "--once", "--format", "csv"]).expect("parses");
        let format = Format::Csv;
        let count = Some(1);
        assert_eq!(args.task(), Task::Print { count, format });
    }
}
