//! Drivers other than the one that the table is of: without the functions,
//! older, newer. A program gets from each, under the shim, what it gets
//! without.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xsched_common::platform::Platform;

/// Prints what it can get from the driver, in every way that programs have.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int (*launch_t)(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        void *stream, void **params, void **extra);
static const char *const NAMES[] = {
    "cuInit", "cuLaunchKernel", "cuLaunchKernel_ptsz", "cuLaunchKernelEx", "cuGraphLaunch", "cuCtxSynchronize",
    "cuGetProcAddress", "cuGetProcAddress_v2", "cuLaunchOfTheFuture", "cuNoSuchFunction", ""};

static void launch(const char *how, const char *name, void *found) {
    printf("%s %s:", how, name);
    if (!found) puts(" none");
    else if (!strncmp(name, "cuLaunchKernel", 14) || !strcmp(name, "cuLaunchOfTheFuture")) {
        static uint64_t zeros[16];
        printf(" returns %d\n", ((launch_t)found)(zeros, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0));
    } else puts(" found");
}

int main(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) return puts(dlerror()), 1;
    int (*init)(unsigned) = dlsym(driver, "cuInit");
    if (init) printf("cuInit: %d\n", init(0));
    int (*first)(const char *, void **, int, uint64_t) = dlsym(driver, "cuGetProcAddress");
    int (*second)(const char *, void **, int, uint64_t, int *) = dlsym(driver, "cuGetProcAddress_v2");
    for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        launch("dlsym", NAMES[i], dlsym(driver, NAMES[i]));
        for (int flags = 0; flags < 3; flags++) {
            int status = -1, code;
            void *found = 0;
            if (first) {
                code = first(NAMES[i], &found, 13000, (uint64_t)flags);
                printf("first: %d ", code);
                launch("look-up", NAMES[i], code ? 0 : found);
            }
            found = 0;
            if (second) {
                code = second(NAMES[i], &found, 13000, (uint64_t)flags, &status);
                printf("second: %d, status %d ", code, status);
                launch("look-up", NAMES[i], code ? 0 : found);
            }
        }
    }
    puts("done");
    return 0;
}
"#;

/// The driver that does nothing, with the functions that programs launch with.
const DRIVER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
int cuInit(unsigned flags) { return flags != 0; }
int cuLaunchKernel(void) { return 0; }
int cuLaunchKernel_ptsz(void) { return 0; }
int cuGraphLaunch(void) { return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuCtxGetDevice(int *device) { return *device = 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
#ifdef NEW
int cuLaunchKernelEx(void) { return 0; }
int cuLaunchOfTheFuture(void) { return 42; }
int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    if (!*name) return *found = 0, 0;
    *found = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
    return *found ? 0 : 500;
}
int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    int code = cuGetProcAddress(name, found, version, flags);
    *status = code ? 1 : 0;
    return 0;
}
#endif
"#;

/// A driver in a folder of its own, and the program beside it.
struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn with(driver: &str, options: &[&str]) -> Case {
        let directory = tempfile::tempdir().expect("a directory");
        let cc = |name: &str, source: &str, options: &[&str]| {
            let at = directory.path().join(format!("{name}.c"));
            std::fs::write(&at, source).expect("written");
            let done = Command::new("cc")
                .current_dir(directory.path())
                .args(["-O1", "-w", "-o", name])
                .arg(&at)
                .args(options)
                .status();
            assert!(done.expect("a C compiler named cc").success(), "{name}");
        };
        let library = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"];
        cc("libcuda.so.1", driver, &[&library, options].concat());
        cc("program", PROGRAM, &["-ldl"]);
        Case { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, preload: Option<&Path>) -> Output {
        let mut command = Command::new(self.path().join("program"));
        command.env("LD_LIBRARY_PATH", self.path());
        // No agent: what is compared is what the program sees.
        command.env("XSCHED_RUN_DIR", self.path().join("nowhere"));
        if let Some(shim) = preload {
            command.env("LD_PRELOAD", shim);
        }
        command.output().expect("it starts")
    }

    /// What it prints, which is the same with and without the shim.
    fn printed(&self) -> String {
        let native = self.run(None);
        let shimmed = self.run(Some(&shim()));
        let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text(&shimmed), text(&native), "{:?}", shimmed.status);
        assert_eq!(shimmed.status, native.status);
        assert_eq!(String::from_utf8_lossy(&shimmed.stderr), "");
        text(&native)
    }
}

fn shim() -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    exe.with_file_name(Platform::Cuda.names().shim)
}

#[test]
fn a_driver_library_without_the_functions() {
    let printed = Case::with("int nothing;", &[]).printed();
    assert!(printed.contains("dlsym cuInit: none"), "{printed}");
    assert!(printed.ends_with("done\n"), "{printed}");
}

/// Of a driver before CUDA 11.3 a program gets no function by the driver's own
/// look-up, and what came later not at all.
#[test]
fn a_driver_older_than_the_look_up() {
    let printed = Case::with(DRIVER, &[]).printed();
    for line in [
        "dlsym cuLaunchKernel: returns 0",
        "dlsym cuLaunchKernelEx: none",
        "dlsym cuGetProcAddress: none",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(printed.ends_with("done\n"), "{printed}");
}

/// What the table does not know is the driver's own, whichever way it was
/// come by.
#[test]
fn a_driver_newer_than_the_table() {
    let printed = Case::with(DRIVER, &["-DNEW"]).printed();
    for line in [
        "dlsym cuLaunchOfTheFuture: returns 42",
        "first: 0 look-up cuLaunchOfTheFuture: returns 42",
        "second: 0, status 0 look-up cuLaunchOfTheFuture: returns 42",
        "first: 500 look-up cuNoSuchFunction: none",
        "second: 0, status 1 look-up cuNoSuchFunction: none",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

/// A shim without a driver is a library that does nothing.
#[test]
fn no_driver_library_at_all() {
    let case = Case::with(DRIVER, &[]);
    std::fs::remove_file(case.path().join("libcuda.so.1")).expect("it was there");
    let printed = case.printed();
    assert!(printed.contains("libcuda.so.1"), "{printed}");
}
