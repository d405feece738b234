//! The environment variables of the simulator: one table, and the values read from it once per process.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::target::Target;

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub format: &'static str,
    /// The value used when it is not set.
    pub default: &'static str,
    /// What it changes.
    pub meaning: &'static str,
}

/// Every variable the simulator reads. README.md shows this table; a test compares them.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "HIPSIM_DEVICE",
        format: "path",
        default: "/dev/shm/hipsim-<uid>",
        meaning: "the device: processes that name the same file share it",
    },
    Variable {
        name: "HIPSIM_DEVICES",
        format: "1..8",
        default: "1",
        meaning: "number of devices; those after the first have the file's name with .1, .2 and so on",
    },
    Variable {
        name: "HIPSIM_DISCIPLINE",
        format: "amd, fifo",
        default: "amd",
        meaning: "how the device divides its time; the first process on a device decides",
    },
    Variable {
        name: "HIPSIM_KERNELS",
        format: "pattern=duration,...",
        default: "default=20us",
        meaning: "kernel durations by name (`*` matches anything); the first match counts",
    },
    Variable {
        name: "HIPSIM_JITTER",
        format: "0..1",
        default: "0",
        meaning: "each kernel's duration varies by up to this part, both ways",
    },
    Variable {
        name: "HIPSIM_SEED",
        format: "integer",
        default: "the pid",
        meaning: "seed of the jitter",
    },
    Variable {
        name: "HIPSIM_MEMORY",
        format: "bytes, KiB, MiB, GiB",
        default: "16GiB",
        meaning: "device memory of each process",
    },
    Variable {
        name: "HIPSIM_COPY_LATENCY",
        format: "duration",
        default: "4us",
        meaning: "least time of a copy; bandwidth is that of the CPU",
    },
    Variable {
        name: "HIPSIM_ARCHITECTURE",
        format: "gfx906, gfx90a:xnack+, ...",
        default: "gfx906; gfx942 under a real runtime",
        meaning: "the device's processor; code objects for others are refused",
    },
    Variable {
        name: "HIPSIM_RUNTIME_VERSION",
        format: "major.minor",
        default: "5.7, 6.4 or 7.2",
        meaning: "version that hipRuntimeGetVersion and hipDriverGetVersion report; by default that of the copy (.so.5, .6, .7)",
    },
    Variable {
        name: "HIPSIM_TRACE",
        format: "1",
        default: "off",
        meaning: "log every API call to standard error",
    },
    Variable {
        name: "HIPSIM_COUNTS",
        format: "path",
        default: "none",
        meaning: "under a real runtime: a file of four words of 8 bytes that count kernels, the runtime's own kernels, barriers and copies",
    },
];

/// How the device divides its time between kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discipline {
    /// Equal shares for the processes that have work; a few concurrent rings in each.
    Amd,
    /// One kernel at a time on the machine, in order of arrival.
    Fifo,
}

/// A rule of `HIPSIM_KERNELS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRule {
    /// Name pattern; `*` matches any characters.
    pub pattern: String,
    /// Duration in ns alone on the device.
    pub duration: u64,
}

/// The values in force.
#[derive(Debug)]
pub struct Options {
    /// Path of the device file.
    pub device: PathBuf,
    /// Number of devices of the machine.
    pub devices: usize,
    /// Wanted discipline.
    pub discipline: Discipline,
    /// Kernel durations, first match first.
    pub kernels: Vec<KernelRule>,
    /// Duration of kernels no rule names, in ns.
    pub default_kernel: u64,
    /// Relative jitter, 0 to 1.
    pub jitter: f64,
    /// Seed of the jitter.
    pub seed: u64,
    /// Device memory in bytes.
    pub memory: u64,
    /// Least time of a copy in ns.
    pub copy_latency: u64,
    /// Where packets are counted.
    pub counts: Option<PathBuf>,
    /// Version in the runtime's coding, 60400000 for 6.4; none when the face's own shall be reported.
    pub version: Option<i32>,
    /// The device's processor with its features; none when the face decides.
    pub architecture: Option<Target>,
}

/// The options of this process.
pub fn get() -> &'static Options {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    OPTIONS.get_or_init(|| Options::read(|name| std::env::var(name).ok()))
}

/// Whether `HIPSIM_TRACE` is set. Apart from [`get`] because it is asked while the library is being loaded.
pub fn trace_requested() -> bool {
    std::env::var_os("HIPSIM_TRACE").is_some_and(|value| !value.is_empty() && value != "0")
}

impl Options {
    /// Reads the variables through `get`. A value that cannot be read is reported on standard error and not used.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        fn parsed<T>(
            name: &str,
            value: Option<String>,
            parse: impl Fn(&str) -> Option<T>,
            default: T,
        ) -> T {
            let Some(value) = value else { return default };
            parse(value.trim()).unwrap_or_else(|| {
                let format = VARIABLES
                    .iter()
                    .find(|v| v.name == name)
                    .map_or("", |v| v.format);
                eprintln!("hipsim: {name}={value} is not of the form {format}; using the default");
                default
            })
        }
        let value = |name: &'static str| (name, get(name));
        let read = |(name, text), parse: fn(&str) -> Option<u64>, default| {
            parsed(name, text, parse, default)
        };
        let default_device = || {
            // SAFETY: getuid has no preconditions.
            PathBuf::from(format!("/dev/shm/hipsim-{}", unsafe { libc::getuid() }))
        };
        let (kernels, default_kernel) = parsed(
            "HIPSIM_KERNELS",
            get("HIPSIM_KERNELS"),
            kernel_rules,
            (Vec::new(), None),
        );
        Self {
            device: get("HIPSIM_DEVICE").map_or_else(default_device, PathBuf::from),
            devices: read(
                value("HIPSIM_DEVICES"),
                |text| text.parse().ok().filter(|count| (1..=8).contains(count)),
                1,
            ) as usize,
            discipline: parsed(
                "HIPSIM_DISCIPLINE",
                get("HIPSIM_DISCIPLINE"),
                |text| match text {
                    "amd" => Some(Discipline::Amd),
                    "fifo" => Some(Discipline::Fifo),
                    _ => None,
                },
                Discipline::Amd,
            ),
            kernels,
            default_kernel: default_kernel.unwrap_or(20_000),
            jitter: parsed(
                "HIPSIM_JITTER",
                get("HIPSIM_JITTER"),
                |text| text.parse().ok().filter(|part| (0.0..=1.0).contains(part)),
                0.0,
            ),
            seed: read(
                value("HIPSIM_SEED"),
                |text| text.parse().ok(),
                u64::from(std::process::id()),
            ),
            memory: read(value("HIPSIM_MEMORY"), bytes, 16 << 30),
            copy_latency: read(value("HIPSIM_COPY_LATENCY"), duration, 4_000),
            counts: get("HIPSIM_COUNTS").map(PathBuf::from),
            version: parsed(
                "HIPSIM_RUNTIME_VERSION",
                get("HIPSIM_RUNTIME_VERSION"),
                |text| version(text).map(Some),
                None,
            ),
            architecture: parsed(
                "HIPSIM_ARCHITECTURE",
                get("HIPSIM_ARCHITECTURE"),
                |text| Target::of_device(text).map(Some),
                None,
            ),
        }
    }

    /// Duration in ns of a kernel with these names (as registered, and its plain C++ name).
    pub fn kernel_duration(&self, name: &str, plain: &str) -> u64 {
        self.kernels
            .iter()
            .find(|rule| matches(&rule.pattern, name) || matches(&rule.pattern, plain))
            .map_or(self.default_kernel, |rule| rule.duration)
    }
}

fn kernel_rules(text: &str) -> Option<(Vec<KernelRule>, Option<u64>)> {
    let mut rules = Vec::new();
    let mut default = None;
    for rule in text.split(',').filter(|rule| !rule.trim().is_empty()) {
        let (pattern, length) = rule.trim().rsplit_once('=')?;
        let length = duration(length)?;
        match pattern {
            "default" => default = Some(length),
            _ => rules.push(KernelRule {
                pattern: pattern.to_owned(),
                duration: length,
            }),
        }
    }
    Some((rules, default))
}

/// A duration with unit (`300ns`, `20us`, `1.5ms`, `2s`) in ns.
fn duration(text: &str) -> Option<u64> {
    with_unit(text, &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)])
}

fn bytes(text: &str) -> Option<u64> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("", 1.0),
    ];
    with_unit(text, &units)
}

fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let (number, unit) = text.split_at(
        text.find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len()),
    );
    let factor = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    let number: f64 = number.trim().parse().ok()?;
    // Above 2^53 a float no longer counts single ns; nothing here is that long.
    ((0.0..9e15).contains(&(number * factor))).then_some((number * factor).round() as u64)
}

fn version(text: &str) -> Option<i32> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
    Some(i32::from(major) * 10_000_000 + i32::from(minor) * 100_000)
}

/// Whether `text` matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().unwrap_or((&"", &[]));
    for part in middle {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Options {
        Options::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn kernel_rules_apply_in_order() {
        let options = with("HIPSIM_KERNELS", "gemm*=500us,*bias*=1.5ms,default=7us");
        assert_eq!(options.kernel_duration("gemm_f32", ""), 500_000);
        assert_eq!(
            options.kernel_duration("_Z8add_biasPf", "add_bias"),
            1_500_000
        );
        assert_eq!(options.kernel_duration("relu", "relu"), 7_000);
    }

    #[test]
    fn unreadable_values_fall_back() {
        assert_eq!(with("HIPSIM_KERNELS", "gemm=fast").default_kernel, 20_000);
        assert_eq!(with("HIPSIM_JITTER", "7").jitter, 0.0);
        assert_eq!(with("HIPSIM_MEMORY", "1.5GiB").memory, 3 << 29);
        assert_eq!(
            with("HIPSIM_RUNTIME_VERSION", "7.2").version,
            Some(70_200_000)
        );
        assert_eq!(with("HIPSIM_ARCHITECTURE", "sm_90").architecture, None);
    }

    #[test]
    fn patterns() {
        assert!(matches("*", "anything"));
        assert!(matches("a*c", "abc"));
        assert!(!matches("a*c", "ab"));
        assert!(matches("*b*d*", "abcde"));
        assert!(!matches("abc", "abcd"));
    }

    #[test]
    fn readme_lists_every_variable() {
        let readme = include_str!("../../README.md");
        for Variable {
            name,
            format,
            default,
            meaning,
        } in VARIABLES
        {
            let row = format!("| `{name}` | {format} | {default} | {meaning} |");
            assert!(readme.contains(&row), "README.md lacks the row {row}");
        }
    }
}
