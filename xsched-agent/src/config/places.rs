//! Where the file is.

use std::path::PathBuf;

/// The machine's agent's.
pub const SYSTEM_FILE: &str = "/etc/xsched/xsched.toml";

/// The variable that names another file.
pub const CONFIG_ENV: &str = "XSCHED_CONFIG";

/// The file of an agent run by `uid`: `$XSCHED_CONFIG` if set, the machine's
/// for root, else the user's own (XDG base directories).
pub fn for_agent(uid: u32) -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|dir| !dir.is_empty());
    if let Some(file) = set(CONFIG_ENV) {
        return file.into();
    }
    if uid == 0 {
        return SYSTEM_FILE.into();
    }
    let base = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        // A relative one is invalid and to be ignored, by the specification.
        .filter(|dir| dir.is_absolute())
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
    match base {
        Some(base) => base.join("xsched/xsched.toml"),
        None => SYSTEM_FILE.into(),
    }
}
