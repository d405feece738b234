//! What files, symbols and device nodes are called, and whose they are: the
//! one place that tells a runtime, a shim or a platform's function by its
//! name.

use super::{Platform, symbol_node};

/// How a platform calls its things.
#[derive(Debug)]
pub struct Names {
    /// The platform, for people.
    pub title: &'static str,
    /// Its runtime's file name up to version and suffix.
    pub runtime: &'static str,
    /// Its functions that look a kernel up by name: where they put the handle,
    /// the module, the name.
    pub kernel_lookups: &'static [&'static str],
    /// Whether others bring copies of it.
    pub copies: Copies,
    /// Our shim's file name.
    pub shim: &'static str,
    /// File names of XSched's shims.
    pub xsched_shims: &'static [&'static str],
    /// Its library of collectives, for people.
    pub collectives_title: &'static str,
    /// File name of that library: its ranks wait for each
    /// other, so gating one rank's kernels can hang all of them.
    pub collectives: &'static str,
    /// The function that most programs launch kernels with.
    pub launch: &'static str,
    /// The one that they copy with, without waiting.
    pub copy: &'static str,
    /// The one that they wait for a stream with.
    pub wait: &'static str,
    /// The one that hands addresses of others out.
    pub look_up: &'static str,
    /// How a stream is created that does not wait for the default stream.
    pub independent: &'static str,
    /// The compiler's option that gives each thread a default stream of its
    /// own.
    pub per_thread: &'static str,
    /// Which runtimes have a table behind their exports that strict mode gates
    /// in; `None` where there are none.
    pub strict: Option<&'static str>,
    /// How its functions' names begin; a capital letter follows.
    pub functions: &'static [&'static str],
    /// How those of other libraries begin that look alike.
    pub others: &'static [&'static str],
    /// How its version nodes begin; empty where there are none.
    pub nodes: &'static str,
    /// Files by which its driver is used.
    pub devices: &'static [&'static str],
    /// Others' libraries that stand before the runtime as well.
    pub interposers: &'static [Interposer],
    /// The server through which processes can share a device, where there is
    /// one.
    pub server: Option<Server>,
}

/// A library that stands between programs and the runtime for another end
/// than ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Interposer {
    /// Its file name.
    pub file: &'static str,
    /// Whose it is.
    pub owner: &'static str,
    /// What it does with launches, as the end of a sentence.
    pub does: &'static str,
}

/// A server through which the work of several processes reaches a device.
#[derive(Debug)]
pub struct Server {
    /// For people.
    pub title: &'static str,
    /// The variable that names the directory of its sockets.
    pub variable: &'static str,
    /// That directory where the variable is not set.
    pub directory: &'static str,
    /// The socket in it that its clients connect to.
    pub socket: &'static str,
    /// The variable that limits a client to a part of the device.
    pub share: &'static str,
}

/// How a PyTorch program launches on a stream that it creates, whatever the
/// platform.
pub const CREATED_BY_PYTORCH: &str = "PyTorch: with torch.cuda.stream(torch.cuda.Stream())";

/// Whether a runtime is found under names like its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Wheels and builds bring copies under other names: `libNAME-1a2b.so.6`.
    Renamed,
    /// There is the driver's own only; names that begin so are other
    /// libraries'.
    Never,
}

/// What the kernel puts behind the path of a file that is gone.
const DELETED: &[u8] = b" (deleted)";

/// The file's name in a path as the kernel or a program gives it.
pub fn basename(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// Whose runtime a file of this name is, if it is one: `libNAME.so` with or
/// without a version, or with something between as wheels and builds rename
/// their own copies (`libNAME-1a2b3c4d.so.6`, `libNAME_asan.so`). There, to
/// take another library for the runtime does less harm than to miss it.
pub fn runtime(path: &[u8]) -> Option<Platform> {
    let name = basename(path);
    Platform::ALL.into_iter().find(|platform| {
        let rest = name.strip_prefix(platform.names().runtime.as_bytes());
        rest.is_some_and(|rest| {
            let is_another = rest.first().is_some_and(u8::is_ascii_digit);
            let ends = |at| is_versioned(&rest[at..], b".so");
            match platform.names().copies {
                Copies::Renamed => !is_another && (0..rest.len()).any(ends),
                Copies::Never => ends(0),
            }
        })
    })
}

/// Whether `name` is `known` with or without a version behind it.
fn is_versioned(name: &[u8], known: &[u8]) -> bool {
    matches!(name.strip_prefix(known), Some([] | [b'.', ..]))
}

/// Whose function has this name, to go by how it is written or by the tables.
pub fn function(name: &[u8]) -> Option<Platform> {
    Platform::ALL.into_iter().find(|platform| {
        let is_mangled = name.starts_with(b"_Z");
        let is_written_so = |start: &&str| {
            let rest = name.strip_prefix(start.as_bytes());
            rest.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_uppercase))
        };
        let is_anothers = |start: &&str| name.starts_with(start.as_bytes());
        (platform.names().functions.iter().any(is_written_so)
            && !platform.names().others.iter().any(is_anothers))
            // Of C++ names only those that runtimes export.
            || is_mangled && core::str::from_utf8(name).is_ok_and(|name| symbol_node(name).is_some())
    })
}

/// Whether a string table can hold a name that [`function`] or [`node`] knows:
/// much cheaper than to look at its names.
pub fn may_hold_function(strings: &[u8]) -> bool {
    let holds = |start: &str, follows: fn(u8) -> bool| {
        let length = start.len();
        strings
            .windows(length + 1)
            .any(|window| window.starts_with(start.as_bytes()) && follows(window[length]))
    };
    Platform::ALL.iter().any(|platform| {
        let names = platform.names();
        let nodes = !names.nodes.is_empty() && holds(names.nodes, |_| true);
        let plain = |start: &&&str| !start.starts_with('_');
        let functions = || names.functions.iter().filter(plain);
        nodes || functions().any(|start| holds(start, |next| next.is_ascii_uppercase()))
    })
}

/// Whose version node has this name: all of a platform's begin so, and nobody
/// else's.
pub fn node(name: &str) -> Option<Platform> {
    Platform::ALL.into_iter().find(|platform| {
        let nodes = platform.names().nodes;
        !nodes.is_empty() && name.starts_with(nodes)
    })
}

/// Whose driver is used through the file at this path, whatever directory the
/// process takes for its root.
pub fn device(path: &[u8]) -> Option<Platform> {
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    Platform::ALL.into_iter().find(|platform| {
        let is_at_end = |device: &&str| path.ends_with(device.as_bytes());
        platform.names().devices.iter().any(is_at_end)
    })
}

/// What is known of the library with this file name, if it is one that stands
/// before a runtime.
pub fn interposer(path: &[u8]) -> Option<&'static Interposer> {
    let name = basename(path);
    let all = Platform::ALL.iter().flat_map(|of| of.names().interposers);
    all.into_iter()
        .find(|known| is_versioned(name, known.file.as_bytes()))
}

/// Whose library of collectives has this file name, if it is one: its ranks
/// wait for each other.
pub fn collectives(basename: &[u8]) -> Option<Platform> {
    Platform::ALL
        .into_iter()
        .find(|platform| basename.starts_with(platform.names().collectives.as_bytes()))
}

#[cfg(feature = "std")]
pub use shims::{ShimKind, ShimNames};

#[cfg(feature = "std")]
mod shims {
    use super::{Platform, basename, is_versioned};

    /// Whose shim it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum ShimKind {
        /// Ours.
        Ours,
        /// XSched's.
        XSched,
        /// A library that the user named.
        Named,
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

        /// Whose programs a known shim is for.
        pub fn platform(path: &str) -> Option<Platform> {
            let name = basename(path.as_bytes());
            let is = |known: &&str| is_versioned(name, known.as_bytes());
            Platform::ALL.into_iter().find(|platform| {
                let names = platform.names();
                is(&names.shim) || names.xsched_shims.iter().any(is)
            })
        }

        /// Which shim `path` is, if any. A version suffix does not matter.
        pub fn kind(&self, path: &str) -> Option<ShimKind> {
            let name = basename(path.as_bytes());
            let is = |known: &&str| is_versioned(name, known.as_bytes());
            let known = Platform::ALL.iter().find_map(|platform| {
                let names = platform.names();
                if is(&names.shim) {
                    Some(ShimKind::Ours)
                } else {
                    let is_xscheds = names.xsched_shims.iter().any(is);
                    is_xscheds.then_some(ShimKind::XSched)
                }
            });
            // The table outranks a user's word.
            known.or_else(|| {
                let named = |n: &String| n == path || is_versioned(name, basename(n.as_bytes()));
                self.named.iter().any(named).then_some(ShimKind::Named)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_told_by_their_file_names() {
        for name in [
            "libamdhip64.so",
            "libamdhip64.so.7",
            "/opt/rocm-6.4.3/lib/libamdhip64.so.6.4.60403",
            "/venv/torch.libs/libamdhip64-9d2a17b9.so.6.0.60002",
            "/usr/lib/libamdhip64.so.5 (deleted)",
            "/usr/lib/libamdhip64.so (deleted)",
            "/tmp/hipsim/libamdhip64.so.6",
            "libamdhip64.so.6.dpkg-new",
            "libamdhip64-7.1.so.7",
            "libamdhip64_asan.so",
            "libamdhip64d.so.6",
        ] {
            assert_eq!(runtime(name.as_bytes()), Some(Platform::Hip), "{name}");
        }
        for name in [
            "libcuda.so.1",
            "libcuda.so",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04",
            "/usr/local/cuda/compat/libcuda.so.550.54.15",
            "libcuda.so.1 (deleted)",
        ] {
            assert_eq!(runtime(name.as_bytes()), Some(Platform::Cuda), "{name}");
        }
        for name in [
            "",
            "libamdhip64",
            "libamdhip64.a",
            "libamdhip64.socket",
            "libamdhip64-dbg.txt",
            "libamdhip640.so",
            "xlibamdhip64.so",
            "libamdhip64.so/libother.so",
            "libhipblas.so.2",
            "libhipsim.so",
            "libxsched_shim.so",
            "libcudart.so.12",
            "libcudadebugger.so.1",
            "libcuda.a",
            "libcuda-wrapper.so",
            "libcudnn.so.9",
        ] {
            assert_eq!(runtime(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn shims_are_told_by_their_file_names() {
        let names = ShimNames::with(&["libmine.so".into(), "/opt/other/libgate.so".into()]);
        for (path, kind) in [
            ("/usr/lib/libxsched_shim.so", Some(ShimKind::Ours)),
            ("libxsched_shim.so", Some(ShimKind::Ours)),
            ("/b/libxsched_shim.so (deleted)", Some(ShimKind::Ours)),
            ("/b/libxsched_shim.so.1", Some(ShimKind::Ours)),
            ("/opt/xsched/lib/libshimhip.so", Some(ShimKind::XSched)),
            ("/opt/xsched/lib/libhalhip.so.1", Some(ShimKind::XSched)),
            ("/usr/lib/libxsched_shim_cuda.so", Some(ShimKind::Ours)),
            ("/opt/xsched/lib/libshimcuda.so", Some(ShimKind::XSched)),
            ("/x/libmine.so.3", Some(ShimKind::Named)),
            ("/y/libgate.so", Some(ShimKind::Named)),
            ("/lib/libamdhip64.so.6", None),
            ("/lib/libxsched_shim.something", None),
            ("/lib/libxsched_shim_of_nobody.so", None),
        ] {
            assert_eq!(names.kind(path), kind, "{path}");
        }
        assert_eq!(ShimNames::default().kind("/x/libmine.so.3"), None);
        for (path, platform) in [
            ("/usr/lib/libxsched_shim.so", Some(Platform::Hip)),
            ("/usr/lib/libxsched_shim_cuda.so", Some(Platform::Cuda)),
            ("/opt/xsched/lib/libhalcuda.so", Some(Platform::Cuda)),
            ("/x/libmine.so", None),
        ] {
            assert_eq!(ShimNames::platform(path), platform, "{path}");
        }
        let again = ShimNames::with(&["/usr/lib/libxsched_shim.so".into()]);
        assert_eq!(
            again.kind("/usr/lib/libxsched_shim.so"),
            Some(ShimKind::Ours)
        );
    }

    #[test]
    fn functions_nodes_and_devices_are_told_apart() {
        for name in [
            "hipLaunchKernel",
            "hipOfTheFuture",
            "__hipRegisterFunction",
            "_ZN8hip_impl22hipLaunchKernelGGLImplEmRK4dim3S2_jP12ihipStream_tPPv",
        ] {
            assert_eq!(function(name.as_bytes()), Some(Platform::Hip), "{name}");
            assert!(may_hold_function(name.as_bytes()), "{name}");
        }
        for name in [
            "hipblasSgemm",
            "__hip_fatbin_0",
            "ship",
            "hip",
            "_Z3foov",
            "dlsym",
            "",
        ] {
            assert_eq!(function(name.as_bytes()), None, "{name}");
        }
        for name in ["cuLaunchKernel", "cuOfTheFuture_v3_ptsz"] {
            assert_eq!(function(name.as_bytes()), Some(Platform::Cuda), "{name}");
            assert!(may_hold_function(name.as_bytes()), "{name}");
        }
        for name in ["cublasSgemm_v2", "cudaMalloc", "cuFileRead", "cupy", "cu"] {
            assert_eq!(function(name.as_bytes()), None, "{name}");
        }
        assert!(!may_hold_function(b"\0printf\0dlsym\0execute\0"));
        assert_eq!(
            (node("hip_4.2"), node("GLIBC_2.34")),
            (Some(Platform::Hip), None)
        );
        for path in ["/dev/kfd", "/chroot/dev/kfd", "/dev/kfd (deleted)"] {
            assert_eq!(device(path.as_bytes()), Some(Platform::Hip), "{path}");
        }
        assert_eq!(device(b"/dev/nvidia-uvm"), Some(Platform::Cuda));
        for path in [
            "/dev/nvidia-uvm-tools",
            "/dev/nvidiactl",
            "/dev/kfd0",
            "/dev/null",
            "kfd",
            "",
        ] {
            assert_eq!(device(path.as_bytes()), None, "{path}");
        }
    }
}
