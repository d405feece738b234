//! `mode`: how devices are shared, for now.

use std::process::ExitCode;

use xsched_client::blocking as client;
use xsched_common::api::{Request, SharingMode};
use xsched_common::units::PciAddress;

use super::{endpoint, print, print_json};

/// Options of `mode`.
#[derive(clap::Args)]
#[command(after_help = "\
Modes:
  priority   strict classes: a class gets the time that no higher class wants
  share      as priority, and by weight within a class
  slo        as share; cap and linger adapt to processes' targets
  fixed      strict classes, cap and fence_batch set by hand in the file
  off        every gate stays open: observe only

Examples:
  sudo xsched-agent mode slo
  sudo xsched-agent mode --device 0000:03:00.0 share

--json prints {\"device\", \"mode\"}; device is null for all.
Exit codes: 0 done, 2 not done")]
pub struct Options {
    /// The device's PCI address, as `xsched-agent ps --json` and lspci -D show
    /// it [default: all devices]
    #[arg(long, value_name = "ADDRESS")]
    device: Option<PciAddress>,
    /// priority, share, slo, fixed or off
    mode: SharingMode,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let request = Request::SetMode {
        device: options.device.map(|address| address.to_string()),
        mode: options.mode,
    };
    let set = client::set_mode(&endpoint(), &request)?;
    if options.json {
        print_json(&set)?;
    } else {
        let device = set.device.as_deref().unwrap_or("all devices");
        print(&format!(
            "{device}: {} until the configuration is read again\n",
            set.mode
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
