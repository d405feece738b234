//! How a process's gate stood over the window.

use std::collections::VecDeque;

use xsched_common::api::GateShares;
use xsched_common::units::{DeviceIndex, Nanos};
use xsched_policy::ClientId;

use super::rows::busiest_device;
use crate::control::{ClientShared, GateSpent};

/// Samples of the gate of one client on one device.
#[derive(Default)]
pub(super) struct GateWindow {
    of: Option<(ClientId, DeviceIndex)>,
    samples: VecDeque<(Nanos, GateSpent)>,
}

impl GateWindow {
    /// Adds a sample of the gate that is shown and forgets those that are older
    /// than `length`, except the one that spans it.
    pub fn push(&mut self, now: Nanos, length: Nanos, client: Option<&ClientShared>) {
        let gate = client.and_then(|client| {
            let (_, device) = busiest_device(client)?;
            Some((client, device))
        });
        let of = gate.map(|(client, device)| (client.id, device));
        if of != self.of {
            // Another gate: its times are its own.
            self.samples.clear();
            self.of = of;
        }
        let spent = gate.and_then(|(client, device)| client.gate_spent(device, now));
        self.samples.extend(spent.map(|spent| (now, spent)));
        while (self.samples.get(1)).is_some_and(|(time, _)| now.since(*time) >= length) {
            self.samples.pop_front();
        }
    }

    /// What the window comes to; none before the second sample.
    pub fn shares(&self) -> Option<GateShares> {
        let ((_, first), (_, last)) = (self.samples.front()?, self.samples.back()?);
        let open = last.open.since(first.open).0 as f64;
        let capped = last.capped.since(first.capped).0 as f64;
        let closed = last.closed.since(first.closed).0 as f64;
        let all = open + capped + closed;
        (all > 0.0).then(|| GateShares {
            open_ratio: open / all,
            capped_ratio: capped / all,
            closed_ratio: closed / all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_window() {
        let spent = |open, capped, closed| GateSpent {
            open: Nanos(open),
            capped: Nanos(capped),
            closed: Nanos(closed),
        };
        let mut window = GateWindow::default();
        assert_eq!(window.shares(), None);
        window.samples.push_back((Nanos(0), spent(500, 7, 9)));
        assert_eq!(window.shares(), None, "one sample spans nothing");
        window.samples.push_back((Nanos(100), spent(550, 37, 29)));
        let shares = window.shares().expect("two samples");
        assert_eq!(
            (shares.open_ratio, shares.capped_ratio, shares.closed_ratio),
            (0.5, 0.3, 0.2)
        );
    }
}
