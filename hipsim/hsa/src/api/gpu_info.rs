//! What the agents say of themselves: like an MI300X, whatever the architecture is set to. Each attribute has the size that
//! the header gives it; a runtime that is refused one of some 27 gives the device up.

use std::sync::OnceLock;

use simdevice::device::clock;
use simdevice::options;
use simdevice::target::Target;

use super::agents;
use crate::abi::call::{put, put_text};
use crate::abi::status::{Result, Status};
use crate::memory;

/// The processor when none is set.
const ARCHITECTURE: &str = "gfx942";
/// Largest queue, in packets.
pub const QUEUE_MAX: u32 = 131_072;
/// Ticks of a second: times are ns.
pub const FREQUENCY: u64 = 1_000_000_000;

/// Name, processors, bytes of caches L1 to L3, clocks in MHz, bits of the memory's bus: of AMD's data sheets.
struct Model {
    name: &'static str,
    units: u32,
    engines: u32,
    chiplets: u32,
    caches: [u32; 4],
    clock: u32,
    memory_clock: u32,
    bus: u32,
}

const MI300X: Model = Model {
    name: "AMD Instinct MI300X",
    units: 304,
    engines: 32,
    chiplets: 8,
    caches: [32 << 10, 4 << 20, 256 << 20, 0],
    clock: 2_100,
    memory_clock: 1_300,
    bus: 8_192,
};

/// The processor with its features.
pub fn target() -> &'static Target {
    static DEFAULT: OnceLock<Target> = OnceLock::new();
    options::get().architecture.as_ref().unwrap_or_else(|| {
        DEFAULT.get_or_init(|| {
            Target::of_device(ARCHITECTURE).expect("the default is an architecture")
        })
    })
}

/// Compute units of each GPU.
pub fn units() -> u32 {
    MI300X.units
}

/// The register that flushes what the host wrote (HDP); writing it does nothing.
static FLUSH: [std::sync::atomic::AtomicU32; 2] =
    [const { std::sync::atomic::AtomicU32::new(0) }; 2];

/// The bus of a GPU on PCI, as hipsim's HIP face gives it: each has its own.
fn bus(number: usize) -> u32 {
    memory::places()
        .get(number)
        .map_or(0, |place| 3 + *place as u32)
}

/// Answers `hsa_agent_get_info` for a GPU.
///
/// # Safety
/// `at` has room for the attribute.
///
/// # Errors
/// An attribute that is not known.
pub unsafe fn answer(number: usize, attribute: u32, at: *mut u8) -> Result {
    let model = &MI300X;
    let wave = target().wave() as u32;
    // SAFETY: the caller's promise, for every arm; sizes are those of the header.
    unsafe {
        let word = |value: u32| put(at.cast(), value);
        match attribute {
            0 => put_text(
                at,
                target().text().split(':').next().unwrap_or_default(),
                64,
            ),
            1 => put_text(at, "AMD", 64),
            // Kernel dispatch; large machine model; base profile; rounding to nearest.
            2 => word(1),
            3 => word(1),
            4 => word(0),
            5 => word(2),
            23 => word(2),
            24 => put(at.cast(), true),
            6 => word(wave),
            7 => put(at.cast(), [1024_u16; 3]),
            8 => word(1024),
            9 => put(at.cast(), [u32::MAX; 3]),
            10 => word(u32::MAX),
            11 => word(32),
            12 => word(128),
            13 => word(64),
            14 => word(QUEUE_MAX),
            // Many producers.
            15 => word(0),
            16 => word(1 + number as u32),
            // A GPU.
            17 => word(1),
            18 => put(at.cast(), model.caches),
            19 => put(at.cast(), 0x40 + number as u64),
            // No extension, so no images: gfx942 has none either.
            20 => put(at.cast(), [0_u8; 128]),
            21 | 22 => put(at.cast(), u16::from(attribute == 21)),
            0xA000 => word(0x74a1),
            0xA001 => word(128),
            0xA002 | 0xA014 => word(model.units),
            0xA003 => word(model.clock),
            0xA004 => word(1 + number as u32),
            0xA005 => word(4),
            0xA006 => word(bus(number) << 8),
            0xA007 => word(model.bus),
            0xA008 => word(model.memory_clock),
            0xA009 => put_text(at, model.name, 64),
            0xA00A => word(32),
            0xA00B => word(4),
            0xA00C => word(model.engines),
            0xA00D => word(1),
            0xA00E => put(at.cast(), [FLUSH[0].as_ptr(), FLUSH[1].as_ptr()]),
            0xA00F => word(0),
            // Cooperative queues.
            0xA010 => put(at.cast(), 1_u32),
            0xA011 => put_text(
                at,
                &format!("GPU-{:016x}", 0x5149_0000_u64 + u64::from(bus(number))),
                21,
            ),
            0xA012 => word(1),
            // The host reads device memory directly only with page faults.
            0xA013 => put(at.cast(), has_page_faults()),
            0xA015 => put(at.cast(), memory::available(number)),
            0xA016 => put(at.cast(), FREQUENCY),
            0xA107 => word(141),
            0xA108 => word(166),
            0xA109 => word(22),
            0xA10A => word(2),
            0xA10B => word(14),
            0xA110 => word(0),
            0xA111 => word(model.chiplets),
            0xA112 => word(1 + number as u32),
            0xA113 => put(at.cast(), agents::CPU),
            0xA114 | 0xA115 => put(at.cast(), [0_u8; 8]),
            0xA116 | 0xA117 => put(at.cast(), 0_u64),
            0xA118 => put(
                at.cast(),
                [clock::now(), clock::now(), clock::now(), FREQUENCY],
            ),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }
}

/// Whether the device takes page faults (XNACK).
pub fn has_page_faults() -> bool {
    target().text().contains("xnack+")
}

/// Answers `hsa_agent_get_info` for the CPU.
///
/// # Safety
/// As [`answer`].
///
/// # Errors
/// As [`answer`].
pub unsafe fn answer_of_cpu(attribute: u32, at: *mut u8) -> Result {
    // SAFETY: the caller's promise, for every arm.
    unsafe {
        let word = |value: u32| put(at.cast(), value);
        match attribute {
            0 | 0xA009 => put_text(at, "simulated host", 64),
            1 => put_text(at, "CPU", 64),
            2
            | 6..=6
            | 8
            | 10..=16
            | 0xA000
            | 0xA004
            | 0xA006
            | 0xA00C..=0xA00D
            | 0xA00F
            | 0xA012 => word(0),
            3 => word(1),
            // The full profile; rounding to nearest.
            4 => word(1),
            5 | 23 => word(2),
            7 => put(at.cast(), [0_u16; 3]),
            9 => put(at.cast(), [0_u32; 3]),
            17 => word(0),
            18 => put(at.cast(), [32_u32 << 10, 0, 0, 0]),
            20 => put(at.cast(), [0_u8; 128]),
            21 | 22 => put(at.cast(), u16::from(attribute == 21)),
            0xA001 => word(64),
            0xA002 => word(std::thread::available_parallelism().map_or(1, |n| n.get() as u32)),
            0xA003 => word(3_000),
            0xA008 => word(1_600),
            0xA007 => word(128),
            0xA011 => put_text(at, "CPU-XX", 21),
            0xA016 => put(at.cast(), FREQUENCY),
            0xA113 => put(at.cast(), agents::CPU),
            0xA114 => put(at.cast(), [0_u8; 8]),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }
}

/// Answers `hsa_isa_get_info_alt`.
///
/// # Safety
/// As [`answer`].
///
/// # Errors
/// As [`answer`].
pub unsafe fn answer_of_isa(attribute: u32, at: *mut u8) -> Result {
    let name = format!("amdgcn-amd-amdhsa--{}", target().text());
    // SAFETY: the caller's promise, for every arm.
    unsafe {
        match attribute {
            // The length is with the end.
            0 => put(at.cast(), name.len() as u32 + 1),
            1 => put_text(at, &name, 0),
            5 => put(at.cast(), [false, true]),
            6 => put(at.cast(), [true, true]),
            7 | 8 => put(at.cast(), [false, false, true]),
            9 => put(at.cast(), true),
            12 => put(at.cast(), [1024_u16; 3]),
            13 => put(at.cast(), 1024_u32),
            14 => put(at.cast(), [u32::MAX; 3]),
            16 => put(at.cast(), u64::MAX),
            17 => put(at.cast(), 32_u32),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }
}
