//! The simulated machine's GPUs as AMD's kernel driver tells of them below /sys/class/kfd. HIP does not read that; RCCL looks
//! there how GPUs are linked, JAX whether there are any.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// GPUs that the folder tells of; programs look their own up by PCI address.
const GPUS: u32 = 8;
/// Bus of the first (hipsim/hsa/src/api/gpu_info.rs).
const FIRST_BUS: u32 = 3;
/// Kinds of links (`hsa_amd_link_info_type_t`).
const PCI: u32 = 2;
const XGMI: u32 = 11;

/// Writes the topology of a CPU and eight GPUs, each linked with each other, below `class`.
///
/// # Errors
/// The files cannot be written.
pub fn write(class: &Path) -> anyhow::Result<()> {
    let topology = class.join("kfd/kfd/topology");
    fs::create_dir_all(topology.join("nodes"))?;
    fs::write(topology.join("generation_id"), "1\n")?;
    fs::write(
        topology.join("system_properties"),
        "platform_oem 0\nplatform_id 0\nplatform_rev 0\n",
    )?;
    (0..=GPUS)
        .try_for_each(|node| write_node(&topology.join("nodes").join(node.to_string()), node))
        .with_context(|| format!("cannot write {}", topology.display()))
}

/// Node 0 is the CPU.
fn write_node(folder: &Path, node: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let is_gpu = u32::from(node > 0);
    let place = (is_gpu * (FIRST_BUS + node.saturating_sub(1))) << 8;
    let properties = format!(
        "cpu_cores_count {}\nsimd_count {}\nmem_banks_count 1\nio_links_count {GPUS}\nvendor_id {}\ndevice_id {}\n\
         location_id {place}\ndomain 0\ndrm_render_minor 0\nunique_id {}\ngfx_target_version {}\nnum_xcc {is_gpu}\n",
        2 * (1 - is_gpu),
        440 * is_gpu,
        4098 * is_gpu,
        29858 * is_gpu,
        is_gpu * (7000 + node),
        90_010 * is_gpu
    );
    fs::write(folder.join("properties"), properties)?;
    fs::write(
        folder.join("gpu_id"),
        format!("{}\n", is_gpu * (100 + node)),
    )?;
    fs::write(folder.join("name"), "\n")?;
    let others = (0..=GPUS).filter(|other| *other != node);
    for (index, other) in others.enumerate() {
        let link = folder.join("io_links").join(index.to_string());
        fs::create_dir_all(&link)?;
        let (kind, weight) = match node == 0 || other == 0 {
            true => (PCI, 20),
            false => (XGMI, 15),
        };
        let properties = format!(
            "type {kind}\nversion_major 0\nversion_minor 0\nnode_from {node}\nnode_to {other}\nweight {weight}\n\
             min_latency 0\nmax_latency 0\nmin_bandwidth 50000\nmax_bandwidth 50000\nrecommended_transfer_size 0\nflags 1\n"
        );
        fs::write(link.join("properties"), properties)?;
    }
    Ok(())
}
