//! The sample programs as others use them: on the installed library, by their options, with their reports.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use serde_json::Value;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let built = std::env::current_exe()
            .expect("the test program's path")
            .with_file_name("libhipsim.so");
        hipsim::install::install(&built, &dir.path().join("lib")).expect("install the library");
        Self(dir)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(path(program));
        command
            .env("LD_LIBRARY_PATH", self.0.path().join("lib"))
            .env("HIPSIM_DEVICE", self.0.path().join("device"))
            .env("HIPSIM_KERNELS", "default=100us")
            .env_remove("LD_PRELOAD");
        command
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Running {
        let child = self
            .command(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn();
        Running(Some(
            child.unwrap_or_else(|error| panic!("{program}: {error}")),
        ))
    }

    fn report(&self, program: &str, arguments: &[&str]) -> Value {
        self.start(program, arguments).report()
    }

    /// The first of ten reports that is as a program at rest makes it: when
    /// others have the processors, a program comes late with no fault of its
    /// own.
    fn report_at_rest(
        &self,
        program: &str,
        arguments: &[&str],
        at_rest: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut reports = (0..10).map(|_| self.report(program, arguments));
        let mut late = Vec::new();
        loop {
            match reports.next() {
                Some(report) if at_rest(&report) => return report,
                Some(report) => late.push(report),
                None => panic!("{program} {arguments:?}: {late:?}"),
            }
        }
    }
}

/// A program; killed when dropped.
struct Running(Option<Child>);

impl Running {
    fn report(mut self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        let child = self.0.as_mut().expect("a running program");
        while child.try_wait().expect("wait for the program").is_none() {
            assert!(Instant::now() < deadline, "the program hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = self
            .0
            .take()
            .expect("a program")
            .wait_with_output()
            .expect("its output");
        assert!(output.status.success(), "{}", output.status);
        serde_json::from_slice(&output.stdout).expect("a report in JSON")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program of this package: build.rs places those in C beside those in Rust.
fn path(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_hipsim-service")).with_file_name(program)
}

/// (symbol, version node) of every undefined symbol that has one.
fn references(file: &str) -> Vec<(String, String)> {
    let data = std::fs::read(path(file)).expect(file);
    let data = data.as_slice();
    let header = object::elf::FileHeader64::<object::Endianness>::parse(data).expect("an ELF file");
    let endian = header.endian().expect("an endianness");
    let sections = header.sections(endian, data).expect("sections");
    let versions = sections
        .versions(endian, data)
        .expect("versions")
        .expect("version tables");
    let symbols = sections
        .symbols(endian, data, object::elf::SHT_DYNSYM)
        .expect("symbols");
    assert!(
        sections
            .iter()
            .any(|section| section.sh_type(endian) == object::elf::SHT_GNU_VERNEED)
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    symbols
        .enumerate()
        .filter(|(_, symbol)| symbol.is_undefined(endian))
        .filter_map(|(index, symbol)| {
            let node = versions
                .version(versions.version_index(endian, index).into())
                .ok()??;
            Some((
                text(symbol.name(endian, symbols.strings()).ok()?),
                text(node.name()),
            ))
        })
        .collect()
}

#[test]
fn references_are_versioned_as_in_real_programs() {
    let pair = |name: &str, node: &str| (name.to_owned(), node.to_owned());
    for program in ["hipsim-service", "hipsim-batch", "hipsim-nullstream"] {
        assert!(
            references(program).contains(&pair("hipModuleLaunchKernel", "hip_4.2")),
            "{program}"
        );
    }
    assert!(references("hipsim-versioned").contains(&pair("hipStreamCreate", "hip_4.2")));
    assert!(references("libversioned.so").contains(&pair("hipLaunchKernel", "hip_99.0")));
}

#[test]
fn the_service_measures_what_its_kernels_take() {
    let bench = Bench::new();
    let arguments = [
        "--json",
        "--duration",
        "600ms",
        "--warmup",
        "50ms",
        "--period",
        "10ms",
        "--kernel-time",
        "300us",
    ];
    for extra in [
        &["--syncs", "1"][..],
        &["--syncs", "5"],
        &["--stream", "null"],
        &["--launch", "runtime"],
    ] {
        let arguments = [&arguments, extra].concat();
        let report = bench.report_at_rest("hipsim-service", &arguments, |report| {
            let p50 = report["p50_ns"].as_u64().expect("p50_ns");
            let requests = report["requests"].as_u64().expect("requests");
            // 10 kernels of 300 us, every 10 ms.
            assert!(p50 >= 3_000_000 && requests <= 61, "{extra:?}: {report}");
            p50 < 4_500_000 && requests >= 55
        });
        assert!(report["p99_ns"].as_f64() <= report["max_ns"].as_f64());
    }
    let report = bench.report(
        "hipsim-service",
        &[&arguments[..], &["--gaps", "exponential"]].concat(),
    );
    assert!(
        report["requests"].as_u64().expect("requests") > 20,
        "{report}"
    );
}

#[test]
fn the_programs_in_c_report_their_rates() {
    let bench = Bench::new();
    bench.report_at_rest("hipsim-batch", &["--duration", "500ms"], |batch| {
        let rate = batch["per_s"].as_f64().expect("per_s");
        assert!(rate < 10_200.0, "{batch}");
        rate >= 8_000.0
    });
    for program in ["hipsim-nullstream", "hipsim-versioned"] {
        let arguments = ["--duration", "300ms", "--period", "2ms"];
        bench.report_at_rest(program, &arguments, |report| {
            let kernels = report["kernels"].as_u64().expect("kernels");
            assert!(kernels <= 151, "{program}: {report}");
            kernels >= 100
        });
    }
}

#[test]
fn batch_reports_when_it_is_told_to_stop() {
    let bench = Bench::new();
    let batch = bench.start("hipsim-batch", &["--kernel-time", "1ms"]);
    std::thread::sleep(Duration::from_millis(400));
    let id = batch.0.as_ref().expect("a running program").id();
    // SAFETY: a signal to a child of ours that has not been waited for.
    let told = unsafe { libc::kill(id.cast_signed(), libc::SIGTERM) };
    assert_eq!(told, 0);
    let report = batch.report();
    assert!(
        report["kernels"].as_u64().expect("kernels") >= 256,
        "{report}"
    );
}

#[test]
fn unknown_options_are_refused() {
    let bench = Bench::new();
    for program in [
        "hipsim-async",
        "hipsim-batch",
        "hipsim-nullstream",
        "hipsim-versioned",
        "hipsim-service",
    ] {
        let output = bench
            .command(program)
            .arg("--no-such-option")
            .output()
            .expect(program);
        assert_eq!(output.status.code(), Some(2), "{program}");
        assert!(!output.stderr.is_empty());
    }
}
