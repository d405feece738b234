//! NVIDIA's own runtime library, unmodified, on the simulated driver: the wheels of PyPI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support;

/// Package, version, and the library's name.
const RUNTIMES: [(&str, &str, &str); 3] = [
    ("nvidia-cuda-runtime-cu11", "11.8.89", "libcudart.so.11.0"),
    ("nvidia-cuda-runtime-cu12", "12.9.79", "libcudart.so.12"),
    ("nvidia-cuda-runtime", "13.5.37", "libcudart.so.13"),
];

/// The folder of a runtime library, fetched once; what hinders it.
fn fetched(package: &str, version: &str, library: &str) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{package}-{version}"));
    let wheel = |path: &Path| path.extension().is_some_and(|ending| ending == "whl");
    if !target.join(library).exists() {
        std::fs::create_dir_all(&target).map_err(|e| e.to_string())?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .arg("--dest")
        .arg(&target)
        .arg(format!("{package}=={version}"));
        let output = pip.output().map_err(|e| format!("python3 -m pip: {e}"))?;
        if !output.status.success() {
            return Err(format!("pip cannot fetch {package} {version}"));
        }
        let files = std::fs::read_dir(&target).map_err(|e| e.to_string())?;
        let wheels: Vec<PathBuf> = files
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| wheel(path))
            .collect();
        let script = "import sys, zipfile\n\
             z = zipfile.ZipFile(sys.argv[1])\n\
             n = next(n for n in z.namelist() if n.endswith('/' + sys.argv[3]))\n\
             open(sys.argv[2] + '/' + sys.argv[3], 'wb').write(z.read(n))";
        let unpacked = Command::new("python3")
            .args(["-c", script])
            .arg(wheels.first().ok_or("pip fetched no wheel")?)
            .arg(&target)
            .arg(library)
            .status()
            .map_err(|e| e.to_string())?;
        if !unpacked.success() {
            return Err(format!("{package} {version} has no {library}"));
        }
    }
    Ok(target)
}

/// Runs `then` for each runtime library that can be had; says which cannot.
fn each(mut then: impl FnMut(&str, &Path, &str)) {
    for (package, version, library) in RUNTIMES {
        match fetched(package, version, library) {
            Ok(folder) => then(version, &folder, library),
            Err(why) => eprintln!("LEFT OUT: libcudart {version}: {why}"),
        }
    }
}

#[test]
fn programs_of_the_runtime_run_unmodified() {
    let out = tempfile::tempdir().expect("a temporary directory");
    each(|version, folder, library| {
        let bin = out.path().join(version);
        std::fs::create_dir(&bin).expect("a folder");
        let file = folder.join(library);
        let link = format!("-Wl,--allow-shlib-undefined,-rpath,{}", folder.display());
        let program = support::compiled("runtime", &bin, &[file.as_ref(), link.as_ref()]);
        let output = support::run(&program, &[support::driver()], &[]);
        let text = support::printed(&output);
        assert!(text.ends_with("graphs\ndone\n"), "{version}: {text}");
    });
}

/// What libcudart asks for, each look-up with its version and flags: as the table of versions says.
#[test]
fn every_look_up_of_the_runtime_is_answered() {
    let table = include_str!("../../../xsched-common/data/cuda-versions.tsv");
    let mut asked = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        for question in columns[2].split(',').filter(|question| *question != "-") {
            let (version, flags) = question.split_once('/').expect("version/flags");
            asked.push(format!(
                "{} {version} {flags} {}",
                name_of(columns[0]),
                columns[0]
            ));
        }
    }
    assert_eq!(asked.len(), 480);
    let out = tempfile::tempdir().expect("a temporary directory");
    let program = support::compiled("lookups", out.path(), &["-ldl".as_ref()]);
    let list = out.path().join("asked");
    std::fs::write(&list, asked.join("\n")).expect("a file");
    let list = list.to_str().expect("a path");
    let output = support::run(&program, &[support::driver()], &[list]);
    let text = support::printed(&output);
    let counts: BTreeMap<&str, u32> = text
        .lines()
        .filter_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            Some((name, count.parse().ok()?))
        })
        .collect();
    assert_eq!(counts.get("answered"), Some(&480), "{text}");
    assert_eq!(counts.get("another"), Some(&0), "{text}");
    println!("cudart_lookups_answered: {}", counts["answered"]);
}

/// The name that a symbol is looked up by.
fn name_of(symbol: &str) -> &str {
    let plain = symbol
        .strip_suffix("_ptsz")
        .or_else(|| symbol.strip_suffix("_ptds"))
        .unwrap_or(symbol);
    match plain.rsplit_once("_v") {
        Some((base, version)) if version.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => plain,
    }
}
