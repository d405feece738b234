//! Every environment variable of the shim, in one table.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};

use xsched_common::platform::names;
use xsched_common::run_dir::Surroundings;

/// [`xsched_common::run_dir::USER_DIR_ENV`]; not ours, so in no table.
const USER_DIR: &CStr = c"XDG_RUNTIME_DIR";

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static CStr,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

/// The table that README.md repeats and `XSCHED_VERBOSE=1` prints.
pub const VARIABLES: [Variable; 5] = [
    Variable {
        name: c"XSCHED_RUN_DIR",
        kind: "directory",
        default: "/run/xsched, or the user's own agent",
        meaning: "where the agent's sockets are",
    },
    Variable {
        name: c"XSCHED_PASSTHROUGH_LIBS",
        kind: "comma-separated list",
        default: "empty",
        meaning: "launches by libraries whose file name starts so are not gated (librccl.so never is)",
    },
    Variable {
        name: c"XSCHED_VERBOSE",
        kind: "0 or 1",
        default: "0",
        meaning: "say on standard error what the shim does",
    },
    Variable {
        name: c"XSCHED_DISABLE",
        kind: "0 or 1",
        default: "0",
        meaning: "do nothing at all",
    },
    Variable {
        name: c"XSCHED_STRICT",
        kind: "0 or 1",
        default: "0",
        meaning: "gate in the table behind the runtime's exports too, if it has one: no look-up leads past that",
    },
];

/// The values, as they were when the shim was first used, which is before
/// `main`: a program may change its environment in one thread while others
/// launch, as long as nobody reads it there (setenv(3)).
#[derive(Debug, Default)]
pub struct Options {
    /// As they stand in [`VARIABLES`].
    values: [Option<Vec<u8>>; VARIABLES.len()],
    passthrough: Vec<Vec<u8>>,
    /// Where an agent may be.
    pub surroundings: Surroundings,
    /// Whether to report what the shim does.
    pub verbosity: Verbosity,
    /// Whether the shim does anything.
    pub power: Power,
    /// Where calls are caught.
    pub strictness: Strictness,
}

/// Where calls are caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Where the dynamic linker leads them.
    #[default]
    Interpose,
    /// In the runtime as well.
    Table,
}

/// How much the shim says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Only what the user must repair.
    #[default]
    Quiet,
    /// Every change of state.
    Verbose,
}

/// Whether the shim does anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Power {
    /// It does.
    #[default]
    On,
    /// Every call goes straight to the runtime.
    Off,
}

/// Made by whoever is first; no lock, because a fork may catch another thread
/// making it.
static OPTIONS: AtomicPtr<Options> = AtomicPtr::new(std::ptr::null_mut());

impl Options {
    /// The options; read from the environment by the first call, which is
    /// never on the path of a gated launch.
    pub fn get() -> &'static Options {
        if let Some(known) = Options::known() {
            return known;
        }
        let made = Box::into_raw(Box::new(Options::read(value)));
        match OPTIONS.compare_exchange(std::ptr::null_mut(), made, AcqRel, Acquire) {
            // SAFETY: just made, and never freed from here on.
            Ok(_) => unsafe { &*made },
            Err(first) => {
                // SAFETY: nobody has seen ours; the first one is never freed.
                unsafe {
                    drop(Box::from_raw(made));
                    &*first
                }
            }
        }
    }

    /// The options if they have been read: allocates nothing, for calls that
    /// may come from inside of an allocator.
    pub fn known() -> Option<&'static Options> {
        // SAFETY: null or options that are never freed.
        unsafe { OPTIONS.load(Acquire).as_ref() }
    }

    fn read(value: impl Fn(&CStr) -> Option<Vec<u8>>) -> Options {
        let values = VARIABLES.map(|variable| value(variable.name));
        let [run_dir, passthrough, verbose, disable, strict] = &values;
        let is_set =
            |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|v| !v.is_empty() && v != b"0");
        Options {
            surroundings: Surroundings::new(
                run_dir.clone().map(OsString::from_vec),
                value(USER_DIR).map(OsString::from_vec),
            ),
            passthrough: passthrough
                .as_deref()
                .unwrap_or_default()
                .split(|&b| b == b',')
                .map(|name| name.trim_ascii().to_vec())
                .filter(|name| !name.is_empty())
                .collect(),
            verbosity: if is_set(verbose) {
                Verbosity::Verbose
            } else {
                Verbosity::Quiet
            },
            power: if is_set(disable) {
                Power::Off
            } else {
                Power::On
            },
            strictness: if is_set(strict) {
                Strictness::Table
            } else {
                Strictness::Interpose
            },
            values,
        }
    }

    /// The variables' values, as they stand in [`VARIABLES`].
    pub fn values(&self) -> &[Option<Vec<u8>>] {
        &self.values
    }

    /// Whether launches by the library with this file name are not gated.
    pub fn passes(&self, basename: &[u8]) -> bool {
        names::collectives(basename).is_some()
            || self
                .passthrough
                .iter()
                .any(|prefix| basename.starts_with(prefix))
    }
}

fn value(name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: no thread of the program changes its environment before it runs.
    unsafe { crate::loader::host::environment(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&CStr, &str)]) -> Options {
        Options::read(|name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes().to_vec())
        })
    }

    #[test]
    fn nothing_set_means_on_quiet_and_only_collectives_pass() {
        let options = with(&[]);
        assert_eq!(
            (options.power, options.verbosity),
            (Power::On, Verbosity::Quiet)
        );
        assert!(options.passes(b"librccl.so.1"));
        assert!(!options.passes(b"librocblas.so.4"));
    }

    #[test]
    fn lists_are_prefixes_of_file_names() {
        let options = with(&[(c"XSCHED_PASSTHROUGH_LIBS", " librocfft.so , libMIOpen,")]);
        assert!(options.passes(b"librocfft.so.0") && options.passes(b"libMIOpen.so.1"));
        assert!(!options.passes(b"librocblas.so.4"));
    }

    #[test]
    fn zero_is_not_set() {
        let options = with(&[(c"XSCHED_DISABLE", "0"), (c"XSCHED_VERBOSE", "1")]);
        assert_eq!(
            (options.power, options.verbosity),
            (Power::On, Verbosity::Verbose)
        );
        assert_eq!(with(&[(c"XSCHED_DISABLE", "1")]).power, Power::Off);
    }

    proptest::proptest! {
        /// Whatever the environment holds, the options are read, and a
        /// library passes if and only if an entry is a prefix of its name.
        #[test]
        fn any_environment_is_read(list: Vec<u8>, name: Vec<u8>, flags: [Vec<u8>; 3]) {
            let variables = [
                c"XSCHED_PASSTHROUGH_LIBS",
                c"XSCHED_VERBOSE",
                c"XSCHED_DISABLE",
                c"XSCHED_STRICT",
            ];
            let values = [&list, &flags[0], &flags[1], &flags[2]];
            let options = Options::read(|asked| {
                let at = variables.iter().position(|v| *v == asked)?;
                Some(values[at].clone())
            });
            let expected = list
                .split(|&b| b == b',')
                .map(<[u8]>::trim_ascii)
                .any(|entry| !entry.is_empty() && name.starts_with(entry));
            let always = names::collectives(&name).is_some();
            proptest::prop_assert_eq!(options.passes(&name), expected || always);
            let on = |flag: &[u8]| !flag.is_empty() && flag != b"0";
            proptest::prop_assert_eq!(options.power == Power::Off, on(&flags[1]));
            proptest::prop_assert_eq!(options.strictness == Strictness::Table, on(&flags[2]));
        }
    }

    #[test]
    fn the_readme_names_every_variable() {
        let readme = include_str!("../../../xsched-shim/README.md");
        for variable in &VARIABLES {
            let row = format!(
                "| `{}` | {} | {} | {} |",
                variable.name.to_str().expect("ASCII"),
                variable.kind,
                variable.default,
                variable.meaning
            );
            assert!(readme.contains(&row), "README.md lacks: {row}");
        }
    }
}
