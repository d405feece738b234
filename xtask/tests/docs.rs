//! What the documents say to type: sessions are run, other commands are compared with the programs' own help, links
//! lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xsched_testkit::built;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_owned()
}

/// All documents, with their paths from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let out = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.md",
        ])
        .current_dir(root())
        .output()
        .expect("git");
    let names = String::from_utf8(out.stdout).expect("UTF-8");
    let documents: Vec<_> = names
        .lines()
        .filter(|name| root().join(name).exists())
        .map(|name| {
            (
                PathBuf::from(name),
                fs::read_to_string(root().join(name)).expect("readable"),
            )
        })
        .collect();
    assert!(documents.len() > 10, "{names}");
    documents
}

/// Fenced blocks: their language and lines.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim().to_owned(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    blocks
}

/// A command of a session, and the lines that it is to print among others, in this order; `[..]` stands for anything.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn session(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let of_sessions = |(language, _): &(String, Vec<String>)| language == "console";
    for (_, lines) in blocks(text).into_iter().filter(of_sessions) {
        for line in lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    expected: Vec::new(),
                }),
                (None, Some(step)) if !line.trim().is_empty() => step.expected.push(line),
                (None, _) => {}
            }
        }
    }
    steps
}

/// Whether a line is as `pattern` says.
fn is_like(line: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split("[..]").collect();
    let (first, rest) = parts.split_first().expect("one at least");
    let Some(mut left) = line.strip_prefix(first) else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[test]
fn patterns_are_read() {
    assert!(is_like(
        "12 requests: P50 10.1 ms",
        "[..] requests: P50 10.[..] ms"
    ));
    assert!(is_like("abc", "abc") && !is_like("abcd", "abc"));
    assert!(is_like("abc", "[..]") && is_like("abc", "a[..]c") && !is_like("abd", "a[..]c"));
    let steps = session("```console\n$ a\nb\n$ c\n```\n```sh\n$ d\n```\n");
    assert_eq!((steps.len(), steps[0].expected.len()), (2, 1));
}

/// Runs a document's session in one shell, in the repository's root.
fn run_session(name: &str) {
    let text = fs::read_to_string(root().join(name)).expect("a document");
    let steps = session(&text);
    assert!(steps.len() > 3, "{name} has a session");
    let mark = "@@ step";
    let mut script = String::from("set -e\n");
    for (at, step) in steps.iter().enumerate() {
        script += &format!("echo '{mark} {at}'\n{}\n", step.command);
    }
    // Where cargo's test has put the programs, whatever the profile.
    let folder = built("xsched-agent");
    let folder = folder.parent().expect("a folder");
    let script = script.replace("$PWD/target/debug", folder.to_str().expect("UTF-8"));
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut shell = Command::new("timeout")
        .args(["--kill-after=5", "120", "bash", "-c", &script])
        .current_dir(root())
        .env_remove("XSCHED_RUN_DIR")
        .env_remove("XSCHED_CONFIG")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(log.reopen().map(append).expect("a file"))
        .stderr(log.reopen().map(append).expect("a file"))
        .spawn()
        .expect("bash");
    let status = shell.wait().expect("ends");
    let said = fs::read_to_string(log.path()).expect("a log");
    let mut outputs: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut at = 0;
    for line in said.lines() {
        match line.strip_prefix(mark) {
            Some(number) => at = number.trim().parse().expect("a number"),
            None => outputs.entry(at).or_default().push(line),
        }
    }
    assert!(
        status.success(),
        "{name}: `{}` failed ({status}):\n{said}",
        steps[at].command
    );
    for (at, step) in steps.iter().enumerate() {
        let lines = outputs.remove(&at).unwrap_or_default();
        let mut left = lines.iter();
        for expected in &step.expected {
            assert!(
                left.any(|line| is_like(line, expected)),
                "{name}: `{}` did not print `{expected}`, but\n{}",
                step.command,
                lines.join("\n")
            );
        }
    }
}

/// Both ends of one log are written at its end.
fn append(file: fs::File) -> fs::File {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let open = fs::OpenOptions::new().append(true).open(path);
    open.expect("it is open")
}

#[test]
fn the_tutorial_works() {
    run_session("docs/TUTORIAL.md");
}

/// A program's own help on a subcommand.
fn help(program: &str, subcommand: Option<&str>) -> String {
    let mut command = Command::new(built(program));
    command.args(subcommand).arg("--help").env("COLUMNS", "200");
    let out = command.output().expect("runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Every call of our programs in a block of commands names a subcommand and options that there are.
#[test]
fn commands_exist() {
    let programs = ["xsched-agent", "xtop"];
    let subcommands: BTreeSet<String> = help("xsched-agent", None)
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect();
    assert!(subcommands.contains("run"), "{subcommands:?}");
    let mut helps: BTreeMap<(String, Option<String>), String> = BTreeMap::new();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, text) in documents() {
        let commands = blocks(&text).into_iter();
        let commands =
            commands.filter(|(language, _)| ["sh", "console"].contains(&language.as_str()));
        for line in commands.flat_map(|(_, lines)| lines) {
            let line = line.split(" #").next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| {
                programs
                    .iter()
                    .any(|program| word.rsplit('/').next() == Some(program))
            }) else {
                continue;
            };
            // A file of that name, not a call.
            if ["-f", "cp", "install"].contains(words.first().unwrap_or(&""))
                || line.contains("cargo ")
            {
                continue;
            }
            count += 1;
            let program = words[at].rsplit('/').next().expect("a name").to_owned();
            let rest = words[at + 1..].iter().take_while(|word| {
                // Its own words end here.
                !["--", "|", "||", "&&"].contains(word) && !word.contains("$(")
            });
            let subcommand = rest.clone().find(|word| !word.starts_with('-'));
            let subcommand =
                subcommand.filter(|word| subcommands.contains(**word) && program == "xsched-agent");
            let subcommand = subcommand.map(|word| (*word).to_owned());
            let key = (program.clone(), subcommand.clone());
            let known = helps
                .entry(key)
                .or_insert_with(|| help(&program, subcommand.as_deref()) + &help(&program, None));
            for option in rest.filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or_default();
                let option = option.trim_end_matches([',', '"', ')', ';', '\'']);
                if !known.contains(option) {
                    wrong.push(format!("{}: {line}: no {option}", name.display()));
                }
            }
        }
    }
    assert!(count > 20, "only {count} calls were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The anchors that a document's headings have on the usual sites.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (name, text) in documents() {
        for part in text.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else {
                continue;
            };
            if target.contains("://")
                || target.starts_with("mailto:")
                || target.contains(char::is_whitespace)
            {
                continue;
            }
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = name.parent().unwrap_or(Path::new(""));
            let file = match path {
                "" => root().join(&name),
                path => root().join(folder).join(path),
            };
            let there = file.exists();
            let has_anchor = anchor.is_empty()
                || fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor));
            if !there || !has_anchor {
                broken.push(format!("{}: {target}", name.display()));
            }
        }
    }
    assert!(count > 30, "only {count} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
