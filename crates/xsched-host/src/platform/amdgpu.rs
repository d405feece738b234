//! What AMD's kernel driver says in sysfs: of devices (`class/drm`, hwmon, the
//! topology) and of each process that has queues (`class/kfd/kfd/proc`). The
//! files are those of drivers/gpu/drm/amd/amdkfd/kfd_process.c, kfd_topology.c
//! and amdgpu's documentation of thermal controls.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{KernelDevice, KernelView, MOST, PciAddress, ProcessUse, Readings};

/// The longest file that is read, bytes.
const LONGEST: usize = 16 << 10;

/// Entries of a folder that are looked at.
const ENTRIES: usize = 4096;

/// `KFD_QUEUE_TYPE_COMPUTE`; others copy.
const COMPUTE: u64 = 0;

/// A node of the topology that is a device.
struct Node {
    gpu: u64,
    address: PciAddress,
    queues: Option<u32>,
}

/// Reads below `sysfs`, which is `/sys`.
pub fn read(sysfs: &Path) -> KernelView {
    let kfd = sysfs.join("class/kfd/kfd");
    let nodes: Vec<Node> = names(&kfd.join("topology/nodes"))
        .take(MOST as usize)
        .filter_map(|(path, _)| node(&path))
        .collect();
    let (processes, compute_queues) = processes(&kfd.join("proc"));
    let devices = nodes.iter().map(|node| {
        let folder = sysfs.join("bus/pci/devices").join(node.address.to_string());
        KernelDevice {
            address: node.address,
            memory: number(&folder.join("mem_info_vram_total")),
            now: readings(&folder),
            queues: node.queues,
            queues_used: compute_queues.get(&node.gpu).copied().unwrap_or(0),
        }
    });
    KernelView {
        devices: devices.collect(),
        processes,
    }
}

fn node(folder: &Path) -> Option<Node> {
    let gpu = number(&folder.join("gpu_id")).filter(|id| *id > 0)?;
    let text = text(&folder.join("properties"))?;
    let property = |name: &str| -> Option<u64> {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(n, _)| *n == name)?.1.trim().parse().ok()
    };
    // As the kernel's PCI_DEVID: bus, then device and function.
    let place = property("location_id")?;
    let address = PciAddress {
        domain: u32::try_from(property("domain").unwrap_or(0)).ok()?,
        bus: (place >> 8) as u8,
        device: (place >> 3) as u8 & 31,
        function: place as u8 & 7,
        reserved: 0,
    };
    let queues = property("num_cp_queues").and_then(|n| u32::try_from(n).ok());
    Some(Node {
        gpu,
        address,
        queues: queues.filter(|n| *n > 0),
    })
}

fn readings(device: &Path) -> Readings {
    let monitor = names(&device.join("hwmon")).next().map(|(path, _)| path);
    let sensor = |name: &str| number(&monitor.as_ref()?.join(name));
    // Newer devices measure the power of the moment, older ones its mean; the
    // memory and the junction are sensors of their own.
    let power = sensor("power1_average").or_else(|| sensor("power1_input"));
    let hottest = (1..=3)
        .filter_map(|n| sensor(&format!("temp{n}_input")))
        .max();
    Readings {
        utilization: number(&device.join("gpu_busy_percent"))
            .map(|percent| percent.min(100) as f64 / 100.0),
        memory_used: number(&device.join("mem_info_vram_used")),
        clock_hz: sensor("freq1_input"),
        power_w: power.map(|microwatts| microwatts as f64 / 1e6),
        temperature_c: hottest.map(|thousandths| thousandths as f64 / 1e3),
    }
}

/// Processes by pid, and compute queues by device.
fn processes(folder: &Path) -> (BTreeMap<u32, ProcessUse>, BTreeMap<u64, u32>) {
    let mut processes = BTreeMap::new();
    let mut on_devices = BTreeMap::new();
    for (path, name) in names(folder) {
        let Ok(pid) = name.parse::<u32>() else {
            continue;
        };
        let mut used = ProcessUse::default();
        for (file, name) in names(&path) {
            if name.starts_with("vram_") {
                add(&mut used.memory, number(&file));
            } else if name.starts_with("stats_") {
                let evicted = number(&file.join("evicted_ms"));
                add(
                    &mut used.evicted_ns,
                    evicted.map(|ms| ms.saturating_mul(1_000_000)),
                );
                add(&mut used.compute_units, number(&file.join("cu_occupancy")));
            } else if name == "queues" {
                let mut queues = 0_u64;
                for (queue, _) in names(&file) {
                    queues += 1;
                    let compute = number(&queue.join("type")) == Some(COMPUTE);
                    if compute && let Some(gpu) = number(&queue.join("gpuid")) {
                        *on_devices.entry(gpu).or_default() += 1;
                    }
                }
                used.queues = Some(queues);
            }
        }
        processes.insert(pid, used);
    }
    (processes, on_devices)
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

/// What a folder holds, by path and name; nothing where it cannot be read.
fn names(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.take(ENTRIES).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((entry.path(), name))
    })
}

fn text(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(LONGEST as u64).read_to_string(&mut text).ok()?;
    Some(text)
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// A device with 24 queues, of which two processes hold `queues`.
    fn sysfs(queues: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        let at = |file: &str, text: &str| write(root.path(), file, text);
        let nodes = "class/kfd/kfd/topology/nodes";
        at(&format!("{nodes}/0/gpu_id"), "0\n");
        at(&format!("{nodes}/0/properties"), "cpu_cores_count 64\n");
        at(&format!("{nodes}/1/gpu_id"), "51234\n");
        let properties = "simd_count 1216\nlocation_id 49440\ndomain 1\nnum_cp_queues 24\n";
        at(&format!("{nodes}/1/properties"), properties);
        let device = "bus/pci/devices/0001:c1:04.0";
        at(&format!("{device}/gpu_busy_percent"), "40\n");
        at(&format!("{device}/mem_info_vram_total"), "206141652992\n");
        at(&format!("{device}/mem_info_vram_used"), "1073741824\n");
        at(
            &format!("{device}/hwmon/hwmon7/power1_input"),
            "412500000\n",
        );
        at(&format!("{device}/hwmon/hwmon7/temp1_input"), "48000\n");
        at(&format!("{device}/hwmon/hwmon7/temp2_input"), "61500\n");
        at(
            &format!("{device}/hwmon/hwmon7/freq1_input"),
            "2100000000\n",
        );
        for queue in 0..queues {
            let pid = [4242, 17][(queue % 2) as usize];
            let folder = format!("class/kfd/kfd/proc/{pid}/queues/{queue}");
            at(&format!("{folder}/gpuid"), "51234\n");
            at(&format!("{folder}/type"), "0\n");
        }
        let process = "class/kfd/kfd/proc/4242";
        at(&format!("{process}/queues/9000/type"), "1\n");
        at(&format!("{process}/queues/9000/gpuid"), "51234\n");
        at(&format!("{process}/vram_51234"), "536870912\n");
        at(&format!("{process}/stats_51234/evicted_ms"), "120\n");
        at(&format!("{process}/stats_51234/cu_occupancy"), "76\n");
        at("class/kfd/kfd/proc/nonsense/pasid", "1\n");
        root
    }

    #[test]
    fn devices_and_processes_are_read() {
        let root = sysfs(4);
        let view = read(root.path());
        let [device] = view.devices.as_slice() else {
            panic!("{view:?}");
        };
        assert_eq!(device.address.to_string(), "0001:c1:04.0");
        let now = Readings {
            utilization: Some(0.4),
            memory_used: Some(1 << 30),
            clock_hz: Some(2_100_000_000),
            power_w: Some(412.5),
            temperature_c: Some(61.5),
        };
        assert_eq!(device.now, now);
        assert_eq!((device.queues, device.queues_used), (Some(24), 4));
        assert!(!device.is_oversubscribed());
        let used = ProcessUse {
            memory: Some(512 << 20),
            compute_units: Some(76),
            evicted_ns: Some(120_000_000),
            queues: Some(3),
        };
        assert_eq!(view.processes[&4242], used);
        // What the driver does not tell is not known, which is not zero.
        assert_eq!(view.processes[&17].memory, None);
        assert_eq!(view.processes.len(), 2);
    }

    #[test]
    fn more_compute_queues_than_the_device_has_are_too_many() {
        assert!(!read(sysfs(24).path()).devices[0].is_oversubscribed());
        assert!(read(sysfs(25).path()).devices[0].is_oversubscribed());
    }

    #[test]
    fn without_the_driver_there_is_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(read(root.path()), KernelView::default());
    }
}
