//! Platforms: the vendors' runtimes that programs use, as data.
//!
//! A platform is a table of [entry points](EntryPoint), made from `data/*.tsv`,
//! and the names of its [files](names). Nothing outside of the folders called
//! `platform` or like a platform names a vendor or a function to decide
//! anything.

mod cuda;
mod entry_point;
mod hip;
pub mod names;
mod place;

pub use entry_point::{
    Action, Completion, DefaultStream, Direction, Effect, EntryClass, EntryPoint, Scope, StreamKind,
};
pub use place::{ArgumentAt, Register, SizeAt};

/// A vendor's runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "api", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "api", serde(rename_all = "snake_case"))]
pub enum Platform {
    /// AMD's HIP: libamdhip64.
    #[default]
    Hip,
    /// NVIDIA's CUDA: libcuda.
    Cuda,
}

/// All platforms, for people.
pub const TITLES: &str = "HIP or CUDA";

impl Platform {
    /// All of them.
    pub const ALL: [Platform; 2] = [Platform::Hip, Platform::Cuda];

    /// The platform with this number in a shared page; unknown numbers read as
    /// the first.
    pub fn from_raw(raw: u32) -> Platform {
        let known = Platform::ALL.into_iter().find(|known| *known as u32 == raw);
        known.unwrap_or_default()
    }

    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::Hip => "hip",
            Platform::Cuda => "cuda",
        }
    }

    /// What its runtime's files, nodes and functions are called.
    pub const fn names(self) -> &'static names::Names {
        match self {
            Platform::Hip => &hip::NAMES,
            Platform::Cuda => &cuda::NAMES,
        }
    }

    /// The functions of its runtime's dispatch table, by row.
    pub const fn dispatch_rows(self) -> &'static [&'static str] {
        match self {
            Platform::Hip => HIP_DISPATCH_ROWS,
            Platform::Cuda => CUDA_DISPATCH_ROWS,
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/platforms.rs"));

/// The entry point with this index.
pub fn entry(api: u16) -> Option<&'static EntryPoint> {
    ENTRY_POINTS.get(usize::from(api))
}

/// The entry point called `symbol`, with its index.
pub fn entry_point(symbol: &str) -> Option<(u16, &'static EntryPoint)> {
    let index = ENTRY_POINTS
        .binary_search_by(|entry| entry.symbol.cmp(symbol))
        .ok()?;
    Some((index as u16, &ENTRY_POINTS[index]))
}

/// The version node that real runtimes export `symbol` under. No symbol has
/// ever changed its node, so one answer holds for all of them.
pub fn symbol_node(symbol: &str) -> Option<&'static str> {
    let index = SYMBOL_NODES
        .binary_search_by(|(name, _)| (*name).cmp(symbol))
        .ok()?;
    Some(SYMBOL_NODES[index].1)
}

#[cfg(test)]
mod tests;
