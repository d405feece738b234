//! Against libraries that are compiled here: the vendors' own are on few
//! machines.

use std::process::Command;

use super::*;

/// A shared library in a folder of its own.
struct Compiled {
    _directory: tempfile::TempDir,
    file: &'static str,
}

fn compiled(name: &str, source: &str) -> Compiled {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name| directory.path().join(name);
    let (from, to) = (at("library.c"), at(name));
    std::fs::write(&from, source).expect("written");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&to, &from])
        .status();
    assert!(status.expect("cc runs").success());
    Compiled {
        file: String::leak(to.to_str().expect("a path").to_owned()),
        _directory: directory,
    }
}

const NVML: &str = r#"
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { strncpy(to, "580.1", size); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)(long)(index + 1); return index == 1 ? 15 : 0; }
int nvmlDeviceGetName(void *handle, char *to, unsigned size) { strncpy(to, "NVIDIA H200", size); return 0; }
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *pci) { pci->domain = 1; pci->bus = 0xdb; pci->device = 3; return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) { memory[0] = 1ull << 37; memory[2] = 3ull << 30; return 0; }
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) { rates[0] = 87; rates[1] = 5; return 0; }
int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *clock) { *clock = 1980; return type != 1; }
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *to) { *to = 61; return sensor; }
struct process { unsigned pid; unsigned long long memory; unsigned gpu, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *to) {
    if (*count < 2) return 7;
    to[0].pid = 4242; to[0].memory = 5ull << 30;
    to[1].pid = 977; to[1].memory = ~0ull;
    *count = 2;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *power) { return 3; }
"#;

fn nvml(init: i32, count: u32) -> Compiled {
    let source = NVML.replace("INIT", &init.to_string());
    compiled(
        "libnvidia-ml.so.1",
        &source.replace("COUNT", &count.to_string()),
    )
}

#[test]
fn nvidia_s_library_names_its_devices_and_one_that_is_lost_is_still_there() {
    let read = nvml::read(nvml(0, 2).file).expect("it answers");
    assert_eq!(read.driver.as_deref(), Some("580.1"));
    let [first, lost] = read.devices.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(first.name.as_deref(), Some("NVIDIA H200"));
    assert_eq!(first.address.expect("known").to_string(), "0001:db:03.0");
    assert_eq!(first.memory, Some(1 << 37));
    let now = Readings {
        utilization: Some(0.87),
        memory_used: Some(3 << 30),
        clock_hz: Some(1_980_000_000),
        // It refuses to tell, which is not zero.
        power_w: None,
        temperature_c: Some(61.0),
    };
    assert_eq!(first.now, now);
    let process = |pid, memory| DeviceProcess { pid, memory };
    assert_eq!(
        first.processes,
        [process(4242, Some(5 << 30)), process(977, None)]
    );
    assert!(lost.processes.is_empty());
    assert_eq!(lost.now, Readings::default());
    assert_eq!((&lost.name, lost.address, lost.memory), (&None, None, None));
}

#[test]
fn a_library_that_refuses_is_said_to_and_its_number_of_devices_is_bounded() {
    let refused = nvml::read(nvml(9, 1).file).expect_err("no driver");
    let said = refused.to_string();
    assert!(said.ends_with("nvmlInit_v2 failed with 9"), "{said}");
    let many = nvml::read(nvml(0, u32::MAX).file).expect("it answers");
    assert_eq!(many.devices.len(), MOST as usize);
}

#[test]
fn a_library_that_is_missing_or_another_is_named() {
    let absent = nvml::read("libno-such-management.so.1");
    assert_eq!(absent, Err(Silent::Absent("libno-such-management.so.1")));
    let other = compiled("libother.so", "int nothing;");
    let lacking = rocm_smi::read(other.file).expect_err("another library");
    assert!(
        lacking.to_string().ends_with("has no rsmi_init"),
        "{lacking}"
    );
}

#[test]
fn amd_s_library_names_its_devices() {
    let source = r#"
#include <string.h>
int rsmi_init(unsigned long long flags) { return (int)flags; }
int rsmi_shut_down(void) { return 0; }
int rsmi_num_monitor_devices(unsigned *count) { *count = 1; return 0; }
int rsmi_version_str_get(int component, char *to, unsigned long size) { strncpy(to, "6.8.5", size); return 0; }
int rsmi_dev_name_get(unsigned index, char *to, unsigned long size) { return 2; }
int rsmi_dev_pci_id_get(unsigned index, unsigned long long *id) { *id = 0x2ull << 32 | 0xc1 << 8 | 4 << 3 | 1; return 0; }
int rsmi_dev_busy_percent_get(unsigned index, unsigned *percent) { *percent = 40; return 0; }
int rsmi_dev_temp_metric_get(unsigned index, unsigned sensor, int metric, long long *to) { *to = 71500; return sensor != 1 || metric; }
int rsmi_dev_power_ave_get(unsigned index, unsigned sensor, unsigned long long *power) { *power = 412500000; return 0; }
int rsmi_dev_memory_total_get(unsigned index, int type, unsigned long long *bytes) { *bytes = 192ull << 30; return type; }
"#;
    let read = rocm_smi::read(compiled("librocm_smi64.so", source).file).expect("it answers");
    let device = &read.devices[0];
    assert_eq!(read.driver.as_deref(), Some("6.8.5"));
    assert_eq!(device.name, None, "what it refuses to tell is not known");
    assert_eq!(device.address.expect("known").to_string(), "0002:c1:04.1");
    assert_eq!(device.memory, Some(192 << 30));
    assert_eq!(device.now.utilization, Some(0.4));
    assert_eq!(device.now.power_w, Some(412.5));
    assert_eq!(device.now.temperature_c, Some(71.5));
    assert_eq!(device.now.memory_used, None, "an older release");
}
