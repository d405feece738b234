//! The forms in which one copy or fill is exported: waiting for it or not, on whose default stream.

use super::support::{DefaultStream, submit, submit_and_wait};
use crate::abi::error::Result;
use crate::abi::types::StreamHandle;
use crate::runtime::command::{Command, External};

/// Whether a call returns when the work is done or when it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    Awaited,
    Queued,
}

/// Queues work as the call demands; none is nothing to do.
///
/// # Errors
/// No such stream, or it is capturing and the call waits.
pub fn perform(
    work: impl Into<Option<External>>,
    of: StreamHandle,
    default: DefaultStream,
    completion: Completion,
) -> Result {
    let Some(work) = work.into() else {
        return Ok(());
    };
    let command = Command::External(work);
    match completion {
        Completion::Awaited => submit_and_wait(of, default, &command),
        Completion::Queued => submit(of, default, &command),
    }
}

/// Defines exported functions: their arguments, the work they ask for, and each one's name, default stream and completion.
/// `Queued` takes the stream as a last argument, `AwaitedOn` too; `Awaited` is on the default stream.
macro_rules! forms {
    ($arguments:tt = $work:expr; $($name:ident($default:ident, $completion:ident)),+ $(,)?) => {
        $($crate::api::forms::form!($name, $arguments, $work, $default, $completion);)+
    };
}

macro_rules! form {
    ($name:ident, ($($argument:ident: $type:ty),+), $work:expr, $default:ident, Awaited) => {
        pub unsafe extern "C" fn $name($($argument: $type),+) -> i32 {
            $crate::api::forms::form!(@run $work, std::ptr::null_mut(), $default, Awaited)
        }
    };
    ($name:ident, ($($argument:ident: $type:ty),+), $work:expr, $default:ident, AwaitedOn) => {
        pub unsafe extern "C" fn $name($($argument: $type),+, of: $crate::abi::types::StreamHandle) -> i32 {
            $crate::api::forms::form!(@run $work, of, $default, Awaited)
        }
    };
    ($name:ident, ($($argument:ident: $type:ty),+), $work:expr, $default:ident, Queued) => {
        pub unsafe extern "C" fn $name($($argument: $type),+, of: $crate::abi::types::StreamHandle) -> i32 {
            $crate::api::forms::form!(@run $work, of, $default, Queued)
        }
    };
    (@run $work:expr, $of:expr, $default:ident, $completion:ident) => {
        $crate::api::support::run(|| {
            $crate::api::forms::perform(
                $work?,
                $of,
                $crate::api::support::DefaultStream::$default,
                $crate::api::forms::Completion::$completion,
            )
        })
    };
}

pub(in crate::api) use {form, forms};
