//! Man pages and shell completions out of a clap command line, so that they
//! say what `--help` says.
//!
//! What a program prints after its options (`after_help`) is divided by lines
//! such as `Examples:`; each part becomes a section of the man page. Sections
//! that would be too long for `--help` come on top.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// A section of a man page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its title: "FILES".
    pub title: &'a str,
    /// Its text, kept line by line.
    pub text: &'a str,
}

/// Prints a script for `shell` that completes `command`'s arguments.
///
/// # Errors
/// What writing brings.
pub fn completions(mut command: Command, shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes a page for `command` and one for each of its subcommands into
/// `dir`: `NAME.1`, `NAME-SUBCOMMAND.1`. `more` are sections of the first.
///
/// # Errors
/// What writing brings.
pub fn man_pages(mut command: Command, more: &[Section<'_>], dir: &Path) -> io::Result<()> {
    command = command.disable_help_subcommand(true);
    command.build();
    let name = command.get_name().to_owned();
    write_page(&command, &name, &name, more, dir)
}

fn write_page(
    command: &Command,
    name: &str,
    top: &str,
    more: &[Section<'_>],
    dir: &Path,
) -> io::Result<()> {
    let mut page = Vec::new();
    render(command, name, top, more, &mut page)?;
    File::create(dir.join(format!("{name}.1")))?.write_all(&page)?;
    for sub in visible(command) {
        let name = format!("{name}-{}", sub.get_name());
        write_page(sub, &name, top, &[], dir)?;
    }
    Ok(())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn render(
    command: &Command,
    name: &str,
    top: &str,
    more: &[Section<'_>],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let after = command.get_after_long_help().or(command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    // Ours to divide; clap_mangen would print it as one block.
    let bare = command
        .clone()
        .after_help(None::<&str>)
        .after_long_help(None::<&str>)
        .display_name(name.to_owned());
    let man = Man::new(bare)
        .title(name.to_uppercase())
        .section("1")
        .manual("xsched");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let mut rest = Roff::new();
    let subcommands: Vec<&Command> = visible(command).collect();
    if !subcommands.is_empty() {
        rest.control("SH", ["COMMANDS"]);
        for sub in &subcommands {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            rest.control("TP", []);
            rest.text([bold(format!("{name}-{}(1)", sub.get_name()))]);
            rest.text([roman(about)]);
        }
    }
    for Section { title, text } in divided(&after).iter().chain(more) {
        rest.control("SH", [title.to_uppercase().as_str()]);
        rest.control("nf", []);
        for line in text.lines() {
            rest.text([roman(line.to_owned())]);
        }
        rest.control("fi", []);
    }
    if name != top {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold(format!("{top}(1)"))]);
    }
    rest.to_writer(out)
}

/// The parts of a text that begin with a line without indentation which ends
/// in a colon, or has its text behind the colon.
fn divided(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut at = 0;
    let mut begun = 0;
    for line in text.split_inclusive('\n') {
        let head = line
            .split_once(':')
            .filter(|_| line.starts_with(|c: char| c.is_ascii_uppercase()));
        if let Some((title, rest)) = head {
            close(&mut sections, &text[begun..at]);
            let rest = rest.trim();
            let begin = at + line.find(':').unwrap_or_default() + 1;
            begun = if rest.is_empty() {
                at + line.len()
            } else {
                begin
            };
            sections.push(Section { title, text: "" });
        }
        at += line.len();
    }
    close(&mut sections, &text[begun..]);
    sections
}

fn close<'a>(sections: &mut [Section<'a>], text: &'a str) {
    if let Some(last) = sections.last_mut() {
        last.text = text.trim_end().trim_start_matches([' ', '\n']);
        if text.starts_with("  ") {
            last.text = text.trim_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command() -> Command {
        Command::new("tool")
            .version("1.2.3")
            .about("Does it")
            .arg(Arg::new("fast").long("fast").help("In a hurry"))
            .subcommand(Command::new("ps").about("Lists"))
            .subcommand(Command::new("secret").hide(true))
            .after_help("Examples:\n  tool --fast   quickly\n\nExit codes: 0 done,\n2 not done\n")
    }

    #[test]
    fn texts_are_divided_at_their_titles() {
        let text = "Examples:\n  a: b\n  c\n\nExit codes: 0 done,\n2 not";
        let sections = divided(text);
        let expected = [
            Section {
                title: "Examples",
                text: "  a: b\n  c",
            },
            Section {
                title: "Exit codes",
                text: "0 done,\n2 not",
            },
        ];
        assert_eq!(sections, expected);
        assert_eq!(divided("no title"), []);
    }

    #[test]
    fn every_visible_command_has_a_page() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = [Section {
            title: "FILES",
            text: "/etc/tool.toml",
        }];
        man_pages(command(), &files, dir.path()).expect("writes");
        let page = std::fs::read_to_string(dir.path().join("tool.1")).expect("a page");
        let wanted = [
            ".TH TOOL 1",
            ".SH NAME",
            "\\-\\-fast",
            ".SH COMMANDS",
            "tool\\-ps(1)",
            ".SH EXAMPLES",
            "quickly",
            ".SH \"EXIT CODES\"",
            "2 not done",
            ".SH FILES",
        ];
        for wanted in wanted {
            assert!(page.contains(wanted), "{wanted}:\n{page}");
        }
        assert!(
            !page.contains("EXTRA") && !page.contains("secret"),
            "{page}"
        );
        let sub = std::fs::read_to_string(dir.path().join("tool-ps.1")).expect("a page");
        assert!(
            sub.contains(".SH \"SEE ALSO\"") && sub.contains("tool(1)"),
            "{sub}"
        );
        assert!(!dir.path().join("tool-secret.1").exists());
    }

    #[test]
    fn completions_know_options_and_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(command(), shell, &mut script).expect("writes");
            let script = String::from_utf8(script).expect("UTF-8");
            assert!(
                script.contains("fast") && script.contains("ps"),
                "{shell}: {script}"
            );
        }
    }
}
