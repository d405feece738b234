//! Values as people read them.

use std::time::Duration;

use xsched_common::units::Nanos;

/// What stands for the unknown.
pub const UNKNOWN: &str = "-";

/// `950`, `12.3k`, `4.56M`.
pub fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        _ => rate(n as f64),
    }
}

/// `0`, `0.25`, `12.3`, `950`, `12.3k`, `4.56M`.
pub fn rate(rate: f64) -> String {
    let (scaled, unit) = match rate.abs() {
        x if x < 9_999.5 => (rate, ""),
        x if x < 999_500.0 => (rate / 1e3, "k"),
        x if x < 999.5e6 => (rate / 1e6, "M"),
        _ => (rate / 1e9, "G"),
    };
    match scaled.abs() {
        0.0 => "0".to_owned(),
        x if x < 9.995 => format!("{scaled:.2}{unit}"),
        x if x < 99.95 => format!("{scaled:.1}{unit}"),
        x if x < 1e6 => format!("{scaled:.0}{unit}"),
        _ => format!("{scaled:.1e}"),
    }
}

/// A share in percent; nothing and all are said only where they are exact.
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0%".to_owned(),
        p if p > 0.0 && p < 0.1 => "<0.1%".to_owned(),
        p if p < 9.95 => format!("{p:.1}%"),
        p if p > 99.5 && p < 100.0 => ">99%".to_owned(),
        p => format!("{p:.0}%"),
    }
}

/// A share that is not measured but estimated: `~45%`.
pub fn estimate(ratio: f64) -> String {
    format!("~{}", share(ratio))
}

/// A time that was set rather than measured: `5 s`, `500 us`, `2.5 ms`.
pub fn span(time: Nanos) -> String {
    let text = time.to_string();
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} {unit}")
        }
        _ => text,
    }
}

/// `0.3 s`, `12 s`, `3 min`, `2 h`, `5 d`.
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        // 30 s that began a moment ago are not 29 s.
        10..120 => format!("{:.0} s", age.as_secs_f64()),
        120..7_200 => format!("{} min", age.as_secs() / 60),
        7_200..172_800 => format!("{} h", age.as_secs() / 3_600),
        secs => format!("{} d", secs / 86_400),
    }
}

/// `1 process`, `2 processes`.
pub fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.34, "12.3"),
            (9_999.0, "9999"),
            (12_345.0, "12.3k"),
            (999_499.0, "999k"),
            (1_000_000.0, "1.00M"),
            (2.5e9, "2.50G"),
        ] {
            assert_eq!(rate(number), text);
        }
        assert!(rate(f64::MAX).len() <= 8 && rate(-f64::MAX).len() <= 8);
        assert!(count(u64::MAX).len() <= 8);
    }

    #[test]
    fn shares_do_not_round_to_nothing_or_all() {
        for (number, text) in [
            (0.0, "0%"),
            (0.0001, "<0.1%"),
            (0.012, "1.2%"),
            (0.5, "50%"),
            (0.999, ">99%"),
            (1.0, "100%"),
        ] {
            assert_eq!(share(number), text);
        }
    }

    #[test]
    fn spans_have_no_empty_decimals() {
        for (ns, text) in [
            (5_000_000_000, "5 s"),
            (500_000, "500 us"),
            (2_500_000, "2.5 ms"),
        ] {
            assert_eq!(span(Nanos(ns)), text);
        }
    }

    #[test]
    fn ages_read_well() {
        assert_eq!(age(Duration::from_millis(340)), "0.3 s");
        assert_eq!(age(Duration::from_secs(61)), "61 s");
        assert_eq!(age(Duration::from_millis(29_990)), "30 s");
        assert_eq!(age(Duration::from_secs(7_300)), "2 h");
    }
}
