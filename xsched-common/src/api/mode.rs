//! How a device is shared.

use serde::{Deserialize, Serialize};

/// How the processes on one device share it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SharingMode {
    /// Strict classes: a class gets the time that no higher class wants.
    #[default]
    Priority,
    /// Strict classes, and by weight within a class.
    Share,
    /// As share; cap and linger follow the targets of the processes that
    /// have one.
    Slo,
    /// Strict classes with cap and fence batch set by hand.
    Fixed,
    /// Every gate stays open: observe only.
    Off,
}

impl SharingMode {
    /// All of them.
    pub const ALL: [SharingMode; 5] = [
        SharingMode::Priority,
        SharingMode::Share,
        SharingMode::Slo,
        SharingMode::Fixed,
        SharingMode::Off,
    ];

    /// The name used in configuration, on command lines and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            SharingMode::Priority => "priority",
            SharingMode::Share => "share",
            SharingMode::Slo => "slo",
            SharingMode::Fixed => "fixed",
            SharingMode::Off => "off",
        }
    }
}

impl core::fmt::Display for SharingMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no [`SharingMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl core::fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a sharing mode: use priority, share, slo, fixed or off")
    }
}

impl core::error::Error for UnknownMode {}

impl core::str::FromStr for SharingMode {
    type Err = UnknownMode;

    fn from_str(s: &str) -> Result<SharingMode, UnknownMode> {
        SharingMode::ALL
            .into_iter()
            .find(|mode| mode.name() == s)
            .ok_or(UnknownMode)
    }
}
