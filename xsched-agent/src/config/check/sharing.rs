//! `[sharing]` and `[device]`: how devices are shared.

use toml::Spanned;
use xsched_common::api::SharingMode;
use xsched_common::units::Nanos;
use xsched_policy::{DeviceSettings, Linger, Settings};

use crate::config::file;
use crate::config::problems::Problems;
use crate::config::values::Time;

/// Longer budgets, lingers and slices would hold up everybody; a gate's own
/// bounds end its waits long before.
const LONGEST: Nanos = Nanos::from_secs(1);

/// `[sharing]`, or a `[device]` over it.
pub(super) fn convert(
    own: &file::Sharing,
    otherwise: DeviceSettings,
    problems: &mut Problems<'_>,
) -> DeviceSettings {
    let mut within = |given: &Option<Spanned<Time>>, otherwise: Nanos, least: Nanos| {
        let Some(given) = given else { return otherwise };
        let time = given.get_ref().0;
        if time < least || time > LONGEST {
            problems.error(given.span(), format!("a time from {least} to {LONGEST}"));
        }
        time
    };
    let budget = within(&own.budget, otherwise.budget, Nanos::from_micros(10));
    let slice = match &own.slice {
        None => otherwise.slice,
        given => Some(within(given, Nanos::ZERO, Nanos::from_micros(100))),
    };
    let (shortest, longest) = otherwise.linger.limits();
    let min = within(&own.linger_min, shortest, Nanos::ZERO);
    let max = within(&own.linger_max, longest, Nanos::ZERO);
    let linger = match &own.linger {
        Some(fixed) => Linger::Fixed(within(&Some(fixed.clone()), Nanos::ZERO, Nanos::ZERO)),
        None if own.linger_min.is_none() && own.linger_max.is_none() => otherwise.linger,
        None => Linger::Adaptive { min, max },
    };
    let written = [&own.linger_min, &own.linger_max];
    if let Some(extreme) = written.into_iter().flatten().next() {
        if own.linger.is_some() {
            problems.error(
                extreme.span(),
                "linger is a fixed time: leave linger_min and linger_max out, or linger",
            );
        } else if min > max {
            problems.error(
                extreme.span(),
                format!("linger_min ({min}) is longer than linger_max ({max})"),
            );
        }
    }
    let active_limit = match &own.active_limit {
        Some(given) => {
            let time = given.get_ref().0;
            if time < Nanos::from_millis(100) || time > Nanos::from_secs(60) {
                problems.error(given.span(), "a time from 100 ms to 60 s");
            }
            time
        }
        None => otherwise.active_limit,
    };
    if let Some(cap) = &own.cap
        && !(1..=256).contains(cap.get_ref())
    {
        problems.error(cap.span(), "a number of commands from 1 to 256");
    }
    if let Some(batch) = &own.fence_batch
        && !(1..=256).contains(batch.get_ref())
    {
        problems.error(batch.span(), "a number of commands from 1 to 256");
    }
    if let Some(share) = &own.min_share_percent
        && !(0.0..=50.0).contains(share.get_ref())
    {
        problems.error(share.span(), "a percentage from 0 to 50");
    }
    DeviceSettings {
        mode: own.mode.unwrap_or(otherwise.mode),
        budget,
        linger,
        fixed_cap: own
            .cap
            .as_ref()
            .map_or(otherwise.fixed_cap, |cap| *cap.get_ref()),
        fence_batch: own
            .fence_batch
            .as_ref()
            .map_or(otherwise.fence_batch, |batch| *batch.get_ref()),
        min_share_permille: own
            .min_share_percent
            .as_ref()
            .map_or(otherwise.min_share_permille, |share| {
                (share.get_ref() * 10.0).round() as u16
            }),
        slice,
        active_limit,
    }
}

/// A target counts in mode `slo` only.
pub(super) fn warn_of_idle_targets(
    rules: &[Spanned<file::Rule>],
    sharing: &Settings,
    problems: &mut Problems<'_>,
) {
    let mut modes = sharing.devices.values().chain([&sharing.default]);
    if modes.any(|device| device.mode == SharingMode::Slo) {
        return;
    }
    for rule in rules {
        let rule = rule.get_ref();
        let ms = rule.p99_ms.as_ref().map(Spanned::span);
        if let Some(span) = ms.or_else(|| rule.p99.as_ref().map(Spanned::span)) {
            problems.warning(
                span,
                format!(
                    "no device adapts to this target: [sharing] has mode = \"{}\"; use \"slo\"",
                    sharing.default.mode
                ),
            );
        }
    }
}
