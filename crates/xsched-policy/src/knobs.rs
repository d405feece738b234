//! The numbers behind a decision.

use xsched_common::api::SharingMode;
use xsched_common::units::Nanos;

use super::DeviceSettings;

/// The most that a cap allows: enough to keep the device fed with the
/// shortest kernels.
const MAX_CAP: u16 = 256;

/// The cap while T is not known.
const UNMEASURED_CAP: u16 = 4;

/// What a lower class may have in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Device time D.
    Time(Nanos),
    /// Commands.
    Commands(u16),
}

/// Cap and linger as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// What a lower class may have in flight.
    pub cap: Cap,
    /// The shortest linger.
    pub linger_min: Nanos,
    /// The longest linger: the most that lower classes lose per burst.
    pub linger_max: Nanos,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs::of(&DeviceSettings::default())
    }
}

impl Knobs {
    /// As the settings have them.
    pub fn of(settings: &DeviceSettings) -> Knobs {
        let (linger_min, linger_max) = settings.linger.limits();
        Knobs {
            cap: match settings.mode {
                SharingMode::Fixed => Cap::Commands(settings.fixed_cap.max(1)),
                _ => Cap::Time(settings.budget),
            },
            linger_min,
            linger_max,
        }
    }

    /// The cap of a client whose kernels take `kernel_time`.
    pub fn cap_of(&self, kernel_time: Option<Nanos>) -> u16 {
        match self.cap {
            Cap::Time(budget) => cap_for(budget, kernel_time),
            Cap::Commands(cap) => cap,
        }
    }

    /// The device time that such a client has in flight at most; zero while
    /// T is not known.
    pub fn in_flight_of(&self, kernel_time: Option<Nanos>) -> Nanos {
        kernel_time.map_or(Nanos::ZERO, |t| {
            t.times(u64::from(self.cap_of(kernel_time)))
        })
    }
}

/// A lone kernel leaves the device idle from its end until the shim sees it
/// (about 20 us): of kernels up to this long that takes 3% and more.
const SHORT_KERNEL: Nanos = Nanos::from_micros(600);

/// How many commands of `kernel_time` each may be in flight: one running
/// plus as many behind it as the budget holds, so K T <= budget + T. Longer
/// kernels than the budget go one at a time, from a fifth over it, which is
/// taken for the jitter of the measurement, or from twice the budget if they
/// are short.
pub fn cap_for(budget: Nanos, kernel_time: Option<Nanos>) -> u16 {
    let pairs = (budget + Nanos(budget.0 / 5)).max(budget.times(2).min(SHORT_KERNEL));
    match kernel_time {
        None | Some(Nanos::ZERO) => UNMEASURED_CAP,
        Some(t) if t > pairs => 1,
        Some(t) => u16::try_from(budget.0 / t.0 + 1)
            .unwrap_or(MAX_CAP)
            .clamp(2, MAX_CAP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_follow_the_kernel_time() {
        for (budget_us, t_us, cap) in [
            (300, 60, 6),
            (300, 300, 2),
            (300, 600, 2),
            (300, 601, 1),
            (300, 5_000, 1),
            (500, 60, 9),
            (500, 600, 2),
            (500, 601, 1),
            (100, 200, 2),
            (100, 201, 1),
            (4_000, 4_800, 2),
            (4_000, 4_801, 1),
        ] {
            let (budget, t) = (Nanos::from_micros(budget_us), Nanos::from_micros(t_us));
            assert_eq!(cap_for(budget, Some(t)), cap, "D {budget_us}, T {t_us} us");
        }
        let budget = Nanos::from_micros(300);
        assert_eq!(cap_for(budget, Some(Nanos(1))), 256);
        assert_eq!(cap_for(budget, None), UNMEASURED_CAP);
    }
}
