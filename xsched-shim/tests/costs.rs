//! What takes a processor to itself, or disturbs others: one test at a time.

mod callbacks;
mod herd;
mod open_cost;
mod probed;
mod support;
mod waiting_cost;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each test here.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let lock = ONE_AT_A_TIME.lock();
    lock.unwrap_or_else(PoisonError::into_inner)
}
