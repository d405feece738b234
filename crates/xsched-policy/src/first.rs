//! The gate of a client of which nothing is known yet.

use xsched_common::gate::GateMode;
use xsched_common::units::{Class, Nanos};

use super::{SchedAttr, cap_for};

/// What a newcomer's gates allow until the first decision that knows of its
/// device. A program hands over its whole queue (256 kernels of 5 ms are
/// 1.3 s) sooner than it can be decided about, so beside anybody of a class
/// above the usual it starts at the cap of an unknown kernel time. `classes`
/// are those of the clients that are there.
pub fn first_gate(classes: impl IntoIterator<Item = Class>) -> GateMode {
    let usual = SchedAttr::default().class;
    match classes.into_iter().any(|class| class > usual) {
        true => GateMode::Capped(cap_for(Nanos::ZERO, None)),
        false => GateMode::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_comes_beside_somebody_of_a_higher_class_starts_capped() {
        assert_eq!(first_gate([]), GateMode::Open);
        assert_eq!(first_gate([Class::Low, Class::Normal]), GateMode::Open);
        let capped = first_gate([Class::Low, Class::High]);
        assert!(matches!(capped, GateMode::Capped(1..)), "{capped:?}");
    }
}
