//! `bench blame`: whether causes of slow bursts that are planted one by one
//! and in pairs are named, with their shares.

use xsched_common::api::BlameCause;
use xsched_testkit::slow::{Outcome, Plant, run};

use super::report::Metric;

/// Plants every cause.
pub fn measure() -> Vec<Metric> {
    let outcomes: Vec<Outcome> = Plant::ALL
        .into_iter()
        .map(|plant| {
            eprintln!("{plant:?} ...");
            let outcome = run(plant);
            eprintln!("  {outcome}");
            outcome
        })
        .collect();
    let named = outcomes.iter().filter(|outcome| is_named(outcome)).count();
    let errors: Vec<f64> = outcomes
        .iter()
        .map(|outcome| share_error(outcome, &outcomes))
        .collect();
    let sums: Vec<f64> = outcomes.iter().map(Outcome::sum_error_percent).collect();
    vec![
        Metric::at_least("blame_named_first", "of 10", named as f64, 10.0)
            .detail(each(&outcomes, |outcome| format!("{:?}", outcome.first()))),
        Metric::at_most("blame_share_err_points", "points", most(&errors), 15.0)
            .detail(listed(&outcomes, &errors)),
        Metric::at_most("blame_sum_err_pct", "%", most(&sums), 10.0)
            .detail(listed(&outcomes, &sums)),
    ]
}

fn is_named(outcome: &Outcome) -> bool {
    let first = outcome.first();
    first.is_some_and(|first| outcome.plant.causes().contains(&first))
}

/// The largest difference between a cause's share and what it should be, in
/// points of a hundred.
fn share_error(outcome: &Outcome, all: &[Outcome]) -> f64 {
    let causes = outcome.plant.causes();
    // What each of several costs by itself.
    let alone = |cause: &BlameCause| {
        let alone = |one: &&Outcome| one.plant.causes() == [*cause];
        all.iter().find(alone).map_or(0.0, |one| one.loss_per_s)
    };
    let sum: f64 = causes.iter().map(alone).sum();
    let errors = causes
        .iter()
        .map(|cause| 100.0 * (outcome.share(*cause) - alone(cause) / sum).abs());
    errors.fold(0.0, f64::max)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn each(outcomes: &[Outcome], mut say: impl FnMut(&Outcome) -> String) -> String {
    let each = outcomes
        .iter()
        .map(|outcome| format!("{:?}: {}", outcome.plant, say(outcome)));
    each.collect::<Vec<_>>().join(", ")
}

fn listed(outcomes: &[Outcome], values: &[f64]) -> String {
    let mut values = values.iter();
    each(outcomes, |_| {
        values
            .next()
            .map_or_else(String::new, |value| format!("{value:.1}"))
    })
}
