//! Threads that read what lies in a process's own memory.
//!
//! Such a read waits for as long as the process likes ([`Reach::Memory`]). So
//! processes are read apart by user and control group: whoever holds up a
//! reader waits alone, since nobody else's processes are behind it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::resolve::Judged;
use crate::process::ProcessId;
use crate::rules::{Facts, Reach, Rule};

/// Threads at once; a tenant with more control groups waits for its own.
const MAX_READERS: usize = 64;
/// Processes that wait for one thread.
const QUEUE: usize = 128;
/// A thread without work ends.
const IDLE: Duration = Duration::from_secs(10);

/// Whose processes one thread reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tenant {
    pub uid: u32,
    pub cgroup: String,
}

/// A process to judge.
pub(super) struct Question {
    pub process: ProcessId,
    pub rules: Arc<[Rule]>,
    /// The configuration that the rules are of.
    pub generation: u64,
}

/// What came of it.
pub(super) struct Answer {
    pub process: ProcessId,
    pub judged: Judged,
    pub generation: u64,
}

/// No thread can take more now: ask again later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

pub(super) struct Readers {
    by_tenant: HashMap<Tenant, Reader>,
    answer: Arc<dyn Fn(Answer) + Send + Sync>,
}

struct Reader {
    questions: SyncSender<Question>,
    alive: Weak<()>,
}

impl Readers {
    /// Answers go to `answer`, from the readers' threads.
    pub fn new(answer: impl Fn(Answer) + Send + Sync + 'static) -> Readers {
        Readers {
            by_tenant: HashMap::new(),
            answer: Arc::new(answer),
        }
    }

    /// Has a process of `tenant` judged. Never waits.
    pub fn ask(&mut self, tenant: Tenant, question: Question) -> Result<(), Busy> {
        let question = match self.by_tenant.get(&tenant) {
            Some(reader) => match reader.questions.try_send(question) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(Busy),
                // It had nothing to do for a while.
                Err(TrySendError::Disconnected(question)) => question,
            },
            None => question,
        };
        self.by_tenant.remove(&tenant);
        if self.by_tenant.len() >= MAX_READERS {
            self.by_tenant
                .retain(|_, reader| reader.alive.strong_count() > 0);
        }
        if self.by_tenant.len() >= MAX_READERS {
            return Err(Busy);
        }
        let (questions, to_read) = sync_channel(QUEUE);
        let (life, answer) = (Arc::new(()), self.answer.clone());
        let alive = Arc::downgrade(&life);
        std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || {
                read_all(&to_read, &*answer);
                drop(life);
            })
            .map_err(|_| Busy)?;
        let sent = questions.try_send(question).map_err(|_| Busy);
        self.by_tenant.insert(tenant, Reader { questions, alive });
        sent
    }
}

fn read_all(questions: &Receiver<Question>, answer: &dyn Fn(Answer)) {
    loop {
        match questions.recv_timeout(IDLE) {
            Ok(Question {
                process,
                rules,
                generation,
            }) => answer(Answer {
                process,
                judged: super::judge(process, &rules, &Facts::of(process.pid, Reach::Memory)),
                generation,
            }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Conditions, TermsPatch};
    use std::sync::mpsc::channel;
    use xsched_common::units::Class;

    fn tenant(uid: u32) -> Tenant {
        Tenant {
            uid,
            cgroup: "/".into(),
        }
    }

    #[test]
    fn processes_are_judged_by_their_arguments() {
        let rule = Rule {
            name: "tests".into(),
            line: 1,
            conditions: Conditions {
                arg: vec!["*xsched_agent*".parse().expect("a pattern")],
                ..Conditions::default()
            },
            terms: TermsPatch {
                class: Some(Class::Low),
                ..TermsPatch::default()
            },
        };
        let (answers, judged) = channel();
        let mut readers = Readers::new(move |answer: Answer| {
            let _ = answers.send(answer);
        });
        let me = ProcessId::of(std::process::id()).expect("I exist");
        let mut ask = |process| {
            let question = Question {
                process,
                rules: Arc::from([rule.clone()]),
                generation: 3,
            };
            assert_eq!(readers.ask(tenant(0), question), Ok(()));
            judged.recv().expect("an answer")
        };
        let answer = ask(me);
        assert!(
            matches!(answer.judged, Judged::Rule(_)),
            "{:?}",
            answer.judged
        );
        assert_eq!((answer.process, answer.generation), (me, 3));
        let earlier = ProcessId {
            start_time: me.start_time + 1,
            ..me
        };
        assert_eq!(ask(earlier).judged, Judged::NoRule, "another had my pid");
    }

    #[test]
    fn whoever_holds_up_a_reader_waits_alone() {
        let (release, held) = channel::<()>();
        let held = std::sync::Mutex::new(held);
        let (answers, judged) = channel();
        let me = ProcessId::of(std::process::id()).expect("I exist");
        let hostage = ProcessId {
            start_time: 1,
            ..me
        };
        let mut readers = Readers::new(move |answer: Answer| {
            if answer.process == hostage {
                let _ = held.lock().expect("one at a time").recv();
            }
            let _ = answers.send(answer.process);
        });
        let question = |process| Question {
            process,
            rules: Arc::from([]),
            generation: 0,
        };
        for _ in 0..=QUEUE + 1 {
            let _ = readers.ask(tenant(1000), question(hostage));
        }
        assert_eq!(
            readers.ask(tenant(1000), question(me)),
            Err(Busy),
            "bounded"
        );
        assert_eq!(readers.ask(tenant(1001), question(me)), Ok(()));
        assert_eq!(judged.recv(), Ok(me), "another tenant's reader");
        drop(release);
    }
}
