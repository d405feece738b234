//! A process as the table knows it.

use xsched_common::api::{GateState, GroupRow, ProcessRow};
use xsched_common::units::Weight;

use super::verdict::Verdict;
use crate::column::Column;
use crate::text::clean;

/// What makes a process the same in two snapshots; a pid alone is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its pid.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_time: u64,
}

/// A process with its names made fit for a screen.
#[derive(Clone, Debug)]
pub struct Row {
    /// As the agent sent it.
    pub process: ProcessRow,
    /// Name of its user, or the number where there is no name.
    pub user: String,
    /// Its container or systemd unit.
    pub unit: Option<String>,
    /// Its pod or Slurm job.
    pub workload: Option<String>,
    /// Command and arguments.
    pub command: String,
    /// Its device.
    pub device: Option<String>,
    /// How it fares and why.
    pub verdict: Verdict,
    /// Its class groups, each as a row of its own.
    pub groups: Vec<Row>,
}

impl Row {
    /// The row of `process`.
    pub fn new(process: ProcessRow) -> Row {
        Row {
            user: user(&process),
            unit: process.cgroup.as_deref().and_then(unit),
            workload: process.workload().map(|name| clean(&name).into_owned()),
            command: command_line(&process),
            device: process.device.as_deref().map(|d| clean(d).into_owned()),
            verdict: Verdict::of(&process),
            groups: process
                .groups
                .iter()
                .map(|group| Row::of_group(&process, group))
                .collect(),
            process,
        }
    }

    /// The row of a class group: what is its own, and whose it is.
    fn of_group(process: &ProcessRow, group: &GroupRow) -> Row {
        let class = match group.wish == group.class {
            true => String::new(),
            false => format!(", wants {}", group.wish),
        };
        let command = format!("group {} by {}{class}", group.class, group.origin.name());
        let process = ProcessRow {
            class: group.class,
            device: group.device.clone(),
            gate: group.gate.clone(),
            burst: group.burst,
            gate_wait: group.gate_wait,
            guards: Some(group.guards),
            in_flight: group.in_flight,
            kernel_ns: group.kernel_ns,
            busy_ratio: group.busy_ratio,
            gate_shares: None,
            hold: None,
            slo: None,
            blame: None,
            groups: Vec::new(),
            callers: Vec::new(),
            apis: Vec::new(),
            burst_histogram: Vec::new(),
            ..process.clone()
        };
        Row {
            command,
            ..Row::new(process)
        }
    }

    /// Its share within the class; an agent that does not say where attributes
    /// come from knows no weights.
    pub fn weight(&self) -> Option<Weight> {
        let process = &self.process;
        (!process.terms_from.is_empty()).then_some(process.weight)
    }

    /// Why it fares as it does, with its gate where that is not open.
    pub fn why_line(&self) -> String {
        let why = match self.verdict.why.as_str() {
            "" => "nothing to say",
            why => why,
        };
        match &self.process.gate {
            Some(gate) if gate.state != GateState::Open => {
                format!("{}: {why}", Column::Gate.value(self).text())
            }
            _ => why.to_owned(),
        }
    }

    /// Which process this is.
    pub fn identity(&self) -> Identity {
        Identity {
            pid: self.process.pid,
            start_time: self.process.start_time,
        }
    }
}

/// The container or unit that a control group stands for: `docker 0123456789ab`
/// or `serve.service`. Runtimes name the group after the container's id, alone
/// or within a scope (`docker-<id>.scope`, `cri-containerd-<id>.scope`).
fn unit(cgroup: &str) -> Option<String> {
    const SHORT_ID: usize = 12;
    let mut parts = cgroup.rsplit('/').filter(|part| !part.is_empty());
    let last = parts.next()?;
    let scope = last.strip_suffix(".scope").unwrap_or(last);
    let (runtime, id) = scope.rsplit_once('-').unwrap_or(("", scope));
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let name = match (is_id, runtime) {
        (true, "") => format!(
            "{} {}",
            parts.next().unwrap_or("container"),
            &id[..SHORT_ID]
        ),
        (true, runtime) => format!("{runtime} {}", &id[..SHORT_ID]),
        (false, _) => last.to_owned(),
    };
    Some(clean(&name).into_owned())
}

/// The short command and then its arguments: the path in front of the command
/// says least and takes most.
fn command_line(process: &ProcessRow) -> String {
    let arguments = process
        .arguments
        .split_once(' ')
        .map_or("", |(_program, rest)| rest);
    let line = match (process.command.as_str(), arguments) {
        ("", _) => process.arguments.clone(),
        (command, "") => command.to_owned(),
        (command, rest) => format!("{command} {rest}"),
    };
    clean(&line).into_owned()
}

/// The name of a process's user where it has one, or the number.
fn user(process: &ProcessRow) -> String {
    match &process.user {
        Some(name) => clean(name).into_owned(),
        None => process.uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::process;

    #[test]
    fn users_have_names_or_numbers() {
        let of = |uid: u32, user: Option<&str>| {
            let mut process = process(7, "x");
            (process.uid, process.user) = (uid, user.map(str::to_owned));
            Row::new(process).user
        };
        assert_eq!(of(33, Some("www")), "www");
        assert_eq!(of(4, None), "4");
        assert_eq!(of(4, Some("x\u{1b}[2J")), "x^[[2J");
    }

    #[test]
    fn containers_and_units_have_short_names() {
        let id = "0123456789abcdef".repeat(4);
        let name = |cgroup: &str| unit(&cgroup.replace("ID", &id)).unwrap_or_default();
        assert_eq!(name("/system.slice/serve.service"), "serve.service");
        assert_eq!(name("/system.slice/docker-ID.scope"), "docker 0123456789ab");
        assert_eq!(name("/docker/ID"), "docker 0123456789ab");
        assert_eq!(name("/user.slice/session-3.scope"), "session-3.scope");
        assert_eq!((name("/"), name("")), (String::new(), String::new()));
        assert_eq!(name("/x\u{1b}[2J"), "x^[[2J");
    }

    #[test]
    fn commands_show_their_arguments_without_the_path() {
        let mut process = process(7, "python3");
        process.arguments = "/opt/venv/bin/python3 serve.py\x1b[2J".into();
        let row = Row::new(process);
        assert_eq!(row.command, "python3 serve.py^[[2J");
    }
}
