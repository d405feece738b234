//! Text for people: that of other processes, made fit for terminals, and
//! numbers of things.

/// Without control characters, which would drive the terminal. File names,
/// arguments and pages can hold any.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// What else helps whoever lacks rights, if it is not root already.
pub fn or_root() -> &'static str {
    match rustix::process::geteuid().is_root() {
        true => "",
        false => ", or use sudo",
    }
}

/// How to get the rights that are missing.
pub fn more_rights() -> &'static str {
    match rustix::process::geteuid().is_root() {
        true => {
            "this root lacks capabilities (containers: --privileged or --cap-add; systemd: \
             CapabilityBoundingSet=; `xsched-agent check` names them)"
        }
        false => "run this as root (sudo)",
    }
}

/// "1 launch", "2 launches": `one` is what a single one is called.
pub fn counted(n: u64, one: &str) -> String {
    let end = match n {
        1 => "",
        _ if one.ends_with(['s', 'h']) => "es",
        _ => "s",
    };
    format!("{n} {one}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "process"), "1 process");
        assert_eq!(counted(0, "process"), "0 processes");
        assert_eq!(counted(2, "launch"), "2 launches");
        assert_eq!(counted(2, "binding"), "2 bindings");
    }
}
