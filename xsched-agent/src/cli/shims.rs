//! Which shims a program may need: one for each platform that it may use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xsched_common::platform::Platform;

use super::shim_path::{self, NoShim};

/// The shims to preload, and whether that was a choice among several.
#[derive(Debug, PartialEq, Eq)]
pub struct Shims {
    /// Their paths, in the order of the platforms.
    pub paths: Vec<PathBuf>,
    /// What the user should know of it: said when the program's own file does
    /// not tell.
    pub note: Option<String>,
}

/// The shims for a program that is linked with the runtimes of `linked`; only
/// the one that the user names, if so.
///
/// # Errors
/// None can be preloaded.
pub fn choose(flag: Option<&Path>, linked: &[Platform]) -> Result<Shims, NoShim> {
    if shim_path::named(flag).is_some() {
        let paths = vec![shim_path::find(flag)?];
        return Ok(Shims { paths, note: None });
    }
    let candidates = candidates(linked, has_device);
    let mut found = Vec::new();
    let mut missing = None;
    for &platform in &candidates {
        match shim_path::of(platform) {
            Ok(path) => found.push((platform, path)),
            Err(why) => {
                missing.get_or_insert(why);
            }
        }
    }
    match missing {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(Shims {
            note: (linked.is_empty() && found.len() > 1).then(|| note(&found)),
            paths: found.into_iter().map(|(_, path)| path).collect(),
        }),
    }
}

/// The platforms that a program may use: those that it is linked with, or, for
/// one that opens its runtime itself (an interpreter), those whose driver is
/// there; without any driver all of them.
fn candidates(linked: &[Platform], has_device: impl Fn(&Platform) -> bool) -> Vec<Platform> {
    if !linked.is_empty() {
        return linked.to_vec();
    }
    let present: Vec<Platform> = Platform::ALL.into_iter().filter(has_device).collect();
    match present.is_empty() {
        true => Platform::ALL.to_vec(),
        false => present,
    }
}

fn has_device(platform: &Platform) -> bool {
    let mut devices = platform.names().devices.iter();
    devices.any(|device| Path::new(device).exists())
}

fn note(found: &[(Platform, PathBuf)]) -> String {
    let titles: Vec<&str> = found.iter().map(|(p, _)| p.names().title).collect();
    format!(
        "preloads the shims for {}, since it may use either; --shim FILE names one",
        titles.join(" and ")
    )
}

/// The list for LD_PRELOAD: what was there, and the shims.
pub fn list(existing: Option<OsString>, shims: &[PathBuf]) -> OsString {
    let existing = existing.filter(|value| !value.is_empty());
    let shims = shims.iter().map(|path| path.as_os_str());
    let parts: Vec<_> = existing.as_deref().into_iter().chain(shims).collect();
    parts.join(std::ffi::OsStr::new(":"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Platform::{Cuda, Hip};

    #[test]
    fn a_program_gets_the_shims_of_what_it_can_use() {
        assert_eq!(candidates(&[Cuda], |_| true), [Cuda], "as it is linked");
        assert_eq!(
            candidates(&[], |p| *p == Cuda),
            [Cuda],
            "as the machine has"
        );
        assert_eq!(candidates(&[], |_| true), [Hip, Cuda]);
        assert_eq!(
            candidates(&[], |_| false),
            [Hip, Cuda],
            "a simulated device"
        );
    }

    #[test]
    fn an_existing_preload_is_kept() {
        let shims: Vec<PathBuf> = ["/l/libxsched_shim.so", "/l/libxsched_shim_cuda.so"]
            .map(PathBuf::from)
            .into();
        let both = "/l/libxsched_shim.so:/l/libxsched_shim_cuda.so";
        assert_eq!(list(None, &shims[..1]), shims[0].as_os_str());
        assert_eq!(list(Some("".into()), &shims), both);
        let expected = format!("libjemalloc.so.2:{both}");
        assert_eq!(list(Some("libjemalloc.so.2".into()), &shims), *expected);
    }
}
