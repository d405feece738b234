//! The functions of a C interface, whichever it is: a body with a result, a code for the program.

/// Why a face's function fails.
pub trait Refusal: Sized {
    /// What its functions return.
    type Code;

    /// Why none of them may run now: their library is not to be used in this process any more.
    fn at_all() -> Option<Self> {
        None
    }

    /// The code of a result.
    fn code(result: Result<(), Self>) -> Self::Code;
}

/// Runs a body and gives its code. The program's `errno` stays: the locks inside leave EAGAIN there now and then, which would
/// make programs that print it differ from run to run.
pub fn run<R: Refusal>(body: impl FnOnce() -> Result<(), R>) -> R::Code {
    if let Some(refusal) = R::at_all() {
        return R::code(Err(refusal));
    }
    // SAFETY: always valid for the calling thread, which does not change in between.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let code = R::code(body());
    // SAFETY: as above.
    unsafe { *errno = before };
    code
}

/// Defines functions of a C interface that fail for a reason of the given type: each runs its body, in which `?` returns an
/// error, and returns the code of its result.
#[macro_export]
macro_rules! api {
    ($refusal:ty; $($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {$(
        $(#[$meta])*
        #[allow(unused_unsafe, reason = "not every body needs the program's word")]
        #[allow(clippy::macro_metavars_in_unsafe, reason = "the program's word is for the whole body")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> <$refusal as $crate::api::Refusal>::Code {
            // SAFETY: as the API demands of the program: pointers are null or valid for what it reads and writes there,
            // and lists are as long as it says.
            $crate::api::run::<$refusal>(|| unsafe { $body })
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    pub struct Odd(i32);

    impl Refusal for Odd {
        type Code = i32;

        fn at_all() -> Option<Self> {
            FORBIDDEN.get().then_some(Odd(7))
        }

        fn code(result: Result<(), Self>) -> i32 {
            result.map_or_else(|odd| odd.0, |()| 0)
        }
    }

    thread_local! {
        static FORBIDDEN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    fn set_errno(to: i32) {
        // SAFETY: the thread's own.
        unsafe { *libc::__errno_location() = to };
    }

    crate::api! { Odd;
        /// Leaves another `errno`.
        fn half(number: i32, out: *mut i32) {
            set_errno(libc::EAGAIN);
            if number % 2 != 0 {
                return Err(Odd(number));
            }
            *out = number / 2;
            Ok(())
        }
    }

    #[test]
    fn a_function_returns_its_code_and_leaves_errno() {
        let mut out = 0;
        set_errno(libc::ENOENT);
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { half(8, &raw mut out) }, 0);
        assert_eq!(out, 4);
        // SAFETY: as above.
        assert_eq!(unsafe { half(9, &raw mut out) }, 9);
        let errno = std::io::Error::last_os_error();
        assert_eq!(errno.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_function_that_may_not_run_does_not() {
        let mut out = 0;
        FORBIDDEN.set(true);
        // SAFETY: the pointer is to a local.
        assert_eq!(unsafe { half(8, &raw mut out) }, 7);
        assert_eq!(out, 0);
    }
}
