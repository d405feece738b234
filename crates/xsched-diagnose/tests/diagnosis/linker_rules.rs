//! Rules of the dynamic linker that only some programs meet, each with
//! libraries that the linker really bound.

use super::*;

const SHIM: &str = "libxsched_shim.so";

/// Where a library's reference to hipLaunchKernel leads.
fn leads_to(report: &Report, library: &str) -> Vec<String> {
    let rows = report.bindings.iter();
    rows.filter(|b| base(&b.object) == library && b.symbol == "hipLaunchKernel")
        .map(|b| base(&b.bound_to).to_owned())
        .collect()
}

#[test]
fn dt_symbolic_keeps_a_library_to_its_own_definition() {
    let set = fixtures();
    let source = "LAUNCH(hipLaunchKernel) { return 0; }
        int go(int call) { return hipLaunchKernel(go, one, one, 0, 0, STREAM(call)); }";
    set.cc(source, "libitself.so", &["-shared", "-fPIC"]);
    let symbolic = ["-shared", "-fPIC", "-Wl,-Bsymbolic"];
    set.cc(source, "libsymbolic.so", &symbolic);
    let shim = set.text(SHIM);
    let of = |library: &str| {
        let path = format!("./{library}");
        let report = examine(&set.start("program", Some(&shim), &[&path, "1", "1"]));
        // Nothing of it reaches a runtime that we know: nothing to complain of.
        assert_eq!(codes(&report), [], "{report}");
        leads_to(&report, library)
    };
    assert_eq!(of("libitself.so"), [SHIM], "the shim precedes it");
    assert_eq!(of("libsymbolic.so"), [""; 0], "bound when it was linked");
}

#[test]
fn an_opened_shim_counts_in_the_global_scope_only() {
    const LOCAL: &str = "1";
    const GLOBAL: &str = "257";
    // Bound when opened, and not called: this shim finds no next definition.
    let open = |scope| {
        let arguments = ["./libxsched_shim.so", scope, "0", "./libnow.so", "1", "0"];
        examine(&fixtures().start("plain", None, &arguments))
    };
    let local = open(LOCAL);
    let evidence = only(&local, "binding-bypass", Severity::Error);
    assert!(evidence.contains("was not preloaded"), "{evidence}");
    assert_eq!(leads_to(&local, "libnow.so"), ["libamdhip64.so.5"]);
    let global = open(GLOBAL);
    assert_eq!(codes(&global), [], "{global}");
    assert_eq!(leads_to(&global, "libnow.so"), [SHIM]);
}

/// As prelink leaves them: the slot holds the runtime's address whatever the
/// search order says.
#[test]
fn a_slot_with_a_direct_address_is_no_work_of_the_linker() {
    let set = fixtures();
    let source = r#"
        void *dlopen(const char *, int);
        void *dlsym(void *, const char *);
        __attribute__((constructor)) static void direct(void) {
            void **slot;
            __asm__("lea hipLaunchKernel@GOTPCREL(%%rip), %0" : "=r"(slot));
            if (DIRECT) *slot = dlsym(dlopen("libamdhip64.so.5", 1), "hipLaunchKernel");
        }
        int go(int call) { return hipLaunchKernel(go, one, one, 0, 0, STREAM(call)); }
    "#;
    let of = |name: &str, direct: &str| {
        let file = format!("{name}.so");
        let options = [
            "-shared",
            "-fPIC",
            "-fno-plt",
            direct,
            "libamdhip64.so.5",
            "-Wl,-rpath,.",
            "-Wl,-z,norelro",
        ];
        set.cc(source, &file, &options);
        let preload = [set.text(SHIM), set.text(&file)].join(":");
        let report = examine(&set.start("program", Some(&preload), &[]));
        let bound_to = leads_to(&report, &file);
        (report, bound_to)
    };
    let (report, bound_to) = of("libdirect", "-DDIRECT=1");
    assert_eq!(bound_to, ["libamdhip64.so.5"]);
    let evidence = only(&report, "binding-bypass", Severity::Error);
    assert!(
        evidence.contains("something changed the slot"),
        "{evidence}"
    );
    assert!(!evidence.contains("RTLD_DEEPBIND"), "{evidence}");
    let (twin, bound_to) = of("libundirected", "-DDIRECT=0");
    assert_eq!(bound_to, [SHIM]);
    assert_eq!(codes(&twin), [], "{twin}");
}
