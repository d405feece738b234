//! `cargo xtask test --kernels`: the product on other kernels.
//!
//! Debian's kernels boot in QEMU, one after the other, with an archive of our
//! programs for a root. This same program is the first one there
//! ([`guest`]), checks what matters, and says so over the serial line.

mod console;
mod cpio;
pub mod guest;
mod machine;
mod packages;
mod report;
mod root;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use console::Transcript;
use machine::Accel;
use packages::{Archive, Wanted};
use report::{Kernel, Report};

use crate::build::{self, Profile};
use crate::progress::note;
use crate::provision;

/// Options of `test --kernels`.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Only these: series such as 6.1, or newest [default: 5.10, 6.1, 6.12,
    /// newest]
    #[arg(
        long,
        value_name = "SERIES,...",
        value_delimiter = ',',
        requires = "kernels"
    )]
    only: Vec<Wanted>,
    /// Instead of packages: a kernel's image (bzImage)
    #[arg(
        long,
        value_name = "FILE",
        requires = "kernels",
        conflicts_with = "only"
    )]
    image: Vec<PathBuf>,
}

/// What runs in the guest.
const PACKAGES: [&str; 6] = [
    "xtask",
    "xsched-agent",
    "xsched-shim",
    "hipsim",
    "smisim",
    "hipsim-samples",
];

/// Runs them all; exit code 1 if one is not as it should be.
pub fn run(args: &Args, json: bool) -> anyhow::Result<ExitCode> {
    provision::ensure_kernels()?;
    note("building");
    let built = build::packages(Profile::Release, &PACKAGES)?;
    let folder = build::target().join("kernels");
    std::fs::create_dir_all(&folder)?;
    let scratch = tempfile::tempdir_in(&folder)?;
    let archive = scratch.path().join("root.cpio");
    root::write(&built, &archive)?;
    let mut runner = Runner {
        archive,
        accel: Accel::first(),
        slowest: None,
    };
    let images = images(args, &folder)?;
    let count = images.len();
    let mut kernels = Vec::new();
    for (number, (wanted, image)) in images.into_iter().enumerate() {
        let left = count - number;
        kernels.push(match image {
            Ok(image) => runner.run(&wanted, &image, left)?,
            Err(e) => Kernel::missing(wanted, format!("{e:#}")),
        });
    }
    let report = Report::of(kernels);
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", report.text()),
    }
    Ok(ExitCode::from(u8::from(report.failed > 0)))
}

/// A kernel to boot.
struct Image {
    file: PathBuf,
    source: String,
}

/// What was asked for, each with its image or why there is none.
type Images = Vec<(String, anyhow::Result<Image>)>;

fn images(args: &Args, folder: &Path) -> anyhow::Result<Images> {
    if !args.image.is_empty() {
        let own = |file: &PathBuf| {
            let source = file.display().to_string();
            let file = file.clone();
            (source.clone(), Ok(Image { file, source }))
        };
        return Ok(args.image.iter().map(own).collect());
    }
    let debian = Archive::open(folder)?;
    let wanted: &[Wanted] = match args.only.as_slice() {
        [] => &Wanted::USUAL,
        only => only,
    };
    let find = |wanted: &Wanted| {
        let image = debian.find(*wanted).and_then(|package| {
            Ok(Image {
                file: debian.image(&package)?,
                source: package.name,
            })
        });
        (wanted.to_string(), image)
    };
    Ok(wanted.iter().map(find).collect())
}

struct Runner {
    archive: PathBuf,
    accel: Accel,
    /// Of those that ran, for the remaining time.
    slowest: Option<Duration>,
}

impl Runner {
    /// Boots it. Where /dev/kvm opens but no kernel comes up, it and all later
    /// ones are emulated.
    fn run(&mut self, wanted: &str, image: &Image, left: usize) -> anyhow::Result<Kernel> {
        let mut ended = self.boot(wanted, image, left)?;
        if self.accel == Accel::Kvm && ended.transcript.begin.is_none() {
            note(&format!(
                "KVM does not boot it here ({}): emulating from now on",
                ended.how
            ));
            self.accel = Accel::Emulated;
            ended = self.boot(wanted, image, left)?;
        }
        let why = ended.transcript.fault(&ended.how);
        let Transcript { begin, checks, .. } = ended.transcript;
        Ok(Kernel {
            version: begin.map_or_else(|| wanted.to_owned(), |(release, _)| release),
            source: Some(image.source.clone()),
            accel: Some(self.accel),
            checks,
            ok: why.is_none(),
            why,
        })
    }

    fn boot(&mut self, wanted: &str, image: &Image, left: usize) -> anyhow::Result<machine::Ended> {
        note(&format!(
            "Linux {wanted} ({}, {}); {}",
            image.source,
            self.accel.name(),
            self.remaining(left)
        ));
        let mut took = Duration::ZERO;
        let ended = machine::run(&image.file, &self.archive, self.accel, |heard, after| {
            took = after;
            if let Some(check) = &heard.current {
                let (done, all) = (heard.checks.len(), heard.planned.len());
                let after = after.as_secs();
                note(&format!(
                    "  {after} s: {done} of {all} checks done, now {check}"
                ));
            }
        })?;
        self.slowest = self.slowest.max(Some(took));
        Ok(ended)
    }

    fn remaining(&self, left: usize) -> String {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        match self.slowest {
            Some(slowest) => {
                let seconds = slowest.saturating_mul(left).as_secs();
                format!("about {seconds} s remaining for {left}")
            }
            None => {
                let most = self.accel.limits().all.saturating_mul(left).as_secs();
                format!("{left} to go, {most} s at most")
            }
        }
    }
}
