//! Writing metric families.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::model::{BOUNDS_NS, TimeHistogram};

/// The unit of a metric, which its name ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum In {
    /// A plain number.
    Number,
    /// Seconds.
    Seconds,
    /// A share from 0 to 1.
    Ratio,
    /// Bytes.
    Bytes,
    /// Hertz.
    Hertz,
    /// Watts.
    Watts,
}

impl In {
    fn unit(self) -> Option<Unit> {
        match self {
            In::Number => None,
            In::Seconds => Some(Unit::Seconds),
            // `Unit::Ratios` is not what Prometheus's naming rules ask for.
            In::Ratio => Some(Unit::Other("ratio".to_owned())),
            In::Bytes => Some(Unit::Bytes),
            In::Hertz => Some(Unit::Other("hertz".to_owned())),
            In::Watts => Some(Unit::Other("watts".to_owned())),
        }
    }
}

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The labels of one series.
#[derive(Debug)]
pub(super) struct Labels<'a>(pub &'a [Label<'a>]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            (*name, &*escaped(value)).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// The library writes label values as they are. Names of commands are their
/// users' to choose; one with a quote would end the value and forge series.
fn escaped(value: &str) -> Cow<'_, str> {
    let is_special = |byte| matches!(byte, b'\\' | b'"' | b'\n');
    if !value.bytes().any(is_special) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Where families are written to. A family without series is left out.
pub(super) struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Families<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Families<'a> {
        Families { encoder }
    }

    /// Gauges: one for each item that has a value.
    pub fn gauges<'i, T>(
        &mut self,
        name: &str,
        help: &str,
        unit: In,
        items: &'i [T],
        value: impl Fn(&T) -> Option<f64>,
        labels: impl Fn(&'i T) -> Vec<Label<'i>>,
    ) -> fmt::Result {
        if !items.iter().any(|item| value(item).is_some()) {
            return Ok(());
        }
        let unit = unit.unit();
        let mut family =
            self.encoder
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for item in items {
            if let Some(value) = value(item) {
                with(&mut family, &labels(item), |series| {
                    series.encode_gauge(&value)
                })?;
            }
        }
        Ok(())
    }

    /// One gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, unit: In, value: f64) -> fmt::Result {
        self.gauges(name, help, unit, &[value], |v| Some(*v), |_| Vec::new())
    }

    /// Counters; `_total` is added to the name.
    pub fn counters<'i, T>(
        &mut self,
        name: &str,
        help: &str,
        unit: In,
        items: &'i [T],
        value: impl Fn(&T) -> f64,
        labels: impl Fn(&'i T) -> Vec<Label<'i>>,
    ) -> fmt::Result {
        let unit = unit.unit();
        let mut family =
            self.encoder
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for item in items {
            with(&mut family, &labels(item), |series| {
                series.encode_counter::<NoLabelSet, f64, f64>(&value(item), None)
            })?;
        }
        Ok(())
    }

    /// One counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, unit: In, value: f64) -> fmt::Result {
        self.counters(name, help, unit, &[value], |v| *v, |_| Vec::new())
    }

    /// Histograms in seconds.
    pub fn histograms<'i, T>(
        &mut self,
        name: &str,
        help: &str,
        items: &'i [T],
        value: impl Fn(&'i T) -> &'i TimeHistogram,
        labels: impl Fn(&'i T) -> Vec<Label<'i>>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(
            name,
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for item in items {
            let histogram = value(item);
            let bounds = BOUNDS_NS.iter().map(|&ns| ns as f64 / 1e9);
            let buckets: Vec<(f64, u64)> = bounds
                // How the library spells infinity.
                .chain([f64::MAX])
                .zip(histogram.counts)
                .collect();
            with(&mut family, &labels(item), |series| {
                let (sum, count) = (histogram.sum.as_secs_f64(), histogram.count());
                series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }
}

/// Writes one series of a family; one without labels has no braces.
fn with(
    family: &mut MetricEncoder<'_>,
    labels: &[Label<'_>],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return write(family);
    }
    write(&mut family.encode_family(&Labels(labels))?)
}

impl fmt::Debug for Families<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Families")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_value() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1\\nb\\\\");
        assert_eq!(escaped("plain é"), "plain é");
    }
}
