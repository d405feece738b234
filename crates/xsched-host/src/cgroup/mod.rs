//! Control groups: where a process is, what that says of it, and how far that
//! can be believed.

mod names;
mod placement;
mod tops;
mod workload;

pub use names::{container, is_short_id, units};
pub use placement::{Delegate, Placement};
pub use tops::{control_groups_seen, enter_machine_groups};
pub use workload::{JobPlace, PodPlace, Workload};
