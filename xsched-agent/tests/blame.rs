//! What slows a service is what the agent says: causes planted in real time.
//! All ten, and how right the shares are: `cargo xtask bench blame`.

use xsched_common::api::BlameCause;
use xsched_testkit::no_bpf;
use xsched_testkit::slow::{Outcome, Plant, run};

fn slow_by(plant: Plant) -> Outcome {
    let outcome = run(plant);
    eprintln!("{outcome}");
    assert!(outcome.blame.slow > 10, "it is slow: {:?}", outcome.blame);
    outcome
}

/// Half of its own bursts were too long, so it was blamed itself.
#[test]
fn a_program_past_the_gate_is_named_and_not_the_service() {
    if no_bpf() {
        return;
    }
    let outcome = slow_by(Plant::PastGate);
    assert_eq!(outcome.first(), Some(BlameCause::PastGate), "{outcome}");
    assert!(outcome.share(BlameCause::PastGate) > 0.7, "{outcome}");
    assert!(outcome.share(BlameCause::OwnWork) < 0.1, "{outcome}");
}

/// A lower class with short kernels was blamed for what no kernel of it can
/// take.
#[test]
fn a_busy_processor_is_named_and_not_whoever_has_short_kernels() {
    if no_bpf() {
        return;
    }
    let outcome = slow_by(Plant::ServiceCpu);
    assert_eq!(outcome.first(), Some(BlameCause::ServiceCpu), "{outcome}");
    assert!(outcome.share(BlameCause::ServiceCpu) > 0.6, "{outcome}");
}
