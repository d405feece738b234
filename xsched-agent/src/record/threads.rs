//! What a thread is at, from the records of its calls.

use xsched_common::units::Nanos;

/// Calls within calls that are followed: the runtime calls some of its own
/// functions.
const MAX_DEPTH: usize = 8;

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait<C> {
    /// Index of the function.
    pub api: u16,
    /// When it was entered.
    pub from: Nanos,
    /// What the caller of [`Thread::entered`] gave.
    pub call: C,
}

/// A burst that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Its first launch.
    pub from: Nanos,
    /// Launches in it.
    pub launches: u64,
}

/// One thread. Bursts are those of the kernel's programs: from the first
/// launch after idle to the return of a wait, and none before the first wait
/// has returned, since nothing is known of the time before.
#[derive(Debug)]
pub struct Thread<C> {
    waits: Vec<Wait<C>>,
    /// `None` until a wait has returned.
    burst: Option<Option<Burst>>,
}

impl<C> Default for Thread<C> {
    fn default() -> Thread<C> {
        Thread {
            waits: Vec::new(),
            burst: None,
        }
    }
}

impl<C> Thread<C> {
    /// It launched.
    pub fn launched(&mut self, at: Nanos) {
        if let Some(burst) = &mut self.burst {
            let burst = burst.get_or_insert(Burst {
                from: at,
                launches: 0,
            });
            burst.launches += 1;
        }
    }

    /// It entered a function of which the end is told.
    pub fn entered(&mut self, api: u16, at: Nanos, call: C) {
        if self.waits.len() >= MAX_DEPTH {
            // Its return was lost: nothing is that deep.
            self.waits.remove(0);
        }
        self.waits.push(Wait {
            api,
            from: at,
            call,
        });
    }

    /// It returned from a function that does not wait: the call, if its
    /// beginning was seen.
    pub fn left(&mut self, api: u16) -> Option<Wait<C>> {
        let at = self.waits.iter().rposition(|wait| wait.api == api)?;
        // Returns of what it called in turn were lost.
        self.waits.truncate(at + 1);
        self.waits.pop()
    }

    /// It returned from a function that waits: the wait, if its beginning was
    /// seen, and the burst that it ends.
    pub fn returned(&mut self, api: u16) -> (Option<Wait<C>>, Option<Burst>) {
        let wait = self.left(api);
        let burst = self.burst.replace(None).flatten();
        (wait, burst)
    }

    /// Calls that have not ended, outermost first.
    pub fn waiting(&mut self) -> Vec<Wait<C>> {
        std::mem::take(&mut self.waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Nanos {
        Nanos(ns)
    }

    #[test]
    fn bursts_begin_after_the_first_wait() {
        let mut thread = Thread::default();
        thread.launched(at(1));
        thread.entered(5, at(2), ());
        let (wait, burst) = thread.returned(5);
        assert_eq!(wait.map(|wait| wait.from), Some(at(2)));
        assert_eq!(burst, None, "it may have begun before");
        thread.launched(at(10));
        thread.launched(at(11));
        thread.entered(5, at(12), ());
        let expected = Burst {
            from: at(10),
            launches: 2,
        };
        assert_eq!(thread.returned(5).1, Some(expected));
        thread.entered(5, at(20), ());
        assert_eq!(thread.returned(5).1, None, "it was idle");
    }

    #[test]
    fn lost_and_nested_returns() {
        let mut thread = Thread::default();
        assert_eq!(thread.returned(5).0, None, "entered before the recording");
        thread.entered(1, at(1), "outer");
        thread.entered(2, at(2), "inner");
        thread.entered(3, at(3), "innermost");
        assert_eq!(
            thread.returned(3).0.map(|wait| wait.call),
            Some("innermost")
        );
        assert_eq!(thread.returned(1).0.map(|wait| wait.call), Some("outer"));
        assert!(thread.waiting().is_empty());
        for i in 0..100 {
            thread.entered(7, at(i), "endless");
        }
        assert_eq!(thread.waiting().len(), MAX_DEPTH);
    }
}
