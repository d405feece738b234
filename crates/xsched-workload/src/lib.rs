//! Programs as data: what they launch, how long it takes, on which streams,
//! from which libraries, with which gaps.
//!
//! A [`Workload`] is a JSON file that a person can read and write. It comes
//! from a recording of a real program ([`import`]) or from measurements by
//! other means, and says which ([`Workload::origin`]). `hipsim replay` plays it
//! on a device in real time, `schedsim` in virtual time; both by the same
//! [`Player`].

mod check;
mod format;
pub mod import;
pub mod perfetto;
mod player;

pub use check::{Bad, LARGEST_FILE, read_file};
pub use format::{
    Callers, FORMAT, Gaps, Launch, Program, Repeat, Step, Thread, Totals, Wait, Workload,
};
pub use player::{Move, Player};

/// ResNet-18, one image, 20 requests a second, beside ResNet-50, 64 images, without end.
pub const RESNETS: &str = include_str!("../data/resnets.json");
/// ResNet-50 as LibTorch runs it: a frozen trace, 32 images, on the default stream.
pub const LIBTORCH: &str = include_str!("../data/libtorch.json");
/// BERT-base's encoder, 8 sequences of 128 tokens.
pub const BERT: &str = include_str!("../data/bert.json");
