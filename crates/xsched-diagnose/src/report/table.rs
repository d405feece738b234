//! Bindings as a table, and a report as one line or two.

use xsched_host::text::printable;

use super::{BindingRow, Report};
use crate::facts::mapped::basename;

impl Report {
    /// All bindings, one per line.
    pub fn table(&self) -> String {
        let head = ["OBJECT", "FUNCTION", "BOUND TO", "VIA"].map(str::to_owned);
        let mut rows: Vec<[String; 4]> = self.bindings.iter().map(row).collect();
        rows.dedup();
        rows.insert(0, head);
        let mut widths = [0; 4];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for row in &rows {
            let cells = row.iter().zip(widths);
            let line: Vec<String> = cells.map(|(c, w)| format!("{c:w$}")).collect();
            out += line.join("  ").trim_end();
            out.push('\n');
        }
        out
    }

    /// The process and its findings' titles.
    pub fn summary(&self) -> String {
        let shim = self.shim.as_deref().map_or("no shim", basename);
        let mut out = format!("process {}: {} ({shim})", self.pid, self.exe);
        if self.findings.is_empty() {
            out += ": nothing found";
        }
        out = printable(&out);
        out.push('\n');
        for finding in &self.findings {
            let line = format!(
                "  {} [{}]: {}",
                finding.severity.name(),
                finding.code,
                finding.title
            );
            out += &printable(&line);
            out.push('\n');
        }
        out
    }
}

fn row(binding: &BindingRow) -> [String; 4] {
    let function = xsched_host::elf::versioned_name(&binding.symbol, binding.version.as_deref());
    [
        printable(basename(&binding.object)),
        printable(&function),
        printable(basename(&binding.bound_to)),
        binding.via.to_owned(),
    ]
}
