//! What a running agent says about the process.

use std::time::Duration;

use xsched_common::Abi;
use xsched_common::api::{DeviceRow, GateState, ProcessRow, SliceSetter, Snapshot};

/// The agent's view of one process.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The agent's version.
    pub version: String,
    /// The ABI that shims must speak, if it says.
    pub abi: Option<Abi>,
    /// How long the agent has been running: shims look for it from time to
    /// time.
    pub uptime: Duration,
    /// The process's row, if the agent knows it.
    pub process: Option<ProcessRow>,
    /// All other processes'.
    pub others: Vec<ProcessRow>,
    /// Devices in use.
    pub devices: Vec<DeviceRow>,
}

impl AgentView {
    /// What a snapshot says about process `pid`.
    pub fn of(snapshot: &Snapshot, pid: u32) -> AgentView {
        let rows = snapshot.processes.iter();
        let (mut own, others): (Vec<_>, Vec<_>) = rows.cloned().partition(|row| row.pid == pid);
        AgentView {
            version: snapshot.agent.version.clone(),
            abi: snapshot.agent.abi.parse().ok(),
            uptime: Duration::from_nanos(snapshot.agent.uptime_ns.0),
            process: own.pop(),
            others,
            devices: snapshot.devices.clone(),
        }
    }

    /// What the agent does to its work although no gate holds it, a line for
    /// each device.
    pub fn other_levers(&self) -> Vec<String> {
        let slices = self.process.iter().flat_map(|row| &row.time_slices);
        slices
            .filter(|slice| slice.set_by == SliceSetter::Class)
            .map(|slice| {
                format!(
                    "the agent has set its time slice on {} to {} ({}): that bounds its kernels, not \
                     what it launches",
                    slice.device, slice.slice_ns, slice.reason
                )
            })
            .collect()
    }

    /// Processes of lower classes on the same device whose gate is closed.
    pub fn held_back_below(&self) -> Vec<u32> {
        let Some(own) = &self.process else {
            return Vec::new();
        };
        let held_back = |row: &&ProcessRow| {
            row.class < own.class
                && own.device.is_some()
                && row.device == own.device
                && row
                    .gate
                    .as_ref()
                    .is_some_and(|g| g.state == GateState::Closed)
        };
        self.others
            .iter()
            .filter(held_back)
            .map(|row| row.pid)
            .collect()
    }
}
