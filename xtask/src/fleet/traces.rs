//! A recording, read by Perfetto's own definitions. Its reader (trace_processor) is in no registry of packages.

use super::{Figures, python, suites};

const PACKAGES: [&str; 2] = ["perfetto==0.59.1", "protobuf==7.36.2"];

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let python = python::with("perfetto", &PACKAGES, "perfetto.protos, google.protobuf")?;
    let settings = [("XSCHED_PERFETTO_PYTHON", python.as_os_str())];
    suites::suite("xsched-agent", "record", "official::", &settings, figures)
}
