//! The case programs: compiled here, and asked which cases they hold.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, bail, ensure};

use super::exec::{self, End};
use super::{Abi, Tier};
use crate::platform::Platform;

/// A program answers this fast which cases it holds.
const LISTING: Duration = Duration::from_secs(20);
/// What programs of `hip/` and `full/` link beside the HIP runtime, by file name.
const LIBRARIES: [(&str, &str); 2] = [("random", "-lrocrand"), ("sparse", "-lrocsparse")];
/// The oldest device hipcc 5.2 and the simulator both know.
const ARCHITECTURE: &str = "--offload-arch=gfx906";

/// One case of a program.
#[derive(Clone, Debug)]
pub struct Case {
    /// The program; its folder is the case's working directory.
    pub program: PathBuf,
    /// Its argument, and the case's name.
    pub name: String,
    /// The runtime that the program is linked with.
    pub abi: Abi,
}

/// What is compiled, and against what.
pub struct Recipe<'a> {
    /// The folder of sources.
    pub sources: &'a Path,
    /// The folder of the installed runtimes.
    pub runtime: &'a Path,
    /// Whose interface the programs use.
    pub platform: Platform,
    /// The one that the programs in C are linked with.
    pub abi: Abi,
    /// How much is wanted.
    pub tier: Tier,
    /// The kernels that the cases in C launch, for a runtime that wants real code; hipsim finds any by name.
    pub code: Option<PathBuf>,
}

/// Compiles a recipe's sources into `bin` and lists the cases:
///
/// | sources | become |
/// |---|---|
/// | `lib/*.c` | `lib*.so`, opened by programs |
/// | `*.c` | programs |
/// | `hip/*.cpp` | programs, by hipcc |
/// | `hip/*.hip` | code objects `*.co`, by hipcc |
/// | `full/*.cpp` | as `hip/`, of the full tier |
/// | `cuda/*.c` | programs; those of CUDA, which has no others |
///
/// # Errors
/// A compiler is missing, refuses a source, or two cases have one name.
pub fn build(recipe: &Recipe<'_>, bin: &Path) -> anyhow::Result<Vec<Case>> {
    let Recipe {
        sources, runtime, ..
    } = *recipe;
    fs::create_dir_all(bin)?;
    if recipe.platform == Platform::Cuda {
        let link = [
            OsString::from("-L"),
            runtime.into(),
            "-l:libcuda.so.1".into(),
        ];
        let programs = in_c(&sources.join("cuda"), recipe, bin, &link)?;
        return list(&programs, runtime);
    }
    let soname = recipe.abi.soname();
    let mut link = vec![
        OsString::from("-L"),
        runtime.into(),
        format!("-l:{soname}").into(),
        format!("-DHIP_LIBRARY=\"{soname}\"").into(),
        "-pthread".into(),
        "-ldl".into(),
    ];
    if let Some(code) = &recipe.code {
        let bundle = bin.join("code.bundle");
        let mut hipcc = Command::new("hipcc");
        hipcc.args(["--genco", ARCHITECTURE, "-O1"]).arg(code);
        compile(hipcc.arg("-o").arg(&bundle))?;
        link.push(format!("-DHIP_CODE=\"{}\"", bundle.display()).into());
    }
    for source in files(&sources.join("lib"), "c")? {
        let target = bin.join(format!("lib{}.so", stem(&source)));
        let mut cc = c_compiler(sources);
        cc.args(["-shared", "-fPIC"])
            .arg(&source)
            .arg("-o")
            .arg(target);
        compile(cc.args(&link))?;
    }
    let mut programs = in_c(sources, recipe, bin, &link)?;
    for source in files(&sources.join("hip"), "hip")? {
        let target = bin.join(format!("{}.co", stem(&source)));
        let mut hipcc = Command::new("hipcc");
        hipcc.args(["--genco", ARCHITECTURE, "-O1"]).arg(&source);
        compile(hipcc.arg("-o").arg(target))?;
    }
    let mut hip = files(&sources.join("hip"), "cpp")?;
    if recipe.tier == Tier::Full {
        hip.extend(files(&sources.join("full"), "cpp")?);
    }
    for source in hip {
        let target = bin.join(stem(&source));
        let mut hipcc = Command::new("hipcc");
        hipcc.args([ARCHITECTURE, "-O1", "-w", "-I"]).arg(sources);
        hipcc.arg(&source).arg("-o").arg(&target);
        let libraries = LIBRARIES.iter().filter(|(name, _)| *name == stem(&source));
        compile(hipcc.args(libraries.map(|(_, library)| library)))?;
        // The hipcc of the distribution is of ROCm 5.
        programs.push((target, Abi::Five));
    }
    list(&programs, runtime)
}

/// Compiles the programs of a folder.
fn in_c(
    folder: &Path,
    recipe: &Recipe<'_>,
    bin: &Path,
    link: &[OsString],
) -> anyhow::Result<Vec<(PathBuf, Abi)>> {
    let mut programs = Vec::new();
    for source in files(folder, "c")? {
        let target = bin.join(stem(&source));
        let mut cc = c_compiler(recipe.sources);
        cc.arg(&source).arg("-o").arg(&target);
        compile(cc.args(link).args(["-pthread", "-ldl"]))?;
        programs.push((target, recipe.abi));
    }
    Ok(programs)
}

/// How the cases of `random_work.c` are named: `random_SEEDxOPERATIONSxTHREADS`. Any such name is a case, whether listed or not.
const RANDOM: &str = "random_";
/// Operations of each thread. Under a random gate a program of this length takes a second or two.
const OPERATIONS: u64 = 200;

/// Adds `count` programs of random work, every fourth with several threads.
///
/// # Errors
/// The folder of sources has no program that makes them.
pub fn add_random(cases: &mut Vec<Case>, count: u64, seed: u64) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let listed = cases.iter().find(|case| case.name.starts_with(RANDOM));
    let model = listed.context("no case is random work")?.clone();
    cases.extend((0..count).map(|index| {
        let (operations, threads) = match index % 4 {
            3 => (OPERATIONS / 2, 3),
            _ => (OPERATIONS, 1),
        };
        let seed = seed.wrapping_add(index);
        Case {
            name: format!("{RANDOM}{seed}x{operations}x{threads}"),
            ..model.clone()
        }
    }));
    Ok(())
}

fn list(programs: &[(PathBuf, Abi)], runtime: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut names = HashSet::new();
    for (program, abi) in programs {
        let mut command = Command::new(program);
        let ran = exec::run(clean(&mut command).env("LD_LIBRARY_PATH", runtime), LISTING)?;
        ensure!(
            ran.end == End::Exited(0) && !ran.transcript.is_empty(),
            "{} does not list its cases ({:?}): {}",
            program.display(),
            ran.end,
            ran.errors
        );
        for name in ran.transcript.lines() {
            ensure!(names.insert(name.to_owned()), "two cases are named {name}");
            cases.push(Case {
                program: program.clone(),
                name: name.to_owned(),
                abi: *abi,
            });
        }
    }
    ensure!(!cases.is_empty(), "no case programs");
    Ok(cases)
}

/// Takes away what of our own environment would change a case.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HIPSIM_") || name.starts_with("XSCHED_") || name.starts_with("LD_") {
            command.env_remove(&*name);
        }
    }
    command
}

fn c_compiler(sources: &Path) -> Command {
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args([
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-function",
        "-I",
    ]);
    cc.arg(sources)
        .arg("-I")
        .arg(crate::build::root().join("hipsim/include"));
    cc
}

fn compile(compiler: &mut Command) -> anyhow::Result<()> {
    let name = compiler.get_program().display().to_string();
    let output = compiler.output().with_context(|| {
        format!("cannot start {name}: apt-get install gcc libc6-dev hipcc libamdhip64-dev librocrand-dev")
    })?;
    if !output.status.success() {
        bail!(
            "{compiler:?} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn stem(source: &Path) -> String {
    source
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The files of a folder with this extension, by name; none without the folder.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|path| path.extension() == Some(OsStr::new(extension)));
    files.sort();
    Ok(files)
}
