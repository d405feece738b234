//! `hipDeviceProp_t` in its two layouts: R0000 (before HIP 6) and R0600.

use std::ffi::{c_char, c_int, c_uint};

use crate::target::Target;

/// What the simulated device says about itself: a mid-size accelerator.
pub struct Description {
    pub name: &'static str,
    pub architecture: &'static Target,
    pub memory: u64,
    pub compute_units: c_int,
    pub pci: (c_int, c_int, c_int),
    pub uuid: [u8; 16],
}

impl Description {
    fn version(&self) -> (c_int, c_int) {
        let version = self.architecture.version();
        version.map_or((0, 0), |(major, minor, _)| (major, minor))
    }
}

pub const SHARED_MEMORY: usize = 65_536;
pub const CLOCK_KHZ: c_int = 1_725_000;
pub const MEMORY_CLOCK_KHZ: c_int = 1_000_000;
pub const MEMORY_BUS_BITS: c_int = 4_096;
pub const L2_BYTES: c_int = 4 << 20;
pub const THREADS_PER_UNIT: c_int = 2_560;
pub const REGISTERS: c_int = 65_536;
pub const MAX_GRID: c_int = c_int::MAX;

/// `hipDeviceArch_t` with everything set: 64- and 32-bit atomics, doubles, warp operations and so on.
const ARCH: c_uint = 0x1_ffff;

/// `hipDeviceProp_t` of ROCm 4 and 5.
#[repr(C)]
pub struct PropertiesR0000 {
    name: [c_char; 256],
    total_global_mem: usize,
    shared_mem_per_block: usize,
    regs_per_block: c_int,
    warp_size: c_int,
    max_threads_per_block: c_int,
    max_threads_dim: [c_int; 3],
    max_grid_size: [c_int; 3],
    clock_rate: c_int,
    memory_clock_rate: c_int,
    memory_bus_width: c_int,
    total_const_mem: usize,
    major: c_int,
    minor: c_int,
    multi_processor_count: c_int,
    l2_cache_size: c_int,
    max_threads_per_multi_processor: c_int,
    compute_mode: c_int,
    clock_instruction_rate: c_int,
    arch: c_uint,
    concurrent_kernels: c_int,
    pci_domain_id: c_int,
    pci_bus_id: c_int,
    pci_device_id: c_int,
    max_shared_memory_per_multi_processor: usize,
    is_multi_gpu_board: c_int,
    can_map_host_memory: c_int,
    gcn_arch: c_int,
    gcn_arch_name: [c_char; 256],
    integrated: c_int,
    cooperative_launch: c_int,
    cooperative_multi_device_launch: c_int,
    max_texture: [c_int; 7],
    hdp_flush: [usize; 2],
    mem_pitch: usize,
    texture_alignment: usize,
    texture_pitch_alignment: usize,
    kernel_exec_timeout_enabled: c_int,
    ecc_enabled: c_int,
    tcc_driver: c_int,
    cooperative_unmatched: [c_int; 4],
    is_large_bar: c_int,
    asic_revision: c_int,
    managed_memory: c_int,
    direct_managed_mem_access_from_host: c_int,
    concurrent_managed_access: c_int,
    pageable_memory_access: c_int,
    pageable_memory_access_uses_host_page_tables: c_int,
}

const _: () = assert!(size_of::<PropertiesR0000>() == 792);
const _: () = assert!(std::mem::offset_of!(PropertiesR0000, gcn_arch_name) == 396);
const _: () = assert!(std::mem::offset_of!(PropertiesR0000, mem_pitch) == 712);

/// `hipDeviceProp_t` since ROCm 6.
#[repr(C)]
pub struct PropertiesR0600 {
    name: [c_char; 256],
    uuid: [u8; 16],
    luid: [c_char; 8],
    luid_device_node_mask: c_uint,
    total_global_mem: usize,
    shared_mem_per_block: usize,
    regs_per_block: c_int,
    warp_size: c_int,
    mem_pitch: usize,
    max_threads_per_block: c_int,
    max_threads_dim: [c_int; 3],
    max_grid_size: [c_int; 3],
    clock_rate: c_int,
    total_const_mem: usize,
    major: c_int,
    minor: c_int,
    texture_alignment: usize,
    texture_pitch_alignment: usize,
    device_overlap: c_int,
    multi_processor_count: c_int,
    kernel_exec_timeout_enabled: c_int,
    integrated: c_int,
    can_map_host_memory: c_int,
    compute_mode: c_int,
    max_texture_and_surface: [c_int; 40],
    surface_alignment: usize,
    concurrent_kernels: c_int,
    ecc_enabled: c_int,
    pci_bus_id: c_int,
    pci_device_id: c_int,
    pci_domain_id: c_int,
    tcc_driver: c_int,
    async_engine_count: c_int,
    unified_addressing: c_int,
    memory_clock_rate: c_int,
    memory_bus_width: c_int,
    l2_cache_size: c_int,
    persisting_l2_cache_max_size: c_int,
    max_threads_per_multi_processor: c_int,
    stream_priorities_supported: c_int,
    global_l1_cache_supported: c_int,
    local_l1_cache_supported: c_int,
    shared_mem_per_multiprocessor: usize,
    regs_per_multiprocessor: c_int,
    managed_memory: c_int,
    is_multi_gpu_board: c_int,
    multi_gpu_board_group_id: c_int,
    host_native_atomic_supported: c_int,
    single_to_double_precision_perf_ratio: c_int,
    pageable_memory_access: c_int,
    concurrent_managed_access: c_int,
    compute_preemption_supported: c_int,
    can_use_host_pointer_for_registered_mem: c_int,
    cooperative_launch: c_int,
    cooperative_multi_device_launch: c_int,
    shared_mem_per_block_optin: usize,
    pageable_memory_access_uses_host_page_tables: c_int,
    direct_managed_mem_access_from_host: c_int,
    max_blocks_per_multi_processor: c_int,
    access_policy_max_window_size: c_int,
    reserved_shared_mem_per_block: usize,
    host_register_supported: c_int,
    sparse_array_supported: c_int,
    host_register_read_only_supported: c_int,
    timeline_semaphore_interop_supported: c_int,
    memory_pools_supported: c_int,
    interop_and_reserved: [c_int; 103],
    gcn_arch_name: [c_char; 256],
    max_shared_memory_per_multi_processor: usize,
    clock_instruction_rate: c_int,
    arch: c_uint,
    hdp_flush: [usize; 2],
    cooperative_unmatched: [c_int; 4],
    is_large_bar: c_int,
    asic_revision: c_int,
}

const _: () = assert!(size_of::<PropertiesR0600>() == 1472);
const _: () = assert!(std::mem::offset_of!(PropertiesR0600, gcn_arch_name) == 1160);
const _: () = assert!(std::mem::offset_of!(PropertiesR0600, total_global_mem) == 288);

fn text(into: &mut [c_char; 256], value: &str) {
    for (to, from) in into.iter_mut().zip(value.bytes().take(255)) {
        *to = from as c_char;
    }
}

impl PropertiesR0000 {
    /// The description in this layout.
    pub fn of(device: &Description) -> Self {
        // SAFETY: integers, arrays of integers and nothing else: zero is valid.
        let mut p: Self = unsafe { std::mem::zeroed() };
        text(&mut p.name, device.name);
        text(&mut p.gcn_arch_name, device.architecture.text());
        p.total_global_mem = device.memory as usize;
        p.shared_mem_per_block = SHARED_MEMORY;
        p.regs_per_block = REGISTERS;
        p.warp_size = device.architecture.wave();
        p.max_threads_per_block = 1024;
        p.max_threads_dim = [1024; 3];
        p.max_grid_size = [MAX_GRID; 3];
        p.clock_rate = CLOCK_KHZ;
        p.memory_clock_rate = MEMORY_CLOCK_KHZ;
        p.memory_bus_width = MEMORY_BUS_BITS;
        p.total_const_mem = 16 << 10;
        (p.major, p.minor) = device.version();
        p.multi_processor_count = device.compute_units;
        p.l2_cache_size = L2_BYTES;
        p.max_threads_per_multi_processor = THREADS_PER_UNIT;
        p.clock_instruction_rate = CLOCK_KHZ;
        p.arch = ARCH;
        p.concurrent_kernels = 1;
        (p.pci_domain_id, p.pci_bus_id, p.pci_device_id) = device.pci;
        p.max_shared_memory_per_multi_processor = SHARED_MEMORY;
        p.can_map_host_memory = 1;
        p.gcn_arch = device.architecture.number();
        p.cooperative_launch = 1;
        p.cooperative_multi_device_launch = 1;
        p.mem_pitch = i32::MAX as usize;
        p.texture_alignment = 256;
        p.texture_pitch_alignment = 256;
        p.is_large_bar = 1;
        p.managed_memory = 1;
        p.concurrent_managed_access = 1;
        p
    }
}

impl PropertiesR0600 {
    /// The description in this layout.
    pub fn of(device: &Description) -> Self {
        // SAFETY: as above.
        let mut p: Self = unsafe { std::mem::zeroed() };
        text(&mut p.name, device.name);
        text(&mut p.gcn_arch_name, device.architecture.text());
        p.uuid = device.uuid;
        p.total_global_mem = device.memory as usize;
        p.shared_mem_per_block = SHARED_MEMORY;
        p.regs_per_block = REGISTERS;
        p.warp_size = device.architecture.wave();
        p.mem_pitch = i32::MAX as usize;
        p.max_threads_per_block = 1024;
        p.max_threads_dim = [1024; 3];
        p.max_grid_size = [MAX_GRID; 3];
        p.clock_rate = CLOCK_KHZ;
        p.total_const_mem = 16 << 10;
        (p.major, p.minor) = device.version();
        p.texture_alignment = 256;
        p.texture_pitch_alignment = 256;
        p.device_overlap = 1;
        p.multi_processor_count = device.compute_units;
        p.can_map_host_memory = 1;
        p.concurrent_kernels = 1;
        (p.pci_domain_id, p.pci_bus_id, p.pci_device_id) = device.pci;
        p.async_engine_count = 2;
        p.unified_addressing = 1;
        p.memory_clock_rate = MEMORY_CLOCK_KHZ;
        p.memory_bus_width = MEMORY_BUS_BITS;
        p.l2_cache_size = L2_BYTES;
        p.max_threads_per_multi_processor = THREADS_PER_UNIT;
        p.stream_priorities_supported = 1;
        p.shared_mem_per_multiprocessor = SHARED_MEMORY;
        p.regs_per_multiprocessor = REGISTERS;
        p.managed_memory = 1;
        p.concurrent_managed_access = 1;
        p.can_use_host_pointer_for_registered_mem = 1;
        p.cooperative_launch = 1;
        p.cooperative_multi_device_launch = 1;
        p.shared_mem_per_block_optin = SHARED_MEMORY;
        p.max_blocks_per_multi_processor = THREADS_PER_UNIT / 64;
        p.host_register_supported = 1;
        p.memory_pools_supported = 1;
        p.max_shared_memory_per_multi_processor = SHARED_MEMORY;
        p.clock_instruction_rate = CLOCK_KHZ;
        p.arch = ARCH;
        p.is_large_bar = 1;
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    macro_rules! offsets {
        ($layout:ty: $(($field:ident, $offset:literal),)*) => {
            $(assert_eq!(offset_of!($layout, $field), $offset, stringify!($field));)*
        };
    }

    /// Offsets as a C compiler gives them for hip_runtime_api.h of Debian's libamdhip64-dev 5.2.3.
    #[test]
    fn layout_before_hip_6() {
        offsets!(PropertiesR0000:
            (name, 0),
            (total_global_mem, 256),
            (shared_mem_per_block, 264),
            (regs_per_block, 272),
            (warp_size, 276),
            (max_threads_per_block, 280),
            (max_threads_dim, 284),
            (max_grid_size, 296),
            (clock_rate, 308),
            (memory_clock_rate, 312),
            (memory_bus_width, 316),
            (total_const_mem, 320),
            (major, 328),
            (minor, 332),
            (multi_processor_count, 336),
            (l2_cache_size, 340),
            (max_threads_per_multi_processor, 344),
            (compute_mode, 348),
            (clock_instruction_rate, 352),
            (arch, 356),
            (concurrent_kernels, 360),
            (pci_domain_id, 364),
            (pci_bus_id, 368),
            (pci_device_id, 372),
            (max_shared_memory_per_multi_processor, 376),
            (is_multi_gpu_board, 384),
            (can_map_host_memory, 388),
            (gcn_arch, 392),
            (gcn_arch_name, 396),
            (integrated, 652),
            (cooperative_launch, 656),
            (cooperative_multi_device_launch, 660),
            (max_texture, 664),
            (hdp_flush, 696),
            (mem_pitch, 712),
            (texture_alignment, 720),
            (kernel_exec_timeout_enabled, 736),
            (ecc_enabled, 740),
            (tcc_driver, 744),
            (cooperative_unmatched, 748),
            (is_large_bar, 764),
            (asic_revision, 768),
            (managed_memory, 772),
            (direct_managed_mem_access_from_host, 776),
            (concurrent_managed_access, 780),
            (pageable_memory_access, 784),
        );
    }

    /// The same of libamdhip64-dev 7.2.4.
    #[test]
    fn layout_since_hip_6() {
        offsets!(PropertiesR0600:
            (name, 0),
            (uuid, 256),
            (luid, 272),
            (total_global_mem, 288),
            (shared_mem_per_block, 296),
            (regs_per_block, 304),
            (warp_size, 308),
            (mem_pitch, 312),
            (max_threads_per_block, 320),
            (max_threads_dim, 324),
            (max_grid_size, 336),
            (clock_rate, 348),
            (total_const_mem, 352),
            (major, 360),
            (texture_alignment, 368),
            (multi_processor_count, 388),
            (integrated, 396),
            (can_map_host_memory, 400),
            (compute_mode, 404),
            (surface_alignment, 568),
            (concurrent_kernels, 576),
            (ecc_enabled, 580),
            (pci_bus_id, 584),
            (pci_device_id, 588),
            (pci_domain_id, 592),
            (async_engine_count, 600),
            (unified_addressing, 604),
            (memory_clock_rate, 608),
            (memory_bus_width, 612),
            (l2_cache_size, 616),
            (max_threads_per_multi_processor, 624),
            (stream_priorities_supported, 628),
            (shared_mem_per_multiprocessor, 640),
            (managed_memory, 652),
            (cooperative_launch, 688),
            (shared_mem_per_block_optin, 696),
            (max_blocks_per_multi_processor, 712),
            (host_register_supported, 728),
            (memory_pools_supported, 744),
            (gcn_arch_name, 1160),
            (max_shared_memory_per_multi_processor, 1416),
            (clock_instruction_rate, 1424),
            (arch, 1428),
            (hdp_flush, 1432),
            (cooperative_unmatched, 1448),
            (is_large_bar, 1464),
            (asic_revision, 1468),
        );
    }
}
