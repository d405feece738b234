//! Names of users, from the machine's own file: whoever serves names over a
//! network may take as long as it likes to answer.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The names, read again when the file has changed.
#[derive(Debug)]
pub struct Users {
    file: PathBuf,
    /// Of the file as it was read: when it was changed, its size and number.
    version: Option<(i64, i64, u64, u64)>,
    names: HashMap<u32, String>,
}

impl Default for Users {
    fn default() -> Users {
        Users {
            file: "/etc/passwd".into(),
            version: None,
            names: HashMap::new(),
        }
    }
}

impl Users {
    /// Reads the file if it has changed.
    pub fn refresh(&mut self) {
        let version = std::fs::metadata(&self.file).ok();
        let version = version.map(|m| (m.mtime(), m.mtime_nsec(), m.size(), m.ino()));
        if version != self.version {
            let text = std::fs::read(&self.file).unwrap_or_default();
            self.names = parse(&String::from_utf8_lossy(&text));
            self.version = version;
        }
    }

    /// The name of a user, if that has one.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }
}

/// As passwd(5) says; of several names of one user the first.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let Some(name) = fields.next()
            && let Some(Ok(uid)) = fields.nth(1).map(str::parse)
        {
            names
                .entry(uid)
                .or_insert_with(|| crate::text::printable(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_the_first_of_their_names() {
        let names = parse("root:x:0:0::/:/bin/sh\nbroken\ntoor:x:0:0::/:/bin/sh\nw:x:33:33::/:\n");
        assert_eq!(names.len(), 2);
        assert_eq!(names[&0], "root");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut users = Users {
            file: dir.path().join("passwd"),
            ..Users::default()
        };
        users.refresh();
        assert_eq!(users.name(7), None);
        std::fs::write(&users.file, "ada:x:7:7::/:/bin/sh\n").expect("written");
        users.refresh();
        assert_eq!(users.name(7), Some("ada"));
    }
}
