//! `set` and `unset`: changes the attributes of a process, and takes that back.

use std::process::ExitCode;

use xsched_client::blocking as client;
use xsched_common::api::{Attr, Change, Request};
use xsched_common::units::{Class, Weight};

use super::attr::{self, Subject, Target};
use super::endpoint;

/// Options of `set`.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("terms").required(true).multiple(true),
    after_help = "\
Examples:
  sudo xsched-agent set 4242 --class high --slo 30ms
  xsched-agent set 4242 --class low --weight 50
  sudo xsched-agent set 4242 --slo none
  sudo xsched-agent set 4242 --class default    by the rules again

--json prints {\"pid\", \"class\", \"weight\", \"slo_p99_ns\", \"hold\", \"joined\",
\"uses_runtime\", \"descendants\"}: the attributes now in force; hold is null or {\"hold\",
\"remaining_ns\"}; joined is false for a process that the shim has not brought in:
it is not scheduled; uses_runtime and descendants are left out where they are not known

Exit codes: 0 done, 2 not done; the message says why"
)]
pub struct Options {
    #[command(flatten)]
    subject: Subject,
    /// realtime, high, normal or low; default takes back what was set by hand
    #[arg(long, group = "terms", value_parser = or_default::<Class>)]
    class: Option<OrDefault<Class>>,
    /// Its share within the class, 1 to 10000 (modes share and slo); others
    /// have 100; default takes back what was set by hand
    #[arg(long, group = "terms", value_parser = or_default::<Weight>)]
    weight: Option<OrDefault<Weight>>,
    /// The P99 of its bursts to reach, as 30ms (mode slo); none removes it,
    /// default takes back what was set by hand
    #[arg(long, value_name = "TIME", group = "terms", value_parser = or_default::<Target>)]
    slo: Option<OrDefault<Target>>,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `unset`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  sudo xsched-agent unset 4242
  sudo xsched-agent set 4242 --class default    the class alone

--json prints what `set --json` prints. Exit codes: 0 done, 2 not done")]
pub struct UnsetOptions {
    #[command(flatten)]
    subject: Subject,
    /// Print the attributes now in force as JSON
    #[arg(long)]
    json: bool,
}

/// A value, or what holds without anybody's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrDefault<T> {
    Default,
    Value(T),
}

impl<T> OrDefault<T> {
    fn value(self) -> Option<T> {
        match self {
            OrDefault::Default => None,
            OrDefault::Value(value) => Some(value),
        }
    }
}

fn or_default<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<OrDefault<T>, String> {
    match text {
        "default" => Ok(OrDefault::Default),
        _ => {
            let value = text.parse().map_err(|e| format!("{e}, or default"));
            value.map(OrDefault::Value)
        }
    }
}

impl Options {
    /// Which attributes are taken back.
    fn unset(&self) -> Vec<Attr> {
        [
            (Attr::Class, self.class == Some(OrDefault::Default)),
            (Attr::Weight, self.weight == Some(OrDefault::Default)),
            (Attr::Slo, self.slo == Some(OrDefault::Default)),
        ]
        .into_iter()
        .filter_map(|(term, is_default)| is_default.then_some(term))
        .collect()
    }
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let pid = options.subject.pid();
    let change = Change {
        pid,
        class: options.class.and_then(OrDefault::value),
        weight: options.weight.and_then(OrDefault::value),
        slo_p99_ns: options
            .slo
            .and_then(OrDefault::value)
            .map(|target| target.0),
        ..Change::default()
    };
    let sets = change.class.is_some() || change.weight.is_some() || change.slo_p99_ns.is_some();
    let terms = options.unset();
    if terms.is_empty() {
        return attr::settle(&Request::Set(change), options.json);
    }
    let unset = Request::Unset { pid, terms };
    if !sets {
        return attr::settle(&unset, options.json);
    }
    client::settle(&endpoint(), &unset)?;
    attr::settle(&Request::Set(change), options.json)
}

pub fn unset(options: &UnsetOptions) -> anyhow::Result<ExitCode> {
    let request = Request::Unset {
        pid: options.subject.pid(),
        terms: Vec::new(),
    };
    attr::settle(&request, options.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_a_value_of_its_own() {
        assert_eq!(or_default::<Class>("default"), Ok(OrDefault::Default));
        assert_eq!(or_default("low"), Ok(OrDefault::Value(Class::Low)));
        let error = or_default::<Class>("lowest").expect_err("no class");
        assert!(error.ends_with(", or default"), "{error}");
    }
}
