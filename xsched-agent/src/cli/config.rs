//! `config`: the configuration file, checked and shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use xsched_agent::config::{
    self, ConfigError, Effective, EffectiveAttr, EffectivePassthrough, EffectiveSharing,
    EffectiveThreads, MetricsAt, Problem, QUEUE_PRIORITY_IN, Severity, TIME_SLICES_IN,
};
use xsched_client::{Error, blocking as client};

use super::{daemon, endpoint, euid, print, print_json, say};

/// Options of `config`.
#[derive(clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong with a file, and where
    #[command(after_help = "\
Exit codes: 0 nothing wrong (warnings at most), 1 the agent would refuse it,
2 it cannot be read

--json prints {\"path\", \"ok\", \"rules\", \"problems\": [{\"severity\", \"line\",
\"column\", \"message\"}]}; severity is error or warning, places count from 1")]
    Check(CheckOptions),
    /// Print every setting in force, defaults included
    #[command(after_help = "\
Without FILE it asks the running agent, if there is one and this user is root or
in the authorised group: what its command line and `mode` set is shown as well.
Options of the agent before `config` show what an agent started so would go by:

  xsched-agent --overhead-budget 5 --metrics config show")]
    Show(ShowOptions),
    /// Print a commented example: a good first file
    Example,
    /// Print the file's JSON schema, for editors
    Schema,
    /// Make the running agent read its file again
    #[command(after_help = "\
All of it applies at once; if anything in it is wrong, nothing does. As SIGHUP
to the agent, but says here what came of it. What [agent] says holds from the
agent's next start.

--json prints {\"path\", \"rules\", \"changed\", \"needs_restart\"}: the file, its
rules, the joined processes whose attributes it changed, and the keys of [agent] that
differ from what the running agent was started with")]
    Reload(ReloadOptions),
}

#[derive(clap::Args)]
struct CheckOptions {
    /// The file [default: the agent's]
    file: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ShowOptions {
    /// The file alone [default: what the agent goes by]
    file: Option<PathBuf>,
    /// Print them as JSON: times in ns
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ReloadOptions {
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, daemon: &daemon::Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Command::Check(options) => check(options),
        Command::Show(options) => show(options, daemon),
        Command::Example => print(config::EXAMPLE).map(|()| ExitCode::SUCCESS),
        Command::Schema => print(&format!("{:#}\n", config::schema())).map(|()| ExitCode::SUCCESS),
        Command::Reload(options) => reload(options),
    }
}

fn check(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let path = options.file.clone();
    let path = path.unwrap_or_else(|| config::for_agent(euid()));
    let (rules, problems) = match config::load(&path) {
        Ok(checked) => (Some(checked.config.rules.len()), checked.warnings),
        Err(ConfigError::Bad { problems, .. }) => (None, problems),
        Err(ConfigError::Unreadable { source, .. })
            if options.file.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
        {
            anyhow::bail!(
                "there is no {0}: the defaults hold; `xsched-agent config example > {0}` begins one",
                path.display()
            );
        }
        Err(e) => return Err(e.into()),
    };
    if options.json {
        let report = json!({
            "path": path, "ok": rules.is_some(), "rules": rules, "problems": problems,
        });
        print_json(&report)?;
    } else {
        print(&listed(&path, rules, &problems))?;
    }
    Ok(match rules {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// As compilers do, so that editors jump there.
fn listed(path: &Path, rules: Option<usize>, problems: &[Problem]) -> String {
    let path = path.display();
    let mut text: String = problems
        .iter()
        .map(|problem| format!("{path}:{problem}\n"))
        .collect();
    text += &match rules {
        Some(1) => format!("{path}: fine, 1 rule\n"),
        Some(rules) => format!("{path}: fine, {rules} rules\n"),
        None => {
            let error = |problem: &&Problem| problem.severity == Severity::Error;
            let errors = problems.iter().filter(error).count();
            format!(
                "{path}: refused, {errors} error{}; `xsched-agent config example` shows a good one\n",
                if errors == 1 { "" } else { "s" }
            )
        }
    };
    text
}

fn show(options: &ShowOptions, daemon: &daemon::Options) -> anyhow::Result<ExitCode> {
    let effective = match &options.file {
        Some(file) => config::load(file)?.config.effective(),
        None => in_force(daemon)?,
    };
    if options.json {
        print_json(&effective)?;
    } else {
        print(&shown(&effective))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the running agent goes by; with options of an agent before `config`,
/// or where none runs, what one that is started so would go by.
fn in_force(daemon: &daemon::Options) -> anyhow::Result<Effective> {
    let sources = daemon.sources()?;
    if daemon.is_plain() {
        match client::settings(&endpoint()) {
            Ok(in_force) => match serde_json::from_value(in_force.settings) {
                Ok(settings) => return Ok(settings),
                Err(e) => not_shown(&format!("{e}; are both of one version?")),
            },
            Err(Error::NoAgent { .. }) => {}
            Err(e) => not_shown(&e.to_string()),
        }
    }
    Ok(sources.effective()?)
}

fn not_shown(why: &str) {
    say(&format!(
        "what the running agent's command line and `mode` set is not shown: {why}"
    ));
}

/// As the file would say it, with every default written out.
fn shown(effective: &Effective) -> String {
    let Effective {
        path,
        command_line,
        observe,
        overhead_budget_percent,
        probe_returns,
        metrics,
        metrics_processes,
        metrics_workloads,
        pods,
        authorised_gid,
        defaults,
        sharing,
        devices,
        passthrough,
        time_slices,
        queue_priority,
        hints,
        rules,
    } = effective;
    let mut text = match path {
        Some(path) => format!("# {}\n", path.display()),
        None => "# there is no file: the defaults\n".to_owned(),
    };
    if !command_line.is_empty() {
        text += &format!(
            "# by the agent's command line: {}\n",
            command_line.join(", ")
        );
    }
    let metrics = metrics.map_or(MetricsAt::Off, MetricsAt::Address);
    text += &format!(
        "\n[agent]\nobserve = {observe}\noverhead_budget_percent = {overhead_budget_percent:?}\n\
         probe_returns = {probe_returns}\nmetrics = \"{metrics}\"\n\
         metrics_processes = {metrics_processes}\nmetrics_workloads = {metrics_workloads}\n\
         pods = {:?}\n",
        pods.display().to_string()
    );
    text += &match authorised_gid {
        Some(gid) => format!("\n# besides root: members of group {gid}\n"),
        None => "\n# nobody but root raises classes, boosts and suspends others\n".to_owned(),
    };
    text += &format!(
        "\n[defaults]\n{}hints = \"{}\"\n",
        attr_lines(defaults),
        hints.name()
    );
    text += &format!("\n[sharing]\n{}", sharing_shown(sharing));
    for (address, device) in devices {
        text += &format!("\n[device.\"{address}\"]\n{}", sharing_shown(device));
    }
    text += "\n[passthrough]\n";
    for (key, names) in lists(passthrough) {
        text += &format!("{key} = {names:?}\n");
    }
    text += &format!("\n[{TIME_SLICES_IN}]\ntime_slices = \"{time_slices}\"\n");
    text += &format!("\n[{QUEUE_PRIORITY_IN}]\nqueue_priority = \"{queue_priority}\"\n");
    for rule in rules {
        text += &format!(
            "\n[[rule]]   # line {}\nname = {:?}\nmatch = {{ {} }}\n{}",
            rule.line,
            rule.name,
            rule.conditions,
            attr_lines(&rule.attr)
        );
        if let Some(may_ask) = &rule.may_ask {
            let may_ask = attr_lines(may_ask);
            let given: Vec<&str> = may_ask.lines().collect();
            text += &format!("may_ask = {{ {} }}\n", given.join(", "));
        }
        if let Some(passthrough) = &rule.passthrough {
            let given = lists(passthrough).filter(|(_, names)| !names.is_empty());
            let given: Vec<String> = given
                .map(|(key, names)| format!("{key} = {names:?}"))
                .collect();
            text += &format!("passthrough = {{ {} }}\n", given.join(", "));
        }
        if let Some(choice) = &rule.time_slices {
            text += &format!("time_slices = \"{choice}\"\n");
        }
        if let Some(threads) = &rule.threads {
            text += &thread_lines(threads);
        }
    }
    text
}

/// Its keys in the file.
fn lists(passthrough: &EffectivePassthrough) -> impl Iterator<Item = (&'static str, &[String])> {
    let EffectivePassthrough {
        libraries,
        gate_only_libraries,
        apis,
        gate_only_apis,
    } = passthrough;
    [
        ("libraries", libraries.as_slice()),
        ("gate_only_libraries", gate_only_libraries),
        ("apis", apis),
        ("gate_only_apis", gate_only_apis),
    ]
    .into_iter()
}

fn attr_lines(attr: &EffectiveAttr) -> String {
    let class = attr.class.map(|class| format!("class = \"{class}\"\n"));
    let weight = attr.weight.map(|weight| format!("weight = {weight}\n"));
    let p99 = attr.slo_p99_ns.map(|ns| format!("p99 = {}\n", time(ns)));
    [class, weight, p99].into_iter().flatten().collect()
}

/// Last in a rule: what follows in the file would belong to the last thread's.
fn thread_lines(threads: &EffectiveThreads) -> String {
    let mut text = format!("hints = \"{}\"\n", threads.hints.name());
    if let Some(class) = threads.hints_up_to {
        text += &format!("hints_up_to = \"{class}\"\n");
    }
    for (name, class) in &threads.names {
        text += &format!("[[rule.thread]]\nmatch = {{ thread = {name:?} }}\nclass = \"{class}\"\n");
    }
    text
}

fn sharing_shown(sharing: &EffectiveSharing) -> String {
    let fence_batch = match sharing.fence_batch {
        0 => "# fence_batch: the shim chooses\n".to_owned(),
        batch => format!("fence_batch = {batch}\n"),
    };
    let slice = match sharing.slice_ns {
        None => {
            "# slice: 20ms where the driver turns from process to process, 5ms elsewhere".to_owned()
        }
        Some(slice) => format!("slice = {}", time(slice)),
    };
    format!(
        "mode = \"{}\"\nbudget = {}\nlinger_min = {}\nlinger_max = {}\ncap = {}\n{fence_batch}\
         min_share_percent = {:?}\n{slice}\nactive_limit = {}\n",
        sharing.mode,
        time(sharing.budget_ns),
        time(sharing.linger_min_ns),
        time(sharing.linger_max_ns),
        sharing.cap,
        sharing.min_share_ratio * 100.0,
        time(sharing.active_limit_ns),
    )
}

/// As the file takes it.
fn time(ns: u64) -> String {
    let duration = std::time::Duration::from_nanos(ns);
    format!("\"{}\"", humantime::format_duration(duration))
}

fn reload(options: &ReloadOptions) -> anyhow::Result<ExitCode> {
    let reloaded = client::reload(&endpoint())?;
    if options.json {
        print_json(&reloaded)?;
        return Ok(ExitCode::SUCCESS);
    }
    let from = match &reloaded.path {
        Some(path) => path.clone(),
        None => {
            say("there is no file: the defaults hold (`xsched-agent config example` begins one)");
            "defaults".to_owned()
        }
    };
    print(&format!(
        "{from}: in force, {} rules; attributes of {} joined processes changed\n",
        reloaded.rules, reloaded.changed
    ))?;
    if !reloaded.needs_restart.is_empty() {
        say(&format!(
            "[agent] {}: in force from the agent's next start",
            reloaded.needs_restart.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown is a file that means the same.
    #[test]
    fn what_is_shown_can_be_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("xsched.toml");
        let load = |text: &str| {
            std::fs::write(&file, text).expect("writes");
            config::load(&file).expect("valid").config.effective()
        };
        for text in [
            "",
            config::EXAMPLE,
            "[sharing]\nlinger = \"1ms 5us\"\n",
            "[agent]\nprobe_returns = true\nmetrics = \"[::1]:9464\"\nmetrics_processes = 3\n",
            "[[rule]]\nname = \"a\"\nmatch = { user = 0 }\n\
             passthrough = { libraries = [\"librocfft\"], gate_only_apis = [\"hipLaunchKernel\"] }\n\
             [[rule]]\nname = \"b\"\nmatch = { user = 1 }\npassthrough = {}\n",
            "[defaults]\nhints = \"off\"\n[[rule]]\nname = \"a\"\nmatch = { user = 0 }\n\
             hints = \"within\"\nhints_up_to = \"high\"\n\
             [[rule.thread]]\nmatch = { thread = [\"train*\", \"io-?\"] }\nclass = \"low\"\n\
             [[rule]]\nname = \"b\"\nmatch = { user = 1 }\nhints = \"lower\"\n",
            "[agent]\nmetrics_workloads = 7\npods = \"/a b/pods.json\"\n[[rule]]\nname = \"a\"\n\
             match = { namespace = \"web\", label = { \"a/b\" = [\"c\", \"d\"] } }\n\
             may_ask = { class = \"high\", weight = 300, p99 = \"10ms\" }\n\
             [[rule]]\nname = \"b\"\nmatch = { slurm_qos = \"low\" }\nclass = \"low\"\n",
            "[passthrough]\ngate_only_libraries = [\"libtorch\"]\napis = [\"hipMemsetAsync\"]\n",
        ] {
            let (first, again) = (load(text), load(&shown(&load(text))));
            let comparable = |mut effective: Effective| {
                effective.rules.iter_mut().for_each(|rule| rule.line = 0);
                serde_json::to_value(effective).expect("JSON")
            };
            assert_eq!(comparable(first), comparable(again), "{text}");
        }
    }
}
