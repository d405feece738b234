//! The architecture of the device, and which code objects it runs.
//!
//! A target id is a processor with the state of its optional features, such as `gfx90a:sramecc+:xnack-`. The device's names all
//! of them; a code object that leaves one open runs with either state. (LLVM, "User Guide for AMDGPU Backend"; ROCm/clr,
//! hip_code_object.cpp, isCodeObjectCompatibleWithDevice.)

use std::ffi::c_int;

/// A processor and its features, or those of code for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
}

/// Processors by the number that code objects have for them (`EF_AMDGPU_MACH` in LLVM's ELF.h).
const MACHINES: &[(u8, &str)] = &[
    (0x28, "gfx801"),
    (0x29, "gfx802"),
    (0x2a, "gfx803"),
    (0x2b, "gfx810"),
    (0x2c, "gfx900"),
    (0x2d, "gfx902"),
    (0x2e, "gfx904"),
    (0x2f, "gfx906"),
    (0x30, "gfx908"),
    (0x31, "gfx909"),
    (0x32, "gfx90c"),
    (0x33, "gfx1010"),
    (0x34, "gfx1011"),
    (0x35, "gfx1012"),
    (0x36, "gfx1030"),
    (0x37, "gfx1031"),
    (0x38, "gfx1032"),
    (0x39, "gfx1033"),
    (0x3d, "gfx1035"),
    (0x3e, "gfx1034"),
    (0x3f, "gfx90a"),
    (0x40, "gfx940"),
    (0x41, "gfx1100"),
    (0x42, "gfx1013"),
    (0x43, "gfx1150"),
    (0x44, "gfx1103"),
    (0x45, "gfx1036"),
    (0x46, "gfx1101"),
    (0x47, "gfx1102"),
    (0x48, "gfx1200"),
    (0x4a, "gfx1151"),
    (0x4b, "gfx941"),
    (0x4c, "gfx942"),
    (0x4e, "gfx1201"),
    (0x4f, "gfx950"),
    (0x51, "gfx9-generic"),
    (0x52, "gfx10-1-generic"),
    (0x53, "gfx10-3-generic"),
    (0x54, "gfx11-generic"),
    (0x55, "gfx1152"),
    (0x59, "gfx12-generic"),
    (0x5f, "gfx9-4-generic"),
];

/// Processors that run code of a generic one.
const GENERIC: &[(&str, &[&str])] = &[
    (
        "gfx9-generic",
        &["gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"],
    ),
    ("gfx9-4-generic", &["gfx940", "gfx941", "gfx942", "gfx950"]),
    (
        "gfx10-1-generic",
        &["gfx1010", "gfx1011", "gfx1012", "gfx1013"],
    ),
    (
        "gfx10-3-generic",
        &[
            "gfx1030", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036",
        ],
    ),
    (
        "gfx11-generic",
        &[
            "gfx1100", "gfx1101", "gfx1102", "gfx1103", "gfx1150", "gfx1151", "gfx1152",
        ],
    ),
    ("gfx12-generic", &["gfx1200", "gfx1201"]),
];

/// Optional features and their fields in a code object's flags, where 2 is off and 3 is on (`EF_AMDGPU_FEATURE_*_V4`).
const FEATURES: [(&str, u32); 2] = [("xnack", 8), ("sramecc", 10)];

impl Target {
    /// A device's target. Features that are not named get the states of the usual settings: error correction where the
    /// processor has it, no page faults.
    pub fn of_device(text: &str) -> Option<Self> {
        let target = Self::parse(text)?;
        target.version()?;
        let mut text = target.text.clone();
        let has_ecc = [
            "gfx906", "gfx908", "gfx90a", "gfx940", "gfx941", "gfx942", "gfx950",
        ];
        let has_xnack = target.processor().starts_with("gfx9");
        if target.feature("sramecc").is_none() && has_ecc.contains(&target.processor()) {
            text += ":sramecc+";
        }
        if target.feature("xnack").is_none() && has_xnack {
            text += ":xnack-";
        }
        Some(Self { text })
    }

    /// A target id as tools write it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let processor = parts.next()?.strip_prefix("gfx")?;
        let plausible = |part: &str| {
            let mut letters = part.bytes();
            !part.is_empty() && letters.all(|c| c.is_ascii_alphanumeric() || c == b'-')
        };
        let features = parts.all(|part| {
            let name = part.strip_suffix(['+', '-']);
            name.is_some_and(|name| FEATURES.iter().any(|(known, _)| *known == name))
        });
        (plausible(processor) && features).then(|| Self {
            text: text.to_owned(),
        })
    }

    /// What the entry of a bundle is for, by its name (`hipv4-amdgcn-amd-amdhsa--gfx906:xnack-`); none for the host's.
    pub fn of_entry(name: &str) -> Option<Self> {
        let (_, rest) = name.split_once("amdgcn-amd-amdhsa-")?;
        // The environment in between is empty or "unknown".
        Self::parse(rest.split_once('-').map_or(rest, |(_, target)| target))
    }

    /// What an ELF file is for, by the flags in its header; none for an unknown processor.
    pub fn of_flags(flags: u32) -> Option<Self> {
        let (_, processor) = MACHINES
            .iter()
            .find(|(number, _)| u32::from(*number) == flags & 0xff)?;
        let mut text = (*processor).to_owned();
        for (name, shift) in FEATURES {
            match flags >> shift & 3 {
                2 => text += &format!(":{name}-"),
                3 => text += &format!(":{name}+"),
                _ => {}
            }
        }
        Some(Self { text })
    }

    /// The flags of an ELF file for it; none for an unknown processor. Features that are left open are marked so.
    pub fn flags(&self) -> Option<u32> {
        let (number, processor) = MACHINES
            .iter()
            .find(|(_, processor)| *processor == self.processor())?;
        let device = Self::of_device(processor);
        let features = FEATURES.iter().map(|(name, shift)| {
            let has = device
                .as_ref()
                .is_some_and(|device| device.feature(name).is_some());
            let state = match (has, self.feature(name)) {
                (false, _) => 0,
                (true, None) => 1,
                (true, Some("-")) => 2,
                (true, Some(_)) => 3,
            };
            state << shift
        });
        Some(u32::from(*number) | features.sum::<u32>())
    }

    /// The whole id.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn processor(&self) -> &str {
        self.text.split(':').next().unwrap_or_default()
    }

    /// The state of a feature, `+` or `-`.
    fn feature(&self, name: &str) -> Option<&str> {
        self.text
            .split(':')
            .skip(1)
            .find_map(|part| part.strip_prefix(name))
    }

    /// Whether a device of this target runs `code`.
    pub fn runs(&self, code: &Target) -> bool {
        let generic = GENERIC.iter().find(|(name, _)| *name == code.processor());
        let same = match generic {
            Some((_, processors)) => processors.contains(&self.processor()),
            None => code.processor() == self.processor(),
        };
        same && FEATURES.iter().all(|(name, _)| {
            let wanted = code.feature(name);
            wanted.is_none() || wanted == self.feature(name)
        })
    }

    /// Major version, minor version and stepping of the processor: its last two digits are hexadecimal ones.
    pub fn version(&self) -> Option<(c_int, c_int, c_int)> {
        let digits = self.processor().strip_prefix("gfx")?;
        let split = digits.len().checked_sub(2)?;
        let major = digits.get(..split)?.parse().ok()?;
        let digit = |at: usize| c_int::from_str_radix(digits.get(at..=at)?, 16).ok();
        Some((major, digit(split)?, digit(split + 1)?))
    }

    /// Threads of a wave: 64 up to gfx9, 32 since.
    pub fn wave(&self) -> c_int {
        match self.version() {
            Some((10.., _, _)) => 32,
            _ => 64,
        }
    }

    /// The number that older interfaces have for it: 906 for gfx906, 910 for gfx90a.
    pub fn number(&self) -> c_int {
        let (major, minor, stepping) = self.version().unwrap_or_default();
        major * 100 + minor * 10 + stepping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn devices_have_all_their_features() {
        let text = |text| Target::of_device(text).map(|target| target.text);
        assert_eq!(text("gfx90a").as_deref(), Some("gfx90a:sramecc+:xnack-"));
        assert_eq!(
            text("gfx942:xnack+").as_deref(),
            Some("gfx942:xnack+:sramecc+")
        );
        assert_eq!(text("gfx1100").as_deref(), Some("gfx1100"));
        for wrong in [
            "",
            "gfx",
            "sm_90",
            "gfx9-generic",
            "gfx906:fast+",
            "gfx906:xnack",
            "gfxé06",
        ] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn code_runs_where_processor_and_features_agree() {
        let device = Target::of_device("gfx90a").unwrap();
        for fits in ["gfx90a", "gfx90a:xnack-", "gfx90a:sramecc+:xnack-"] {
            assert!(device.runs(&code(fits)), "{fits}");
        }
        for other in ["gfx906", "gfx90a:xnack+", "gfx90a:sramecc-", "gfx9-generic"] {
            assert!(!device.runs(&code(other)), "{other}");
        }
        let mi300 = Target::of_device("gfx942").unwrap();
        assert!(mi300.runs(&code("gfx9-4-generic")));
        assert!(
            Target::of_device("gfx1100")
                .unwrap()
                .runs(&code("gfx11-generic"))
        );
    }

    #[test]
    fn entries_and_flags_name_targets() {
        let entry = |name| Target::of_entry(name).map(|target| target.text);
        assert_eq!(
            entry("hipv4-amdgcn-amd-amdhsa--gfx90a:xnack-").as_deref(),
            Some("gfx90a:xnack-")
        );
        assert_eq!(
            entry("hip-amdgcn-amd-amdhsa-unknown-gfx906").as_deref(),
            Some("gfx906")
        );
        assert_eq!(
            entry("hipv4-amdgcn-amd-amdhsa--gfx9-4-generic").as_deref(),
            Some("gfx9-4-generic")
        );
        assert_eq!(entry("host-x86_64-unknown-linux--"), None);
        let flags = |flags| Target::of_flags(flags).map(|target| target.text);
        assert_eq!(flags(0x52f).as_deref(), Some("gfx906"));
        assert_eq!(flags(0xe3f).as_deref(), Some("gfx90a:xnack-:sramecc+"));
        assert_eq!(flags(0xff), None);
        for text in ["gfx90a:xnack-:sramecc+", "gfx1100", "gfx942"] {
            let target = Target::parse(text).unwrap();
            assert_eq!(Target::of_flags(target.flags().unwrap()), Some(target));
        }
    }

    #[test]
    fn versions() {
        let version = |text| Target::of_device(text).unwrap().version();
        assert_eq!(version("gfx906"), Some((9, 0, 6)));
        assert_eq!(version("gfx90a"), Some((9, 0, 10)));
        assert_eq!(version("gfx1103"), Some((11, 0, 3)));
        assert_eq!(Target::of_device("gfx90a").unwrap().number(), 910);
        assert_eq!(Target::of_device("gfx1100").unwrap().wave(), 32);
    }
}
