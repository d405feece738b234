//! Builds what the samples link against, and the samples in C.
//!
//! The programs must hold versioned references (`hipLaunchKernel@hip_4.2`, NEEDED libamdhip64.so.5) like real ones, so that a
//! preloaded library interposes them by the linker's real rules. They are linked against an import library made here from
//! the symbol table; at run time LD_LIBRARY_PATH chooses the simulator or a real runtime.
//!
//! The C programs are placed beside the Rust ones: `target/<profile>/hipsim-async`, `hipsim-batch`,
//! `hipsim-nullstream`, `hipsim-threads`, `hipsim-versioned` and its `libversioned.so`, hipsim-replay's
//! `libhipsim_caller.so`; and for CUDA `cudasim-batch`, `cudasim-nullstream`,
//! `cudasim-deepbound` and its `libdeepbound.so`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TABLES: [&str; 2] = [
    "../../xsched-common/data/hip-symbol-versions.tsv",
    "../data/extra-symbol-versions.tsv",
];
const SOURCES: [&str; 14] = [
    "c/common.h",
    "c/cuda.h",
    "c/kernels.ptx",
    "c/async.c",
    "c/batch.c",
    "c/caller.c",
    "c/deepbound.c",
    "c/libdeepbound.c",
    "c/nullstream.c",
    "c/threads.c",
    "c/versioned.c",
    "c/libversioned.c",
    "../include/hipsim.h",
    "../../crates/xsched-hint/include/xsched.h",
];

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // OUT_DIR is target/<profile>/build/<package>/out.
    let profile = out
        .ancestors()
        .nth(3)
        .expect("OUT_DIR is below the profile's folder")
        .to_owned();
    for file in TABLES.iter().chain(&SOURCES) {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }

    let import = out.join("import");
    import_library(&root, &import);
    driver_library(&root, &import);
    for (program, library) in [
        ("hipsim-service", "amdhip64"),
        ("hipsim-replay", "amdhip64"),
        ("cudasim-service", "cuda"),
    ] {
        println!("cargo::rustc-link-arg-bin={program}=-L{}", import.display());
        println!("cargo::rustc-link-arg-bin={program}=-l{library}");
    }

    let library = out.join("libversioned.so");
    let from_here = |source: &str| root.join("c").join(source).into_os_string();
    let hip = [
        "-L".into(),
        import.clone().into_os_string(),
        "-lamdhip64".into(),
    ];
    let shared = [
        "-shared".into(),
        "-fPIC".into(),
        "-Wl,-soname,libversioned.so".into(),
    ];
    let sources = [
        from_here("libversioned.c"),
        "-o".into(),
        library.clone().into_os_string(),
    ];
    compile(&root, shared.into_iter().chain(sources).chain(hip.clone()));
    // Without a SONAME: copies of it are opened under many names.
    let caller = out.join("libhipsim_caller.so");
    let sources = [
        from_here("caller.c"),
        "-o".into(),
        caller.clone().into_os_string(),
    ];
    let plain = ["-shared".into(), "-fPIC".into()];
    compile(&root, plain.into_iter().chain(sources).chain(hip.clone()));
    let mut placed = vec![library.clone(), caller];
    for program in ["async", "batch", "nullstream", "threads", "versioned"] {
        let target = out.join(format!("hipsim-{program}"));
        let sources = [
            from_here(&format!("{program}.c")),
            "-o".into(),
            target.clone().into_os_string(),
        ];
        // `versioned` finds its library in its own folder.
        let library = (program == "versioned").then(|| {
            [
                library.clone().into_os_string(),
                "-Wl,-rpath,$ORIGIN".into(),
            ]
        });
        compile(
            &root,
            sources
                .into_iter()
                .chain(library.into_iter().flatten())
                .chain(hip.clone()),
        );
        placed.push(target);
    }
    placed.extend(cuda_programs(&root, &out, &import));
    for file in placed {
        place(&file, &profile);
    }
}

/// The programs that say their calls in CUDA's words.
fn cuda_programs(root: &Path, out: &Path, import: &Path) -> Vec<PathBuf> {
    let kernels = fs::read_to_string(root.join("c/kernels.ptx")).expect("read the kernels");
    let mut header = String::from("static const char KERNELS[] =\n");
    for line in kernels.lines() {
        writeln!(header, "    \"{line}\\n\"").expect("write to a string");
    }
    fs::write(out.join("kernels.ptx.h"), header + ";\n").expect("write the kernels' header");
    let build = |source: &str, name: &str, extra: &[&str]| {
        let target = out.join(name);
        let link = format!("-L{}", import.display());
        let mut arguments = vec![root.join("c").join(source).into_os_string()];
        arguments.extend(["-DCUDA", "-I"].map(Into::into));
        arguments.push(out.as_os_str().to_owned());
        arguments.extend(["-o".into(), target.clone().into_os_string()]);
        arguments.extend(extra.iter().map(Into::into));
        arguments.extend([link.into(), "-lcuda".into()]);
        compile(root, arguments);
        target
    };
    let own_folder = "-Wl,-rpath,$ORIGIN";
    vec![
        build("batch.c", "cudasim-batch", &[]),
        build("nullstream.c", "cudasim-nullstream", &[]),
        build("deepbound.c", "cudasim-deepbound", &[own_folder]),
        build(
            "libdeepbound.c",
            "libdeepbound.so",
            &["-shared", "-fPIC", "-Wl,-soname,libdeepbound.so"],
        ),
    ]
}

/// A library that exports what the samples call of CUDA's driver and does nothing.
fn driver_library(root: &Path, folder: &Path) {
    let symbols = [
        "cuCtxSetCurrent",
        "cuCtxSynchronize",
        "cuDevicePrimaryCtxRetain",
        "cuEventCreate",
        "cuEventRecord",
        "cuEventSynchronize",
        "cuGetErrorName",
        "cuInit",
        "cuLaunchKernel",
        "cuLaunchKernelEx",
        "cuModuleGetFunction",
        "cuModuleLoadData",
        "cuStreamCreate",
        "cuStreamSynchronize",
    ];
    let source = folder.join("driver.c");
    let exports = symbols.map(|symbol| format!("int {symbol}(void) {{ return 0; }}\n"));
    fs::write(&source, exports.concat()).expect("write the driver's import library");
    compile(
        root,
        [
            "-shared".into(),
            "-fPIC".into(),
            "-Wl,-soname,libcuda.so.1".into(),
            source.into_os_string(),
            "-o".into(),
            folder.join("libcuda.so").into_os_string(),
        ],
    );
}

/// A library that exports every symbol under its node and does nothing, with the SONAME the programs shall need.
fn import_library(root: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("create the import library's folder");
    let mut nodes: Vec<String> = Vec::new();
    let mut assembly = String::from(".text\n");
    for (table, default) in TABLES.iter().zip(["@@", "@"]) {
        let path = root.join(table);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (index, line) in text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .enumerate()
        {
            let mut columns = line.split('\t');
            let (Some(symbol), Some(node)) = (columns.next(), columns.next()) else {
                continue;
            };
            let label = format!("entry_{}_{index}", default.len());
            writeln!(
                assembly,
                ".globl {label}\n.type {label},@function\n{label}: ret\n.symver {label},{symbol}{default}{node}"
            )
            .expect("write to a string");
            if !nodes.iter().any(|known| known == node) {
                nodes.push(node.to_owned());
            }
        }
    }
    let mut script = String::new();
    let mut parent = String::new();
    for (index, node) in nodes.iter().enumerate() {
        let locals = if index == 0 { " local: entry_*; " } else { " " };
        writeln!(script, "{node} {{{locals}}}{parent};").expect("write to a string");
        parent = format!(" {node}");
    }
    fs::write(folder.join("import.s"), assembly).expect("write the import library's source");
    fs::write(folder.join("nodes.map"), script).expect("write the import library's version script");
    let map = format!(
        "-Wl,--version-script={}",
        folder.join("nodes.map").display()
    );
    compile(
        root,
        [
            "-shared".into(),
            "-nostdlib".into(),
            "-Wl,-soname,libamdhip64.so.5".into(),
            map.into(),
            folder.join("import.s").into_os_string(),
            "-o".into(),
            folder.join("libamdhip64.so").into_os_string(),
        ],
    );
}

fn compile(root: &Path, arguments: impl IntoIterator<Item = std::ffi::OsString>) {
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(&compiler);
    command
        .args([
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Wno-unused-function",
            "-I",
        ])
        .arg(root.join("../include"))
        .arg("-I")
        .arg(root.join("../../crates/xsched-hint/include"))
        .arg("-pthread");
    command.args(arguments);
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?} failed: {status:?}; a C compiler is needed (apt-get install gcc libc6-dev, or set CC)"
    );
}

/// Copies a product to the folder of the Rust programs, atomically: an older copy may be running.
fn place(file: &Path, folder: &Path) {
    let name = file.file_name().expect("a product has a name");
    let target = folder.join(name);
    let fresh = folder.join(format!(".{}.{}", name.display(), std::process::id()));
    fs::copy(file, &fresh)
        .and_then(|_| fs::rename(&fresh, &target))
        .expect("place a product");
    println!("cargo::rerun-if-changed={}", target.display());
}
