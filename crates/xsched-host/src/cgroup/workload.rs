//! Whose work a control group holds, in a cluster's terms: a Kubernetes pod's
//! or a Slurm job's.
//!
//! Kubelet and slurmd, which are root, make these directories; only the part
//! of a path that is root's word is to be read here ([`super::Placement`]).

use super::{Delegate, names};
use crate::process::Credentials;

/// A pod's control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlace {
    /// The pod's uid as the API server writes it; of a static pod the hash of
    /// its file, 32 digits.
    pub uid: String,
    /// The container's id in it.
    pub container: Option<String>,
}

/// A Slurm job's control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlace {
    /// The job's number.
    pub id: u32,
    /// The step: its number, `batch`, `extern` or `interactive`.
    pub step: Option<String>,
    /// Whose job it is, where the path says so (control groups of version 1).
    pub user: Option<u32>,
}

impl JobPlace {
    /// Whether a process that is there is the job's. In version 1 Slurm hands a
    /// part of the group to the job's user (`handed_to`), who can move in what
    /// has that user's real, effective or saved id, as a program with the
    /// set-user-ID bit has.
    pub(super) fn holds(&self, handed_to: Option<&Delegate>, process: &Credentials) -> bool {
        match (self.user, handed_to) {
            (Some(user), Some(_)) => process.user() == Some(user),
            _ => true,
        }
    }
}

/// Whose work it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A pod's.
    Pod(PodPlace),
    /// A job's.
    Job(JobPlace),
}

/// Whose work is in the control group at `path`: of several the outermost,
/// which is the one that this machine's cluster has made.
pub fn workload(path: &str) -> Option<Workload> {
    // A job's names begin the path: what looks like a pod is below them.
    job(path)
        .map(Workload::Job)
        .or_else(|| pod(path).map(Workload::Pod))
}

/// By the names that kubelet gives: `kubepods/burstable/podUID/ID` with the
/// driver cgroupfs, `kubepods.slice/kubepods-burstable.slice/
/// kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope` with systemd, the
/// last two perhaps as one ([`names::packed`]).
fn pod(path: &str) -> Option<PodPlace> {
    let mut parts = path.split('/').skip(1);
    let mut below = false;
    for part in parts.by_ref() {
        let packed = names::packed(part);
        let slice = packed.map_or(part, |(slice, _)| slice);
        let slice = slice.strip_suffix(".slice").unwrap_or(slice);
        let is_top = |name: &str| name == "kubepods" || name.ends_with("-kubepods");
        let uid = match slice.rsplit_once("-pod") {
            // A systemd slice names its parents: it needs none above it.
            Some((top, uid)) if part != slice && top.split('-').any(|word| word == "kubepods") => {
                uid_of(&uid.replace('_', "-"))
            }
            _ if below => slice.strip_prefix("pod").and_then(uid_of),
            _ => None,
        };
        below |= is_top(slice);
        let Some(uid) = uid else { continue };
        let inner = parts.next().map(|name| (part, name));
        let container = packed
            .map(|_| ("", part))
            .or(inner)
            .and_then(|(parent, name)| names::container_at(parent, name));
        return Some(PodPlace {
            uid,
            container: container.map(str::to_owned),
        });
    }
    None
}

/// A UUID, or the MD5 of a static pod's file.
fn uid_of(text: &str) -> Option<String> {
    let dashes = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let is_uuid = text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if dashes(at) { b == b'-' } else { is_hex(b) });
    let is_hash = text.len() == 32 && text.bytes().all(is_hex);
    (is_uuid || is_hash).then(|| text.to_owned())
}

/// By the names that Slurm gives (its cgroup/v1 and cgroup/v2 plugins):
/// `slurm[_NODE]/uid_1000/job_7/step_0/task_0`, and
/// `system.slice/[NODE_]slurmstepd.scope/job_7/step_0/user/task_0`.
fn job(path: &str) -> Option<JobPlace> {
    let mut parts = path.split('/').skip(1).peekable();
    let first = parts.next()?;
    let mut user = None;
    if first == "slurm" || first.starts_with("slurm_") {
        user = Some(number(parts.next()?, "uid_")?);
    } else if !parts
        .next()
        .is_some_and(|name| names::is_slurm(first, name))
    {
        return None;
    }
    let id = number(parts.next()?, "job_")?;
    let step = parts.next().and_then(|name| name.strip_prefix("step_"));
    Some(JobPlace {
        id,
        step: step.filter(|step| is_step(step)).map(str::to_owned),
        user,
    })
}

fn is_step(text: &str) -> bool {
    matches!(text, "batch" | "extern" | "interactive") || text.parse::<u32>().is_ok()
}

fn number(part: &str, prefix: &str) -> Option<u32> {
    let digits = part.strip_prefix(prefix)?;
    digits
        .parse()
        .ok()
        .filter(|n: &u32| n.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8";
    const UID: &str = "7d1b53a2-9d8f-4a0c-8c5e-6a5f0b7e2c11";
    const HASH: &str = "0b2d1a54c3f6e7890b2d1a54c3f6e789";

    fn pod_at(path: &str) -> (String, Option<String>) {
        match workload(path) {
            Some(Workload::Pod(PodPlace { uid, container })) => (uid, container),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn job_at(path: &str) -> JobPlace {
        match workload(path) {
            Some(Workload::Job(job)) => job,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Both drivers, the runtimes, all classes of service, nested kubelets.
    #[test]
    fn pods_of_all_drivers_and_runtimes() {
        let under = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/besteffort/pod{UID}/crio-{ID}"),
            format!("/kubelet/kubepods/besteffort/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope/container"),
            format!("/kubepods.slice/kubepods-pod{under}.slice/docker-{ID}.scope"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/system.slice/kubepods-besteffort-pod{under}.slice:cri-containerd:{ID}"),
        ] {
            let found = pod_at(&path);
            assert_eq!(found, (UID.to_owned(), Some(ID.to_owned())), "{path}");
        }
        let fixed = format!("/kubepods/burstable/pod{HASH}/{ID}");
        assert_eq!(pod_at(&fixed).0, HASH, "a static pod");
        let own = format!("/kubepods/burstable/pod{UID}");
        assert_eq!(pod_at(&own), (UID.to_owned(), None));
    }

    #[test]
    fn what_only_looks_like_a_pod_is_none() {
        for path in [
            format!("/user.slice/pod{UID}/{ID}"),
            format!("/kubepods/pod{}/{ID}", &UID[1..]),
            format!("/kubepods/burstable/pod{}/{ID}", UID.to_uppercase()),
            format!("/a-pod{}.slice", UID.replace('-', "_")),
            "/kubepods.slice".to_owned(),
            "/kubepods/pod..".to_owned(),
        ] {
            assert_eq!(workload(&path), None, "{path}");
        }
        // A cluster in a pod: the outer one is this machine's.
        let inner = UID.replace('7', "8");
        let nested = format!("/kubepods/pod{UID}/{ID}/kubepods/pod{inner}/{ID}");
        assert_eq!(pod_at(&nested).0, UID);
    }

    #[test]
    fn what_a_user_moves_into_a_job_of_version_1_is_the_user_s_own_or_not_the_job_s() {
        let of = |uid, is_mixed| Credentials {
            uid,
            is_mixed,
            ..Credentials::default()
        };
        let job = job_at("/slurm/uid_1000/job_9");
        let handed = Delegate::User(1000);
        assert!(job.holds(Some(&handed), &of(1000, false)));
        for (process, what) in [
            (of(0, true), "a set-user-ID program"),
            (of(1000, true), "one that root has lent its id"),
            (of(0, false), "root's"),
            (of(1001, false), "another user's"),
        ] {
            assert!(!job.holds(Some(&handed), &process), "{what}");
            assert!(job.holds(None, &process), "root alone moved it in: {what}");
        }
        let second = job_at("/system.slice/slurmstepd.scope/job_9/step_0/user/task_0");
        assert!(second.holds(Some(&handed), &of(0, false)), "version 2");
    }

    #[test]
    fn jobs_of_both_versions() {
        let job = job_at("/slurm/uid_1000/job_123/step_0/task_0");
        assert_eq!((job.id, job.user), (123, Some(1000)));
        assert_eq!(job.step.as_deref(), Some("0"));
        let job = job_at("/slurm_n1/uid_0/job_5/step_batch");
        assert_eq!((job.id, job.step.as_deref()), (5, Some("batch")));
        for scope in ["slurmstepd.scope", "n1_slurmstepd.scope"] {
            let job = job_at(&format!(
                "/system.slice/{scope}/job_7/step_extern/user/task_0"
            ));
            assert_eq!((job.id, job.user), (7, None));
            assert_eq!(job.step.as_deref(), Some("extern"));
        }
        for path in [
            "/slurm/job_1",
            "/slurm/uid_0/job_+1",
            "/slurm/uid_0/job_01",
            "/slurm/uid_0/step_0",
            "/user.slice/slurmstepd.scope/job_1",
            "/system.slice/slurmstepd.scope/system",
            "/system.slice/myslurmstepd.scope/job_1",
            "/a/slurm/uid_0/job_1",
        ] {
            assert_eq!(workload(path), None, "{path}");
        }
        let odd = job_at("/slurm/uid_0/job_1/step_x");
        assert_eq!(odd.step, None);
    }

    /// A job's user may be handed the groups below it.
    #[test]
    fn no_job_becomes_a_pod() {
        let made = format!("kubepods/pod{UID}/{ID}");
        let job = job_at(&format!("/slurm/uid_5/job_9/step_1/{made}"));
        assert_eq!(job.id, 9);
        let scope = "/system.slice/slurmstepd.scope/job_7/step_0/user";
        assert_eq!(job_at(&format!("{scope}/{made}")).id, 7);
    }

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("kubepods".to_owned()),
            Just("kubepods.slice".to_owned()),
            Just("slurm".to_owned()),
            Just("system.slice".to_owned()),
            Just("slurmstepd.scope".to_owned()),
            Just(format!("pod{UID}")),
            "(uid|job|step)_[0-9a-z]{0,12}",
            "[a-z.:_-]{0,20}",
            "\\PC{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn any_path_is_read(parts in prop::collection::vec(part(), 0..8)) {
            let path = format!("/{}", parts.join("/"));
            if let Some(Workload::Pod(pod)) = workload(&path) {
                prop_assert!(uid_of(&pod.uid).is_some());
            }
        }

        /// Whatever is made below a job or pod, it stays that one's.
        #[test]
        fn nobody_below_renames_it(parts in prop::collection::vec(part(), 0..6)) {
            let rest = parts.join("/");
            let job = job_at(&format!("/slurm/uid_5/job_9/step_1/{rest}"));
            prop_assert_eq!((job.id, job.user), (9, Some(5)));
            let pod = pod_at(&format!("/kubepods/pod{UID}/{ID}/{rest}"));
            prop_assert_eq!(pod, (UID.to_owned(), Some(ID.to_owned())));
        }
    }
}
