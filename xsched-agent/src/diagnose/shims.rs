//! Which libraries are shims, by name.

use super::survey::basename;
use crate::shims;

/// Whose shim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShimKind {
    /// libxsched_shim.so.
    Ours,
    /// XSched's libshimhip.so and its libhalhip.so.
    XSched,
    /// A library that the user named.
    Named,
}

impl ShimKind {
    /// Whether this shim schedules launches on the default stream. XSched's
    /// makes its queues from streams that programs create, and passes the
    /// default stream's launches through; of others nothing is known.
    pub const fn default_stream(self) -> DefaultStream {
        match self {
            ShimKind::Ours => DefaultStream::Scheduled,
            ShimKind::XSched => DefaultStream::Unscheduled,
            ShimKind::Named => DefaultStream::Unknown,
        }
    }
}

/// What becomes of launches on the default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultStream {
    /// They are gated like any other.
    Scheduled,
    /// They run past the scheduler.
    Unscheduled,
    /// Nothing is known about this shim.
    Unknown,
}

/// How shims are recognised.
#[derive(Clone, Debug, Default)]
pub struct ShimNames {
    named: Vec<String>,
}

impl ShimNames {
    /// The known ones, and those that the user names by file name or path.
    pub fn with(named: &[String]) -> ShimNames {
        ShimNames {
            named: named.to_vec(),
        }
    }

    /// Which shim `path` is, if any. A version suffix does not matter.
    pub fn kind(&self, path: &str) -> Option<ShimKind> {
        let name = basename(path);
        let is = |known: &str| {
            name == known
                || name
                    .strip_prefix(known)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        if self.named.iter().any(|n| n == path || is(basename(n))) {
            // A user's word outranks the table only for names outside it.
            let known = ShimNames::default().kind(path);
            return known.or(Some(ShimKind::Named));
        }
        if is(shims::OURS) {
            Some(ShimKind::Ours)
        } else if shims::XSCHED.into_iter().any(is) {
            Some(ShimKind::XSched)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_are_recognised_by_file_name() {
        let names = ShimNames::with(&["libmine.so".into(), "/opt/other/libgate.so".into()]);
        for (path, kind) in [
            ("/usr/lib/libxsched_shim.so", Some(ShimKind::Ours)),
            ("libxsched_shim.so", Some(ShimKind::Ours)),
            ("/opt/xsched/lib/libshimhip.so", Some(ShimKind::XSched)),
            ("/opt/xsched/lib/libhalhip.so.1", Some(ShimKind::XSched)),
            ("/x/libmine.so.3", Some(ShimKind::Named)),
            ("/y/libgate.so", Some(ShimKind::Named)),
            ("/lib/libamdhip64.so.6", None),
            ("/lib/libxsched_shim.something", None),
        ] {
            assert_eq!(names.kind(path), kind, "{path}");
        }
        assert_eq!(ShimNames::default().kind("/x/libmine.so.3"), None);
    }
}
