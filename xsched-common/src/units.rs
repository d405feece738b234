//! Units and identities that cross the boundaries between the parts.

use core::fmt;
use core::ops::{Add, Sub};
use core::str::FromStr;

/// A time span or a point on a monotonic clock, in nanoseconds.
///
/// One type for both, as in the kernel's `ktime_t`: the pages carry raw
/// nanoseconds and the gate's arithmetic saturates instead of wrapping, so a
/// hostile or shifted clock value can only make a wait end early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No time at all; the start of the clock.
    pub const ZERO: Nanos = Nanos(0);
    /// The end of time.
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000))
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000_000))
    }

    /// `self` times `n`, saturating.
    pub const fn times(self, n: u64) -> Nanos {
        Nanos(self.0.saturating_mul(n))
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// As seconds, for rates and people.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add for Nanos {
    type Output = Nanos;
    fn add(self, rhs: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, rhs: Nanos) -> Nanos {
        self.since(rhs)
    }
}

impl fmt::Display for Nanos {
    /// Three significant digits in the unit people would pick: `840 ns`,
    /// `12.3 us`, `4.56 ms`, `1.20 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => (self.0 as f64 / 1e3, "us"),
            1_000_000..1_000_000_000 => (self.0 as f64 / 1e6, "ms"),
            _ => (self.0 as f64 / 1e9, "s"),
        };
        let decimals = match value {
            v if v < 9.995 => 2,
            v if v < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

/// The scheduling class of a process. Strict: on one device a class gets the
/// time that no higher class wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "api", serde(rename_all = "lowercase"))]
#[repr(u8)]
pub enum Class {
    /// Batch work: runs in the gaps.
    Low = 0,
    /// What every process is that nobody has classified.
    #[default]
    Normal = 1,
    /// Online services.
    High = 2,
    /// Above everything; use sparingly.
    Realtime = 3,
}

impl Class {
    /// All classes, lowest first.
    pub const ALL: [Class; 4] = [Class::Low, Class::Normal, Class::High, Class::Realtime];

    /// The name used on command lines, in configuration and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Low => "low",
            Class::Normal => "normal",
            Class::High => "high",
            Class::Realtime => "realtime",
        }
    }

    /// The class with this number in a shared page, if there is one.
    pub const fn from_raw(raw: u8) -> Option<Class> {
        match raw {
            0 => Some(Class::Low),
            1 => Some(Class::Normal),
            2 => Some(Class::High),
            3 => Some(Class::Realtime),
            _ => None,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownClass;

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a class: use realtime, high, normal or low")
    }
}

impl core::error::Error for UnknownClass {}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(s: &str) -> Result<Class, UnknownClass> {
        Class::ALL
            .into_iter()
            .find(|class| class.name() == s)
            .ok_or(UnknownClass)
    }
}

/// A process's share within its class, relative to the others' there: of two
/// busy processes with 300 and 100, the first gets three quarters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "api", serde(try_from = "u16", into = "u16"))]
#[repr(transparent)]
pub struct Weight(u16);

impl Weight {
    /// The smallest.
    pub const MIN: Weight = Weight(1);
    /// The largest.
    pub const MAX: Weight = Weight(10_000);

    /// # Errors
    /// Outside of 1 to 10,000 (as in cgroup's `cpu.weight`).
    pub const fn new(raw: u16) -> Result<Weight, BadWeight> {
        if raw < Weight::MIN.0 || raw > Weight::MAX.0 {
            return Err(BadWeight);
        }
        Ok(Weight(raw))
    }

    /// 1 to 10,000.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    /// 100, as in cgroup's `cpu.weight`.
    fn default() -> Weight {
        Weight(100)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for Weight {
    type Error = BadWeight;

    fn try_from(raw: u16) -> Result<Weight, BadWeight> {
        Weight::new(raw)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = BadWeight;

    fn from_str(s: &str) -> Result<Weight, BadWeight> {
        s.parse().map_err(|_| BadWeight).and_then(Weight::new)
    }
}

/// A number that is no [`Weight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadWeight;

impl fmt::Display for BadWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a weight: use 1 to 10000 (100 is the default)")
    }
}

impl core::error::Error for BadWeight {}

/// A device as one process numbers it: an index into that
/// process's pages. Two processes may give one device different indices;
/// what identifies it between processes is its [`PciAddress`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct DeviceIndex(pub u8);

/// A physical device: domain:bus:device.function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PciAddress {
    /// PCI domain (segment).
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// Device number on the bus.
    pub device: u8,
    /// Function number of the device.
    pub function: u8,
    /// Zero; keeps the layout free of implicit padding.
    pub reserved: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{:x}",
            self.domain, self.bus, self.device, self.function
        )
    }
}

/// A part of a device that is divided for good, as processes see it (a MIG
/// instance): the first eight bytes of its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceInstance(pub u64);

impl fmt::Display for DeviceInstance {
    /// As the identifier begins, which is enough to tell those of a device
    /// apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 32)
    }
}

/// A text that names no [`PciAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPciAddress;

impl fmt::Display for BadPciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a PCI address: write it as 0000:03:00.0 (`xsched-agent ps --json`, lspci -D)",
        )
    }
}

impl core::error::Error for BadPciAddress {}

impl FromStr for PciAddress {
    type Err = BadPciAddress;

    /// `domain:bus:device.function` in hexadecimal; the domain may be left
    /// out, as `lspci` does.
    fn from_str(s: &str) -> Result<PciAddress, BadPciAddress> {
        let hex = |text: &str, digits: core::ops::RangeInclusive<usize>| {
            let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
            (plain && digits.contains(&text.len()))
                .then(|| u32::from_str_radix(text, 16).ok())
                .flatten()
                .ok_or(BadPciAddress)
        };
        let (rest, function) = s.rsplit_once('.').ok_or(BadPciAddress)?;
        let (rest, device) = rest.rsplit_once(':').ok_or(BadPciAddress)?;
        let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
        let (device, function) = (hex(device, 2..=2)?, hex(function, 1..=1)?);
        if device > 0x1f || function > 7 {
            return Err(BadPciAddress);
        }
        Ok(PciAddress {
            domain: hex(domain, 4..=8)?,
            bus: hex(bus, 2..=2)? as u8,
            device: device as u8,
            function: function as u8,
            reserved: 0,
        })
    }
}

/// Which stream a launch named: what decides how it is ordered against the
/// rest of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "api", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum StreamClass {
    /// A stream the program created.
    Created = 0,
    /// NULL: the default stream.
    Null = 1,
    /// The handle 0x1: the default stream by its name.
    Legacy = 2,
    /// The handle 0x2: the default stream of the calling thread.
    PerThread = 3,
}

impl StreamClass {
    /// How many there are: the length of arrays indexed by one.
    pub const COUNT: usize = 4;

    /// The class of a stream handle. All platforms give the two names of
    /// default streams the same numbers.
    pub const fn of_handle(handle: u64) -> StreamClass {
        match handle {
            0 => StreamClass::Null,
            1 => StreamClass::Legacy,
            2 => StreamClass::PerThread,
            _ => StreamClass::Created,
        }
    }

    /// The class with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<StreamClass> {
        match raw {
            0 => Some(StreamClass::Created),
            1 => Some(StreamClass::Null),
            2 => Some(StreamClass::Legacy),
            3 => Some(StreamClass::PerThread),
            _ => None,
        }
    }

    /// Whether this is the device's default stream, which serialises with
    /// every blocking stream of its process.
    pub const fn is_default(self) -> bool {
        matches!(self, StreamClass::Null | StreamClass::Legacy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_and_round_trip() {
        assert!(Class::Realtime > Class::High && Class::High > Class::Normal);
        assert!(Class::Normal > Class::Low);
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert_eq!(Class::from_raw(class as u8), Some(class));
        }
        assert_eq!("urgent".parse::<Class>(), Err(UnknownClass));
        assert_eq!(Class::from_raw(4), None);
    }

    #[test]
    fn times_read_as_people_write_them() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (12_340, "12.3 us"),
            (999_960, "1000 us"),
            (4_560_000, "4.56 ms"),
            (1_200_000_000, "1.20 s"),
        ] {
            assert_eq!(Nanos(ns).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Nanos(1) - Nanos(2), Nanos::ZERO);
        assert_eq!(Nanos::MAX + Nanos(1), Nanos::MAX);
        assert_eq!(Nanos::from_secs(u64::MAX), Nanos::MAX);
    }

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        let address = PciAddress {
            domain: 0x1_0000,
            bus: 0xc3,
            device: 0x1f,
            function: 7,
            reserved: 0,
        };
        assert_eq!(address.to_string().parse(), Ok(address));
        let short = "03:00.0".parse::<PciAddress>().expect("without its domain");
        assert_eq!(short.to_string(), "0000:03:00.0");
        for bad in [
            "",
            "0000:03:00",
            "3:0.0",
            "0000:03:20.0",
            "0000:03:00.8",
            "00:+3:00.0",
            "0:0:0:0.0",
        ] {
            assert_eq!(bad.parse::<PciAddress>(), Err(BadPciAddress), "{bad}");
        }
    }

    #[test]
    fn stream_handles_have_classes() {
        assert_eq!(StreamClass::of_handle(0), StreamClass::Null);
        assert_eq!(StreamClass::of_handle(1), StreamClass::Legacy);
        assert_eq!(StreamClass::of_handle(2), StreamClass::PerThread);
        assert_eq!(StreamClass::of_handle(0x7f00_0000), StreamClass::Created);
    }
}
